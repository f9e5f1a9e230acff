import logging
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from config.errors import EngineError, SinkError, SourceError
from config.schema import CameraSettings, OutputSettings
from realtime import pipeline as pipeline_module
from realtime.camera import Source
from realtime.crop import Crop
from realtime.delivery import Delivery, Output
from realtime.frame import Frame, Image, Latest
from realtime.metrics import Metrics
from realtime.pipeline import Capture, Inference, Pipeline
from realtime.puppeteer import Status, Step, View
from realtime.recording import VideoWriter
from realtime.sinks import MemorySink
from realtime.video import VideoFile
from realtime.watched import Watched

SETTINGS = CameraSettings(stall_s=2, retry_s=0.5)
CAMERA_PIXEL, AVATAR_PIXEL = 77, 200
CAMERA: Image = np.full((16, 16, 3), CAMERA_PIXEL, np.uint8)


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Puppet:
    """A puppeteer without networks: the same face, a plain picture, a step that takes its time."""

    def __init__(self, clock: Clock | None = None, step_s: float = 0.0) -> None:
        self.clock, self.step_s = clock, step_s
        self.done: list[str] = []
        self.error: Exception | None = None
        self.panicking = False

    def step(self, frame: Frame) -> Step:
        if self.error is not None:
            raise self.error
        if self.clock is not None:
            self.clock.now += self.step_s
        return self._picture(frame.captured_at, frame.index, Status.LIVE)

    def idle(self, now: float) -> Step:
        return self._picture(now, -1, Status.NO_CAMERA)

    def panic(self, on: bool) -> None:
        self.panicking = on
        self.done.append(f"panic {on}")

    def recentre(self) -> None:
        self.done.append("recentre")

    def _picture(self, at_s: float, index: int, status: Status) -> Step:
        image = np.full((16, 16, 3), AVATAR_PIXEL, np.uint8)
        return Step(
            frame=Frame(image, at_s, index),
            result=image,
            view=View(CAMERA, Crop.whole(CAMERA), 16),
            status=status,
            stages={"generate": self.step_s},
        )


class Script:
    """A Source whose reads are written down beforehand: frames, errors, None for the end."""

    def __init__(self, reads: Iterable[Frame | Exception | None], live: bool = True) -> None:
        self.reads = iter(reads)
        self.name, self.width, self.height, self.fps = "script", 16, 16, 30.0
        self.live = live
        self.closes = 0

    def read(self) -> Frame | None:
        item = next(self.reads, None)
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        self.closes += 1


class BrokenSink:
    """A sink that fails from its ``after``-th frame on."""

    repeat_fps: float | None = None

    def __init__(self, after: int = 0) -> None:
        self.name, self.after, self.closes, self.sends = "broken", after, 0, 0

    def send(self, frame: Frame) -> None:
        self.sends += 1
        if self.sends > self.after:
            raise SinkError("broken took no picture")

    def close(self) -> None:
        self.closes += 1


def frames(count: int, interval_s: float = 1 / 30) -> list[Frame]:
    return [Frame(CAMERA, n * interval_s, n) for n in range(count)]


def opener(sources: Iterable[Source | SourceError]) -> Callable[[], Source]:
    waiting = iter(sources)

    def open_source() -> Source:
        source = next(waiting)
        if isinstance(source, SourceError):
            raise source
        return source

    return open_source


# --- capture ---


def test_source_that_is_not_there_at_start_is_raised_at_once() -> None:
    with pytest.raises(SourceError, match="no camera 3"):
        Capture(opener([SourceError("no camera 3")]), SETTINGS, Clock())


def test_lost_camera_is_tried_after_half_a_second_doubling_to_eight() -> None:
    clock = Clock()
    asked: list[float] = []
    dying = Script([SourceError("unplugged")])

    def open_source() -> Source:
        asked.append(clock.now)
        if len(asked) > 1:
            raise SourceError("still gone")
        return dying

    capture = Capture(open_source, SETTINGS, clock)
    while clock.now < 45:
        assert capture.read() is None
        assert capture.lost
        clock.now += max(capture.wait_s() / 2, 0.001)  # asking in between must open nothing
    gaps = np.diff(asked)
    np.testing.assert_allclose(gaps, [0.5, 1, 2, 4, 8, 8, 8, 8], atol=0.01)
    assert dying.closes == 1


