"""Settings and pictures put together into what animates: engine, tracker, avatars, puppeteer."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from config.errors import AvatarError, ConsentError
from config.schema import Settings
from realtime.avatar import Avatar, load_avatar
from realtime.engine import open_engine
from realtime.face import Tracker, open_tracker
from realtime.puppeteer import Puppeteer
from realtime.switching import SwitchingEngine
from realtime.tuning import choose

_log = logging.getLogger(__name__)

SHIPPED = Path(__file__).with_name("avatars")
"""Avatars that come with puppetcam."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""What counts as a picture in a folder."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """Owns the engine; the puppeteer shows the first avatar."""

    engine: SwitchingEngine
    tracker: Tracker
    avatars: tuple[Avatar, ...]
    puppeteer: Puppeteer

    def __enter__(self) -> "Assembly":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the runtime; twice is fine."""
        self.engine.close()


def assemble(
    settings: Settings,
    pictures: Sequence[Path] = (),
    settle: Callable[[tuple[Avatar, ...]], tuple[Avatar, ...]] | None = None,
) -> Assembly:
    """Open the engine (that which is fastest here, of what the settings leave open) and its
    tracker, and load the avatars.

    ``pictures``: files and folders of pictures; none: the shipped avatars. A file that is no avatar
    raises AvatarError; in a folder it is told and left out. ``settle`` gets all avatars and gives
    them back with the word whose faces they are; None where nobody will see the output. Also raises
    BundleError, EngineError, and what ``settle`` raises.
    """
    engine = SwitchingEngine(open_engine(choose(settings.engine).settings))
    try:
        # The default bundle's landmark network follows the face: the engine's own where it is one.
        tracker = open_tracker(settings.tracking, engine)
        avatars = load_avatars(pictures, tracker, engine.bundle.output_size)
        avatars = avatars if settle is None else settle(avatars)
        puppeteer = Puppeteer(engine, tracker, settings)
        puppeteer.set_avatar(avatars[0])
    except BaseException:
        engine.close()
        raise
    return Assembly(engine, tracker, avatars, puppeteer)


def load_avatars(pictures: Sequence[Path], tracker: Tracker, size: int) -> tuple[Avatar, ...]:
    """At least one avatar, in the order given, a folder's by name. Raises AvatarError."""
    avatars: list[Avatar] = []
    for path in pictures or (SHIPPED,):
        if path.is_dir():
            avatars += _load_folder(path, tracker, size)
        else:
            avatars.append(load_avatar(path, tracker, size))
    return tuple(avatars)


def _load_folder(folder: Path, tracker: Tracker, size: int) -> list[Avatar]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    avatars = []
    for path in files:
        try:
            avatars.append(load_avatar(path, tracker, size))
        except (AvatarError, ConsentError) as error:
            _log.warning("left out: %s", error)
    if not avatars:
        found = f"none of its {len(files)} pictures can be used" if files else "has no picture"
        raise AvatarError(f"avatar folder {folder}: {found}; put pictures of faces into it")
    return avatars
