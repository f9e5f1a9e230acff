"""What the table of faults needs: a camera in the network that shows marks behind a drawn face, a
run of puppetcam as a program of its own, and somebody who looks at what it sends."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from marks import KNOWN, driving, likeness

import models.bundle
from config.errors import ControlError
from control.running import find_running
from drawing.appearance import Appearance
from drawing.sitter import Sitter, View
from realtime.frame import Image
from realtime.performer import script

ROOT = Path(__file__).parent.parent
FPS = 12
PATIENCE_S = 40.0
"""Longest wait for anything: machines that run tests are busy."""


def acting(width: int = 640, height: int = 480, count: int = 12) -> list[Image]:
    """A face that speaks, before the marks."""
    sitter, view = Sitter(Appearance()), View.webcam(width, height)
    pictures = []
    for number in range(count):
        picture = driving(width, height)
        sitter.draw(picture, script(3 + number / FPS), view)
        pictures.append(picture)
    return pictures


def until(done: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until it is so."""
    ends_at = time.perf_counter() + patience_s
    while not done():
        assert time.perf_counter() < ends_at, f"waited {patience_s:g} s in vain: {what}"
        time.sleep(0.02)


class Camera:
    """A camera in the network: JPEG pictures over HTTP."""

    def __init__(self) -> None:
        self.usual = [encoded(one) for one in acting()]
        self.show(self.usual)
        self.talks = threading.Event()
        """Clear: it is connected and says nothing."""
        self.talks.set()
        self._listener: socket.socket | None = None
        self._clients: list[socket.socket] = []
        self._port = 0
        self.plug_in()

    @property
    def address(self) -> str:
        """For ``--source``."""
        return f"http://127.0.0.1:{self._port}/camera.mjpg"

    def show(self, pictures: Sequence[bytes]) -> None:
        """Give these pictures, in turn, from now on."""
        self._pictures = tuple(pictures)

    def plug_in(self) -> None:
        """Answer, at the address of before."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def pull_out(self) -> None:
        """Refuse, and hang up on all; twice is fine."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self._clients.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._clients.append(client)
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.recv(4096)
            client.sendall(
                b"HTTP/1.1 200 OK\r\n"
                b"Content-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
            )
            number = 0
            while self.talks.wait(PATIENCE_S):
                data = self._pictures[number % len(self._pictures)]
                client.sendall(
                    b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n"
                    % (len(data), data)
                )
                number += 1
                time.sleep(1 / FPS)


def encoded(image: Image) -> bytes:
    """As JPEG."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return data.tobytes()


class Run:
    """``puppetcam run`` as a program of its own; ``with`` ends it."""

    def __init__(self, folder: Path, source: str, *more: str, faults: Path | None = None) -> None:
        """``faults``: the folder of ``broken_run.py``, which is then what runs."""
        program = ["-m", "puppetcam"] if faults is None else [f"{ROOT}/tests/broken_run.py"]
        given = [
            *([str(faults)] if faults else []), "run", "--source", source, "--sink", "mjpeg:0",
            "--size", "320x240", f"engine.bundle={models.bundle.DEFAULT}", "camera.stall_s=1",
            "camera.retry_s=0.2", "motion.recentre_s=0.2", "engine.adapt=false",
            "engine.runtime=onnxruntime", "engine.threads=1", *more,
        ]  # fmt: skip
        self.folder = folder
        self.errors: list[str] = []
        """Lines of the error output."""
        # As from a terminal, also where the tests were started with nohup.
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        self.process = subprocess.Popen(
            [sys.executable, *program, *given],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        signal.signal(signal.SIGHUP, before)
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()
        self.viewer: Viewer | None = None

    def _listen(self) -> None:
        for line in self.process.stderr or ():
            self.errors.append(line.rstrip("\n"))

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        if self.viewer is not None:
            self.viewer.close()

    def look(self) -> "Viewer":
        """Open the stream that it serves."""
        self.until_said(r"output: .*mjpeg")
        url = re.search(r"mjpeg \((http:\S+)\)", "\n".join(self.errors))
        assert url is not None
        self.viewer = Viewer(url[1])
        return self.viewer

    def said(self, pattern: str, since: int = 0) -> bool:
        """Whether a line of the error output has it."""
        return any(re.search(pattern, line) for line in self.errors[since:])

    def until_said(self, pattern: str, since: int = 0) -> None:
        """Wait for a line."""
        until(
            lambda: self.said(pattern, since) or self.process.poll() is not None,
            f"{pattern} in {self.errors}",
        )
        assert self.said(pattern, since), self.errors

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """The control API's answer."""
        running = find_running()
        connection = http.client.HTTPConnection(running.host, running.port, timeout=PATIENCE_S)
        headers = {"Authorization": f"Bearer {running.token}"}
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def status(self) -> str:
        """What the output shows, "" while it starts."""
        with suppress(OSError, ControlError):
            return str(self.ask("GET", "/status")[1]["status"])
        return ""

    def until_status(self, pattern: str) -> None:
        """Wait until it shows this."""
        until(lambda: re.fullmatch(pattern, self.status()), f"{pattern}; {self.errors}")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """The exit code; all of the error output is there then."""
        code = self.process.wait(PATIENCE_S)
        self._listening.join(PATIENCE_S)
        return code

    def tracebacks(self) -> list[str]:
        """Lines that no user should read."""
        return [line for line in self.errors if "Traceback" in line or "Exception in" in line]


class Viewer:
    """Keeps the pictures of a stream, and when each came."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pictures: list[tuple[float, bytes]] = []
        self._answer = urllib.request.urlopen(f"{url}stream.mjpg", timeout=PATIENCE_S)
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        with suppress(OSError, ValueError, http.client.HTTPException):
            for line in self._answer:
                if line.startswith(b"Content-Length: "):
                    self._answer.readline()
                    data = self._answer.read(int(line[16:]))
                    self.pictures.append((time.perf_counter(), data))

    def more(self, count: int) -> None:
        """Wait for so many new pictures."""
        wanted = len(self.pictures) + count
        until(lambda: len(self.pictures) >= wanted, f"{count} more pictures")

    def since(self, number: int) -> Iterator[Image]:
        """At most eight of the pictures from that one on, spread over them."""
        found = self.pictures[number:]
        for place in np.unique(np.linspace(0, len(found) - 1, 8).astype(int)):
            data = np.frombuffer(found[place][1], np.uint8)
            yield np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)

    def close(self) -> None:
        """Look away."""
        self._thread.join(5)
        self._answer.close()


def never_raw(pictures: Iterator[Image]) -> int:
    """Assert that none shows the camera's picture; how many were looked at."""
    count = 0
    for picture in pictures:
        found = likeness(np.ascontiguousarray(picture))
        assert found < KNOWN, f"picture {count} shows the camera ({found:.2f})"
        count += 1
    return count