def test_camera_that_dies_and_returns_is_told_once_each(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    gone = SourceError("camera 0 was unplugged")
    first, second = Script([*frames(2), gone]), Script([*frames(3)])
    # Between the two: away twice, then there but without a picture.
    opens = [first, gone, gone, Script([gone]), second]
    capture = Capture(opener(opens), SETTINGS, clock)
    got = []
    with caplog.at_level(logging.INFO):
        while len(got) < 5:
            frame = capture.read()
            if frame is None:
                clock.now += capture.wait_s()
            else:
                got.append(frame.index)
    assert got == [0, 1, 0, 1, 2]
    assert capture.count == 5
    assert not capture.lost
    assert caplog.messages == ["camera lost: camera 0 was unplugged", "camera back: script"]
    assert clock.now == pytest.approx(0.5 + 1 + 2 + 4)


def test_wait_starts_anew_after_a_return() -> None:
    clock = Clock()
    gone = SourceError("gone")
    opens = [Script([gone]), gone, gone, Script([frames(1)[0], gone]), gone]
    capture = Capture(opener(opens), SETTINGS, clock)
    while capture.count == 0:
        capture.read()
        clock.now += capture.wait_s()
    capture.read()
    assert capture.wait_s() == pytest.approx(0.5)


def test_broken_file_is_no_lost_camera() -> None:
    capture = Capture(opener([Script([SourceError("cut")], live=False)]), SETTINGS, Clock())
    with pytest.raises(SourceError, match="cut"):
        capture.read()


def test_end_of_a_file_is_an_end() -> None:
    capture = Capture(opener([Script(frames(1), live=False)]), SETTINGS, Clock())
    assert capture.read() is not None
    assert not capture.ended
    assert capture.read() is None
    assert capture.ended


def test_file_is_paced_and_a_camera_is_not() -> None:
    clock = Clock(10)
    frame = Frame(CAMERA, 10.25, 3)
    file = Capture(opener([Script([], live=False)]), SETTINGS, clock)
    camera = Capture(opener([Script([], live=True)]), SETTINGS, clock)
    assert file.early_s(frame) == pytest.approx(0.25)
    assert camera.early_s(frame) == 0
    clock.now = 11
    assert file.early_s(frame) == 0


def test_little_light_is_told_once_over_all_losses(caplog: pytest.LogCaptureFixture) -> None:
    dark = np.full((16, 16, 3), 9, np.uint8)
    shots = [Frame(dark, n / 10, n) for n in range(120)]
    sources = [Script([*shots[:60], SourceError("gone")]), Script(shots[60:])]
    clock = Clock()
    capture = Capture(opener(sources), SETTINGS, clock)
    while capture.count < 120:
        capture.read()
        clock.now += 0.1
    assert [m.partition(" (")[0] for m in caplog.messages] == [
        "little light", "camera lost: gone", "camera back: script",
    ]  # fmt: skip
    assert "brightness 9 of 255" in caplog.messages[0]


def test_dark_film_is_no_dim_room(caplog: pytest.LogCaptureFixture) -> None:
    dark = np.full((16, 16, 3), 9, np.uint8)
    film = Script([Frame(dark, n / 10, n) for n in range(120)], live=False)
    capture = Capture(opener([film]), SETTINGS, Clock())
    while capture.read() is not None:
        pass
    assert not caplog.messages


# --- inference ---


def test_silent_camera_is_idle_after_its_stall_time_and_live_with_the_next_frame() -> None:
    inference = Inference(Puppet(), SETTINGS.stall_s)  # type: ignore[arg-type]
    assert inference.step(Frame(CAMERA, 5, 0), 5, live=True, lost=False) is not None
    assert inference.step(None, 6.9, live=True, lost=False) is None
    idle = inference.step(None, 7.0, live=True, lost=False)
    assert idle is not None
    assert (idle.step.status, idle.fresh, idle.step.frame.captured_at) == (
        Status.NO_CAMERA, False, 7.0,
    )  # fmt: skip
    back = inference.step(Frame(CAMERA, 8, 1), 8, live=True, lost=False)
    assert back is not None
    assert back.fresh
    assert inference.step(None, 9, live=True, lost=False) is None


def test_lost_camera_is_idle_at_once() -> None:
    inference = Inference(Puppet(), SETTINGS.stall_s)  # type: ignore[arg-type]
    assert inference.step(None, 0.1, live=True, lost=True) is not None


def test_slow_file_is_no_lost_camera() -> None:
    inference = Inference(Puppet(), SETTINGS.stall_s)  # type: ignore[arg-type]
    assert inference.step(None, 0, live=False, lost=False) is None
    assert inference.step(None, 60, live=False, lost=False) is None


def test_panic_card_waits_for_no_camera() -> None:
    inference = Inference(Puppet(), SETTINGS.stall_s)  # type: ignore[arg-type]
    inference.step(frames(1)[0], 0, live=True, lost=False)
    inference.post(lambda p: p.panic(True))
    assert inference.step(None, 0.05, live=True, lost=False) is not None
    inference.post(lambda p: p.panic(False))
    assert inference.step(None, 0.1, live=True, lost=False) is None


def test_posted_actions_run_in_order_before_the_frame() -> None:
    puppet = Puppet()
    inference = Inference(puppet, SETTINGS.stall_s)  # type: ignore[arg-type]
    inference.post(lambda p: p.panic(True))
    inference.post(lambda p: p.recentre())
    inference.post(lambda p: p.panic(False))
    assert inference.step(None, 0, live=True, lost=False) is None
    assert puppet.done == ["panic True", "recentre", "panic False"]
    inference.step(frames(1)[0], 0, live=True, lost=False)
    assert len(puppet.done) == 3


# --- delivery ---


def output(index: int = 0, fresh: bool = True, at_s: float = 0.0) -> Output:
    step = Puppet().step(Frame(CAMERA, at_s, index)) if fresh else Puppet().idle(at_s)
    return Output(step, fresh)


def test_new_frame_goes_out_at_once_and_again_when_the_sinks_clock_is_due() -> None:
    clock = Clock()
    metrics = Metrics(clock)
    steady, plain = MemorySink(repeat_fps=10), MemorySink()
    delivery = Delivery([steady, plain], metrics, clock)
    delivery.repeat(clock.now)  # nothing to repeat yet
    delivery.send(output())
    sent_at = [0.0]
    for tick in range(1, 1000):
        clock.now = tick / 1000
        before = steady.count
        delivery.repeat(clock.now)
        if steady.count > before:
            sent_at.append(clock.now)
    # 50 ms of grace for a new frame that is a little late, then every 100 ms.
    np.testing.assert_allclose(sent_at, [0, *np.arange(0.15, 1, 0.1)], atol=0.0021)
    assert plain.count == 1
    assert metrics.repeated == steady.count - 1


def test_wait_ends_with_the_next_repeat_and_never_outlasts_a_look_at_the_keys() -> None:
    clock = Clock()
    delivery = Delivery([MemorySink(repeat_fps=10)], Metrics(clock), clock)
    assert delivery.wait_s(0) == 0.02
    delivery.send(output())
    assert delivery.wait_s(0.0) == 0.02
    assert delivery.wait_s(0.145) == pytest.approx(0.005)
    assert delivery.wait_s(9) == 0


def test_failed_sink_is_told_closed_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    broken, good = BrokenSink(after=2), MemorySink()
    delivery = Delivery([broken, good], Metrics(clock), clock)
    for number in range(6):
        delivery.send(output(number))
    assert [frame.index for frame in good.frames] == [0, 1, 2, 3, 4, 5]
    assert (broken.sends, broken.closes) == (3, 1)
    assert caplog.messages == ["broken took no picture; the other outputs go on"]


def test_sink_that_fails_in_a_repeat_is_left_out_too() -> None:
    clock = Clock()
    broken, good = BrokenSink(after=1), MemorySink()
    broken.repeat_fps = 10
    delivery = Delivery([broken, good], Metrics(clock), clock)
    delivery.send(output())
    clock.now = 1
    delivery.repeat(clock.now)
    assert broken.closes == 1
    assert delivery.wait_s(clock.now) == 0.02


def test_failure_of_the_last_sink_is_raised() -> None:
    clock = Clock()
    delivery = Delivery([BrokenSink(), BrokenSink(after=1)], Metrics(clock), clock)
    delivery.send(output())
    with pytest.raises(SinkError, match="broken took no picture"):
        delivery.send(output())


def test_age_counts_driving_frames_only() -> None:
    clock = Clock(10)
    metrics = Metrics(clock)
    delivery = Delivery([MemorySink()], metrics, clock)
    delivery.send(output(0, at_s=9.95))
    delivery.send(output(fresh=False, at_s=3))
    found = metrics.summary()
    assert found.delivered == found.age.count == 1
    assert found.age.p99_ms == pytest.approx(50)
    assert set(found.stages) == {"generate", "send"}


# --- the three together, on a clock of their own ---


def simulate(step_s: float, seconds: float, interval_s: float = 1 / 30) -> tuple[Metrics, float]:
    """A camera every ``interval_s`` and a model of ``step_s``; (metrics, largest age seen)."""
    clock = Clock()
    metrics = Metrics(clock)
    sink = MemorySink(keep=1)
    slot: Latest[Frame] = Latest()
    puppet = Puppet(clock, step_s)
    inference = Inference(puppet, SETTINGS.stall_s)  # type: ignore[arg-type]
    delivery = Delivery([sink], metrics, clock)
    oldest_s, count = 0.0, 0
    while clock.now < seconds:
        while count * interval_s <= clock.now:  # what the camera gave meanwhile
            slot.put(Frame(CAMERA, count * interval_s, count))
            count += 1
        frame = slot.take(0)
        if frame is None:
            clock.now = count * interval_s
            continue
        made = inference.step(frame, clock.now, live=True, lost=False)
        assert made is not None
        delivery.send(made)
        oldest_s = max(oldest_s, clock.now - sink.frames[-1].captured_at)
    metrics.captured, metrics.dropped = count, slot.dropped
    return metrics, oldest_s


@pytest.mark.parametrize("step_s", [0.0334, 0.041, 0.05, 0.09, 0.3])
def test_age_of_a_slow_model_stays_below_one_interval_plus_its_step(step_s: float) -> None:
    metrics, oldest_s = simulate(step_s, 60)
    found = metrics.summary()
    assert step_s < oldest_s <= 1 / 30 + step_s + 1e-9
    assert found.fps == pytest.approx(1 / step_s, rel=0.01)  # always busy
    assert found.captured == pytest.approx(1800, abs=30 * step_s + 2)
    assert found.delivered + found.dropped == pytest.approx(found.captured, abs=1)


def test_fast_model_drops_nothing_and_adds_its_step_only() -> None:
    metrics, oldest_s = simulate(0.02, 60)
    assert oldest_s == pytest.approx(0.02)
    assert metrics.dropped == 0
    assert metrics.summary().fps == pytest.approx(30, rel=0.01)


def test_ten_minutes_with_faults_leave_memory_flat(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    interval_s = 1 / 30

    class Camera(Script):
        """Silent at minute 2 for 5 s, unplugged at minutes 4 and 7 for 20 s, fresh pictures."""

        def read(self) -> Frame | None:
            if any(at <= clock.now < at + 20 for at in (240, 420)):
                raise SourceError("camera 0 was unplugged")
            if 120 <= clock.now < 125:
                raise AssertionError("a stalled driver does not answer")
            return Frame(np.full((16, 16, 3), CAMERA_PIXEL, np.uint8), clock.now, 0)

    metrics = Metrics(clock, keep=1000)
    sink = MemorySink(keep=30, repeat_fps=30)
    capture = Capture(lambda: Camera([]), SETTINGS, clock)
    inference = Inference(Puppet(), SETTINGS.stall_s)  # type: ignore[arg-type]
    delivery = Delivery([sink], metrics, clock)
    slot: Latest[Frame] = Latest()
    statuses: dict[Status, int] = {}
    sizes = []
    tracemalloc.start()
    try:
        for tick in range(10 * 60 * 30):
            clock.now = tick * interval_s
            if not 120 <= clock.now < 125:
                frame = capture.read()
                if frame is not None:
                    slot.put(frame)
            made = inference.step(slot.take(0), clock.now, capture.live, capture.lost)
            if made is None:
                delivery.repeat(clock.now)
            else:
                delivery.send(made)
                statuses[made.step.status] = statuses.get(made.step.status, 0) + 1
            if tick % 1800 == 0:
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(sizes[3:]) - min(sizes[3:]) < 30_000  # bytes, from minute 3 to minute 9
    found = metrics.summary()
    # 5 s of silence are 2 s of repeats and 3 s idle; 20 s without a camera are over at the
    # first try after it: 0.5 + 1 + 2 + 4 + 8 + 8 s.
    assert statuses[Status.NO_CAMERA] == pytest.approx(30 * (3 + 2 * 23.5), abs=20)
    assert found.delivered == statuses[Status.LIVE]
    assert found.repeated == pytest.approx(30 * 2, abs=3)
    assert sink.count == pytest.approx(18_000, abs=3)
    assert [m.split(":")[0] for m in caplog.messages] == ["camera lost", "camera back"] * 2


# --- threads ---


class Webcam(Script):
    """A live source that gives a frame whenever asked, and a moment of rest to the others."""

    def __init__(self, clock: Callable[[], float], fail_at: int | None = None) -> None:
        super().__init__([])
        self.clock, self.fail_at, self.count = clock, fail_at, 0
        self.rest = threading.Event()

    def read(self) -> Frame | None:
        self.rest.wait(0.001)
        self.count += 1
        if self.count == self.fail_at:
            raise SourceError("camera 0 was unplugged")
        return Frame(CAMERA, self.clock(), self.count)


def make(
    open_source: Callable[[], Source],
    sinks: list[MemorySink | BrokenSink | VideoWriter],
    puppet: Puppet | None = None,
    settings: CameraSettings = SETTINGS,
) -> Pipeline:
    return Pipeline(open_source, puppet or Puppet(), sinks, Metrics(), settings)  # type: ignore[arg-type]


def assert_no_threads() -> None:
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"capture", "inference"}


def test_run_ends_when_until_says_so_and_joins_its_threads() -> None:
    sink = MemorySink()
    webcam = Webcam(time.perf_counter)
    steps: list[Step] = []
    run = make(lambda: webcam, [sink])
    run.run(until=lambda: sink.count >= 5, watch=steps.append)
    assert_no_threads()
    assert webcam.closes >= 1
    assert sink.count >= 5
    assert [step.frame for step in steps] == list(sink.frames)
    indices = [frame.index for frame in sink.frames]
    assert indices == sorted(set(indices))
    found = run.metrics.summary()
    assert found.captured >= found.delivered == sink.count
    assert found.delivered + found.dropped <= found.captured


def test_sinks_never_get_the_camera_picture() -> None:
    sink = MemorySink()
    gone = iter([Webcam(time.perf_counter, fail_at=20), *[SourceError("gone")] * 99])
    run = make(opener(gone), [sink])
    run.run(until=lambda: sink.count >= 30)
    assert {int(p) for frame in sink.frames for p in np.unique(frame.image)} == {AVATAR_PIXEL}
    assert sink.frames[-1].index == -1  # idle pictures at the end


def test_camera_that_dies_comes_back_in_the_same_run() -> None:
    clock = time.perf_counter
    first, second = Webcam(clock, fail_at=5), Webcam(clock)
    settings = CameraSettings(retry_s=0.05)
    sink = MemorySink()
    run = make(opener([first, SourceError("still away"), second]), [sink], settings=settings)
    run.run(until=lambda: second.count >= 10 and sink.frames[-1].index >= 8)
    assert_no_threads()
    assert -1 in [frame.index for frame in sink.frames]
    assert (first.closes, second.closes) == (1, 1)


class Blocking(Webcam):
    """A camera whose driver, after some pictures, does not answer for a long time."""

    def __init__(self, blocks: bool) -> None:
        super().__init__(time.perf_counter)
        self.blocks = blocks
        self.answer = threading.Event()
        self.last_at = 0.0

    def read(self) -> Frame | None:
        if self.blocks and self.count == 20:
            self.last_at = time.perf_counter()
            self.answer.wait(10)
            raise SourceError("the driver has answered")
        return super().read()


def test_driver_that_blocks_is_noticed_within_two_seconds_and_a_fresh_handle_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = CameraSettings()  # as shipped
    cameras = [Blocking(True), Blocking(False)]
    waiting = iter(cameras)
    sink = MemorySink()
    shown: list[tuple[float, Status]] = []
    run = make(lambda: Watched(lambda: next(waiting), settings.stall_s), [sink], settings=settings)
    run.run(
        until=lambda: cameras[1].count > 20 and shown[-1][1] is Status.LIVE,
        watch=lambda step: shown.append((time.perf_counter(), step.status)),
    )
    noticed_at = next(at for at, status in shown if status is Status.NO_CAMERA)
    assert 1.4 < noticed_at - cameras[0].last_at < 2
    resumed_at = next(at for at, s in shown if at > noticed_at and s is Status.LIVE)
    assert resumed_at - noticed_at < 4
    assert cameras[0].closes == 0  # nobody touches it while the driver has it
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "camera lost", "camera back",
    ]  # fmt: skip
    cameras[0].answer.set()
    for thread in threading.enumerate():
        if thread.name == "camera":
            thread.join(5)
    assert [camera.closes for camera in cameras] == [1, 1]
    assert_no_threads()


