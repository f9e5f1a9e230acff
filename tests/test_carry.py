"""Carrying pixels, against the network's own way of doing it and closed forms."""

import tracemalloc

import numpy as np
import pytest
from drawn_face import face

from realtime.carry import Carrier, Ground

RNG = np.random.default_rng(3)


def smooth(side: int, channels: int = 3) -> np.ndarray:
    """A soft picture (side, side, channels) in 0..1."""
    y, x = np.mgrid[0:side, 0:side] / side
    waves = [0.5 + 0.5 * np.sin(5 * (k + 1) * x + 4 * y + k) for k in range(channels)]
    return np.stack(waves, -1).astype(np.float32)


def levels(picture: np.ndarray) -> np.ndarray:
    return np.round(picture * 255).astype(np.uint8)


def planes(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture.transpose(2, 0, 1))


@pytest.mark.parametrize("side", [256, 512])
def test_without_displacement_the_avatar_stays_to_the_last_bit(side: int) -> None:
    avatar = RNG.integers(0, 256, (side, side, 3), np.uint8)
    still = np.zeros((2, 64, 64), np.float32)
    painted = np.zeros((3, 256, 256), np.float32)
    carried = Carrier(avatar)(still, painted, np.ones((1, 256, 256), np.float32))
    assert carried.shape == (side, side, 3)
    assert np.abs(carried.astype(int) - avatar).max() <= 1
    assert not np.shares_memory(carried, avatar)


def test_a_displacement_of_one_pixel_fetches_the_neighbour() -> None:
    avatar = RNG.integers(0, 256, (512, 512, 3), np.uint8)
    # -1..1 spans 255 pixels of 256, and a pixel of 512 is half of one of those.
    one = np.zeros((2, 64, 64), np.float32)
    one[0] = 0.5 * 2 / 255
    carried = Carrier(avatar)(
        one, np.zeros((3, 256, 256), np.float32), np.ones((1, 256, 256), np.float32)
    )
    assert np.abs(carried[:, :-1].astype(int) - avatar[:, 1:]).max() <= 1


def test_alpha_blends_between_carried_and_painted() -> None:
    avatar = np.full((256, 256, 3), 200, np.uint8)
    painted = np.full((3, 256, 256), 40 / 255, np.float32)
    alpha = np.zeros((1, 256, 256), np.float32)
    alpha[:, :, 128:] = 0.75
    picture = Carrier(avatar)(np.zeros((2, 64, 64), np.float32), painted, alpha)
    assert np.abs(picture[:, :100].astype(int) - 40).max() <= 1
    assert np.abs(picture[:, 156:].astype(int) - 160).max() <= 1


def test_it_agrees_with_the_networks_own_carrying() -> None:
    torch = pytest.importorskip("torch")
    from models.field import carry

    avatar, painted = smooth(256), smooth(256)[::-1].copy()
    displacement = (planes(smooth(64, 2)) - 0.5) * 0.3
    alpha = planes(smooth(256, 1))
    ours = Carrier(levels(avatar))(displacement, planes(painted), alpha)
    tensors = [torch.from_numpy(x)[None] for x in (planes(avatar), displacement)]
    carried = carry(*tensors)[0].permute(1, 2, 0).numpy()
    weight = alpha.transpose(1, 2, 0)
    expected = 255 * (weight * carried + (1 - weight) * painted)
    assert np.abs(ours - expected).max() < 2.5
    assert np.abs(ours - expected).mean() < 0.6


def test_a_frame_allocates_little_more_than_its_picture() -> None:
    avatar = RNG.integers(0, 256, (512, 512, 3), np.uint8)
    carrier = Carrier(avatar)
    inputs = [
        RNG.random(shape, np.float32) for shape in ((2, 64, 64), (3, 256, 256), (1, 256, 256))
    ]
    carrier(*inputs)
    tracemalloc.start()
    try:
        carrier(*inputs)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The picture is 0.8 MB; each map in float at full size would be 1 or 2 MB more.
    assert peak < 2.5e6


def test_a_head_that_moved_away_leaves_nothing_where_it_was() -> None:
    y, x = np.mgrid[:256, :256]
    head = np.where(np.hypot((x - 128) / 60, (y - 120) / 90) < 1, 255, 0).astype(np.uint8)
    still = np.full((256, 256, 3), 200, np.uint8)
    landmarks = (face((128, 128), 120) / 127.5 - 1).astype(np.float32)
    ground = Ground(head, np.full((256, 256, 3), 20, np.uint8), landmarks)
    carrier = Carrier(still, ground=ground)
    # A flow that stands still, whatever the head does.
    flow = [np.zeros(shape, np.float32) for shape in ((2, 64, 64), (3, 256, 256), (1, 256, 256))]
    flow[2] += 1

    def seen(shift: float) -> np.ndarray:
        picture = carrier(*flow, landmarks + np.array([0, shift], np.float32))
        assert (picture[carrier.matte == 0] == 20).all()
        return carrier.matte.copy()

    at_rest = carrier(*flow)
    assert (seen(0.0) == head).all()
    assert (carrier(*flow, landmarks) == at_rest).all()
    lowered = seen(0.3)  # 38 pixels
    assert lowered[33:55].max() == 0
    assert (lowered[130:] == head[130:]).all()  # there a neck may be, or long hair
    assert (lowered <= head).all()
    raised = seen(-0.3)  # a head does not grow by it
    assert (raised[60:] == head[60:]).all()
