"""Glass to glass: from the camera's picture to the picture that somebody at the far end has.

A counter is drawn into the camera's picture, goes through the camera's decoder as pixels, is copied
as pixels onto the finished picture, goes through the sink and whatever follows it, and is read by
what receives it. The copying is the bench's own: puppetcam never shows a pixel of the camera.
"""

import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from bench.counter import HEIGHT, NUMBERS, WIDTH, copy_counter, draw_counter, read_counter
from bench.latency import measure_pipeline
from bench.receiver import READY
from config.errors import SinkError, SourceError
from config.schema import Settings
from realtime.assembly import Assembly
from realtime.camera import Source
from realtime.frame import Frame
from realtime.loop import Loop, decoded, drawn_pictures, encoded
from realtime.metrics import Spread, spread
from realtime.mjpeg import MjpegServer
from realtime.pipeline import Pipeline
from realtime.puppeteer import Puppeteer, Step
from realtime.sinks import MemorySink, Sink, open_sink

LAST_PICTURES_S = 0.5
"""How long a receiver goes on after the run's end."""
FIRST_SIGHT_S = 30.0
"""Longest wait for its first picture, once there are any."""
READY_S = 60.0
"""Longest wait for the receiver's program to start."""


@dataclass(frozen=True, slots=True)
class Glass:
    """What one receiver saw."""

    receiver: str
    age: Spread
    """From the capture of a frame until the receiver has read its number, first sight only."""
    jitter_ms: float
    """Standard deviation of the time between two new pictures."""
    pictures: int
    """Received, repeats among them."""
    new: int
    """Different frames among them."""
    missed: int
    """Captured between the first and the last of these, and never seen."""
    unreadable: int
    """Pictures without a number that could be read: damaged, or made before the first frame."""
    first_ms: float
    """From the start of the pipeline to the first picture read."""


class Receiver(Protocol):
    """The far end of a sink."""

    name: str
    sink: Sink
    seen: list[tuple[float, int | None]]
    """(moment, number) of each picture."""

    def close(self) -> None:
        """Stop looking and close the sink; twice is fine."""
        ...


class Counted:
    """A Source whose pictures carry a number; it keeps when each was captured."""

    def __init__(self, source: Source) -> None:
        """Owns ``source``. Raises SourceError where the code is larger than the pictures."""
        self.name, self.live, self.fps = source.name, source.live, source.fps
        self.width, self.height = source.width, source.height
        if source.width < WIDTH or source.height < HEIGHT:
            source.close()
            raise SourceError(
                f"{source.name}: the counter of bench takes {WIDTH}x{HEIGHT} pixels, the pictures "
                f"have {source.width}x{source.height}; choose a larger size"
            )
        self._source = source
        self.captured: dict[int, list[tuple[float, int]]] = {}
        """Number -> (captured_at, index) of each frame that had it, in order."""

    def read(self) -> Frame | None:
        """The next frame; the number is drawn where the source's pictures carry none."""
        frame = self._source.read()
        if frame is None:
            return None
        number = read_counter(frame.image)
        if number is None:
            number, image = frame.index % NUMBERS, frame.image.copy()
            draw_counter(image, number)
            frame = replace(frame, image=image)
        self.captured.setdefault(number, []).append((frame.captured_at, frame.index))
        return frame

    def close(self) -> None:
        """Close the source; twice is fine."""
        self._source.close()


class CountedPuppeteer(Puppeteer):
    """Copies the number onto the finished picture. For measuring only."""

    def step(self, frame: Frame) -> Step:
        """See ``Puppeteer.step``."""
        step = super().step(frame)
        copy_counter(frame.image, step.frame.image)
        return step


def counted_loop() -> Loop:
    """The performer's loop with the numbers in its JPEG pictures, as before a camera's encoder."""
    pictures = []
    for number, picture in enumerate(drawn_pictures()):
        image = decoded(picture)
        draw_counter(image, number)
        pictures.append(encoded(image))
    return Loop(pictures)


class Memory:
    """The sink itself is the far end."""

    name = "memory"

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seen: list[tuple[float, int | None]] = []
        self.sink: Sink = _Eye(self.seen, clock)

    def close(self) -> None:
        """See ``Receiver``."""
        self.sink.close()


class _Eye(MemorySink):
    def __init__(self, seen: list[tuple[float, int | None]], clock: Callable[[], float]) -> None:
        super().__init__(keep=1)
        self._seen, self._clock = seen, clock

    def send(self, frame: Frame) -> None:
        super().send(frame)
        number = read_counter(self.frames[-1].image)
        self._seen.append((self._clock(), number))