def test_posted_action_reaches_the_puppeteer() -> None:
    puppet = Puppet()
    run = make(lambda: Webcam(time.perf_counter), [MemorySink()], puppet)
    run.post(lambda p: p.recentre())
    run.run(until=lambda: bool(puppet.done))
    assert puppet.done == ["recentre"]


def test_film_ends_the_run_with_its_last_frame() -> None:
    # Frames of long ago: they are not early, so that nothing has to wait.
    sink = MemorySink()
    film = Script(frames(7), live=False)
    make(lambda: film, [sink]).run()
    assert_no_threads()
    assert sink.frames[-1].index == 6
    assert film.closes >= 1


def test_real_film_into_real_film(tmp_path: Path) -> None:
    settings = OutputSettings(width=16, height=16, fps=30)
    for name in ("driving.mp4", "result.mp4"):
        writer = VideoWriter(tmp_path / name, settings)
        if name == "driving.mp4":
            for frame in frames(9):
                writer.send(frame)
        else:
            make(lambda: VideoFile(tmp_path / "driving.mp4"), [writer]).run()
        writer.close()
    result = VideoFile(tmp_path / "result.mp4")
    shown = list(iter(result.read, None))
    assert len(shown) == pytest.approx(9, abs=1)
    assert abs(int(shown[4].image[6, 8, 0]) - AVATAR_PIXEL) <= 3


