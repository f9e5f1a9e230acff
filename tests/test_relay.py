"""The thread before a slow output, with outlets that hang, fail and come back."""

import logging
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from config.errors import SinkError
from realtime import relay
from realtime.frame import Frame
from realtime.relay import Relay

IMAGE = np.zeros((4, 4, 3), np.uint8)


def frame(index: int) -> Frame:
    return Frame(IMAGE, 0.0, index)


class Slow:
    """An outlet whose writes take as long as the test says."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.entered, self.go = threading.Event(), threading.Event()
        self.aborts = self.closes = 0

    def write(self, frame: Frame) -> None:
        self.entered.set()
        self.go.wait(20)
        if self.aborts:
            raise SinkError("aborted")
        self.taken.append(frame.index)

    def abort(self) -> None:
        self.aborts += 1
        self.go.set()

    def close(self) -> None:
        self.closes += 1


def until(done: Callable[[], bool]) -> None:
    ends_at = time.perf_counter() + 10
    while not done():
        assert time.perf_counter() < ends_at, "it never came"
        time.sleep(0.002)


def test_slow_outlet_gets_the_newest_picture_and_delays_nobody() -> None:
    slow = Slow()
    sent = Relay("slow", lambda: slow, slow)
    sent.send(frame(0))
    assert slow.entered.wait(10)
    started = time.perf_counter()
    for index in range(1, 100):
        sent.send(frame(index))
    assert time.perf_counter() - started < 1
    slow.go.set()
    until(lambda: len(slow.taken) == 2)
    assert slow.taken == [0, 99]
    sent.close()
    sent.close()
    assert (slow.closes, slow.aborts) == (1, 0)


def test_outlet_that_hangs_is_aborted_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "_JOIN_S", 0.05)
    slow = Slow()
    sent = Relay("slow", lambda: slow, slow)
    sent.send(frame(0))
    assert slow.entered.wait(10)
    sent.close()
    until(lambda: slow.closes == 1)
    assert slow.aborts == 1
    assert slow.taken == []


def test_lost_outlet_is_opened_again_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relay, "FIRST_RETRY_S", 0.001)
    monkeypatch.setattr(relay, "_STEADY_S", 0.0)
    caplog.set_level(logging.WARNING)
    opened: list[Slow] = []

    class Failing(Slow):
        def write(self, frame: Frame) -> None:
            raise SinkError("far cannot be written")

    def open_outlet() -> Slow:
        opened.append(Failing() if len(opened) < 3 else Slow())
        if len(opened) == 2:
            raise SinkError("far is not there")
        opened[-1].go.set()
        return opened[-1]

    sent = Relay("far", open_outlet)
    for index in range(10000):
        sent.send(frame(index))
        if len(opened) == 4 and opened[3].taken:
            break
        time.sleep(0.001)
    sent.close()
    assert len(opened) == 4
    assert [one.closes for one in opened] == [1, 0, 1, 1]
    assert caplog.messages == [
        "far cannot be written; it is tried again and again",
        "far takes pictures again",
    ]


def test_back_off_doubles_up_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def refuse() -> Slow:
        raise SinkError("no")

    sent = Relay("far", refuse)
    monkeypatch.setattr(sent._stop, "wait", waits.append)
    for index in range(9):
        sent.send(frame(index))
        until(lambda index=index: len(waits) == index + 1)  # type: ignore[misc]
    sent.close()
    assert waits == [0.5, 1, 2, 4, 8, 8, 8, 8, 8]
