"""The performer as a light camera, for measuring: drawn once, then played from memory.

Drawing a frame takes as long as half of the networks; a webcam's takes nothing. The pictures are
kept as JPEG, as a webcam sends them, so that reading one costs what decoding costs there.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache

import cv2
import numpy as np

from realtime.frame import Frame, Image
from realtime.performer import perform

NAME = "performer:loop"
_FPS = 30.0
_FROM_S, _TO_S = 1.5, 4.5
"""The stretch of the script that is played, to and fro: a look ahead, then speech and a blink."""
_QUALITY = 92


class Loop:
    """A live ``realtime.camera.Source`` of pictures in memory: frame i, due at i / fps, is picture
    i modulo their number. A caller that comes late gets the frame of now."""

    name = NAME
    live = True

    def __init__(
        self,
        pictures: Sequence[bytes],
        fps: float = _FPS,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``pictures``: at least one JPEG, all of one size."""
        self.height, self.width = decoded(pictures[0]).shape[:2]
        self.fps = fps
        self._pictures = tuple(pictures)
        self._clock, self._sleep = clock, sleep
        self._closed = threading.Event()
        self._next = 0
        self._start = clock()

    def read(self) -> Frame | None:
        """The frame of now; waits until it is due, which is its ``captured_at``. None once
        closed."""
        while not self._closed.is_set():
            elapsed = self._clock() - self._start
            # The epsilon: a sleep of exactly one interval must not fall short of it by rounding.
            index = max(math.floor(elapsed * self.fps + 1e-6), 0)
            if index < self._next:
                self._sleep(self._next / self.fps - elapsed)
                continue
            self._next = index + 1
            image = decoded(self._pictures[index % len(self._pictures)])
            return Frame(image, self._start + index / self.fps, index)
        return None

    def close(self) -> None:
        """End the stream; twice is fine."""
        self._closed.set()


@lru_cache(maxsize=1)
def drawn_pictures() -> tuple[bytes, ...]:
    """The performer's loop, 640x480 as JPEG; drawing it takes a second or two, once a process."""
    count = round((_TO_S - _FROM_S) * _FPS)
    there = [encoded(perform(_FROM_S + number / _FPS)[0]) for number in range(count)]
    return (*there, *there[-2:0:-1])


def encoded(image: Image) -> bytes:
    """(H, W, 3) uint8 RGB as JPEG."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()


def decoded(picture: bytes) -> Image:
    """JPEG as (H, W, 3) uint8 RGB."""
    bgr = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("no JPEG picture")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
