"""Glass to glass: what the far end saw, reckoned exactly, and once through the real pipeline."""

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from performed import write_avatar

from bench.counter import draw_counter, read_counter
from bench.glass import Counted, Memory, counted_loop, judged, measure_glass, open_receiver
from config.errors import SinkError, SourceError
from config.schema import load_settings
from realtime.assembly import assemble
from realtime.frame import Frame
from realtime.loop import Loop, decoded, drawn_pictures, encoded


def test_ages_repeats_and_misses_are_told_apart() -> None:
    captured = {10: [(1.00, 0)], 11: [(1.03, 1)], 12: [(1.06, 2)], 13: [(1.09, 3)]}
    seen = [
        (1.005, None),  # before the first frame
        (1.020, 10),
        (1.050, 10),  # a repeat
        (1.060, 11),
        (1.150, 13),  # 12 was never seen
        (1.180, 77),  # no such number was drawn
    ]
    glass = judged("memory", seen, captured, began=0.5)
    assert (glass.pictures, glass.new, glass.missed, glass.unreadable) == (6, 3, 1, 2)
    assert glass.age.p50_ms == pytest.approx(30)
    assert glass.age.count == 3
    assert glass.first_ms == pytest.approx(520)
    # 40 and 90 ms between new pictures: 25 on either side of 65.
    assert glass.jitter_ms == pytest.approx(25)


def test_a_number_that_comes_again_is_the_newest_frame_of_before() -> None:
    captured = {4: [(1.0, 4), (7.0, 182), (13.0, 360)]}
    glass = judged("memory", [(7.04, 4), (13.02, 4)], captured, began=0)
    assert glass.new == 2
    assert (glass.age.p50_ms, glass.missed) == (pytest.approx(30), 177)


def test_nothing_seen_is_nothing_found() -> None:
    glass = judged("memory", [(1.0, None)], {}, began=0)
    assert (glass.new, glass.missed, glass.unreadable, glass.age.count) == (0, 0, 1, 0)


def test_the_number_is_drawn_where_a_source_has_none() -> None:
    plain = [encoded(np.full((96, 160, 3), 128, np.uint8))]
    source = Counted(Loop(plain, fps=1000))
    frame = source.read()
    assert frame is not None
    assert read_counter(frame.image) == frame.index
    assert source.captured[frame.index] == [(frame.captured_at, frame.index)]
    source.close()
    assert source.read() is None


def test_a_number_of_the_source_goes_through_its_decoder() -> None:
    image = np.full((96, 160, 3), 128, np.uint8)
    draw_counter(image, 500)
    source = Counted(Loop([encoded(image)], fps=1000))
    frame = source.read()
    assert frame is not None
    assert list(source.captured) == [500]
    np.testing.assert_array_equal(frame.image, decoded(encoded(image)))


def test_small_pictures_are_refused() -> None:
    with pytest.raises(SourceError, match="takes 128x64 pixels, the pictures have 64x48"):
        Counted(Loop([encoded(np.zeros((48, 64, 3), np.uint8))]))


def test_the_receiver_in_memory_reads_what_was_sent() -> None:
    receiver = Memory(clock=lambda: 3.5)
    image = np.zeros((480, 640, 3), np.uint8)
    receiver.sink.send(Frame(image, 1.0, 0))
    draw_counter(image, 8)
    receiver.sink.send(Frame(image, 1.0, 0))
    assert list(receiver.seen) == [(3.5, None), (3.5, 8)]


def test_an_unknown_receiver_is_told() -> None:
    with pytest.raises(SinkError, match="--receiver telescope is unknown"):
        open_receiver("telescope", load_settings())


def test_numbers_go_from_the_camera_to_the_far_end(tmp_path: Path) -> None:
    settings = load_settings(overrides=["engine.threads=1"])
    loop = counted_loop()
    frame = loop.read()
    assert frame is not None
    assert read_counter(frame.image) == frame.index % len(drawn_pictures())
    with assemble(settings, [write_avatar(tmp_path / "anna.png")]) as assembly:
        glass = measure_glass(assembly, counted_loop, settings, Memory(), 0.5)
        assert glass.new >= 1
        assert glass.unreadable == 0
        assert 0 < glass.age.p50_ms <= glass.age.p99_ms
        # The product itself carries no pixel of the camera.
        assert read_counter(assembly.puppeteer.step(frame).frame.image) is None
        small = replace(settings, output=replace(settings.output, width=64, height=64))
        with pytest.raises(SinkError, match="takes 128x64 pixels, the output has 64x64"):
            measure_glass(assembly, counted_loop, small, Memory(), 0.5)


@pytest.mark.parametrize("kind", ["mjpeg", "udp"])
def test_another_program_reads_the_numbers_of_a_stream(kind: str) -> None:
    settings = load_settings()
    receiver = open_receiver(kind, settings)
    sent: dict[int, float] = {}
    with closing(receiver):
        ends_at = time.perf_counter() + 40
        # Until the program has read ten: how soon it connects is the machine's affair.
        while len(receiver.seen) < 10 and time.perf_counter() < ends_at:
            image = np.full((480, 640, 3), 90, np.uint8)
            number = len(sent)
            draw_counter(image, number)
            sent[number] = time.perf_counter()
            receiver.sink.send(Frame(image, sent[number], number))
            time.sleep(1 / 30)
    found = [(now, number) for now, number in receiver.seen if number is not None]
    assert len(found) >= 5
    for now, number in found:
        assert now > sent[number]  # one clock in both programs
    numbers = [number for _, number in found]
    assert numbers == sorted(numbers)
    receiver.close()
