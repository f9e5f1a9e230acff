"""An output that may be slow or go away, behind a thread of its own: it never holds up the others.

The thread takes the newest picture only, and opens what was lost again, later each time.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from config.errors import SinkError
from realtime.frame import Frame, Latest

_log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.5
MAX_RETRY_S = 8.0
_STEADY_S = 8.0
"""An outlet counts as back after this time: some fail only a while after they were opened."""
_JOIN_S = 2.0
"""Longest wait for a picture that is on its way when the output is closed."""


class Outlet(Protocol):
    """What a relay writes to."""

    def write(self, frame: Frame) -> None:
        """Hand on one frame; may take its time. Raises SinkError, after which it is closed."""
        ...

    def abort(self) -> None:
        """From another thread: have a ``write`` that hangs fail, where that can be done."""
        ...

    def close(self) -> None:
        """Let go; twice is fine."""
        ...


class Relay:
    """Carries the newest frame to an outlet. ``send`` only lays it down."""

    def __init__(
        self, name: str, open_outlet: Callable[[], Outlet], first: Outlet | None = None
    ) -> None:
        """``name``: for what is told. ``open_outlet`` is called in the thread, with SinkError for
        not now; ``first``: one that is open already."""
        self.name = name
        self._open_outlet = open_outlet
        self._outlet = first
        self._slot: Latest[Frame] = Latest()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def send(self, frame: Frame) -> None:
        """The newest frame; one that was not taken yet is dropped."""
        self._slot.put(frame)

    def close(self) -> None:
        """End the thread, which closes the outlet; twice is fine."""
        self._stop.set()
        self._slot.close()
        self._thread.join(_JOIN_S)
        outlet = self._outlet
        if self._thread.is_alive() and outlet is not None:
            outlet.abort()
            self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            _log.warning("%s did not end; left behind", self.name)

    def _run(self) -> None:
        try:
            self._carry()
        finally:
            if self._outlet is not None:
                self._outlet.close()

    def _carry(self) -> None:
        retry_s, lost = FIRST_RETRY_S, False
        opened_at = time.perf_counter()
        while (frame := self._slot.take()) is not None:
            try:
                if self._outlet is None:
                    self._outlet = self._open_outlet()
                    opened_at = time.perf_counter()
                self._outlet.write(frame)
            except Exception as error:  # noqa: BLE001 - memory, FFmpeg's own: lost all the same
                if self._stop.is_set():
                    break
                if self._outlet is not None:
                    self._outlet.close()
                    self._outlet = None
                if not lost:
                    lost = True
                    told = error if isinstance(error, SinkError) else f"{self.name}: {error!r}"
                    _log.warning("%s; it is tried again and again", told)
                self._stop.wait(retry_s)
                retry_s = min(2 * retry_s, MAX_RETRY_S)
                continue
            if lost and time.perf_counter() - opened_at >= _STEADY_S:
                lost, retry_s = False, FIRST_RETRY_S
                _log.warning("%s takes pictures again", self.name)
