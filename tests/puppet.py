"""A puppeteer that only writes down what it is told, and avatars for it."""

from typing import Any

import numpy as np

from config.schema import Settings
from realtime.avatar import Avatar

SIDE = 64
AVATARS = [Avatar(name, np.zeros((SIDE, SIDE, 3), np.uint8)) for name in ("ann", "bob", "cy")]


class Puppet:
    """What actions use of a Puppeteer."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.settings = Settings()
        self.refuses: Exception | None = None

    def set_avatar(self, avatar: Avatar) -> None:
        if self.refuses:
            raise self.refuses
        self.told.append(("avatar", avatar.name))

    def recentre(self) -> None:
        self.told.append(("recentre",))

    def panic(self, on: bool) -> None:
        self.told.append(("panic", on))
