"""A user's session for one test: a home, a display and PipeWire of its own, and programs that end
with it, whatever happened."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from realtime.frame import Image

ROOT = Path(__file__).parents[2]
_OF_THE_USER = (
    "DISPLAY",
    "WAYLAND_",
    "DBUS_",
    "XDG_",
    "PIPEWIRE_",
    "PULSE_",
    "XAUTHORITY",
    "GTK_",
    "QT_",
)
"""Beginnings of the names of variables that lead to the user's own session; those of Qt are set by
OpenCV, for itself."""
_END_S = 2.0


def need(*programs: str) -> None:
    """Skip the test where one of them is not installed."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def free_port() -> int:
    """One of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def decoded(data: bytes) -> Image:
    """The picture of a PNG or JPEG file, (H, W, 3) uint8 RGB."""
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def apart(one: Image, other: Image) -> float:
    """How far two pictures are apart, mean over all pixels and channels, grey levels."""
    assert one.shape == other.shape, (one.shape, other.shape)
    return float(np.abs(one.astype(np.int16) - other).mean())


class Desktop:
    """Use with ``with``. ``environment`` is that of its programs."""

    def __init__(self) -> None:
        # Short: the path of a socket may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="e2e-"))
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_USER)
        }
        self.environment |= {
            "HOME": self._subfolder("home"),
            "XDG_RUNTIME_DIR": self._subfolder("run"),
            "XDG_CONFIG_HOME": self._subfolder("home/.config"),
            "XDG_CACHE_HOME": self._subfolder("home/.cache"),
            "XDG_DATA_HOME": self._subfolder("home/.local/share"),
            "XDG_STATE_HOME": self._subfolder("home/.local/state"),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.folder}/run/bus",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        for name in ("CACHE", "CONFIG", "STATE"):
            self.environment[f"PUPPETCAM_{name}"] = self._subfolder(f"puppetcam/{name.lower()}")
        self._programs: list[subprocess.Popen[bytes]] = []

    def _subfolder(self, name: str) -> str:
        folder = self.folder / name
        folder.mkdir(mode=0o700, parents=True)
        return str(folder)

    def start(self, *words: str, **more: str) -> subprocess.Popen[bytes]:
        """Start a program; what it says goes into a log. ``more``: of its environment."""
        name = f"{len(self._programs)}-{Path(words[0]).name}"
        with (self.folder / f"{name}.log").open("wb") as log:
            program = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=ROOT, env=self.environment | more, start_new_session=True,
            )  # fmt: skip
        self._programs.append(program)
        return program

    def python(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a Python program."""
        return self.start(sys.executable, *words)

    def said(self) -> str:
        """The end of what each program wrote."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{log.name}: {log.read_text('utf-8', 'replace')[-1500:]}" for log in logs)

    def wait_until(
        self,
        true: Callable[[], object],
        seconds: float,
        what: str,
        program: "subprocess.Popen[bytes] | None" = None,
    ) -> float:
        """Wait for it, and how long it took; a test that waits in vain, or for a ``program`` that
        has ended, fails with the logs."""
        started = time.perf_counter()
        while not true():
            if program is not None and program.poll() is not None:
                pytest.fail(f"{what}: it ended with {program.returncode}\n{self.said()}")
            if time.perf_counter() - started > seconds:
                pytest.fail(f"{what}: not within {seconds:g} s\n{self.said()}")
            time.sleep(0.02)
        return time.perf_counter() - started

    def display(self, size: str = "1280x720x24") -> str:
        """Start an X server without a screen; its name, e.g. ":99"."""
        reader, writer = os.pipe()
        with (self.folder / "Xvfb.log").open("wb") as log:
            words = ["Xvfb", "-displayfd", str(writer), "-screen", "0", size, "-nolisten", "tcp"]
            server = subprocess.Popen(
                words, pass_fds=(writer,), stdout=log, stderr=log,
                env=self.environment, start_new_session=True,
            )  # fmt: skip
        self._programs.append(server)
        os.close(writer)
        with os.fdopen(reader) as numbers:
            name = f":{numbers.readline().strip()}"
        self.environment["DISPLAY"] = name
        return name

    def bus(self) -> None:
        """Start the session bus."""
        bus = self.folder / "run/bus"
        self.start("dbus-daemon", "--session", "--nofork", f"--address=unix:path={bus}")
        self.wait_until(bus.exists, 10, "dbus-daemon starts")

    def pipewire(self) -> None:
        """Start PipeWire and its session manager; they want the bus."""
        self.start("pipewire")
        self.wait_until((self.folder / "run/pipewire-0").exists, 10, "pipewire starts")
        self.start("wireplumber")

    def puppetcam(self, *words: str) -> subprocess.Popen[bytes]:
        """Start ``puppetcam run`` with the shipped avatars and the performer, and wait until it is
        live."""
        program = self.python("-m", "puppetcam", "run", "--source", "performer", *words)

        def live() -> bool:
            with contextlib.suppress(OSError):
                return bool(self.status()["status"] == "live")
            return False

        self.wait_until(live, 60, "puppetcam is live", program)
        return program

    def ask(self, path: str, action: str | None = None) -> bytes:
        """What the run's API answers. Raises OSError."""
        found = json.loads((self.folder / "puppetcam/state/running.json").read_text())
        request = urllib.request.Request(
            f"http://127.0.0.1:{found['port']}{path}",
            headers={"Authorization": f"Bearer {found['token']}"},
            data=json.dumps({"value": action}).encode() if action else None,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    def status(self) -> dict[str, Any]:
        """How the run stands."""
        return dict(json.loads(self.ask("/status")))

    def panic(self, value: str) -> None:
        """Switch the card "on" or "off"."""
        self.ask("/actions/panic", value)

    def snapshot(self) -> Image:
        """The newest picture that went out."""
        return decoded(self.ask("/snapshot.png"))

    def run(self, words: Sequence[str]) -> str:
        """Run a program to its end; what it printed. It must succeed."""
        return subprocess.run(
            words, env=self.environment, cwd=ROOT,
            timeout=60, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip

    def __enter__(self) -> "Desktop":
        return self

    def __exit__(self, *_: object) -> None:
        for program in reversed(self._programs):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(program.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(_END_S)
        for process in self._left():  # also what D-Bus started
            with contextlib.suppress(psutil.Error):
                process.kill()
        for program in self._programs:
            program.wait(_END_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _left(self) -> list[psutil.Process]:
        """Every process of this session: its environment says so."""
        mine = self.environment["XDG_RUNTIME_DIR"]
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("XDG_RUNTIME_DIR") == mine:
                    found.append(process)
        return found
