"""The file that tells ``puppetcam ctl`` where the run listens, for the user's eyes alone."""

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from config.errors import ControlError
from config.folders import state_folder


def write_private(path: Path, text: str) -> None:
    """Write a file whole or not at all, readable by this user alone. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # mkstemp gives it the mode 0600 from the start.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@dataclass(frozen=True, slots=True)
class Running:
    """Where the run that was started last listens, and what it wants to hear."""

    host: str
    port: int
    token: str
    pid: int
    """Its process."""

    @property
    def url(self) -> str:
        """E.g. "http://127.0.0.1:8000"."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def running_file() -> Path:
    """The file that holds a ``Running``."""
    return state_folder() / "running.json"


def announce(running: Running) -> None:
    """Let ``puppetcam ctl`` find this run. Raises OSError."""
    write_private(running_file(), json.dumps(asdict(running)))


def withdraw(running: Running) -> None:
    """Take the file away, unless another run has written it since."""
    if _read() == running:
        running_file().unlink(missing_ok=True)


def find_running() -> Running:
    """The run started last. Raises ControlError."""
    found = _read()
    if found is None:
        raise ControlError(
            f"nothing runs: {running_file()} is not there; start 'puppetcam run' first "
            "(with api.enabled=true, the default)"
        )
    return found


def _read() -> Running | None:
    """None where there is none, or one that no run has written."""
    try:
        values = json.loads(running_file().read_text(encoding="utf-8"))
        found = Running(**values)
    except (OSError, ValueError, TypeError):
        return None
    is_whole = isinstance(found.host, str) and isinstance(found.token, str)
    return found if is_whole and isinstance(found.port, int) else None
