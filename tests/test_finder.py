"""The face finder: its training scenes, and what the shipped one finds."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from realtime.finder import Finder
from realtime.performer import Appearance, Moment, draw


@pytest.fixture(scope="module")
def finder() -> Finder:
    return Finder()


def scene(
    height: float, at: tuple[int, int], size: tuple[int, int] = (640, 480), tilt: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """A drawn person with a face of this height in a grey picture; the middle of the face."""
    picture, truth = draw(Appearance(), Moment(), 480, 480)
    scale = height / np.ptp(truth.landmarks[:, 1])
    middle = (truth.landmarks.min(0) + truth.landmarks.max(0)) / 2
    matrix = np.array(cv2.getRotationMatrix2D(tuple(map(float, middle)), tilt, scale))
    matrix[:, 2] += np.array(at) - middle
    if scale < 1:
        picture = cv2.GaussianBlur(picture, (0, 0), 0.4 / scale)
    image = cv2.warpAffine(picture, matrix, size, borderValue=(110, 110, 110))
    return np.asarray(image, np.uint8), np.array(at, float)


@pytest.mark.parametrize("height", [40, 80, 160, 300])
def test_a_face_is_found_where_it_is_and_as_high(finder: Finder, height: float) -> None:
    image, middle = scene(height, (330, 250))
    found = finder.find(image, 40)
    assert len(found) == 1
    assert np.hypot(found[0].x - middle[0], found[0].y - middle[1]) < 0.15 * height
    assert found[0].height == pytest.approx(height, rel=0.4)


@pytest.mark.parametrize("tilt", [-25, 25])
def test_a_tilted_head_is_found(finder: Finder, tilt: float) -> None:
    image, middle = scene(150, (200, 260), tilt=tilt)
    (found, *_) = finder.find(image, 40)
    assert np.hypot(found.x - middle[0], found.y - middle[1]) < 30


def test_a_dim_room_hides_nobody(finder: Finder) -> None:
    image, middle = scene(120, (400, 240))
    noise = np.random.default_rng(0).normal(0, 4, image.shape)
    dim = np.clip(image * 0.2 + noise, 0, 255).astype(np.uint8)
    (found, *_) = finder.find(dim, 40)
    assert np.hypot(found.x - middle[0], found.y - middle[1]) < 20


def test_two_faces_are_two(finder: Finder) -> None:
    image, _ = scene(120, (170, 240))
    image[:, 320:] = scene(120, (470, 240))[0][:, 320:]
    assert sorted(round(one.x / 10) for one in finder.find(image, 40)) == pytest.approx(
        [17, 47], abs=2
    )


def test_a_small_face_in_a_large_or_tall_picture_is_found_when_asked_for(finder: Finder) -> None:
    for size in ((1920, 1080), (720, 1280)):
        image, middle = scene(60, (500, 700), size)
        (found, *_) = finder.find(image, 50)
        assert np.hypot(found.x - middle[0], found.y - middle[1]) < 15


def test_plain_and_noisy_pictures_hold_nobody(finder: Finder) -> None:
    rng = np.random.default_rng(0)
    for image in (
        np.full((480, 640, 3), 120, np.uint8),
        rng.integers(0, 256, (480, 640, 3), np.uint8),
        np.full((9, 13, 3), 120, np.uint8),
    ):
        assert finder.find(image, 40) == []


def test_the_network_learns_scenes_by_heart_and_runs_in_opencv_as_in_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from models.finder import FaceFinder
    from training.data import Portraits
    from training.drawn import drawn_clips
    from training.finder import HEIGHT, WIDTH, People, batch, loss_of, write_finder
    from training.loop import Schedule, train
    from training.matte import mattes

    drawn = drawn_clips(1, 3)
    portraits = Portraits(drawn[0].images, drawn[0].landmarks, np.zeros((3, 48), np.float32))
    people = People(portraits, mattes(portraits), drawn)
    fixed = batch(people, np.random.default_rng(0), 8)
    assert fixed[0].shape == (8, 3, HEIGHT, WIDTH)
    assert float(fixed[1].max()) == 1.0
    torch.manual_seed(0)
    network = FaceFinder()
    losses: list[float] = []

    def step(data: tuple, _autocast: object) -> tuple:
        heat, shape = network(data[0])
        loss = loss_of(heat, shape, data[1:])
        losses.append(float(loss.detach()))
        return loss, {}

    train(network, lambda _: fixed, step, tmp_path / "run", Schedule(9, 3e-3, steps=25))
    assert losses[-1] < 0.5 * losses[0]
    write_finder(network, tmp_path)
    image = fixed[0][:1]
    opened = Finder(tmp_path / "finder.onnx")
    opened._network.setInput(image.numpy(), "image")
    heat, shape = opened._network.forward(["heat", "shape"])
    with torch.no_grad():
        wanted = network.eval()(image)
    np.testing.assert_allclose(heat, wanted.heat.numpy(), atol=1e-3)
    np.testing.assert_allclose(shape, wanted.shape.numpy(), atol=1e-3)
