"""The MJPEG server, looked at by its own kind of viewers: sockets, and PyAV as OBS uses FFmpeg."""

import http.client
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import av
import cv2
import numpy as np
import pytest

from config.errors import SinkError
from realtime.frame import Frame
from realtime.mjpeg import MjpegServer, kept_token

TOKEN = "0123456789abcdef"  # noqa: S105


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    opened = MjpegServer("0", TOKEN)
    yield opened
    opened.close()
    opened.close()


def frame(red: int, index: int = 0) -> Frame:
    return Frame(np.full((48, 64, 3), (red, 60, 20), np.uint8), 0.0, index)


def ask(server: MjpegServer, path: str) -> http.client.HTTPResponse:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    connection.request("GET", path)
    return connection.getresponse()


def until(done: Callable[[], bool]) -> None:
    ends_at = time.perf_counter() + 10
    while not done():
        assert time.perf_counter() < ends_at, "it never came"
        time.sleep(0.002)


class Viewer:
    """Reads the stream part by part, as a browser does."""

    def __init__(self, server: MjpegServer) -> None:
        before = server.viewers
        self.answer = ask(server, f"/{TOKEN}/stream.mjpg")
        until(lambda: server.viewers == before + 1)
        assert self.answer.status == 200
        kind = self.answer.headers["Content-Type"]
        self.boundary = kind.removeprefix("multipart/x-mixed-replace; boundary=").encode()
        assert self.answer.readline() == b"--" + self.boundary + b"\r\n"

    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        assert self.answer.readline() == b"Content-Type: image/jpeg\r\n"
        length = int(self.answer.readline().removeprefix(b"Content-Length: "))
        assert self.answer.readline() == b"\r\n"
        data = self.answer.read(length)
        assert self.answer.readline() == b"\r\n"
        assert self.answer.readline() == b"--" + self.boundary + b"\r\n"
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_viewer_gets_each_picture_in_its_colours(server: MjpegServer) -> None:
    viewer = Viewer(server)
    for red in (250, 100, 0):
        server.send(frame(red))
        shown = viewer.picture()
        assert shown.shape == (48, 64, 3)
        np.testing.assert_allclose(shown[24, 32], (red, 60, 20), atol=4)


def test_who_comes_late_sees_the_last_picture_at_once(server: MjpegServer) -> None:
    server.send(frame(200))
    np.testing.assert_allclose(Viewer(server).picture()[5, 5], (200, 60, 20), atol=4)


def test_a_picture_is_compressed_once_and_only_while_somebody_looks(server: MjpegServer) -> None:
    for red in range(50):
        server.send(frame(red))
    assert server.encoded == 0
    viewers = [Viewer(server) for _ in range(4)]
    for viewer in viewers:
        viewer.picture()
    assert server.encoded == 1
    server.send(frame(90))
    for viewer in viewers:
        viewer.picture()
    assert server.encoded == 2


def test_slow_viewer_gets_the_newest_picture_and_delays_nobody(server: MjpegServer) -> None:
    slow, quick = Viewer(server), Viewer(server)
    noise = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)  # 0.5 MB as JPEG
    sends = []
    for index in range(40):
        image = noise.copy()
        image[:40, :40] = 6 * index
        started = time.perf_counter()
        server.send(Frame(image, 0.0, index))
        sends.append(time.perf_counter() - started)
        quick.picture()
    assert max(sends) < 0.2
    seen = []
    while not seen or seen[-1] < 39:
        seen.append(round(float(slow.picture()[20, 20].mean()) / 6))
    assert seen[-1] == 39
    assert len(seen) < 40  # what lay in the connection, and then the newest


def test_wrong_token_gets_nothing(server: MjpegServer) -> None:
    server.send(frame(1))
    for path in ("/", "/stream.mjpg", f"/{TOKEN[:-1]}/", "/x/stream.mjpg", "/%C3%A9/picture.jpg"):
        answer = ask(server, path)
        assert answer.status == 404
        assert b"JFIF" not in answer.read()
    assert ask(server, f"/{TOKEN}/../etc").status == 404


def test_the_page_shows_the_stream_and_one_picture_can_be_had(server: MjpegServer) -> None:
    page = ask(server, f"/{TOKEN}/")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b'<img src="stream.mjpg"' in page.read()
    server.send(frame(120))
    still = ask(server, f"/{TOKEN}/picture.jpg")
    assert still.headers["Content-Type"] == "image/jpeg"
    image = cv2.imdecode(np.frombuffer(still.read(), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_allclose(image[9, 9], (20, 60, 120), atol=4)
    assert server.viewers == 0


def test_viewer_that_leaves_is_forgotten(server: MjpegServer) -> None:
    viewer = Viewer(server)
    viewer.answer.close()

    def gone() -> bool:
        server.send(frame(1))
        return server.viewers == 0

    until(gone)


def test_ffmpeg_reads_it_as_obs_does(server: MjpegServer) -> None:
    done = threading.Event()

    def feed() -> None:
        while not done.wait(0.005):
            server.send(frame(180))

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        with av.open(f"{server.url}stream.mjpg", format="mpjpeg", timeout=10) as container:
            pictures = container.decode(video=0)
            shown = [next(pictures).to_ndarray(format="rgb24") for _ in range(5)]
            started, before = time.perf_counter(), server.encoded
            for _ in range(20):
                next(pictures)
            took_s, sent = time.perf_counter() - started, server.encoded - before
    finally:
        done.set()
        feeder.join()
    np.testing.assert_allclose(shown[-1][20, 20], (180, 60, 20), atol=6)
    # It plays 25 a second: what came faster would grow old in its queue.
    assert sent / took_s <= 26


def test_close_ends_viewers_and_threads() -> None:
    before = set(threading.enumerate())
    server = MjpegServer("0", TOKEN)
    viewer = Viewer(server)
    server.close()
    assert viewer.answer.read() == b""
    until(lambda: set(threading.enumerate()) <= before)
    with pytest.raises(OSError, match="refused"):
        ask(server, f"/{TOKEN}/")


def test_only_this_machine_can_reach_it(server: MjpegServer) -> None:
    assert server.url == f"http://127.0.0.1:{urlsplit(server.url).port}/{TOKEN}/"
    assert server.repeat_fps is None


def test_port_that_is_taken_or_none_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SinkError, match=rf"127\.0\.0\.1:{port} .*mjpeg:{port + 1}") as told:
            MjpegServer(str(port), TOKEN)
        assert "\n" not in str(told.value)
    for text in ("x", "-1", "65536", "localhost:"):
        with pytest.raises(SinkError, match="needs a port from 0 to 65535"):
            MjpegServer(text, TOKEN)
    with pytest.raises(SinkError, match="cannot be listened on"):
        MjpegServer("192.0.2.1:0", TOKEN)


def test_the_token_is_kept_for_this_user_alone(tmp_path: Path) -> None:
    token = kept_token(tmp_path / "new")
    assert len(token) >= 16
    assert kept_token(tmp_path / "new") == token
    assert kept_token(tmp_path / "other") != token
    if os.name != "nt":
        assert (tmp_path / "new" / "stream-token").stat().st_mode & 0o077 == 0
    (tmp_path / "new" / "stream-token").write_text("short")
    assert len(kept_token(tmp_path / "new")) >= 16
    (tmp_path / "file").write_text("")
    assert len(kept_token(tmp_path / "file")) >= 16  # cannot be kept there