class Program:
    """Another program that receives what a sink gives: ``bench.receiver``."""

    def __init__(self, name: str, sink: Sink, address: str) -> None:
        """Owns ``sink``; waits until the program is ready. Raises SinkError."""
        self.name, self.sink = name, sink
        self.seen: list[tuple[float, int | None]] = []
        self._ready = threading.Event()
        root = str(Path(__file__).parents[1])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.receiver", address],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # FFmpeg's complaints about streams that begin in the middle
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([root, *sys.path])},
        )
        self._thread = threading.Thread(target=self._read, name="receiver", daemon=True)
        self._thread.start()
        if not self._ready.wait(READY_S):
            self.close()
            raise SinkError(f"--receiver {name}: its program did not start in {READY_S:g} s")

    def _read(self) -> None:
        for line in self._process.stdout or ():
            moment, _, number = line.strip().partition(" ")
            if moment == READY:
                self._ready.set()
            elif number:
                self.seen.append((float(moment), None if number == "-" else int(number)))

    def close(self) -> None:
        """See ``Receiver``."""
        self.sink.close()
        self._process.terminate()
        self._process.wait()
        self._thread.join()
        if self._process.stdout is not None:
            self._process.stdout.close()


def open_receiver(text: str, settings: Settings) -> Receiver:
    """``memory``; ``mjpeg`` (HTTP) or ``udp`` (H.264) on this machine; or the device of a virtual
    camera, such as ``/dev/video4``. Raises SinkError."""
    if text == "memory":
        return Memory()
    if text == "mjpeg":
        server = MjpegServer("127.0.0.1:0", secrets.token_urlsafe(16))
        return Program("mjpeg, read by PyAV", server, f"{server.url}stream.mjpg")
    if text == "udp":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            address = f"udp://127.0.0.1:{free.getsockname()[1]}"
        return Program("udp, read by PyAV", open_sink(address, settings.output), address)
    if text.startswith("/dev/"):
        sink = open_sink(f"virtualcam:{text}", settings.output)
        return Program(f"virtual camera {text}, read by OpenCV", sink, text)
    raise SinkError(f"--receiver {text} is unknown; give memory, mjpeg, udp or /dev/video4")


def measure_glass(
    assembly: Assembly,
    opened: Callable[[], Source],
    settings: Settings,
    receiver: Receiver,
    seconds: float,
    *,
    stopped: Callable[[], bool] = lambda: False,
    watch: Callable[[Pipeline, Step], None] = lambda pipeline, step: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Glass:
    """``seconds`` of the whole way, from the first picture at the far end on; owns ``receiver``.
    Raises SourceError, SinkError."""
    sources: list[Counted] = []

    def counted() -> Source:
        sources.append(Counted(opened()))
        return sources[-1]

    output = settings.output
    if output.width < WIDTH or output.height < HEIGHT:
        raise SinkError(
            f"the counter of bench takes {WIDTH}x{HEIGHT} pixels, the output has "
            f"{output.width}x{output.height}; choose a larger output.width and output.height"
        )
    puppeteer = CountedPuppeteer(assembly.engine, assembly.tracker, settings)
    puppeteer.set_avatar(assembly.avatars[0])
    seen = receiver.seen
    ends_at: float | None = None

    def over() -> bool:
        nonlocal ends_at
        if ends_at is None and any(number is not None for _, number in seen):
            ends_at = clock() + seconds
        return stopped() or (ends_at is not None and clock() >= ends_at)

    with closing(receiver):
        began = clock()
        measure_pipeline(
            puppeteer, counted, settings, seconds + FIRST_SIGHT_S, sinks=[receiver.sink],
            stopped=over, watch=watch, clock=clock,
        )  # fmt: skip
        last, late_at = len(seen), clock() + LAST_PICTURES_S
        while isinstance(receiver, Program) and clock() < late_at and len(seen) == last:
            time.sleep(0.01)
    captured = sources[-1].captured if sources else {}
    return judged(receiver.name, seen, captured, began)


def judged(
    receiver: str,
    seen: list[tuple[float, int | None]],
    captured: Mapping[int, Sequence[tuple[float, int]]],
    began: float,
) -> Glass:
    """``seen``: (moment, number) of each picture received; ``captured``: as of ``Counted``;
    ``began``: the moment at which the pipeline started."""
    first: dict[int, tuple[float, float]] = {}  # index -> (captured, seen)
    unreadable = 0
    for now, number in seen:
        # A loop gives its numbers again and again: the newest one from before this moment.
        before = [one for one in captured.get(number or 0, ()) if one[0] <= now]
        if number is None or not before:
            unreadable += 1
            continue
        captured_at, index = before[-1]
        first.setdefault(index, (captured_at, now))
    moments = [now for _, now in first.values()]
    gaps = np.diff(moments) * 1000
    return Glass(
        receiver=receiver,
        age=spread(now - captured_at for captured_at, now in first.values()),
        jitter_ms=float(gaps.std()) if gaps.size else 0.0,
        pictures=len(seen),
        new=len(first),
        missed=max(first) - min(first) + 1 - len(first) if first else 0,
        unreadable=unreadable,
        first_ms=1000 * (min(moments) - began) if moments else 0.0,
    )
