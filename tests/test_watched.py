"""A source that blocks is noticed and left behind."""

import threading
import time
from contextlib import closing

import numpy as np
import pytest

from config.errors import SourceError
from realtime.frame import Frame
from realtime.watched import Watched

PICTURE = np.zeros((4, 4, 3), np.uint8)


class Driver:
    """A live source that gives ``count`` frames and then blocks until it is let go."""

    name, width, height, fps, live = "camera 0", 4, 4, 30.0, True

    def __init__(self, count: int = 0, open_s: float = 0.0) -> None:
        self.count, self.index = count, 0
        self.let_go = threading.Event()
        self.closed_by: list[str] = []
        self.read_by: set[str] = set()
        self.let_go.wait(open_s)

    def read(self) -> Frame | None:
        self.read_by.add(threading.current_thread().name)
        if self.index >= self.count:
            self.let_go.wait(30)
            raise SourceError("the driver answered at last")
        self.index += 1
        return Frame(PICTURE, float(self.index), self.index)

    def close(self) -> None:
        self.closed_by.append(threading.current_thread().name)


def ended(thread: threading.Thread) -> bool:
    thread.join(5)
    return not thread.is_alive()


def test_newest_frame_comes_and_all_is_read_and_closed_by_one_thread() -> None:
    driver = Driver(count=10**9)
    started: list[threading.Thread] = []
    watched = Watched(lambda: driver, 1, started.append)
    assert (watched.name, watched.width, watched.height, watched.fps) == ("camera 0", 4, 4, 30.0)
    assert watched.live
    first, second = watched.read(), watched.read()
    assert first is not None
    assert second is not None
    assert second.index > first.index
    watched.close()
    watched.close()
    assert not started[0].is_alive()
    assert driver.closed_by == ["camera"]
    assert driver.read_by == {"camera"}


def test_a_read_that_blocks_is_given_up_and_the_device_closed_when_the_driver_lets_go() -> None:
    driver = Driver(count=1)
    started: list[threading.Thread] = []
    with closing(Watched(lambda: driver, 0.1, started.append)) as watched:
        assert watched.read() is not None
        before = time.perf_counter()
        with pytest.raises(SourceError, match=r"camera 0 gave no picture for 0\.1 s"):
            watched.read()
        assert 0.09 < time.perf_counter() - before < 1
        assert driver.closed_by == []  # nobody else may touch it while the driver has it
        driver.let_go.set()
    assert ended(started[0])
    assert driver.closed_by == ["camera"]


def test_an_open_that_blocks_is_given_up_and_what_it_opens_later_is_closed() -> None:
    drivers: list[Driver] = []
    go = threading.Event()

    def slow() -> Driver:
        go.wait(30)
        drivers.append(Driver(count=5))
        return drivers[0]

    started: list[threading.Thread] = []
    with pytest.raises(SourceError, match=r"did not open within 0\.05 s: its driver hangs"):
        Watched(slow, 1, started.append, open_s=0.05)
    go.set()
    assert ended(started[0])
    assert drivers[0].closed_by == ["camera"]


def test_errors_of_opening_and_reading_are_the_readers() -> None:
    def missing() -> Driver:
        raise SourceError("there is no camera 3")

    with pytest.raises(SourceError, match="no camera 3"):
        Watched(missing, 1)

    def broken() -> Driver:
        raise ZeroDivisionError("bug")

    with pytest.raises(ZeroDivisionError):
        Watched(broken, 1)
    driver = Driver(count=0)
    driver.let_go.set()
    watched = Watched(lambda: driver, 1)
    for _ in range(2):
        with pytest.raises(SourceError, match="answered at last"):
            watched.read()
    watched.close()


def test_the_end_of_a_source_is_its_end() -> None:
    class Short(Driver):
        def read(self) -> Frame | None:
            return super().read() if self.index < self.count else None

    with closing(Watched(lambda: Short(count=0), 1)) as watched:
        assert watched.read() is None
