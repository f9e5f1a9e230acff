"""The reader of eyes: cuts where the eyes are, both eyes alike, and what it learns from."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.compact import CompactModel  # noqa: E402
from models.eyes import HEIGHT, LEFT, RIGHT, WIDTH, EyeReader  # noqa: E402
from models.head import MEAN_SHAPE  # noqa: E402
from models.landmarks import INDEX, MIRROR, NAMES  # noqa: E402
from training.data import SIZE, Portraits  # noqa: E402
from training.drawn import drawn_clips  # noqa: E402
from training.eyes import batch, eye, eye_loss, loss_of, train_eyes  # noqa: E402
from training.keypoints import gather  # noqa: E402
from training.loop import Schedule  # noqa: E402


class _Finds(EyeReader):
    """Finds these landmarks (9, 2) in every eye."""

    def __init__(self, points: torch.Tensor) -> None:
        super().__init__()
        self.points = points

    def forward(self, eyes: torch.Tensor) -> torch.Tensor:
        return self.points.expand(len(eyes), -1, -1)


def _face(turn: float = 0.0) -> torch.Tensor:
    """The mean face (1, 48, 2) about as wide as the picture, turned in it by radians."""
    points = torch.from_numpy(MEAN_SHAPE[:, :2].astype(np.float32))
    points = points / points.abs().max() * 0.6
    cos, sin = np.cos(turn), np.sin(turn)
    return (points @ torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float32))[None]


def test_the_landmarks_of_an_eye_are_its_corners_lids_and_iris() -> None:
    names = list(NAMES)
    for side, chosen in (("right", RIGHT), ("left", LEFT)):
        expected = [name for name in names if name.startswith((f"{side}_eye", f"{side}_lid"))]
        assert {names[index] for index in chosen} == {*expected, f"{side}_iris"}


@pytest.mark.parametrize("turn", [0.0, 0.4])
def test_what_is_found_in_an_eye_is_put_back_where_the_eye_is(turn: float) -> None:
    face = _face(turn)
    ahead = torch.zeros(9, 2)
    ahead[-1, 0] = 1.0  # the iris at the edge towards the nose, the rest in the middle
    found = _Finds(ahead).reread(torch.rand(1, 3, SIZE, SIZE), face)[0]
    right, left = (face[0, eye[:2]].mean(0) for eye in (RIGHT, LEFT))
    across = (left - right) * 0.36
    for name, middle, way in (("right", right, 1), ("left", left, -1)):
        torch.testing.assert_close(found[INDEX[f"{name}_iris"]], middle + way * across)
        torch.testing.assert_close(found[INDEX[f"{name}_lid_upper"]], middle)
    others = [index for index in range(48) if index not in {*RIGHT, *LEFT}]
    torch.testing.assert_close(found[others], face[0, others])


def test_both_eyes_are_read_alike() -> None:
    torch.manual_seed(0)
    reader = EyeReader().eval()
    picture, face = torch.rand(1, 3, SIZE, SIZE), _face(0.1)
    mirrored = face[:, list(MIRROR)] * torch.tensor([-1.0, 1.0])
    found = reader.reread(picture, face)
    back = reader.reread(picture.flip(-1), mirrored)[:, list(MIRROR)] * torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(found, back, atol=1e-4, rtol=0)


@pytest.mark.parametrize("left", [False, True])
def test_labels_stay_on_their_place_in_the_cut(left: bool, drawn: list) -> None:
    landmarks = drawn[0].landmarks[0]
    iris = landmarks[INDEX["left_iris" if left else "right_iris"]]
    y, x = np.mgrid[:SIZE, :SIZE]
    # A bright blob on the iris: its middle in the cut must be where the label says.
    blob = np.exp(-((x - iris[0]) ** 2 + (y - iris[1]) ** 2) / (2 * 2.0**2)) * 255
    picture = np.repeat(blob[..., None], 3, -1).astype(np.uint8)
    rng = np.random.default_rng(3)
    for _ in range(5):
        cut, points = eye(picture, landmarks, left, rng)
        assert cut.shape == (HEIGHT, WIDTH, 3)
        weight = cut[..., 0].astype(np.float64)
        rows, columns = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
        middle = np.array([(weight * axis).sum() for axis in (columns, rows)]) / weight.sum()
        assert middle == pytest.approx(points[-1], abs=0.03)


def test_a_batch_has_both_eyes_of_two_moments(portraits: Portraits, drawn: list) -> None:
    faces = gather(portraits, drawn, [])
    eyes, value = batch(faces, np.random.default_rng(0), 6)
    assert eyes.shape == (12, 3, HEIGHT, WIDTH)
    assert value.shape == (12, 9, 2)
    assert 0 <= float(eyes.min()) < float(eyes.max()) <= 1
    # The outer corner lies on the outer side in every cut: left eyes are mirrored.
    assert (value[:, 0, 0] < value[:, 1, 0]).all()


def test_a_shut_eye_counts_more_than_one_that_is_elsewhere() -> None:
    target = torch.zeros(4, 9, 2)
    elsewhere, shut = torch.full_like(target, 0.05), torch.zeros_like(target)
    shut[:, 2:5, 1], shut[:, 5:8, 1] = 0.05, -0.05
    assert loss_of(target, target) == 0
    assert eye_loss(target, target) == 0
    assert loss_of(shut, target) > loss_of(elsewhere, target)
    assert eye_loss(shut, target) > eye_loss(elsewhere, target)


def test_the_reader_trains_into_its_folder(
    tmp_path: Path, portraits: Portraits, drawn: list
) -> None:
    torch.manual_seed(0)
    faces = gather(portraits, drawn, [])
    train_eyes(faces, tmp_path, Schedule(minutes=9, steps=2), batch_size=4)
    written = torch.load(tmp_path / "weights.pt", weights_only=True)
    CompactModel().eyes.load_state_dict(written)


def test_the_shipped_reader_finds_drawn_eyes() -> None:
    from training.weights import DEFAULT_WEIGHTS, read_model

    reader = read_model(DEFAULT_WEIGHTS).eyes
    errors = []
    for clip in drawn_clips(3, 2):
        for image, landmarks in zip(clip.images, clip.landmarks, strict=True):
            picture = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]
            true = torch.from_numpy(landmarks / (SIZE - 1) * 2 - 1)[None].float()
            # Cut out two pixels beside where it is: what a landmark detector errs by.
            with torch.no_grad():
                found = reader.reread(picture, true + 2 * 2 / (SIZE - 1))
            error = (found - true)[0, [*RIGHT, *LEFT]].norm(dim=-1)
            errors.append(float(error.mean()) * (SIZE - 1) / 2)
    assert np.mean(errors) < 1.5
