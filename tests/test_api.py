"""The API over real sockets, on a run whose puppeteer only writes down what it is told."""

import http.client
import json
import re
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from puppet import AVATARS, SIDE, Puppet
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.sync.client import connect

from config.errors import ControlError, EngineError
from config.schema import ApiSettings, Settings
from control import api as api_module
from control.actions import ACTIONS, Actions
from control.api import Api, RefusalError
from control.openapi import document
from control.running import find_running, running_file
from control.server import MOST_BODY_BYTES, MOST_CLIENTS, Server
from puppetcam import ctl
from puppetcam.cli import main
from realtime.crop import Crop
from realtime.frame import Frame
from realtime.metrics import Metrics
from realtime.puppeteer import Status, Step, View

TOKEN = "a-token-of-the-tests"  # noqa: S105
OUT = np.full((48, 64, 3), (200, 40, 90), np.uint8)
CAMERA = np.full((8, 8, 3), 77, np.uint8)


class Blind:
    """A tracker that finds no face."""

    def find_all(self, image: np.ndarray) -> list[Any]:
        return []


class Run:
    """A run, its API and server."""

    def __init__(self, settings: ApiSettings | None = None) -> None:
        self.puppet = Puppet()
        self.metrics = Metrics()
        self.actions = Actions(
            lambda action: action(self.puppet),  # type: ignore[arg-type, return-value]
            self.metrics, AVATARS, Settings(), self.puppet.prepare, Blind, SIDE,  # type: ignore[arg-type]
        )  # fmt: skip
        self.api = Api(self.actions, {"source": "performer"}, "1.2.3", lambda: None)
        self.server = Server(self.api, settings or ApiSettings(token=TOKEN))
        self.port = int(self.server.url.rpartition(":")[2])

    def see(self, index: int = 7) -> None:
        self.actions.see(
            Step(Frame(OUT, 0.0, index), OUT, View(CAMERA, Crop.whole(CAMERA), 8), Status.LIVE, {})
        )

    def ask(
        self, method: str, path: str, body: bytes | str | None = None, **headers: str
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        given = {"Authorization": f"Bearer {TOKEN}"} | headers
        connection.request(method, path, body, {k: v for k, v in given.items() if v})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, data, answer.headers

    def json(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        text = json.dumps(body) if body is not None else None
        code, data, _ = self.ask(method, path, text, **headers)
        return code, json.loads(data)


@pytest.fixture
def run() -> Iterator[Run]:
    made = Run()
    with made.server:
        yield made


def test_status_tells_how_the_run_stands(run: Run) -> None:
    assert run.json("GET", "/status")[1]["status"] == "starting"
    run.see()
    code, found = run.json("GET", "/status")
    assert code == 200
    assert found == {
        "status": "live",
        "avatar": {"number": 1, "name": "ann"},
        "avatars": ["ann", "bob", "cy"],
        "panic": False,
        "mirror_output": False,
        "mirror_camera": False,
        "zoom": 1.0,
        "label": "AI",
        "fps": 0.0,
        "frame_age_ms": 0.0,
        "frame": 7,
        "source": "performer",
    }


def test_actions_are_done_when_the_answer_comes(run: Run) -> None:
    assert run.json("POST", "/actions/avatar", {"value": 2})[1]["avatar"]["name"] == "bob"
    assert run.json("POST", "/actions/avatar", {"value": "cy"})[1]["avatar"]["number"] == 3
    assert run.json("POST", "/actions/panic")[1]["panic"] is True
    assert run.json("POST", "/actions/panic", {"value": True})[1]["panic"] is True
    assert run.json("POST", "/actions/panic", {"value": "off"})[1]["panic"] is False
    assert run.json("POST", "/actions/zoom", {"value": 1.5})[1]["zoom"] == 1.5
    assert run.json("POST", "/actions/recentre", {})[0] == 200
    assert run.puppet.told == [
        ("avatar", "bob"), ("avatar", "cy"), ("panic", True), ("panic", True), ("panic", False),
        ("recentre",),
    ]  # fmt: skip
    assert run.puppet.settings.tracking.zoom == 1.5


def test_settings_are_read_and_changed(run: Run) -> None:
    code, found = run.json("PATCH", "/settings", {"label.size": 0.1, "motion": {"limit": 0.2}})
    assert (code, found["settings"]["label"]["size"]) == (200, 0.1)
    assert (run.puppet.settings.label.size, run.puppet.settings.motion.limit) == (0.1, 0.2)
    assert "label.size" in found["live"]
    assert "camera.width" not in found["live"]
    assert TOKEN not in json.dumps(run.json("GET", "/settings")[1])


def test_snapshot_is_the_output_never_the_camera(run: Run) -> None:
    assert run.json("GET", "/snapshot.png") == (
        503,
        {"error": "no picture went out yet; ask again"},
    )
    run.see()
    for path, kind, off in (("/snapshot.png", "image/png", 0), ("/snapshot.jpg", "image/jpeg", 6)):
        code, data, headers = run.ask("GET", path)
        assert (code, headers["Content-Type"]) == (200, kind)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(image.astype(int) - OUT).max() <= off


def test_metrics_are_the_runs(run: Run) -> None:
    run.metrics.record(1.0, 1.05, {"face": 0.004})
    code, found = run.json("GET", "/metrics")
    assert (code, found["delivered"]) == (200, 1)
    assert found["age"]["p50_ms"] == pytest.approx(50)
    assert found["stages"]["face"]["p50_ms"] == pytest.approx(4)


# --- who may not ask ---


@pytest.mark.parametrize(
    ("headers", "path", "code"),
    [
        ({}, "/status", 200),
        ({"Authorization": ""}, f"/status?token={TOKEN}", 200),
        ({"Authorization": ""}, "/status", 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, "/status", 401),
        ({"Authorization": f"Bearer {TOKEN[:-1]}"}, "/status", 401),
        ({"Authorization": f"Basic {TOKEN}"}, "/status", 401),
        ({"Authorization": "Bearer Â"}, "/status", 401),
        ({"Authorization": ""}, "/status?token=", 401),
        ({"Authorization": ""}, "/openapi.json", 401),
        ({"Authorization": ""}, "/snapshot.png", 401),
        ({"Authorization": ""}, "/stream", 401),
        ({"Authorization": ""}, "/settings", 401),
        ({"Host": "localhost:80"}, "/status", 200),
        ({"Host": "127.0.0.1"}, "/status", 200),
        ({"Host": "[::1]:9"}, "/status", 200),
        ({"Host": "evil.example"}, "/status", 403),
        ({"Host": "127.0.0.1.evil.example"}, "/status", 403),
        ({"Host": "localhost.evil.example"}, "/status", 403),
        ({"Host": "user@127.0.0.1"}, "/status", 200),
        ({"Host": "["}, "/status", 403),
        ({"Host": " "}, "/status", 403),
        ({"Origin": "http://evil.example"}, "/status", 403),
        ({"Origin": "null"}, "/status", 403),
    ],
)
def test_only_who_has_the_token_and_comes_by_address_is_answered(
    run: Run, headers: dict[str, str], path: str, code: int
) -> None:
    found, data, answered = run.ask("GET", path, **headers)
    assert found == code
    assert answered["Access-Control-Allow-Origin"] is None
    if code != 200:
        assert list(json.loads(data)) == ["error"]
        assert TOKEN not in data.decode()
        assert answered["Connection"] == "close"
    assert (answered["WWW-Authenticate"] == "Bearer") == (code == 401)


def test_own_pages_may_ask(run: Run) -> None:
    host = f"127.0.0.1:{run.port}"
    assert run.ask("GET", "/status", Host=host, Origin=f"http://{host}")[0] == 200
    assert run.ask("GET", "/status", Host=host, Origin="http://127.0.0.1:1")[0] == 403


def test_token_is_made_anew_for_each_run(state_folder: Path) -> None:
    tokens = set()
    for _ in range(2):
        made = Run(ApiSettings())
        with made.server:
            tokens.add(made.server.token)
            assert made.json("GET", "/status")[0] == 401
            authorization = f"Bearer {made.server.token}"
            assert made.json("GET", "/status", Authorization=authorization)[0] == 200
    assert len(tokens) == 2
    assert all(len(token) >= 32 for token in tokens)


def test_taken_port_is_one_line(run: Run) -> None:
    with pytest.raises(ControlError, match=f"cannot listen on 127.0.0.1, port {run.port}: .*api.p"):
        Run(ApiSettings(port=run.port))
    with pytest.raises(ControlError, match="cannot listen on no such host"):
        Run(ApiSettings(host="no such host"))


def test_a_server_open_to_the_network_is_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    with Run(ApiSettings(host="0.0.0.0", token=TOKEN)).server as server:
        assert server.url.startswith("http://127.0.0.1:")
    assert "whoever in this network has the token" in caplog.text
    caplog.clear()
    with Run().server:
        assert caplog.text == ""


# --- what cannot be asked ---


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "message"),
    [
        ("GET", "/nowhere", None, 404, "there is no '/nowhere'; /openapi.json lists"),
        ("GET", "//", None, 404, "there is no"),
        ("POST", "/actions/dance", None, 404, "there is no action 'dance'; there are avatar"),
        ("GET", "/actions/panic", None, 405, "GET cannot be done here, only POST"),
        ("DELETE", "/status", None, 405, "DELETE cannot be done here, only GET or HEAD"),
        ("PUT", "/settings", "{}", 405, "PUT cannot be done here, only GET or HEAD or PATCH"),
        ("POST", "/actions/avatar", None, 400, "avatar needs a value: avatar NUMBER|NAME"),
        ("POST", "/actions/avatar", '{"value": 9}', 400, "there is no avatar '9'; there are 1 ann"),
        ("POST", "/actions/avatar", '{"value": [1]}', 400, "the body must be"),
        ("POST", "/actions/avatar", '{"valu": 1}', 400, "the body must be"),
        ("POST", "/actions/avatar", '{"value": ', 400, "the body is no JSON: Expecting value"),
        ("POST", "/actions/avatar", b"\xff\xfe", 400, "the body is no JSON"),
        ("POST", "/actions/avatar", "[]", 400, "the body must be a JSON object"),
        ("POST", "/actions/zoom", '{"value": NaN}', 400, "the body is no JSON: NaN"),
        ("POST", "/actions/zoom", '{"value": 1e999}', 400, "zoom takes in, out or a number"),
        ("POST", "/actions/zoom", '{"value": %s}' % ("9" * 5000), 400, "the body is no JSON"),
        ("POST", "/actions/zoom", '{"value":' * 7000, 400, "the body is nested too deeply"),
        ("POST", "/actions/load", '{"value": "/no/where.png"}', 400, "/no/where.png: there is no"),
        ("POST", "/actions/load", '{"value": "a\\u0000b"}', 400, "is no name of a file"),
        ("PATCH", "/settings", '{"label.sise": 1}', 400, "unknown setting 'label.sise'; nearest"),
        ("PATCH", "/settings", '{"camera.width": 99}', 409, "'camera.width' needs a restart"),
        ("PATCH", "/settings", '{"api.token": "x"}', 400, "setting 'api.token' must have 16"),
        ("GET", "/stream", None, 400, "/stream is a WebSocket"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_the_run_goes_on(
    run: Run, method: str, path: str, body: str | bytes | None, code: int, message: str
) -> None:
    found, data, _ = run.ask(method, path, body)
    error = json.loads(data)["error"]
    assert found == code
    assert message in error
    assert "\n" not in error
    assert len(error) < 300
    assert run.puppet.told == []
    assert run.json("GET", "/status")[0] == 200


def test_picture_without_a_face_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "wall.png"
    cv2.imwrite(str(path), np.full((64, 64, 3), 90, np.uint8))
    code, found = run.json("POST", "/actions/load", {"value": str(path)})
    assert (code, found["error"][: len(str(path)) + 15]) == (400, f"{path}: no face found")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file")
def test_a_device_is_not_read_as_a_picture(run: Run) -> None:
    code, found = run.json("POST", "/actions/load", {"value": "/dev/zero"})
    assert (code, "this is no file but a device" in found["error"]) == (400, True)


def test_large_bodies_are_refused_before_they_are_read(run: Run) -> None:
    for size in (MOST_BODY_BYTES + 1, 3_000_000):
        code, data, _ = run.ask("POST", "/actions/panic", b" " * size)
        assert code == 413
        assert f"the body has {size} bytes, 65536 are taken" in data.decode()
    assert run.json("POST", "/actions/panic")[0] == 200
    code, _, _ = run.ask("POST", "/actions/panic", b"", **{"Content-Length": "1" * 30})
    assert code == 400


def forever(ask: Callable[[], object]) -> None:
    """Until it raises."""
    while True:
        ask()


def raw(port: int, data: bytes) -> bytes:
    """What comes back for these bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while more := connection.recv(65_536):
            found += more
        return found


def test_what_is_no_http_is_refused_in_json(run: Run) -> None:
    for data, code in [
        (b"GARBAGE\r\n\r\n", b"400"),
        (b"GET /status HTTP/9\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"BREW /status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"501"),
        (b"GET /status HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b"431"),
        (b"POST /actions/panic HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
    ]:
        found = raw(run.port, data)
        assert code in found[:40]
        assert b'{"error": ' in found
    assert run.json("GET", "/status")[0] == 200


def test_too_many_clients_are_turned_away_and_come_back_later(run: Run) -> None:
    held = [socket.create_connection(("127.0.0.1", run.port)) for _ in range(MOST_CLIENTS)]
    try:
        # The last of those above may not be counted yet.
        with pytest.raises((http.client.HTTPException, OSError)):
            forever(lambda: run.json("GET", "/status"))
    finally:
        for one in held:
            one.close()
    for _ in range(100):
        try:
            assert run.json("GET", "/status")[0] == 200
            break
        except (http.client.HTTPException, OSError):
            time.sleep(0.02)
    else:
        pytest.fail("nobody is answered any more")


def test_an_error_of_the_run_is_500_and_one_that_is_late_503(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.puppet.refuses = EngineError("out of memory")
    assert run.json("POST", "/actions/next") == (500, {"error": "out of memory"})
    monkeypatch.setattr(run.actions, "_post", lambda action: None)
    monkeypatch.setattr(api_module, "ANSWER_S", 0.05)
    code, found = run.json("POST", "/actions/recentre")
    assert (code, found) == (503, {"error": "the run did not answer within 0.05 s"})


# --- the document ---


def test_document_has_every_action_and_all_its_references(run: Run) -> None:
    code, found = run.json("GET", "/openapi.json")
    assert (code, found["openapi"], found["info"]["version"]) == (200, "3.1.0", "1.2.3")
    assert found["servers"] == [{"url": run.server.url}]
    assert {f"/actions/{name}" for name in ACTIONS} <= set(found["paths"])
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(found)):
        assert name in found["components"]["schemas"]
    groups = found["components"]["schemas"]["Settings"]["properties"]["settings"]["properties"]
    assert groups["label"]["properties"]["text"] == {"enum": ["AI", "AI GENERATED", "AI MODIFIED"]}
    assert groups["camera"]["properties"]["width"] == {"type": "integer"}
    assert "token" not in groups["api"]["properties"]


def test_everything_in_the_document_is_answered_as_it_says(run: Run) -> None:
    run.see()
    for path, methods in document("1", "http://127.0.0.1")["paths"].items():
        for method, operation in methods.items():
            if path == "/stream":
                continue
            code, data, headers = run.ask(method.upper(), path, None)
            assert str(code) in operation["responses"], (path, code)
            content = operation["responses"][str(code)]["content"]
            assert headers["Content-Type"] in content
            assert data


def test_status_in_the_document_is_the_status(run: Run) -> None:
    known = document("1", "")["components"]["schemas"]["Status"]["properties"]
    assert set(run.json("GET", "/status")[1]) <= set(known)


# --- the stream ---


def test_stream_tells_status_and_metrics(run: Run) -> None:
    run.see()
    address = f"ws://127.0.0.1:{run.port}/stream"
    with connect(address, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        found = json.loads(client.recv(5))
        assert set(found) == {"status", "metrics"}
        assert found["status"]["avatar"]["name"] == "ann"
        run.json("POST", "/actions/avatar", {"value": 2})
        names = [json.loads(client.recv(5))["status"]["avatar"]["name"] for _ in range(3)]
        assert names[-1] == "bob"
        client.ping().wait(5)


def test_stream_takes_the_token_in_its_address_and_none_without(run: Run) -> None:
    address = f"ws://127.0.0.1:{run.port}/stream"
    with connect(f"{address}?token={TOKEN}") as client:
        assert client.recv(5)
    for wrong in ("", "?token=x"):
        with pytest.raises(InvalidStatus) as caught:
            connect(f"{address}{wrong}")
        assert caught.value.response.status_code == 401
    with pytest.raises(InvalidStatus) as caught:
        connect(f"{address}?token={TOKEN}", origin="http://evil.example")  # type: ignore[arg-type]
    assert caught.value.response.status_code == 403


def test_slow_client_gets_the_newest_message_only(run: Run) -> None:
    with run.api.listening() as slow, run.api.listening() as quick:
        frames = []
        for index in range(50):
            run.see(index)
            run.api.publish()
            frames.append(json.loads(quick.take(0) or "{}")["status"]["frame"])
        assert frames == list(range(50))
        assert json.loads(slow.take(0) or "{}")["status"]["frame"] == 49
        assert slow.take(0) is None
        assert slow.dropped == 50
    run.api.publish()  # to nobody
    assert slow.take(0) is None


def test_client_that_talks_too_much_is_let_go(run: Run) -> None:
    with connect(f"ws://127.0.0.1:{run.port}/stream?token={TOKEN}") as client:
        client.send("x" * 5000)
        with pytest.raises(ConnectionClosedError, match="1009"):
            forever(lambda: client.recv(5))
    assert run.json("GET", "/status")[0] == 200


def test_closing_ends_streams_and_threads_and_takes_the_file_away(state_folder: Path) -> None:
    before = threading.active_count()
    made = Run()
    idle = socket.create_connection(("127.0.0.1", made.port))
    assert running_file().exists()
    with connect(f"ws://127.0.0.1:{made.port}/stream?token={TOKEN}") as client:
        made.server.close()
        made.server.close()
        with pytest.raises(ConnectionClosedOK, match="1001"):
            forever(lambda: client.recv(5))
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() == before
    assert not running_file().exists()
    idle.close()


# --- how ctl finds it ---


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_file_with_the_token_is_the_users_alone(state_folder: Path, run: Run) -> None:
    assert stat.S_IMODE(running_file().stat().st_mode) == 0o600
    assert stat.S_IMODE(state_folder.stat().st_mode) == 0o700
    assert find_running().token == TOKEN


def test_run_that_was_started_last_is_found_and_an_older_one_leaves_its_file() -> None:
    one, two = Run(), Run()
    assert find_running().port == two.port
    one.server.close()
    assert find_running().port == two.port
    two.server.close()
    with pytest.raises(ControlError, match="nothing runs"):
        find_running()


def test_state_folder_that_cannot_be_written_costs_ctl_only(
    state_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state_folder.write_text("a file, no folder")
    made = Run()
    with made.server:
        assert made.json("GET", "/status")[0] == 200
    assert "puppetcam ctl will not find this run" in caplog.text


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["ctl", *arguments])
    found = capsys.readouterr()
    return code, found.out, found.err


def test_ctl_asks_the_run(run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run.see()
    assert said(capsys, "avatar", "2") == (0, "live, avatar 2 bob\n", "")
    assert said(capsys, "panic", "on")[0] == 0
    assert said(capsys, "set", "label.size=0.1")[0] == 0
    assert run.puppet.told == [("avatar", "bob"), ("panic", True)]
    assert run.puppet.settings.label.size == 0.1
    assert json.loads(said(capsys, "status")[1])["avatar"]["name"] == "bob"
    assert json.loads(said(capsys, "settings")[1])["settings"]["label"]["size"] == 0.1
    assert json.loads(said(capsys, "metrics")[1])["delivered"] == 0
    picture = tmp_path / "now.png"
    assert said(capsys, "snapshot", str(picture)) == (0, f"{picture}\n", "")
    np.testing.assert_array_equal(cv2.imread(str(picture))[..., ::-1], OUT)


def test_ctl_tells_what_is_wrong_in_one_line(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, message in [
        (("dance",), "there is no action 'dance'; there are avatar"),
        (("avatar",), "avatar needs a value: avatar NUMBER|NAME"),
        (("avatar", "7"), "there is no avatar '7'; there are 1 ann, 2 bob, 3 cy"),
        (("load", "mine.png"), f"{tmp_path / 'mine.png'}: there is no such file"),
        (("set", "camera.width=99"), "'camera.width' needs a restart"),
        (("set", "nonsense"), "'nonsense' is not of the form key=value"),
        (("status", "now"), "write: puppetcam ctl status"),
        (("snapshot",), "write: puppetcam ctl snapshot FILE"),
        (("snapshot", "x.gif"), "x.gif must end in .png or .jpg"),
        (("snapshot", "x.png"), "no picture went out yet"),
    ]:
        code, out, err = said(capsys, *arguments)
        assert (code, out) == (2, "")
        assert err.startswith(f"puppetcam: {message}"), err
        assert err.count("\n") == 1


def test_ctl_without_a_run_is_one_line(
    state_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = said(capsys, "panic")
    assert code == 2
    assert err.startswith("puppetcam: nothing runs: ")
    assert err.count("\n") == 1
    # One that was killed leaves its file.
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    state_folder.mkdir()
    values = {"host": "127.0.0.1", "port": port, "token": TOKEN, "pid": 1}
    running_file().write_text(json.dumps(values))
    assert said(capsys, "panic")[2].startswith("puppetcam: nothing runs: the last run has ended")
    for broken in ("", "{}", "[1]", '{"host": 1, "port": "x", "token": 2, "pid": 3}'):
        running_file().write_text(broken)
        assert said(capsys, "panic")[2].startswith("puppetcam: nothing runs: ")


def test_help_lists_every_action(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["ctl", "--help"])
    lines = capsys.readouterr().out.splitlines()
    for name in [*ACTIONS, *ctl.READS]:
        assert any(line.startswith(f"  {name} ") for line in lines)


def test_refusals_are_one_line() -> None:
    assert str(RefusalError(400, "two\nlines  here")) == "two lines here"
