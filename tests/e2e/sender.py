"""Sends pictures to a sink until it is ended: ``sender.py SINK``. The number in their corner is the
time at which each was sent, in milliseconds."""

import sys
import time

from bench.counter import NUMBERS, draw_counter
from config.schema import OutputSettings
from realtime.frame import Frame, Image
from realtime.performer import perform
from realtime.sinks import open_sink

FPS = 30
SENT_AT_S = 3.0
"""The moment of the performer that is shown below the number."""


def picture() -> Image:
    """What is sent, (480, 640, 3) uint8 RGB, without its number."""
    return perform(SENT_AT_S)[0]


def age_ms(number: int, now_s: float) -> float:
    """How long before the system's time ``now_s`` the picture with this number was sent, or after
    it (below 0); half a minute at most."""
    return (1000 * now_s - number + NUMBERS / 2) % NUMBERS - NUMBERS / 2


def main() -> None:
    image = picture()
    sink = open_sink(sys.argv[1], OutputSettings(width=640, height=480, fps=FPS))
    started = time.perf_counter()
    index = 0
    while True:
        now = time.time()
        numbered = image.copy()
        draw_counter(numbered, int(1000 * now) % NUMBERS)
        sink.send(Frame(numbered, time.perf_counter(), index))
        index += 1
        time.sleep(max(0.0, started + index / FPS - time.perf_counter()))


if __name__ == "__main__":
    main()
