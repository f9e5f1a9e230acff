"""The embedding side: what it changes, what it says, what it costs, whether it can be seen. Its
format: tests/test_mark_format.py."""

import math
import re
from dataclasses import fields, is_dataclass
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marked import PAYLOAD, marked

from bench.watermark import measure_cost
from config.schema import Settings
from provenance.detector import read_video
from provenance.watermark import Payload, Watermark


def flat(value: int = 120, height: int = 512, width: int = 512) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_psnr_is_at_least_42_db() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)
    mark = Watermark(PAYLOAD)
    for step in range(16):
        copy = image.copy()
        mark.apply(copy, step / 20)
        error = np.mean((copy.astype(float) - image) ** 2)
        assert 10 * math.log10(255**2 / error) >= 42


def test_pixels_change_by_a_level_or_where_it_is_rough_by_three_and_colours_stay() -> None:
    rough = np.random.default_rng(0).integers(3, 252, (90, 130, 3), dtype=np.uint8)
    for image, most in ((flat(120, 90, 130), 1), (rough, 3)):
        mark = Watermark(PAYLOAD)
        for step in range(16):
            copy = image.copy()
            mark.apply(copy, step / 20)
            change = copy.astype(int) - image
            assert np.abs(change).max() == most
            assert (change == change[..., :1]).all()


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (31, 64), (130, 90), (1080, 1920)])
def test_pictures_of_any_size_are_marked(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(3, 252, (*size, 3), dtype=np.uint8)
    copy, mark = image.copy(), Watermark(PAYLOAD)
    for step in range(8):
        mark.apply(copy, step / 20)
    assert copy.shape == image.shape
    assert size == (1, 1) or (copy != image).any()


def test_black_and_white_do_not_wrap() -> None:
    mark = Watermark(PAYLOAD)
    for value in (0, 255):
        image = flat(value, 64, 64)
        mark.apply(image, 0.1)
        assert np.abs(image.astype(int) - value).max() == 1


def test_time_drives_it_not_the_count_of_frames() -> None:
    one, other = Watermark(PAYLOAD), Watermark(PAYLOAD)
    for number in range(7):
        one.apply(flat(), number / 60)
    first, second = flat(), flat()
    one.apply(first, 1000.31)
    other.apply(second, 1000.31)
    assert (first == second).all()
    # Half a period, 0.4 s, later every sign is the other one.
    later = flat()
    other.apply(later, 1000.71)
    assert (later.astype(int) - 120 == 120 - second.astype(int)).all()


@pytest.mark.parametrize("session", [0, 1, 2**18 - 1])
def test_recordings_are_told_apart(session: int) -> None:
    payload = Payload(day=323, session=session)
    assert read_video(marked([flat()] * 72, payload=payload)).payload == payload


def test_no_setting_switches_it_off() -> None:
    """None is named after it; that it is there whatever is set: tests/test_puppeteer.py."""
    groups = [getattr(Settings(), one.name) for one in fields(Settings)]
    names = [one.name for group in groups if is_dataclass(group) for one in fields(group)]
    assert "enabled" in names  # the visible label has one
    assert not [name for name in names if "mark" in name]


@given(st.integers(0, 2**14 - 1), st.integers(0, 2**18 - 1))
def test_payload_survives_and_a_wrong_bit_is_noticed(day: int, session: int) -> None:
    payload = Payload(day, session)
    assert Payload.from_bits(payload.bits()) == payload
    for wrong in range(0, 48, 5):
        bits = payload.bits()
        bits[wrong] ^= 1
        assert Payload.from_bits(bits) is None


def test_the_name_of_a_recording_has_its_day() -> None:
    assert Payload(day=323, session=0x2A51F).date == date(2026, 11, 20)
    assert str(Payload(day=323, session=0x2A51F)) == "2026-11-20-2a51f"
    assert Payload.new().session != Payload.new().session or Payload.new() != Payload.new()


# --- can it be seen? ----------------------------------------------------------------------------


def luminance(level: np.ndarray) -> np.ndarray:
    """Of an sRGB grey level on a screen whose white is 1, with the glare of IEC 61966-2-1's
    reference conditions: 0.2 of 80 cd/m2."""
    v = level / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4) + 0.0025


def least_contrast_seen() -> float:
    """Kelly 1979, Motion and vision II: contrast of the grating that is seen best of all
    that swing 1.25 times a second."""
    cycles = np.geomspace(0.1, 30, 400)
    speed, turns = 1.25 / cycles, 2 * math.pi * cycles
    sensitivity = (6.1 + 7.3 * np.abs(np.log10(speed / 3)) ** 3) * speed * turns**2
    return 1 / float((sensitivity * np.exp(-2 * turns * (speed + 2) / 45.9)).max())


@pytest.mark.parametrize("value", [0, 4, 8, 16, 30, 47, 48, 60, 95, 96, 120, 180, 250])
def test_flat_areas_swing_by_less_than_eyes_see(value: int) -> None:
    """Cells of 16 x 16 pixels, each against the contrast at which a whole field of the best grating
    is just seen by half of those who look for it."""
    film = [image for image, _ in marked([flat(value)] * 24)]
    cells = [luminance(one[..., 0]).reshape(32, 16, 32, 16).mean(axis=(1, 3)) for one in film]
    turns = np.exp(-2j * math.pi * 1.25 * np.arange(24) / 30)
    swings = 2 * np.abs(np.tensordot(turns, np.array(cells), 1)) / 24
    assert 0 < swings.max() / luminance(np.array(value)) < 0.75 * least_contrast_seen()
    # The whole picture does not pulse.
    assert np.ptp([one.mean() for one in film]) < 0.03


def test_a_smooth_slope_counts_as_flat() -> None:
    """As skies and walls are; rounding to 8 bits is not taken for something that hides the mark,
    or hardly anywhere."""
    slope = np.linspace(100, 220, 512)[:, None, None] * np.linspace(0.9, 1, 512)[:, None]
    image = np.repeat(np.round(slope), 3, axis=2).astype(np.uint8)
    changes = [np.abs(one - image.astype(int)).mean() for one, _ in marked([image] * 24)]
    plain = [np.abs(one - 120.0).mean() for one, _ in marked([flat()] * 24)]
    assert np.mean(changes) < 1.2 * np.mean(plain)


def test_the_bench_tells_what_marking_costs_beside_copying() -> None:
    # Large enough that copying it takes more than the last digit that is told.
    said = measure_cost(256, 9)
    found = re.search(r"take ([\d.]+) .* ms and ([\d.]+) .* ms, ([\d.]+) to 1", said)
    assert found
    assert all(float(number) > 0 for number in found.groups())