@pytest.mark.parametrize("error", [EngineError("the runtime failed"), ZeroDivisionError("bug")])
def test_error_in_the_inference_thread_reaches_the_caller(error: Exception) -> None:
    puppet = Puppet()
    puppet.error = error
    with pytest.raises(type(error)) as raised:
        make(lambda: Webcam(time.perf_counter), [MemorySink()], puppet).run()
    assert raised.value is error
    assert_no_threads()


def test_error_in_the_capture_thread_reaches_the_caller() -> None:
    broken = Script([*frames(2), SourceError("film.mp4 cannot be read on")], live=False)
    with pytest.raises(SourceError, match="cannot be read on"):
        make(lambda: broken, [MemorySink()]).run()
    assert_no_threads()
    assert broken.closes >= 1


def test_source_that_is_not_there_ends_the_run_before_it_begins() -> None:
    with pytest.raises(SourceError, match="no camera 3"):
        make(opener([SourceError("no camera 3")]), [MemorySink()]).run()
    assert_no_threads()


def test_interrupt_in_the_callers_thread_stops_everything() -> None:
    def interrupt() -> bool:
        raise KeyboardInterrupt

    webcam = Webcam(time.perf_counter)
    with pytest.raises(KeyboardInterrupt):
        make(lambda: webcam, [MemorySink()]).run(until=interrupt)
    assert_no_threads()
    assert webcam.closes >= 1


