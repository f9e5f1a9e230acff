"""A source read by a thread of its own, so that one that blocks is noticed and left behind."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from config.errors import SourceError
from realtime.frame import Frame, Latest

if TYPE_CHECKING:
    from realtime.camera import Source

OPEN_S = 10.0
"""Longest wait for a camera to open and give its first picture."""
_CLOSE_S = 1.0
"""Longest wait for a camera to close."""


class Watched:
    """A live source read by a thread of its own, so that a driver that blocks is noticed: ``read``
    gives up after ``stall_s``. The thread is left to itself then, and closes the device when the
    driver lets it; a camera that is opened again gets a new thread and a new handle.
    """

    def __init__(
        self,
        open_source: Callable[[], "Source"],
        stall_s: float,
        started: Callable[[threading.Thread], object] = lambda thread: None,
        open_s: float | None = None,
    ) -> None:
        """Opens the source, within ``open_s``, by default ``OPEN_S``; ``started`` is told the
        thread. Raises SourceError, or what opening raised."""
        self._open_source = open_source
        self._stall_s = stall_s
        self._opened: Latest[Source] = Latest()
        self._frames: Latest[Frame] = Latest()
        self._error: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()
        started(self._thread)
        open_s = OPEN_S if open_s is None else open_s
        source = self._opened.take(open_s)
        if source is None:
            self._stop.set()
            raise self._error or SourceError(
                f"the camera did not open within {open_s:g} s: its driver hangs; plug it in again"
            )
        self.name, self.live, self.fps = source.name, source.live, source.fps
        self.width, self.height = source.width, source.height

    def read(self) -> Frame | None:
        """See ``Source``."""
        frame = self._frames.take(self._stall_s)
        if frame is None and self._error is not None:
            raise self._error
        if frame is None and not self._frames.closed:
            raise SourceError(f"{self.name} gave no picture for {self._stall_s:g} s")
        return frame

    def close(self) -> None:
        """Have the thread close the source, and wait a moment for it; twice is fine."""
        self._stop.set()
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        source = None
        try:
            source = self._open_source()
            self._opened.put(source)
            while not self._stop.is_set():
                frame = source.read()
                if frame is None:
                    break
                self._frames.put(frame)
        except Exception as error:  # noqa: BLE001 - raised again where it is read
            self._error = error
        finally:
            if source is not None:
                source.close()
            self._opened.close()
            self._frames.close()
