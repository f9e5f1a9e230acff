"""From what the engine generated to the output's picture, while avatars and settings change.

A new scene takes a while to make (enlarging, a matte): for changed settings that is done beside, in
a thread of its own, and the old scene shows until the new one is ready.
"""

import contextlib
import logging
import threading
from dataclasses import replace
from pathlib import Path

from config.errors import AvatarError, PuppetcamError, SettingsError
from config.schema import OutputSettings
from realtime.avatar import Avatar, read_picture
from realtime.frame import Image, Latest
from realtime.matte import Matte, person_matte
from realtime.scene import Scene

_log = logging.getLogger(__name__)

BACKGROUNDS = ("avatar", "green", "alpha")
"""Those that are no files."""
_MATTES = 9
"""Avatars whose mattes are kept: as many as have keys."""


class Composer:
    """Holds the scene of the avatar that is shown. One thread calls it, but for ``prepare``."""

    def __init__(self, settings: OutputSettings, *, carries: bool) -> None:
        """``carries``: the engine moves pixels by a ``Carrier``."""
        self._settings = settings
        self._carries = carries
        self._avatar: Avatar | None = None
        self._scene: Scene | None = None
        self._made: Latest[Scene] = Latest()
        self._prepared: Latest[Scene] = Latest()
        self._gate = threading.Lock()
        self._wanted: OutputSettings | None = None
        self._busy = False
        # Both threads make scenes; what they need is made once.
        self._making = threading.Lock()
        self._mattes: dict[int, tuple[Avatar, Matte]] = {}
        self._background: tuple[str, Image] | None = None

    def show(self, avatar: Avatar) -> None:
        """Compose this avatar from now on. Raises AvatarError and SettingsError for settings that
        cannot be followed, if there are no earlier ones that could."""
        self._avatar = avatar
        made = self._prepared.take(0)
        if (
            made is not None
            and made.avatar is avatar
            and (_essence(made.settings) == _essence(self._settings))
        ):
            self._scene = made
            return
        try:
            self._scene = self._make(avatar, self._settings)
        except (AvatarError, SettingsError) as error:
            if self._scene is None:
                raise
            _log.warning("%s", error)
            self._scene = self._make(avatar, self._scene.settings)

    def prepare(self, avatar: Avatar) -> None:
        """Make the scene of an avatar that will be shown next, so that ``show`` takes no time. Any
        thread may call this. What cannot be made is for ``show`` to tell."""
        with contextlib.suppress(AvatarError, SettingsError):
            self._prepared.put(self._make(avatar, self._settings))

    def change(self, settings: OutputSettings) -> None:
        """Follow these settings as soon as their scene is made; ones that cannot be followed are
        told and left."""
        if _essence(settings) == _essence(self._settings):
            return
        self._settings = settings
        with self._gate:
            self._wanted = settings
            if self._busy or self._avatar is None:
                return
            self._busy = True
        threading.Thread(target=self._work, name="compose", daemon=True).start()

    @property
    def scene(self) -> Scene:
        """The newest that is ready. Raises AvatarError before the first avatar."""
        made = self._made.take(0)
        if made is not None and made.avatar is self._avatar:
            self._scene = made
        if self._scene is None:
            raise AvatarError("no avatar is shown yet")
        return self._scene

    def _work(self) -> None:
        while True:
            with self._gate:
                wanted, self._wanted = self._wanted, None
                avatar = self._avatar
                if wanted is None or avatar is None:
                    self._busy = False
                    return
            try:
                self._made.put(self._make(avatar, wanted))
            except Exception as error:  # noqa: BLE001 - a picture too large for the memory, say
                told = str(error) if isinstance(error, PuppetcamError) else type(error).__name__
                _log.warning("%s; the output stays as it was", told)

    def _make(self, avatar: Avatar, settings: OutputSettings) -> Scene:
        with self._making:
            background = self._read(settings.background)
            # Without a matte the avatar's own background moves along; other ones need it.
            matte = None
            if settings.background != "avatar" or (self._carries and _can_be_cut_out(avatar)):
                matte = self._matte(avatar)
            return Scene(
                avatar, settings, carries=self._carries, matte=matte, background=background
            )

    def _read(self, name: str) -> Image | None:
        if name in BACKGROUNDS:
            return None
        if self._background is None or self._background[0] != name:
            path = Path(name)
            if not path.is_file():
                known = ", ".join(BACKGROUNDS)
                raise SettingsError(
                    f"output.background: there is no picture '{name}'; give the path of one, or "
                    f"one of {known}"
                )
            self._background = name, read_picture(path)
        return self._background[1]

    def _matte(self, avatar: Avatar) -> Matte:
        if id(avatar) not in self._mattes:
            self._mattes[id(avatar)] = avatar, matte_of(avatar)
            if len(self._mattes) > _MATTES:  # of a picture that was read anew, say
                del self._mattes[next(iter(self._mattes))]
        return self._mattes[id(avatar)][1]


def matte_of(avatar: Avatar) -> Matte:
    """The picture's own transparency, or the person as well as it can be told."""
    if avatar.matte is not None:
        return avatar.matte
    if avatar.full is None or avatar.landmarks is None:
        raise SettingsError(
            f"avatar {avatar.name} has no picture to cut a person out of; "
            "use output.background=avatar"
        )
    return person_matte(avatar.full, avatar.landmarks)


def _can_be_cut_out(avatar: Avatar) -> bool:
    return avatar.matte is not None or (avatar.full is not None and avatar.landmarks is not None)


def _essence(settings: OutputSettings) -> OutputSettings:
    """What a scene depends on: the rate is none of it, mirroring only with a picture behind."""
    mirror = settings.mirror and settings.background not in BACKGROUNDS
    return replace(settings, mirror=mirror, fps=1.0)