def test_run_without_a_sink_left_ends_with_its_error() -> None:
    with pytest.raises(SinkError, match="broken took no picture"):
        make(lambda: Webcam(time.perf_counter), [BrokenSink(after=3)]).run()
    assert_no_threads()


def test_stop_from_another_thread_ends_the_run() -> None:
    sink = MemorySink()
    run = make(lambda: Webcam(time.perf_counter), [sink])
    stopper = threading.Thread(target=run.stop)

    def watch(step: Step) -> None:
        if sink.count == 3:
            stopper.start()

    run.run(watch=watch)
    stopper.join(5)
    assert_no_threads()


def test_run_of_some_seconds_ends_after_them() -> None:
    run = make(lambda: Webcam(time.perf_counter), [MemorySink()])
    run.run(until=0.05)
    assert 0.05 <= run.metrics.summary().seconds < 5


def test_driver_that_never_answers_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pipeline_module, "_JOIN_S", 0.05)
    answer = threading.Event()

    class Stuck(Script):
        def read(self) -> Frame | None:
            answer.wait(30)
            return None

    stuck = Stuck([])
    make(lambda: stuck, [MemorySink()]).run(until=0.01)
    assert caplog.messages == ["capture did not end in 0.05 s; left behind"]
    answer.set()
    for thread in threading.enumerate():
        if thread.name == "capture":
            thread.join(5)
    assert_no_threads()
    assert stuck.closes >= 1
