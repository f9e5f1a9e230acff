"""The output as a film that plays even when its writing was interrupted."""

import contextlib
import errno
import logging
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

from config.errors import SinkError
from config.schema import OutputSettings
from realtime.codec import LIVE
from realtime.frame import Frame

_log = logging.getLogger(__name__)

_LONGEST_GAP_S = 10.0
"""A longer gap between two frames is left out of a recording."""


class VideoWriter:
    """A film of constant rate, timed by the frames' ``captured_at``: H.264 in .mp4; in .mov and
    .webm, with transparency, lossless QuickTime Animation (large) and VP9.

    A gap is filled with the frame before it, frames that come too close are left out. Written in
    fragments of a second: an interrupted recording plays up to its last whole second.
    """

    def __init__(self, path: Path, settings: OutputSettings) -> None:
        """Makes sure that the file can be written; one of that name is replaced by the first
        frame, not before. Raises SinkError."""
        if path.suffix.lower() not in LIVE:
            raise SinkError(
                f"file:{path} must end in .mp4, or in .mov or .webm, which keep transparency"
            )
        self._codec = LIVE[path.suffix.lower()]
        self._was_there = path.exists()
        try:
            path.open("ab").close()
        except OSError as error:
            raise SinkError(f"file:{path} cannot be written: {error.strerror}") from error
        self.name = f"file:{path}"
        self.repeat_fps: float | None = None
        self.path = path
        self._fps = settings.fps
        self._size = settings.width, settings.height
        self._open = True
        self._started_at: float | None = None
        self._slot = -1
        self._container: Any = None
        self._stream: Any = None
        self._last: Any = None
        self._whole_bytes = 0

    @property
    def has_pictures(self) -> bool:
        """True once the file is a film: before, what was there stays."""
        return self._whole_bytes > 0

    def send(self, frame: Frame) -> None:
        """Write the frame at its time. Raises SinkError, e.g. when the disk is full; what was
        written until then plays."""
        import av

        if not self._open:
            raise SinkError(f"{self.name} is closed")
        if (frame.image.shape[1], frame.image.shape[0]) != self._size:
            raise SinkError(
                f"{self.name} takes pictures of {self._size[0]}x{self._size[1]}, "
                f"got {frame.image.shape[1]}x{frame.image.shape[0]}"
            )
        slot = self._slot_of(frame.captured_at)
        if slot is None:
            return
        try:
            if self._container is None:
                self._start()
            while self._slot + 1 < slot:
                self._write(self._last)
            self._last = self._codec.picture(frame)
            self._write(self._last)
        except (av.error.FFmpegError, OSError) as error:
            self._abandon()
            advice = "free some space; " if error.errno == errno.ENOSPC else ""
            raise SinkError(
                f"{self.name} stopped at {self._slot / self._fps:.1f} s: {error.strerror}; "
                f"{advice}what was written until then plays"
            ) from error

    def _start(self) -> None:
        import av

        options = {"flush_packets": "1"}
        if self.path.suffix.lower() != ".webm":
            options["movflags"] = "frag_keyframe+empty_moov+default_base_moof"
        self._container = av.open(str(self.path), "w", options=options)
        self._stream = self._container.add_stream(
            self._codec.encoder,
            rate=Fraction(self._fps).limit_denominator(1001),
            options=dict(self._codec.options),
        )
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = self._codec.pixels
        self._stream.codec_context.gop_size = max(1, round(self._fps))

    def _slot_of(self, captured_at: float) -> int | None:
        """Number of the output frame for this moment; None: too early for another one.

        The next slot takes a frame that is up to 3/4 of an interval off, so that the jitter of a
        camera whose beat lies between two slots makes no double and missing frames.
        """
        if self._started_at is None:
            self._started_at = captured_at
        following = self._slot + 1
        exact = (captured_at - self._started_at) * self._fps
        if exact - following > _LONGEST_GAP_S * self._fps:  # e.g. the machine slept
            self._started_at = captured_at - following / self._fps
            exact = following
        if exact < following - 0.75:
            return None
        return following if exact <= following + 0.75 else round(exact)

    def _write(self, picture: Any) -> None:
        picture.pts = self._slot = self._slot + 1
        for packet in self._stream.encode(picture):
            self._container.mux(packet)
        self._whole_bytes = self.path.stat().st_size

    def _abandon(self) -> None:
        """Cut the file back to the last fragment that was written whole."""
        self._close_container()
        with contextlib.suppress(OSError):  # the error that led here is the one to tell
            os.truncate(self.path, self._whole_bytes)

    def close(self) -> None:
        """Finish the file; without a frame there is none. Twice is fine."""
        import av

        if not self._open:
            return
        if self._container is None:
            self._open = False
            if not self._was_there:
                self.path.unlink(missing_ok=True)
            return
        try:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
        except (av.error.FFmpegError, OSError) as error:
            _log.warning("%s: the last second is lost: %s", self.name, error.strerror)
            self._abandon()
        else:
            self._close_container()

    def _close_container(self) -> None:
        import av

        self._open = False
        try:
            self._container.close()
        except (av.error.FFmpegError, OSError) as error:
            _log.warning("%s: closing: %s", self.name, error.strerror)
