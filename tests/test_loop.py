"""The performer's loop as a camera."""

import numpy as np
import pytest

from config.schema import CameraSettings
from realtime.camera import open_source
from realtime.loop import Loop, decoded, drawn_pictures, encoded
from realtime.performer import perform


class Clock:
    def __init__(self) -> None:
        self.now = 50.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def grey(level: int) -> bytes:
    return encoded(np.full((48, 64, 3), level, np.uint8))


def test_pictures_come_in_turn_and_in_time() -> None:
    clock = Clock()
    loop = Loop([grey(10), grey(120), grey(240)], fps=10, clock=clock, sleep=clock.sleep)
    frames = [loop.read() for _ in range(5)]
    assert [frame.index for frame in frames if frame] == [0, 1, 2, 3, 4]
    assert [round(float(frame.image.mean())) for frame in frames if frame] == [
        10,
        120,
        240,
        10,
        120,
    ]
    assert [frame.captured_at for frame in frames if frame] == pytest.approx(
        [50, 50.1, 50.2, 50.3, 50.4]
    )
    assert clock.slept == pytest.approx([0.1] * 4)
    assert (loop.width, loop.height, loop.live) == (64, 48, True)


def test_who_comes_late_gets_the_frame_of_now() -> None:
    clock = Clock()
    loop = Loop([grey(10), grey(120), grey(240)], fps=10, clock=clock, sleep=clock.sleep)
    loop.read()
    clock.now = 50.55
    late = loop.read()
    assert late is not None
    assert late.index == 5
    assert late.captured_at == pytest.approx(50.5)
    assert round(float(late.image.mean())) == 240


def test_it_ends_when_closed() -> None:
    loop = Loop([grey(10)])
    loop.close()
    loop.close()
    assert loop.read() is None


def test_the_loop_shows_the_performer_to_and_fro_without_a_jump() -> None:
    pictures = drawn_pictures()
    assert len(pictures) == 178
    first = decoded(pictures[0]).astype(int)
    assert np.abs(first - perform(1.5)[0]).mean() < 3
    assert np.abs(decoded(pictures[60]).astype(int) - perform(3.5)[0]).mean() < 3
    assert pictures[1] == pictures[-1]
    assert pictures[88] == pictures[90]
    assert sum(map(len, pictures)) < 20e6  # as raw pixels: 164 MB
    source = open_source("performer:loop", CameraSettings())
    frame = source.read()
    source.close()
    assert frame is not None
    assert frame.image.shape == (480, 640, 3)
    np.testing.assert_array_equal(frame.image, decoded(pictures[frame.index]))
