"""The film that ``animate`` writes: pictures at the driving video's times, and its sound.

It appears under its name only when it is finished; until then, and for ever after a failure, what
was there before stays. Of several sound tracks the first is taken.
"""

import logging
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from config.errors import SinkError
from realtime.codec import FILM, Codec
from realtime.frame import Frame

_log = logging.getLogger(__name__)

SUFFIXES = (".mp4", ".mov", ".mkv")
_BOTH = ("aac", "mp3", "ac3", "eac3", "alac")
SOUND = {
    ".mp4": (*_BOTH, "opus", "flac"),
    ".mov": (*_BOTH, "pcm_s16le", "pcm_s16be", "pcm_s24le"),
}
"""Sound that these files hold and players play; FFmpeg believes that they hold more."""


class Film:
    """H.264 pictures, or transparent ones in ProRes 4444, and the sound of another video. A
    context; ``finish`` makes it real."""

    def __init__(
        self, path: Path, driving: Path, width: int, height: int, codec: Codec = FILM
    ) -> None:
        """``width`` and ``height`` even. ``driving``: a video, already known to be readable, whose
        rate, time stamps and sound are taken. Raises SinkError."""
        import av

        check_output(path)
        self._path = path
        # Hidden, and beside the target: the rename at the end stays on one disk.
        self._partial = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        self._size = width, height
        self._codec = codec
        self._driving: Any = av.open(str(driving), metadata_errors="replace")
        self._container: Any = None
        try:
            options = {"movflags": "+faststart"} if path.suffix.lower() != ".mkv" else {}
            self._container = av.open(str(self._partial), "w", options=options)
            self._add_streams(_pictures_of(self._driving))
        except (av.error.FFmpegError, OSError) as error:
            self.close()
            raise SinkError(f"--output {path} cannot be written: {_reason(error)}") from error

    def _add_streams(self, template: Any) -> None:
        self._rate = template.average_rate or template.guessed_rate or Fraction(25)
        # Whole units make a frame, and a unit is 11 microseconds at most: for varying rates.
        units = self._rate.numerator * -(-90_000 // self._rate.numerator)
        self._time_base = Fraction(1, units)
        # Matroska rounds to milliseconds: what is that near to a frame's time is meant so.
        self._tolerance_s = 0.75 * float(template.time_base)
        self._last_pts = -1
        self._pictures = self._container.add_stream(
            self._codec.encoder, rate=self._rate, options=dict(self._codec.options)
        )
        self._pictures.width, self._pictures.height = self._size
        self._pictures.pix_fmt = self._codec.pixels
        self._pictures.codec_context.time_base = self._pictures.time_base = self._time_base
        start_s = float((template.start_time or 0) * template.time_base)
        self._sound: Iterator[tuple[float, list[Any]]] = iter(())
        self._next_sound: tuple[float, list[Any]] | None = None
        if self._driving.streams.audio:
            self._sound = self._read_sound(self._driving.streams.audio[0], start_s)
            # The first packet now: a track that is added later would come without a header.
            self._next_sound = next(self._sound, None)

    @property
    def has_sound(self) -> bool:
        """True where the driving video has sound that goes with the pictures."""
        return len(self._container.streams.audio) > 0

    def write(self, frame: Frame) -> None:
        """The frame's picture, (height, width, 3), shown from ``captured_at`` after the driving
        video's first frame on. Raises SinkError."""
        import av

        try:
            time_s = frame.captured_at
            picture = self._codec.picture(frame)
            picture.pts = self._last_pts = max(self._pts(time_s), self._last_pts + 1)
            picture.time_base = self._time_base
            picture.duration = round(1 / self._rate / self._time_base)
            for packet in self._pictures.encode(picture):
                self._container.mux(packet)
            self._write_sound(time_s)
        except (av.error.FFmpegError, OSError) as error:
            raise SinkError(f"--output {self._path} stopped: {_reason(error)}") from error

    def finish(self) -> None:
        """Write what is left and put the film under its name. Raises SinkError."""
        import av

        try:
            for packet in self._pictures.encode(None):
                self._container.mux(packet)
            self._write_sound(None)
            self._container.close()
            os.replace(self._partial, self._path)
        except (av.error.FFmpegError, OSError) as error:
            raise SinkError(f"--output {self._path} stopped: {_reason(error)}") from error

    def close(self) -> None:
        """Close everything; a film that is not finished disappears. Twice is fine."""
        import av

        self._driving.close()
        if self._container is not None:
            try:
                self._container.close()
            except (av.error.FFmpegError, OSError) as error:
                _log.debug("closing %s: %s", self._partial, error)
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> "Film":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pts(self, time_s: float) -> int:
        number = round(time_s * self._rate)
        if abs(number / self._rate - time_s) < self._tolerance_s:
            return round(number / self._rate / self._time_base)
        return round(time_s / self._time_base)

    def _write_sound(self, until_s: float | None) -> None:
        """The sound up to this moment, all of it for None: pictures and sound lie side by side."""
        while self._next_sound and (until_s is None or self._next_sound[0] <= until_s):
            for packet in self._next_sound[1]:
                self._container.mux(packet)
            self._next_sound = next(self._sound, None)

    def _read_sound(self, track: Any, start_s: float) -> Iterator[tuple[float, list[Any]]]:
        """(time, packets) of the track, ``start_s`` being 0: as it is where the container can hold
        it, else as AAC. Damaged sound ends early and is told."""
        import av

        if track.codec_context is None:
            _log.warning("the sound of the driving video is of an unknown kind and left out")
            return
        codec = track.codec_context.codec.canonical_name
        held = SOUND.get(self._path.suffix.lower(), self._container.supported_codecs)
        try:
            if codec in held:
                output = self._container.add_stream_from_template(track)
                yield from _copied(self._driving.demux(track), start_s, output)
            else:
                output = self._container.add_stream("aac", rate=track.rate)
                output.layout = "mono" if track.layout.nb_channels == 1 else "stereo"
                _log.warning("the sound (%s) becomes AAC to fit %s", codec, self._path.suffix)
                yield from _as_aac(self._driving.decode(track), start_s, output)
        except (av.error.FFmpegError, OSError) as error:
            _log.warning("the sound of the driving video ends early: %s", _reason(error))


def _pictures_of(container: Any) -> Any:
    """The video stream that ``realtime.video.VideoFile`` reads: a song's cover is none."""
    from av.stream import Disposition

    streams = container.streams.video
    return next(one for one in streams if not one.disposition & Disposition.attached_pic)


def _copied(packets: Any, start_s: float, output: Any) -> Iterator[tuple[float, list[Any]]]:
    for packet in packets:
        # The last one is empty and only tells the end.
        if packet.pts is None or packet.dts is None:
            continue
        shift = round(start_s / packet.time_base)
        packet.pts -= shift
        packet.dts -= shift
        if packet.pts + (packet.duration or 0) <= 0:
            continue  # before the first picture
        packet.stream = output
        yield float(packet.pts * packet.time_base), [packet]


def _as_aac(frames: Any, start_s: float, output: Any) -> Iterator[tuple[float, list[Any]]]:
    time_s = 0.0
    for frame in frames:
        frame.pts = (frame.pts or 0) - round(start_s / frame.time_base)
        time_s = float(frame.pts * frame.time_base)
        if time_s >= 0:
            yield time_s, output.encode(frame)
    yield time_s, output.encode(None)


def check_output(path: Path) -> None:
    """Raises SinkError where a film can not be written to ``path``."""
    if path.suffix.lower() not in SUFFIXES:
        raise SinkError(f"--output {path} must end in {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise SinkError(f"--output {path} is a folder; name a file")
    if not path.parent.is_dir():
        raise SinkError(f"--output {path}: there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK):
        raise SinkError(f"--output {path}: {path.parent} may not be written to by this user")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
