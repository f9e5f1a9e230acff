"""Another program that is fed through a pipe."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from typing import IO, Any, cast

from config.errors import SinkError

_END_S = 0.5
"""Time that it has to end once it was told to."""


class Child:
    """A running program. It ends with puppetcam, even when that is killed: its input ends then."""

    def __init__(self, command: Sequence[str]) -> None:
        """Starts it. Raises SinkError where there is no such program."""
        self.name = command[0]
        program = shutil.which(self.name)
        if program is None:
            raise SinkError(f"the program {self.name} is not installed")
        # A file, as somebody would have to empty a pipe; appending, as both sides move in it.
        self._output = tempfile.TemporaryFile("a+b")  # noqa: SIM115
        self._process = subprocess.Popen(
            [program, *command[1:]],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,  # Ctrl-C is for puppetcam, which then ends it
        )
        self._input = cast("IO[bytes]", self._process.stdin)

    def write(self, data: Any) -> None:
        """Bytes, or an array, C-contiguous; waits until they are taken. Raises SinkError once the
        program has ended."""
        try:
            self._input.write(data)
            self._input.flush()
        except (OSError, ValueError) as error:  # ValueError: closed by another thread
            self._process.poll()
            raise SinkError(f"{self.name} ended ({self.complaint()})") from error

    @property
    def running(self) -> bool:
        """False once it has ended."""
        return self._process.poll() is None

    def said(self) -> str:
        """What it has written until now."""
        if self._output.closed:
            return ""
        self._output.seek(0)
        return self._output.read().decode(errors="replace")

    def complaint(self) -> str:
        """The line in which it says what is wrong, or else its last one."""
        lines = [line.strip() for line in self.said().splitlines() if line.strip()]
        wrong = [line for line in lines if line.startswith(("ERROR", "WARNING"))]
        return (wrong or lines[-1:] or ["without a word"])[0]

    def close(self) -> None:
        """End it; twice is fine, also from another thread, where it ends a ``write``."""
        # Its input is closed last: a write that hangs in another thread holds its lock.
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            self._input.close()
        self._output.close()
