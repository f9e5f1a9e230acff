"""Tells: signals whose answer is known in closed form, then a film of the performer."""

import json
import math
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from performed import blank, faces, write_video

from models.bundle import DEFAULT
from models.landmarks import COUNT, indices
from puppetcam.cli import main
from realtime import speech, tells
from realtime.speech import Sound
from realtime.tells import Tell, Watcher

needs_bundle = pytest.mark.skipif(not DEFAULT.is_dir(), reason="no default bundle")
SIZE = 160


def lids(times: NDArray[np.float64], middles: list[float], length: float) -> NDArray[np.float64]:
    """Raised cosines of full depth on eyes that are 0.3 open."""
    ratio = np.ones_like(times)
    for middle in middles:
        near = np.abs(times - middle) < length / 2
        ratio[near] -= (1 + np.cos(2 * np.pi * (times[near] - middle) / length)) / 2
    return 0.3 * ratio


def test_blinks_are_counted_and_timed() -> None:
    times = np.arange(0, 12, 1 / 60)
    middles = [2.0, 5.5, 6.2, 10.0]
    found = tells.find_blinks(times, lids(times, middles, 0.3))
    assert [one.deepest_s for one in found] == pytest.approx(middles, abs=1 / 60)
    # 1 - (1 + cos x) / 2 = 0.85 at cos x = -0.7.
    spans = [one.end_s - one.start_s for one in found]
    assert spans == pytest.approx([0.3 * math.acos(-0.7) / math.pi] * 4, abs=0.01)
    assert [one.depth for one in found] == pytest.approx([1.0] * 4, abs=0.01)


def test_a_long_look_down_and_noise_are_no_blinks() -> None:
    times = np.arange(0, 12, 1 / 30)
    noise = np.random.default_rng(1).normal(0, 0.01, len(times))
    assert tells.find_blinks(times, lids(times, [6.0], 2.4) + noise) == []


def test_the_natural_rate_is_wider_where_less_was_seen() -> None:
    low, high = tells.blink_range(60)
    assert low == pytest.approx(4.5 - 2 * math.sqrt(4.5))
    assert high == pytest.approx(26 + 2 * math.sqrt(26))
    assert tells.blink_range(6)[0] == 0
    assert tells.blink_range(6)[1] > high
    assert tells.blink_range(600)[0] > low


def moving(seed: int = 0, seconds: float = 12) -> NDArray[np.float64]:
    """A signal at 100 Hz with what syllables have, 2 to 7 Hz."""
    noise = np.random.default_rng(seed).normal(size=(1, int(seconds * 100)))
    slow = cv2.GaussianBlur(noise, (0, 0), 4) - cv2.GaussianBlur(noise, (0, 0), 12)
    return np.asarray(slow[0] / slow.std())


@pytest.mark.parametrize("late", [0.12, -0.2])
def test_the_lag_of_the_sound_is_found(late: float) -> None:
    mouth = moving()
    times = np.arange(len(mouth)) / 100
    every = slice(None, None, 4)  # a film of 25 pictures a second
    sound = Sound(late, mouth + 0.3 * moving(1))
    correlation, lag_s, chance = speech.follow_sound(times[every], mouth[every], sound)
    assert lag_s == pytest.approx(late, abs=0.015)
    assert correlation > 0.85 > chance


def test_sound_of_another_mouth_has_no_lag() -> None:
    times = np.arange(1200) / 100
    correlation, lag_s, chance = speech.follow_sound(times, moving(2), Sound(0.0, moving(3)))
    assert correlation < chance
    assert math.isnan(lag_s)


def test_a_steady_tone_says_nothing() -> None:
    times = np.arange(1200) / 100
    found = speech.follow_sound(times, moving(2), Sound(0.0, np.full(1200, 0.2)))
    assert all(math.isnan(one) for one in found)


def oval(radius: float = 48.0) -> tells.Ovals:
    marks = np.zeros((COUNT, 2), np.float32)
    middle = (SIZE - 1) / 2
    for name, (x, y) in {"chin": (0, 1), "forehead": (0, -1), "temple_left": (1, 0),
                         "temple_right": (-1, 0)}.items():  # fmt: skip
        marks[indices(name)] = middle + radius * np.array((x, y))
    return tells.ovals_of(marks, SIZE)


@pytest.mark.parametrize("degrees", [0, 50, 200])
def test_the_light_on_a_ball_comes_from_where_it_does(degrees: float) -> None:
    ovals, angle = oval(), math.radians(degrees)
    z = np.sqrt(np.maximum(1 - ovals.r**2, 0))
    toward = np.cos(angle) * ovals.u + np.sin(angle) * ovals.v
    # 45 degrees from the camera's side, and some ambient light.
    grey = 40 + 150 * np.maximum(math.sqrt(0.5) * (toward + z), 0)
    x, y = tells.face_light(grey, ovals)
    off = (math.degrees(math.atan2(y, x)) - degrees + 180) % 360 - 180
    assert off == pytest.approx(0, abs=1.5)


