"""OBS on a display without a screen, driven over obs-websocket 5."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from desktop import Desktop, decoded, free_port
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from realtime.frame import Image

_HELLO, _IDENTIFY, _IDENTIFIED, _REQUEST, _ANSWER = 0, 1, 2, 6, 7
"""Kinds of messages."""
_GLOBAL = """[General]
FirstRun=true
LastVersion=486539266
EnableAutoUpdates=false

[OBSWebSocket]
FirstLoad=false
ServerEnabled=true
ServerPort={port}
AlertsEnabled=false
AuthRequired=false
"""
_PROFILE = """[General]
Name=Untitled

[Video]
BaseCX=640
BaseCY=480
OutputCX=640
OutputCY=480
FPSCommon=30
"""


@contextmanager
def obs(desktop: Desktop) -> Iterator["Obs"]:
    """OBS with an empty scene, in a session that has a display."""
    port = free_port()
    folder = desktop.folder / "home/.config/obs-studio"
    plugin = {"first_load": False, "server_enabled": True, "server_port": port,
              "auth_required": False, "alerts_enabled": False}  # fmt: skip
    for name, text in (
        ("global.ini", _GLOBAL.format(port=port)),
        ("basic/profiles/Untitled/basic.ini", _PROFILE),
        # Where OBS 30 and newer look.
        ("plugin_config/obs-websocket/config.json", json.dumps(plugin)),
    ):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    program = desktop.start(
        "obs", "--multi", "--disable-updater", "--minimize-to-tray",
        QT_QPA_PLATFORM="xcb", LIBGL_ALWAYS_SOFTWARE="1",
    )  # fmt: skip

    def answers() -> bool:
        try:
            with _connect(port) as socket:
                return "obsVersion" in Obs(socket).ask("GetVersion")
        except (OSError, WebSocketException, ObsError):
            return False

    desktop.wait_until(answers, 60, "OBS answers", program)
    with _connect(port) as socket:
        yield Obs(socket)


def _connect(port: int) -> connect:
    return connect(
        f"ws://127.0.0.1:{port}", subprotocols=["obswebsocket.json"], max_size=None, proxy=None
    )


class ObsError(Exception):
    """What was asked for is not to be had (yet)."""


class Obs:
    """A connection to it."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._asked = 0
        self._receive(_HELLO)
        self._send(_IDENTIFY, {"rpcVersion": 1, "eventSubscriptions": 0})
        self._receive(_IDENTIFIED)

    def ask(self, request: str, **data: Any) -> dict[str, Any]:
        """Have a request done; its answer. Raises ObsError."""
        self._asked += 1
        asked = {"requestType": request, "requestId": str(self._asked), "requestData": data}
        self._send(_REQUEST, asked)
        answer = self._receive(_ANSWER)
        if not answer["requestStatus"]["result"]:
            raise ObsError(answer["requestStatus"])
        return dict(answer.get("responseData") or {})

    def add(self, name: str, url: str) -> None:
        """Add a Media Source that shows a stream, set as docs/calls.md says."""
        scene = self.ask("GetCurrentProgramScene")["currentProgramSceneName"]
        settings = {"is_local_file": False, "input": url, "input_format": "mpjpeg",
                    "buffering_mb": 0, "reconnect_delay_sec": 1}  # fmt: skip
        self.ask(
            "CreateInput",
            sceneName=scene, inputName=name, inputKind="ffmpeg_source", inputSettings=settings,
        )  # fmt: skip

    def picture(self, name: str) -> Image | None:
        """What a source shows now; None before its first picture."""
        try:
            answer = self.ask(
                "GetSourceScreenshot",
                sourceName=name, imageFormat="jpg", imageCompressionQuality=95,
            )  # fmt: skip
        except ObsError:
            return None
        return decoded(base64.b64decode(answer["imageData"].partition(",")[2]))

    def _send(self, kind: int, data: dict[str, Any]) -> None:
        self._socket.send(json.dumps({"op": kind, "d": data}))

    def _receive(self, kind: int) -> dict[str, Any]:
        while True:
            message = json.loads(self._socket.recv(30))
            if message["op"] == kind:
                return dict(message["d"])
