"""Streams over a network: real servers on 127.0.0.1."""

import io
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import av
import cv2
import numpy as np
import pytest

from config.errors import SourceError
from config.schema import CameraSettings
from realtime.camera import open_source
from realtime.frame import Image
from realtime.pipeline import Capture
from realtime.stream import is_address, shown

SETTINGS = CameraSettings(stall_s=0.6, retry_s=0.1)
WIDTH, HEIGHT = 96, 64


def picture(number: int) -> Image:
    """Grey, brighter with each number, 0 to 9."""
    return np.full((HEIGHT, WIDTH, 3), 20 + 20 * (number % 10), np.uint8)


def number_of(image: Image) -> int:
    return round((float(image.mean()) - 20) / 20)


@contextmanager
def server(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A TCP server that has ``answer`` talk to each client; its host and port."""
    stop = threading.Event()
    threads = []

    def talk(client: socket.socket) -> None:
        with client, suppress(OSError):
            answer(client, stop)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threads.append(threading.Thread(target=talk, args=(client,), daemon=True))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads.append(threading.Thread(target=accept, daemon=True))
        threads[0].start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def mjpeg(
    client: socket.socket, stop: threading.Event, count: int = 10**6, then_silent: bool = False
) -> None:
    """An HTTP camera: 50 JPEGs a second, ``count`` of them."""
    client.recv(4096)
    client.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
    )
    for number in range(count):
        data = cv2.imencode(".jpg", picture(number))[1].tobytes()
        client.sendall(
            b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n"
            % (len(data), data)
        )
        if stop.wait(0.02):
            return
    if then_silent:
        stop.wait(30)


def test_http_camera_gives_the_newest_picture() -> None:
    with server(mjpeg) as host, closing(open_source(f"http://{host}/video", SETTINGS)) as camera:
        assert (camera.width, camera.height, camera.live) == (WIDTH, HEIGHT, True)
        assert camera.name == f"http://{host}/video"
        frames = [camera.read() for _ in range(30)]
        now = time.perf_counter()
    assert all(frame is not None for frame in frames)
    numbers = [number_of(frame.image) for frame in frames if frame is not None]
    assert np.all(np.diff(numbers) % 10 == 1)  # each once, in order
    times = np.array([frame.captured_at for frame in frames if frame is not None])
    assert np.all(np.diff(times) >= 0)
    assert now - times[-1] < 1


def test_silent_camera_is_noticed_in_its_stall_time() -> None:
    def silent(client: socket.socket, stop: threading.Event) -> None:
        mjpeg(client, stop, 40, then_silent=True)

    with server(silent) as host, closing(open_source(f"http://{host}/", SETTINGS)) as camera:
        for _ in range(40):
            assert camera.read() is not None
        last = time.perf_counter()
        with pytest.raises(SourceError, match=r"gave no picture for 0\.\d s"):
            camera.read()
        assert 0.5 < time.perf_counter() - last < 1.5


def test_camera_that_hangs_up_is_lost_and_connected_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = []

    def flaky(client: socket.socket, stop: threading.Event) -> None:
        calls.append(time.perf_counter())
        mjpeg(client, stop, 40 if len(calls) == 1 else 10**6)

    with server(flaky) as host:
        capture = Capture(
            lambda: open_source(f"http://{host}/cam", SETTINGS), SETTINGS, time.perf_counter
        )
        lost = False
        while not (lost and capture.count > 60):
            if capture.read() is None:
                lost = True
                time.sleep(capture.wait_s())
        capture.close()
    assert len(calls) == 2
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "camera lost", "camera back",
    ]  # fmt: skip
    assert "/cam broke off: " in caplog.messages[0]


def film(count: int, form: str, **options: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=form, options=options) as container:
        stream = container.add_stream("libx264", rate=25, options={"tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), "rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def test_a_film_behind_an_address_plays_as_one_from_a_file() -> None:
    data = film(30, "matroska")

    def web(client: socket.socket, stop: threading.Event) -> None:
        client.recv(4096)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)

    with server(web) as host, closing(open_source(f"http://{host}/a.mkv", SETTINGS)) as source:
        assert not source.live
        frames = list(iter(source.read, None))
    assert [number_of(frame.image) for frame in frames] == [n % 10 for n in range(30)]
    times = [frame.captured_at - frames[0].captured_at for frame in frames]
    assert times == pytest.approx([n / 25 for n in range(30)], abs=1e-3)


def test_a_live_mp4_without_an_end_is_a_camera() -> None:
    data = film(40, "mp4", movflags="empty_moov+frag_every_frame+default_base_moof")

    def live(client: socket.socket, stop: threading.Event) -> None:
        client.recv(4096)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n" + data)
        stop.wait(30)

    with server(live) as host, closing(open_source(f"http://{host}/live", SETTINGS)) as camera:
        assert camera.live
        frame = camera.read()
        assert frame is not None
        assert number_of(frame.image) == 0


def rtsp(client: socket.socket, stop: threading.Event) -> None:
    """A small RTSP camera: MPEG-TS in RTP (RFC 2250), interleaved with the commands (RFC 2326)."""
    sdp = (
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
        b"m=video 0 RTP/AVP 33\r\na=control:1\r\n"
    )
    commands = client.makefile("rb")
    playing = False
    while not playing:
        head = {}
        request = commands.readline().decode()
        if not request:
            return
        while line := commands.readline().strip():
            key, _, value = line.decode().partition(":")
            head[key.casefold()] = value.strip()
        method = request.partition(" ")[0]
        body, more = b"", ""
        if method == "DESCRIBE":
            body, more = sdp, "Content-Type: application/sdp\r\n"
        elif method == "SETUP":
            more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
        elif method == "OPTIONS":
            more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        answer = f"RTSP/1.0 200 OK\r\nCSeq: {head['cseq']}\r\n{more}"
        client.sendall(f"{answer}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        playing = method == "PLAY"
    data = film(500, "mpegts")
    for number, at in enumerate(range(0, len(data), 7 * 188)):
        payload = data[at : at + 7 * 188]
        packet = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, number * 900, 7) + payload
        client.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)
        if stop.wait(0.002):
            return
    stop.wait(30)


def test_rtsp_camera_is_a_camera() -> None:
    with server(rtsp) as host, closing(open_source(f"rtsp://{host}/stream", SETTINGS)) as camera:
        assert (camera.width, camera.height, camera.live) == (WIDTH, HEIGHT, True)
        frames = [camera.read() for _ in range(25)]
    numbers = [number_of(frame.image) for frame in frames if frame is not None]
    assert len(numbers) == 25
    assert np.all(np.diff(numbers) % 10 == 1)


def refuse(status: str) -> Callable[[socket.socket, threading.Event], None]:
    def answer(client: socket.socket, stop: threading.Event) -> None:
        client.recv(4096)
        client.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

    return answer


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("401 Unauthorized", "name and password go before the host"),
        ("404 Not Found", "check the path in the address"),
        ("500 Oh", "check the address, and that the camera is on"),
    ],
)
def test_refused_address_is_one_line_without_the_password(status: str, message: str) -> None:
    with server(refuse(status)) as host, pytest.raises(SourceError, match=message) as error:
        open_source(f"http://anna:secret@{host}/cam?token=hidden", SETTINGS)
    said = str(error.value)
    assert said.startswith(f"http://{host}/cam cannot be opened: ")
    assert "\n" not in said
    assert "secret" not in said
    assert "hidden" not in said


def test_nobody_there_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SourceError, match=f"rtsp://127.0.0.1:{port}/ cannot be opened"):
        open_source(f"rtsp://127.0.0.1:{port}/", SETTINGS)


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.stream.OPEN_S", 0.3)
    before = time.perf_counter()
    with (
        server(lambda client, stop: bool(stop.wait(30)) or None) as host,
        pytest.raises(SourceError, match=r"no answer within 0\.3 s; check the address"),
    ):
        open_source(f"http://{host}/", SETTINGS)
    assert time.perf_counter() - before < 5


def test_a_page_is_no_stream() -> None:
    def web(client: socket.socket, stop: threading.Event) -> None:
        client.recv(4096)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>hello</html>")

    with server(web) as host, pytest.raises(SourceError, match="cannot be opened"):
        open_source(f"http://{host}/", SETTINGS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rtsp://cam/1", True),
        ("HTTP://cam/1", True),
        ("film.mp4", False),
        ("camera:0", False),
        ("file:///etc/passwd", False),
        (r"C:\film.mp4", False),
    ],
)
def test_addresses_are_told_from_files(text: str, expected: bool) -> None:
    assert is_address(text) is expected


def test_addresses_are_shown_without_secrets() -> None:
    assert shown("rtsp://me:pw@cam.local:554/h264?key=1") == "rtsp://cam.local:554/h264"
    assert shown("http://cam:port/x") == "http://cam/x"
