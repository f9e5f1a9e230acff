"""Films and folders of pictures as sources: every frame counts, and each has a time of its own."""

import itertools
import logging
import math
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from config.errors import AvatarError, SourceError
from realtime.frame import Frame, Image

_log = logging.getLogger(__name__)


class VideoFile:
    """A video file as a Source: its frames once, upright, with its own timing.

    ``captured_at`` is the moment of the first ``read`` plus the frame's own time stamp, strictly
    increasing: time-based smoothing sees the film's time, however fast the caller reads. A damaged
    stretch is skipped and told once.
    """

    live = False

    def __init__(
        self,
        path: Path | str,
        clock: Callable[[], float] = time.perf_counter,
        container: Any = None,
    ) -> None:
        """Opens and decodes the first frame. ``container``: the film as PyAV has opened it
        already, e.g. over a network; ``path`` is its address then. Raises SourceError."""
        self._container = container or _open(Path(path))
        try:
            self._stream = pictures_of(self._container, str(path))
        except SourceError:
            self._container.close()
            raise
        self._stream.thread_type = "AUTO"
        self._clock = clock
        self._started: float | None = None
        self._first_s: float | None = None
        self._last_s = -math.inf
        self._count = 0
        self._damaged = False
        self.name = Path(path).name
        self.fps = float(self._stream.average_rate or self._stream.guessed_rate or 25)
        pictures = self._decode()
        first = next(pictures, None)
        if first is None:
            self.close()
            raise SourceError(f"{path} holds no picture that can be decoded; it may be damaged")
        self.height, self.width = first[0].shape[:2]
        self._pictures: Iterator[tuple[Image, float]] = itertools.chain([first], pictures)

    def read(self) -> Frame | None:
        """The next frame; None at the end."""
        picture = next(self._pictures, None)
        if picture is None:
            return None
        if self._started is None:
            self._started = self._clock()
        image, time_s = picture
        self._count += 1
        return Frame(image, self._started + time_s, self._count - 1)

    def _decode(self) -> Iterator[tuple[Image, float]]:
        """(picture, seconds since the first) of every frame that can be decoded."""
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                pictures = packet.decode() if packet is not None else ()
            except (av.error.FFmpegError, OSError) as error:
                if not self._damaged:
                    at_s = max(self._last_s, 0.0)
                    _log.warning("%s is damaged at %.1f s: %s", self.name, at_s, reason(error))
                    self._damaged = True
                continue
            if packet is None:
                return
            for picture in pictures:
                yield upright(picture), self._time_s(picture.time)

    def _time_s(self, stamp_s: float | None) -> float:
        if self._first_s is None:
            self._first_s = stamp_s or 0.0
            self._last_s = 0.0
            return 0.0
        time_s = self._last_s + 1 / self.fps if stamp_s is None else stamp_s - self._first_s
        if time_s <= self._last_s:  # time stamps that stand still or jump back
            time_s = self._last_s + 1 / self.fps
        self._last_s = time_s
        return time_s

    def close(self) -> None:
        """Close the file; twice is fine."""
        self._pictures = iter(())
        self._container.close()


def _open(path: Path) -> Any:
    import av

    if path.is_dir():
        raise SourceError(f"video {path} is a folder; name a file in it")
    if not path.is_file():
        raise SourceError(
            f"source '{path}' does not exist; give camera:0, camera:\"name\", performer, "
            "an address, e.g. rtsp://..., or the path of a video file or of a folder of pictures"
        )
    if path.stat().st_size == 0:
        raise SourceError(f"video {path} is empty (0 bytes); copy or record it again")
    try:
        # Titles and the like may hold anything.
        return av.open(str(path), metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        raise SourceError(f"{path} is not a readable video: {reason(error)}") from error


def pictures_of(container: Any, name: str) -> Any:
    """The stream of an opened container that has its pictures. Raises SourceError."""
    from av.stream import Disposition

    # A song's cover is a video stream of one picture.
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise SourceError(f"{name} has no pictures (sound only?); give a video file")


def upright(picture: Any) -> Image:
    """A decoded picture, turned as its stream says: (H, W, 3) uint8 RGB."""
    image: Image = picture.to_ndarray(format="rgb24")
    quarter_turns = round(picture.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image


def reason(error: Exception) -> str:
    """What FFmpeg or the system says, without the name of the file or address."""
    return str(getattr(error, "strerror", None) or error)


class PictureFolder:
    """The pictures of a folder as a Source: each once, by name ("2.png" before "10.png"), at a
    steady rate. One that cannot be read is told and left out."""

    live = False

    def __init__(
        self, folder: Path, fps: float, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Reads the first picture. Raises SourceError."""
        from realtime.assembly import PICTURES

        self.name = folder.name
        self.fps = fps
        self._clock = clock
        self._started: float | None = None
        self._count = 0
        files = [path for path in folder.iterdir() if path.suffix.lower() in PICTURES]
        pictures = self._read(sorted(files, key=_by_number))
        first = next(pictures, None)
        if first is None:
            found = f"none of its {len(files)} pictures can be read" if files else "has no picture"
            raise SourceError(f"folder {folder}: {found}; put the frames of a film into it")
        self.height, self.width = first.shape[:2]
        self._pictures: Iterator[Image] = itertools.chain([first], pictures)

    def read(self) -> Frame | None:
        """The next frame; None at the end."""
        image = next(self._pictures, None)
        if image is None:
            return None
        if self._started is None:
            self._started = self._clock()
        self._count += 1
        return Frame(image, self._started + (self._count - 1) / self.fps, self._count - 1)

    def _read(self, files: list[Path]) -> Iterator[Image]:
        from realtime.avatar import read_picture

        for path in files:
            try:
                yield read_picture(path)
            except AvatarError as error:
                _log.warning("left out: %s", error)

    def close(self) -> None:
        """Nothing is open between two pictures; twice is fine."""
        self._pictures = iter(())


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sorts numbers in names by what they are worth."""
    parts = re.split(r"(\d+)", path.name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
