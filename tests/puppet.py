"""A puppeteer that only writes down what it is told, and avatars for it."""

import threading
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
        self.prepared: list[str] = []
        self.avatar = AVATARS[0]

    def set_avatar(self, avatar: Avatar) -> None:
        if self.refuses:
            raise self.refuses
        self.avatar = avatar
        self.told.append(("avatar", avatar.name))

    def recentre(self) -> None:
        self.told.append(("recentre",))

    def prepare(self, avatar: Avatar) -> None:
        self.prepared.append(avatar.name)

    def panic(self, on: bool) -> None:
        self.told.append(("panic", on))


def wait_for_avatars() -> None:
    """Until what was asked for is prepared and shown."""
    for thread in threading.enumerate():
        if thread.name == "avatar":
            thread.join(10)
