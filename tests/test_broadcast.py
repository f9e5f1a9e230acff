"""H.264 over the network, received by FFmpeg's libraries on this machine."""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction

import av
import numpy as np
import pytest

from config.errors import SinkError
from config.schema import OutputSettings
from realtime import relay
from realtime.broadcast import Broadcast
from realtime.frame import Frame
from realtime.sinks import open_sink

SETTINGS = OutputSettings(width=320, height=240, fps=30)


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def frame(index: int) -> Frame:
    """Grey, with a bar that says its index modulo 8."""
    image = np.full((240, 320, 3), (200, 120, 40), np.uint8)
    image[:, 40 * (index % 8) : 40 * (index % 8) + 40] = (20, 40, 220)
    return Frame(image, 0.0, index)


@contextmanager
def fed(sink: Broadcast) -> Iterator[list[float]]:
    """Pictures into ``sink``, 30 a second; gives the times that ``send`` took."""
    done, took = threading.Event(), list[float]()

    def feed() -> None:
        index = 0
        while not done.wait(1 / 30):
            started = time.perf_counter()
            sink.send(frame(index))
            took.append(time.perf_counter() - started)
            index += 1

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield took
    finally:
        done.set()
        feeder.join()


def check(pictures: list[av.VideoFrame]) -> None:
    times = [float(p.pts * (p.time_base or Fraction(1))) for p in pictures]
    assert times == sorted(times)
    assert len(set(times)) == len(times)
    for picture in pictures:
        image = picture.to_ndarray(format="rgb24")
        assert image.shape == (240, 320, 3)
        blue = [c for c in range(8) if image[120, 40 * c + 20, 2] > 150]
        assert len(blue) == 1
        other = image[120, 40 * ((blue[0] + 4) % 8) + 20]
        np.testing.assert_allclose(other, (200, 120, 40), atol=25)


def receive(url: str, count: int = 20, **options: str) -> list[av.VideoFrame]:
    found: list[av.VideoFrame] = []
    with av.open(url, timeout=20, options={"fflags": "nobuffer", **options}) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        for picture in container.decode(video=0):
            found.append(picture)
            if len(found) == count:
                return found
    return found


def test_udp_reaches_a_receiver_that_comes_later() -> None:
    port = free_port()
    with closing(Broadcast(f"udp://127.0.0.1:{port}", SETTINGS)) as sink, fed(sink) as took:
        time.sleep(0.7)
        pictures = receive(f"udp://127.0.0.1:{port}")
    assert len(pictures) == 20
    check(pictures)
    assert sink.repeat_fps == 30
    assert max(took) < 0.2


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="RTMP needs the program ffmpeg")
def test_rtmp_waits_for_its_server_and_finds_it_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "MAX_RETRY_S", 0.5)
    port = free_port(socket.SOCK_STREAM)
    url = f"rtmp://127.0.0.1:{port}/live/secret-key"
    with closing(Broadcast(url, SETTINGS)) as sink, fed(sink) as took:
        until(lambda: bool(caplog.messages))
        for _ in range(2):  # the second time after the server was gone
            pictures = receive(url, 10, listen="1", analyzeduration="200000")
            assert len(pictures) == 10
            check(pictures)
    assert "rtmp://127.0.0.1" in caplog.messages[0]
    assert "Connection refused" in caplog.messages[0]
    assert "secret-key" not in caplog.text
    assert max(took) < 0.2


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="SRT needs the program ffmpeg")
def test_srt_reaches_a_receiver() -> None:
    port = free_port()
    receiver = subprocess.Popen(
        ["ffmpeg", "-hide_banner", "-loglevel", "error", "-f", "data", "-raw_packet_size", "1316",
         "-i", f"srt://127.0.0.1:{port}?mode=listener", "-map", "0", "-c", "copy", "-f", "data",
         "pipe:1"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        with closing(Broadcast(f"srt://127.0.0.1:{port}", SETTINGS)) as sink, fed(sink):
            assert receiver.stdout is not None
            found = []
            with av.open(receiver.stdout, format="mpegts") as container:
                for picture in container.decode(video=0):
                    found.append(picture)
                    if len(found) == 10:
                        break
            check(found)
            assert len(found) == 10
    finally:
        receiver.kill()
        receiver.wait()
        assert receiver.stdout is not None
        receiver.stdout.close()


def test_close_ends_the_thread_and_ffmpeg() -> None:
    before = set(threading.enumerate())
    sink = Broadcast(f"udp://127.0.0.1:{free_port()}", SETTINGS)
    for index in range(3):
        sink.send(frame(index))
    sink.close()
    sink.close()
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("udp://127.0.0.1", r"is no address; give udp://HOST:PORT"),
        ("udp://:9000", r"is no address; give udp://HOST:PORT"),
        ("srt://127.0.0.1:x", "is no address"),
        ("udp://127.0.0.1:99999", "is no address"),
        ("rtmp://127.0.0.1", r"is no address; give rtmp://HOST/APP/KEY"),
    ],
)
def test_address_that_cannot_be_one_is_told_at_once(text: str, message: str) -> None:
    with pytest.raises(SinkError, match=message):
        open_sink(text, SETTINGS)


def test_srt_without_ffmpeg_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(
        SinkError, match=r"srt://127\.0\.0\.1:9000 goes .*apt install ffmpeg.*udp://"
    ):
        open_sink("srt://127.0.0.1:9000?passphrase=hidden", SETTINGS)


def until(done: Callable[[], bool]) -> None:
    ends_at = time.perf_counter() + 10
    while not done():
        assert time.perf_counter() < ends_at, "it never came"
        time.sleep(0.01)
