"""The output as JPEG pictures over HTTP, for OBS and browsers, and a page to look at them.

Each viewer gets the newest picture whenever it can take one; a slow one misses some and delays
nobody. A picture is compressed once, and only while somebody looks. What a viewer has received but
not shown yet is not known here.
"""

import contextlib
import hmac
import logging
import os
import secrets
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any

import cv2

from config.errors import SinkError
from config.folders import config_folder
from realtime.frame import Frame, Latest

_log = logging.getLogger(__name__)

HOST, PORT = "127.0.0.1", 8081
_QUALITY = 85
_TIMEOUT_S = 10.0
"""A viewer that takes nothing for so long has gone."""
_BUFFER_BYTES = 1 << 16
"""Of the connection, on this side: pictures that lie there grow old."""
_FFMPEG_S = 1 / 25
"""Least time between two pictures for FFmpeg, which shows this kind of stream at 25 a second: what
comes faster it queues, in OBS up to a third of a second."""
_BOUNDARY = b"picture"
_PAGE = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>puppetcam</title>
<style>
  html, body { margin: 0; height: 100%; background: #000 }
  img { display: block; width: 100%; height: 100%; object-fit: contain }
</style>
<img src="stream.mjpg" alt="The output of puppetcam">
</html>
"""


class MjpegServer:
    """``http://127.0.0.1:8081/TOKEN/``: the page; ``stream.mjpg`` there is what OBS wants, and
    ``picture.jpg`` is one picture."""

    def __init__(self, address: str = "", token: str | None = None) -> None:
        """``address``: "", "PORT" or "HOST:PORT"; port 0 takes any free one. ``token``: None takes
        the one that was kept from the last time. Raises SinkError."""
        host, port = _parse(address)
        self._viewers = _Viewers()
        self._token = token or kept_token()
        try:
            self._server = _Server((host, port), self._viewers, self._token)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SinkError(
                f"mjpeg: {host}:{port} cannot be listened on ({reason}); another program has it? "
                f"take another port: mjpeg:{port + 1}"
            ) from error
        shown = socket.gethostname() if host in ("", "0.0.0.0") else host  # noqa: S104 - by name
        self.url = f"http://{shown}:{self._server.server_address[1]}/{self._token}/"
        self.name = f"mjpeg ({self.url})"
        self.repeat_fps: float | None = None
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="mjpeg", daemon=True
        )
        self._thread.start()

    @property
    def viewers(self) -> int:
        """How many look at the stream now."""
        return len(self._viewers.slots)

    @property
    def encoded(self) -> int:
        """Pictures compressed so far."""
        return self._viewers.encoded

    def send(self, frame: Frame) -> None:
        """Lay the newest picture down for each viewer."""
        self._viewers.put(frame)

    def close(self) -> None:
        """End the connections and the server; twice is fine."""
        self._viewers.close()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Viewers:
    """A slot for each viewer, and the newest picture as JPEG."""

    def __init__(self) -> None:
        self.slots: dict[Latest[tuple[int, Frame]], socket.socket] = {}
        self.encoded = 0
        self._newest: tuple[int, Frame] | None = None
        self._closed = False
        self._changing = threading.Lock()
        self._encoding = threading.Lock()
        self._jpeg: tuple[int, bytes] = (-1, b"")

    def put(self, frame: Frame) -> None:
        with self._changing:
            number = 0 if self._newest is None else self._newest[0] + 1
            self._newest = (number, frame)
            for slot in self.slots:
                slot.put(self._newest)

    def add(self, connection: socket.socket) -> Latest[tuple[int, Frame]]:
        """A slot for a new viewer, with the picture of this moment in it."""
        slot: Latest[tuple[int, Frame]] = Latest()
        with self._changing:
            if self._newest is not None:
                slot.put(self._newest)
            if self._closed:
                slot.close()
            self.slots[slot] = connection
        return slot

    def remove(self, slot: Latest[tuple[int, Frame]]) -> None:
        with self._changing:
            self.slots.pop(slot, None)

    def jpeg(self, number: int, frame: Frame) -> tuple[int, bytes]:
        """That picture, or a newer one that another viewer had compressed already."""
        with self._encoding:
            if self._jpeg[0] < number:
                bgr = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
                _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
                self._jpeg = (number, data.tobytes())
                self.encoded += 1
            return self._jpeg

    def close(self) -> None:
        with self._changing:
            self._closed = True
            for slot, connection in self.slots.items():
                slot.close()
                with contextlib.suppress(OSError):  # it has gone by itself
                    connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # On Windows this would let a second program take the same port.
    allow_reuse_address = sys.platform != "win32"

    def __init__(self, address: tuple[str, int], viewers: _Viewers, token: str) -> None:
        self.viewers = viewers
        self.token = token
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Without asking the network for this machine's name, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A viewer that went away is nothing to tell."""
        _log.debug("mjpeg: %s has gone", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "puppetcam"
    sys_version = ""
    timeout = _TIMEOUT_S

    def do_GET(self) -> None:
        """The page, the stream, or one picture."""
        _, _, rest = self.path.partition("?")[0].partition("/")
        token, _, what = rest.partition("/")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._answer(404, "text/plain", b"nothing here: the address needs its token\n")
        elif what == "stream.mjpg":
            self._stream()
        elif what == "picture.jpg":
            self._picture()
        elif what == "":
            self._answer(200, "text/html; charset=utf-8", _PAGE)
        else:
            self._answer(404, "text/plain", b"nothing here\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the terminal: the path holds the token."""

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(body)

    def _picture(self) -> None:
        slot = self.server.viewers.add(self.connection)
        try:
            newest = slot.take(_TIMEOUT_S)
        finally:
            self.server.viewers.remove(slot)
        if newest is None:
            self._answer(503, "text/plain", b"there is no picture yet\n")
        else:
            self._answer(200, "image/jpeg", self.server.viewers.jpeg(*newest)[1])

    def _stream(self) -> None:
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self.send_response(200)
        self.send_header(
            "Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY.decode()}"
        )
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        slot = self.server.viewers.add(self.connection)
        try:
            self.wfile.write(b"--" + _BOUNDARY + b"\r\n")
            shown = -1
            least_s = _FFMPEG_S if self.headers.get("User-Agent", "").startswith("Lavf/") else 0.0
            while (newest := slot.take()) is not None:
                if newest[0] <= shown:
                    continue  # another viewer's picture was newer than the one in the slot
                shown, data = self.server.viewers.jpeg(*newest)
                # The next boundary at once: a browser shows a picture when it has seen its end.
                self.wfile.write(
                    b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n--%b\r\n"
                    % (len(data), data, _BOUNDARY)
                )
                time.sleep(least_s)
        finally:
            self.server.viewers.remove(slot)


def kept_token(folder: Path | None = None) -> str:
    """The token of this user's addresses: made once, so that OBS can keep them. Where it cannot be
    written, one for this time only."""
    folder = folder or config_folder()
    path = folder / "stream-token"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        token = path.read_text(encoding="ascii").strip()
        if len(token) >= 16 and token.isalnum():
            return token
    token = secrets.token_hex(12)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token + "\n")
    except OSError as error:
        _log.warning("%s cannot be written (%s); addresses change with each start", path, error)
    return token


def _parse(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not address:
        return HOST, PORT
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise SinkError(f"mjpeg:{address} needs a port from 0 to 65535, e.g. mjpeg:{PORT}")
    return host or HOST, int(port)
