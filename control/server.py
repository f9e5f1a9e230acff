"""The API's HTTP and WebSocket server.

It listens on 127.0.0.1 unless told otherwise and answers nobody without the token. Web pages of
other sites cannot speak to it: the name they reach it by (``Host``) must be an address or
localhost, so that a name that was rebound to this machine is refused, and no cross-origin header
is ever sent.
"""

import hmac
import ipaddress
import json
import logging
import os
import secrets
import selectors
import socket
import socketserver
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from config.errors import ControlError
from config.schema import ApiSettings
from control.api import Answer, Api, RefusalError
from control.running import Running, announce, withdraw

_log = logging.getLogger(__name__)

MOST_BODY_BYTES = 65_536
MOST_CLIENTS = 32
"""Connections held at a time."""
READ_TIMEOUT_S = 10.0
"""A client that sends or takes nothing for so long is let go."""
STREAM_EVERY_S = 0.25
_DRAIN_BYTES = 4_000_000
_JOIN_S = 3.0
"""Longest wait for threads to end."""


class Server:
    """Serves an ``Api`` in threads of its own, and tells ``puppetcam ctl`` where."""

    def __init__(self, api: Api, settings: ApiSettings) -> None:
        """Listens at once. Raises ControlError where it cannot."""
        self._api = api
        self.token = settings.token or secrets.token_urlsafe(24)
        try:
            self._server = _Listener(api, settings, self.token)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ControlError(
                f"the API cannot listen on {settings.host}, port {settings.port}: {reason}; "
                "choose another api.host or api.port, or api.enabled=false"
            ) from error
        port = self._server.server_address[1]
        self._running = Running(_reachable(settings.host), port, self.token, os.getpid())
        self.url = self._server.url = self._running.url
        try:
            announce(self._running)
        except OSError as error:
            _log.warning("puppetcam ctl will not find this run: %s", error)
        if not _is_loopback(settings.host):
            _log.warning(
                "the API listens on %s: whoever in this network has the token controls this run, "
                "and the token itself travels unencrypted",
                settings.host,
            )
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.1,), name="api"),
            threading.Thread(target=self._publish, name="api stream"),
        ]
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def close(self) -> None:
        """Let all clients go; twice is fine."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._api.close()
        self._server.shutdown()
        self._server.server_close()
        self._server.let_go()
        for thread in self._threads:
            thread.join(_JOIN_S)
        with suppress(OSError):
            withdraw(self._running)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _publish(self) -> None:
        while not self._closed.wait(STREAM_EVERY_S):
            self._api.publish()


class _Listener(socketserver.ThreadingTCPServer):
    """A thread for each connection. Not ``HTTPServer``, which asks the network for a name."""

    daemon_threads = True
    block_on_close = False
    # On Windows the option would let another program listen on the same port.
    allow_reuse_address = os.name != "nt"

    def __init__(self, api: Api, settings: ApiSettings, token: str) -> None:
        self.api, self.token, self.host = api, token, settings.host
        self.url = ""
        self._open: dict[socket.socket, threading.Thread | None] = {}
        self._open_lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        super().__init__((settings.host, settings.port), _Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            is_full = len(self._open) >= MOST_CLIENTS
            if not is_full:
                self._open[request] = None
        if is_full:
            super().shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open[request] = threading.current_thread()
        super().process_request_thread(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a client of the API went away", exc_info=True)

    def let_go(self) -> None:
        """Wake the threads that wait for a client's next request, and wait until they end: a
        network that still runs in one would abort the process at its exit."""
        with self._open_lock:
            threads = [one for one in self._open.values() if one is not None]
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
        ends_at = time.monotonic() + _JOIN_S
        for thread in threads:
            thread.join(max(0.0, ends_at - time.monotonic()))


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = READ_TIMEOUT_S
    server: _Listener
    _unread_bytes = 0
    """Of the body of the request that is being answered."""

    def do_GET(self) -> None:
        """Answer a request of any method."""
        try:
            self._unread_bytes = self._length()
            self._check()
            body, path = self._body(), urlsplit(self.path).path
            if path == "/stream":
                self._stream()
            else:
                self._send(200, self.server.api.answer(self.command, path, body, self.server.url))
        except RefusalError as refusal:
            self._refuse(refusal.code, str(refusal))
        except OSError:
            self.close_connection = True  # the client has gone
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not end the run
            _log.warning("the API failed at %s: %r", self.command, error, exc_info=True)
            self._refuse(500, "puppetcam made a mistake; its terminal says which")

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET  # noqa: N815

    def _check(self) -> None:
        """Refuse who may not ask."""
        host = self.headers.get("Host", "")
        if not _is_own(host, self.server.host):
            raise RefusalError(403, f"'{host[:80]}' is no name of this server; use its address")
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            raise RefusalError(403, f"pages of '{origin[:80]}' may not ask here")
        try:
            query = parse_qs(urlsplit(self.path).query, max_num_fields=8)
        except ValueError as error:
            raise RefusalError(400, "the address cannot be read") from error
        given = query.get("token", [""])[0]
        scheme, _, word = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            given = word.strip()
        if not given:
            raise RefusalError(401, "a token is needed: the header 'Authorization: Bearer TOKEN'")
        if not hmac.compare_digest(given.encode(), self.server.token.encode()):
            raise RefusalError(401, "the token is wrong; without api.token each run has a new one")

    def _length(self) -> int:
        """Bytes of the body that is to come."""
        if self.headers.get("Transfer-Encoding"):
            raise RefusalError(411, "the body's length must be told (Content-Length)")
        text = self.headers.get("Content-Length", "0")
        if not (text.isascii() and text.isdecimal() and len(text) < 16):
            raise RefusalError(400, f"Content-Length must be a number, found '{text[:40]}'")
        return int(text)

    def _body(self) -> dict[str, Any]:
        """The JSON object that was sent; {} without one."""
        length = self._unread_bytes
        if length > MOST_BODY_BYTES:
            raise RefusalError(413, f"the body has {length} bytes, {MOST_BODY_BYTES} are taken")
        data = self.rfile.read(length)
        self._unread_bytes = 0
        if not data.strip():
            return {}
        try:
            found = json.loads(data, parse_constant=_refuse_constant)
        except RecursionError as error:
            raise RefusalError(400, "the body is nested too deeply") from error
        except ValueError as error:
            raise RefusalError(400, f"the body is no JSON: {str(error)[:120]}") from error
        if not isinstance(found, dict):
            raise RefusalError(400, 'the body must be a JSON object, e.g. {"value": "on"}')
        return found

    def _stream(self) -> None:
        """Turn the connection into a WebSocket that sends the newest status and metrics."""
        from websockets.datastructures import Headers
        from websockets.http11 import Request
        from websockets.protocol import State
        from websockets.server import ServerProtocol

        protocol = ServerProtocol(max_size=1024)  # clients have nothing to say
        # The protocol reads the request once more, as it came.
        protocol.receive_data(Request(self.path, Headers(self.headers.items())).serialize())
        requests = [one for one in protocol.events_received() if isinstance(one, Request)]
        response = protocol.accept(requests[0]) if requests else None
        if self.command != "GET" or response is None or response.status_code != 101:
            raise RefusalError(400, "/stream is a WebSocket; open ws://... with a client for those")
        self.close_connection = True
        protocol.send_response(response)
        with self.server.api.listening() as slot, selectors.DefaultSelector() as selector:
            selector.register(self.connection, selectors.EVENT_READ)
            while protocol.state is State.OPEN:
                message = slot.take(0.1)
                if message is not None:
                    protocol.send_text(message.encode())
                elif slot.closed:
                    protocol.send_close(1001)  # going away
                while protocol.state is State.OPEN and selector.select(0):
                    received = self.connection.recv(4096)
                    if received:
                        protocol.receive_data(received)
                    else:
                        protocol.receive_eof()
                    protocol.events_received()  # pings are answered, all else is thrown away
                for data in protocol.data_to_send():
                    self.connection.sendall(data)

    def _send(self, code: int, answer: Answer) -> None:
        self.send_response(code)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if code == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.data)

    def _refuse(self, code: int, message: str) -> None:
        """Send the error, then throw away the body that was not read: a connection that is closed
        on it would take the answer from the client."""
        self.close_connection = True
        left = min(self._unread_bytes, _DRAIN_BYTES)
        with suppress(OSError):
            self._send(code, Answer("application/json", json.dumps({"error": message}).encode()))
            while left > 0 and (data := self.rfile.read1(min(left, 65_536))):
                left -= len(data)

    def handle_expect_100(self) -> bool:
        """A client asks before it sends a large body: one that is too large is refused at once."""
        length = self.headers.get("Content-Length", "0")
        if len(length) > len(str(MOST_BODY_BYTES)):
            return True
        return super().handle_expect_100()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """For what ``http.server`` itself refuses: a request that it cannot read."""
        self.request_version = self.protocol_version  # else the answer has no headers
        self._refuse(int(code), (message or "the request cannot be read")[:160])

    def version_string(self) -> str:
        """The ``Server`` header."""
        return "puppetcam"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: addresses may hold the token."""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _is_own(host: str, listened: str) -> bool:
    """Whether a ``Host`` header names this server: by address, which no page can be rebound to,
    as localhost, or as ``api.host`` says."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name in ("localhost", listened.lower()):
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reachable(host: str) -> str:
    """Where this machine itself reaches a server that listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
