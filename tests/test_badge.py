from dataclasses import replace

import numpy as np
import pytest

from config.schema import LabelSettings
from provenance.badge import Area, draw_label


def labelled(height: int, width: int, value: int = 120, **changes) -> tuple[np.ndarray, np.ndarray]:
    """A plain picture with its label, and where the label changed it."""
    image = np.full((height, width, 3), value, np.uint8)
    draw_label(image, replace(LabelSettings(), **changes))
    return image, (image != value).any(axis=2)


@pytest.mark.parametrize("position", ["top-left", "top-right", "bottom-left", "bottom-right"])
@pytest.mark.parametrize("size", [(256, 256), (480, 640), (1080, 1920)])
def test_the_label_lies_in_its_corner(position: str, size: tuple[int, int]) -> None:
    _, changed = labelled(*size, position=position)
    ys, xs = np.nonzero(changed)
    height, width = size
    assert (ys.mean() < height / 2) == position.startswith("top")
    assert (xs.mean() < width / 2) == position.endswith("left")
    assert min(ys.min(), xs.min(), height - 1 - ys.max(), width - 1 - xs.max()) >= 2


@pytest.mark.parametrize(("side", "expected"), [(1080, 76), (480, 34), (256, 20), (100, 20)])
def test_its_height_is_the_asked_part_of_the_shorter_side_and_never_unreadable(
    side: int, expected: int
) -> None:
    _, changed = labelled(side, 2 * side)
    assert np.nonzero(changed.any(axis=1))[0].size == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("value", [0, 120, 255])
@pytest.mark.parametrize("side", [256, 1080])
def test_letters_stand_out_from_the_pill_on_any_picture(side: int, value: int) -> None:
    """Contrast by the WCAG formula, 4.5 or more for text."""
    image, _ = labelled(side, side, value)
    margin = side * 0.07
    pill = image[int(side - margin * 2.2) :, int(side - margin * 3) :].astype(float) / 255
    flat = np.sort(pill.mean(axis=2).ravel())
    inside = flat if value == 120 else flat[np.abs(flat - value / 255) > 0.02]

    def luminance(v: float) -> float:
        return v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4

    light, dark = luminance(inside[-5:].mean()), luminance(inside[:40].mean())
    assert (light + 0.05) / (dark + 0.05) > 4.5


def test_it_is_there_by_default_and_has_no_colour() -> None:
    """So that it looks the same to every kind of colour vision."""
    settings = LabelSettings()
    assert settings.enabled
    assert settings.text == "AI"
    for value in (0, 120, 255):
        image, changed = labelled(480, 640, value)
        assert changed.any()
        assert (image == image[..., :1]).all()


def test_opacity_lets_the_picture_through_and_no_label_leaves_it_alone() -> None:
    full, _ = labelled(480, 640, 255, opacity=1.0)
    half, _ = labelled(480, 640, 255, opacity=0.5)
    expected = (full.astype(float) + 255) / 2
    assert np.abs(half - expected).max() <= 1
    _, changed = labelled(480, 640, enabled=False)
    assert not changed.any()


@pytest.mark.parametrize("text", ["AI", "AI GENERATED", "AI MODIFIED"])
def test_long_texts_stay_inside_small_pictures(text: str) -> None:
    for height, width in ((64, 64), (256, 256), (40, 200), (8, 8)):
        image, changed = labelled(height, width, text=text, size=0.3)
        assert image.shape == (height, width, 3)
        assert changed.any()
        assert not changed[:, 0].any() or width < 20


def test_texts_differ_and_letters_are_not_mirrored() -> None:
    ai, changed = labelled(480, 480, size=0.3, opacity=1.0)
    generated, _ = labelled(480, 480, size=0.3, opacity=1.0, text="AI GENERATED")
    assert (ai != generated).any()
    ys, xs = np.nonzero(changed)
    pill = ai[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1, 0] > 200
    # "AI": the A is left and wide, the I is right and narrow, so the left half has more white.
    columns = pill.sum(axis=0)
    tall = np.nonzero(columns > 0.45 * pill.shape[0])[0]
    assert tall.size > 0
    assert tall.mean() > pill.shape[1] / 2


def test_the_label_goes_where_the_face_is_not() -> None:
    face = Area(300, 200, 640, 480)
    image = np.full((480, 640, 3), 120, np.uint8)
    draw_label(image, LabelSettings(), face)
    ys, xs = np.nonzero((image != 120).any(axis=2))
    assert ys.min() > 240  # beside the corner asked for, at the same height
    assert xs.max() < 300
    for position in ("top-left", "bottom-left"):
        moved, plain = np.full_like(image, 120), np.full_like(image, 120)
        settings = LabelSettings(position=position)
        draw_label(moved, settings, face)
        draw_label(plain, settings)
        assert (moved == plain).all()


def test_a_face_that_fills_the_picture_is_covered_least() -> None:
    image = np.full((256, 256, 3), 120, np.uint8)
    draw_label(image, LabelSettings(), Area(20, 20, 256, 256))
    ys, xs = np.nonzero((image != 120).any(axis=2))
    assert ys.max() < 128 or xs.max() < 128


def test_what_is_owed_without_it_is_said() -> None:
    assert LabelSettings().notice == 'AI label on: "AI", bottom-right'
    off = LabelSettings(enabled=False).notice
    assert "you owe those who watch" in off
    assert "Article 50" in off
    assert "invisible mark stays" in off