def test_two_lights_are_as_far_apart_as_they_are() -> None:
    ovals = oval()
    grey = np.where(ovals.r < 1, 100 + 40 * ovals.u, 100 - 40 * ovals.v / ovals.r)
    face, around = tells.face_light(grey, ovals), tells.contour_light(grey, ovals)
    assert tells.light_angle(face, around) == pytest.approx(90, abs=1)
    assert tells.light_angle(face, face) == pytest.approx(0, abs=1e-3)
    flat = tells.face_light(np.full((SIZE, SIZE), 90.0), ovals)
    assert math.isnan(tells.light_angle(flat, around))


def test_a_blurred_ring_is_as_much_softer_as_its_blur_is_wider() -> None:
    ovals = oval()
    noise = np.random.default_rng(4).normal(0, 1, (SIZE, SIZE))
    sharp, soft = (one / one.std() for one in (cv2.GaussianBlur(noise, (0, 0), s) for s in (2, 4)))
    assert tells.edge_sharpness(sharp, ovals) == pytest.approx(1, abs=0.1)
    # The ring is wider than the one measured, so that its own border is not seen.
    ring = (ovals.r > 0.84) & (ovals.r < 1.21)
    # Noise under a Gaussian of s has a sharpness of sqrt(2) / s.
    assert tells.edge_sharpness(np.where(ring, soft, sharp), ovals) == pytest.approx(0.5, abs=0.1)


def test_colour_is_the_distance_in_a_and_b() -> None:
    ovals = oval()
    # L 60 a 20 b 10 and L 40 a 8 b 15: 13 apart.
    two = [np.full((SIZE, SIZE, 3), one, np.float32) for one in ((60, 20, 10), (40, 8, 15))]
    face, neck = (cv2.cvtColor(one, cv2.COLOR_LAB2RGB) * 255 for one in two)
    picture = np.where((ovals.r < 1)[..., None], face, neck).round().astype(np.uint8)
    assert tells.colour_difference(picture, ovals) == pytest.approx(13, abs=0.7)


def test_flicker_is_the_noise_and_no_steady_change() -> None:
    times = np.arange(60) / 30
    steady = np.linspace(20, 200, 60)[:, None, None] * np.ones((1, 16, 16))
    assert tells.flicker(times, steady) == pytest.approx(0, abs=1e-6)
    noise = np.random.default_rng(5).normal(0, 3, steady.shape)
    assert tells.flicker(times, steady + noise) == pytest.approx(3, rel=0.05)


def test_a_verdict_says_natural_unusual_or_not_measured() -> None:
    def verdict(value: float) -> str:
        return Tell("x", value, "", 1, 2, "").verdict

    found = [verdict(value) for value in (1.5, 2.5, math.nan)]
    assert found == ["natural", "unusual", "not measured"]
    assert Tell("x", math.nan, "", 1, 2, "").values()["value"] is None


def test_too_little_is_not_judged() -> None:
    watcher = Watcher()
    watcher.see(np.zeros((64, 64, 3), np.uint8), None, 0.0)
    assert {one.verdict for one in watcher.tells()} == {"not measured"}


@needs_bundle
def test_a_film_of_the_performer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # His script blinks at 2.9 and 4.9 s; a tone is no voice.
    film = write_video(tmp_path / "film.mp4", faces(90, Fraction(25), 2.2), Fraction(25), "aac")
    assert main(["verify", "--tells", str(film), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)["tells"]
    assert "not proof" in told["note"]
    found = {one["name"]: one for one in told["measures"]}
    assert found["blink rate"]["value"] == pytest.approx(2 / (89 / 25) * 60, rel=0.01)
    assert 80 < found["blink duration"]["value"] < 300
    assert found["mouth and sound"]["verdict"] == "not measured"
    assert found["edge sharpness"]["value"] > 0
    assert found["flicker"]["value"] >= 0
    assert all(one["source"] for one in found.values())


@needs_bundle
def test_without_a_face_or_a_film_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = write_video(tmp_path / "grey.mp4", blank(30))
    assert main(["verify", "--tells", str(film)]) == 1
    said = capsys.readouterr().out
    assert "not proof" in said
    assert said.count("not measured") == 10
    assert speech.sound_of(film) is None
    cv2.imwrite(str(tmp_path / "still.png"), blank(1)[0])
    assert main(["verify", "--tells", str(tmp_path / "still.png")]) == 2
    assert "wants a film" in capsys.readouterr().err


def test_the_sound_of_a_film_has_its_loudness(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", blank(60), Fraction(25), "aac")
    sound = speech.sound_of(film)
    assert sound is not None
    assert sound.start_s == pytest.approx(0, abs=0.05)
    assert len(sound.envelope) == pytest.approx(240, abs=6)
    # A sine of 0.25 on both sides, each mixed in with -3 dB.
    assert np.median(sound.envelope) == pytest.approx(0.25, rel=0.02)
