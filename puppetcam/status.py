"""What the terminal shows while a command runs: one line that changes, messages above it."""

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO


class StatusLine(logging.Handler):
    """The last line of a terminal, rewritten in place. Warnings of the log appear above it.

    Where the output is no terminal, each text is a line of its own and repetitions of its first
    word ("live, 29.8 fps" after "live, 30.0 fps") are left out: a log file stays short.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(logging.WARNING)
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._text = ""
        # show is called by the main thread, emit by any.
        self._one_at_a_time = threading.RLock()

    def show(self, text: str) -> None:
        """Put ``text`` in place of the text before it."""
        with self._one_at_a_time:
            if self._is_terminal:
                self._stream.write(f"\r\x1b[K{text}")
            elif _first_word(text) != _first_word(self._text):
                self._stream.write(f"{text}\n")
            self._text = text
            self._stream.flush()

    def say(self, text: str) -> None:
        """A line that stays."""
        with self._one_at_a_time:
            if self._is_terminal and self._text:
                self._stream.write(f"\r\x1b[K{text}\n{self._text}")
            else:
                self._stream.write(f"{text}\n")
            self._stream.flush()

    def end(self) -> None:
        """Leave the last text where it is and begin a new line; twice is fine."""
        with self._one_at_a_time:
            if self._is_terminal and self._text:
                self._stream.write("\n")
            self._text = ""
            self._stream.flush()

    def emit(self, record: logging.LogRecord) -> None:
        """A record of the log, as ``say``."""
        self.say(f"puppetcam: {record.getMessage()}")

    def __enter__(self) -> "StatusLine":
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)
        self.end()


def _first_word(text: str) -> str:
    return text.partition(",")[0]


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Ctrl-C, SIGTERM and a terminal that is closed (SIGHUP) set the event while the context
    lasts; a second Ctrl-C interrupts.

    Outside the main thread there are no signals, and the event stays as it is.
    """
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if stopped.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stopped.set()

    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    # Windows has no SIGHUP, and who says nohup wants to go on.
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:
        numbers.append(hang_up)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
