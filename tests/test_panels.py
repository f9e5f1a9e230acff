"""Pictures side by side."""

import numpy as np

from puppetcam.panels import row_size, side_by_side


def square(value: int, side: int) -> np.ndarray:
    return np.full((side, side, 3), value, np.uint8)


def test_panels_lie_in_order_and_unchanged() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    row = side_by_side({"driving": square(10, 64), "avatar": noise, "result": square(200, 64)}, 64)
    assert row.shape == (64, 192, 3)
    assert (row[:, :64] == 10).all()
    assert (row[:, 64:128] == noise).all()
    assert (row[:, 128:] == 200).all()


def test_panels_of_any_size_fit() -> None:
    row = side_by_side({"small": square(50, 32), "large": square(90, 300)}, 128)
    assert row.shape == (128, 256, 3)
    assert (row[:, :128] == 50).all()
    assert (row[:, 128:] == 90).all()


def test_captions_stand_above_the_pictures() -> None:
    width, height = row_size(2, 320, captions=True)
    row = side_by_side({"driving": square(255, 64), "result": square(0, 64)}, 320, captions=True)
    assert row.shape == (height, width, 3)
    assert height % 2 == 0
    assert 340 < height < 360
    strip = row[: height - 320].max(axis=2)
    for left in (0, 320):  # light letters on a dark strip, over each panel
        assert strip[:, left : left + 320].max() > 180
        assert np.median(strip[:, left : left + 320]) < 60
    assert (row[height - 320 :, :320] == 255).all()
