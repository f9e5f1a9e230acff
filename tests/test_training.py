"""Training: figures fall, what is to stay stays, resume after a kill."""

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from config.errors import SettingsError  # noqa: E402
from models.compact import CompactModel  # noqa: E402
from models.landmark_detector import LandmarkDetector  # noqa: E402
from models.landmarks import COUNT, MIRROR, NAMES  # noqa: E402
from training import pairs  # noqa: E402
from training.data import SIZE, Portraits  # noqa: E402
from training.generator import (  # noqa: E402
    LossWeights,
    mean_face,
    student,
    train_generator,
    widened,
    with_lids,
)
from training.keypoints import (  # noqa: E402
    batch,
    crop,
    gather,
    look,
    loss_of,
    read_twice,
    train_detector,
)
from training.loop import Schedule, train  # noqa: E402
from training.matte import mattes  # noqa: E402
from training.weights import DEFAULT_WEIGHTS, read_model  # noqa: E402

CHANGED = {"motion", "painter"}
"""What a student has of its own."""
needs_weights = pytest.mark.skipif(not DEFAULT_WEIGHTS.exists(), reason="no weights are shipped")


def test_flipped_crops_have_flipped_landmarks(portraits: Portraits) -> None:
    image, points = portraits.images[0], portraits.landmarks[0]
    right, left = list(NAMES).index("right_eye_outer"), list(NAMES).index("left_eye_outer")
    for seed in range(12):
        view = look(points, np.random.default_rng(seed), present=True)
        _, value = crop(image, points, view, cv2.BORDER_REPLICATE)
        assert value[right, 0] < value[left, 0]  # the person's right eye is left in the picture
    assert MIRROR[right] == left


def test_negative_crops_hold_no_whole_face(portraits: Portraits) -> None:
    for seed in range(20):
        view = look(portraits.landmarks[0], np.random.default_rng(seed), present=False)
        image, points = portraits.images[0], portraits.landmarks[0]
        _, value = crop(image, points, view, cv2.BORDER_REPLICATE)
        assert not (np.abs(value) < 1).all()


def test_two_and_two_crops_show_one_person_in_one_place(
    portraits: Portraits, drawn: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.keypoints.NEGATIVE_SHARE", 0.0)
    faces = gather(portraits, drawn, [])
    first, last = faces.people[len(portraits.images)]
    assert (first, last) == (8, 12)
    _, value, present = batch(faces, np.random.default_rng(1), 64)
    assert present.all()
    apart = (value[0::2] - value[1::2]).norm(dim=-1).mean(-1)
    others = (value[0::2] - value.roll(3, 0)[1::2]).norm(dim=-1).mean(-1)
    assert apart.mean() < 0.8 * others.mean()


def test_movement_counts_more_than_a_common_error() -> None:
    target = torch.zeros(2, COUNT, 2)
    present, presence = torch.ones(2), torch.full((2,), 20.0)
    alike = torch.full_like(target, 0.05)
    apart = alike * torch.tensor([1.0, -1.0]).reshape(2, 1, 1)
    assert loss_of(target, presence, target, present) < 1e-6
    assert loss_of(apart, presence, target, present) > 2 * loss_of(alike, presence, target, present)


def test_the_detector_learns_faces_by_heart(
    tmp_path: Path, portraits: Portraits, drawn: list
) -> None:
    data = batch(gather(portraits, drawn, []), np.random.default_rng(0), 6)
    torch.manual_seed(0)
    network = LandmarkDetector()
    losses: list[float] = []

    def step(fixed: tuple, _autocast: object) -> tuple:
        loss = loss_of(*network(fixed[0]), *fixed[1:])
        losses.append(float(loss.detach()))
        return loss, {}

    train(network, lambda _: data, step, tmp_path, Schedule(9, 2e-3, steps=50))
    assert losses[-1] < 0.5 * losses[0]


def test_the_detector_starts_from_given_weights_and_leaves_its_own(
    tmp_path: Path, portraits: Portraits, drawn: list
) -> None:
    faces = gather(portraits, drawn, [])
    assert faces.weights.sum() == pytest.approx(1)
    torch.manual_seed(0)
    begin = LandmarkDetector()
    torch.save(begin.state_dict(), tmp_path / "begin.pt")
    schedule = Schedule(minutes=9, learning_rate=1e-9, steps=1)
    train_detector(faces, tmp_path / "run", schedule, tmp_path / "begin.pt", batch_size=2)
    written = torch.load(tmp_path / "run" / "weights.pt", weights_only=True)
    assert set(written) == set(begin.state_dict())
    torch.testing.assert_close(written["heatmaps.weight"], begin.heatmaps.weight.data)


def test_a_killed_training_goes_on_where_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)

    def run(steps: int, network: torch.nn.Linear) -> list[int]:
        seen: list[int] = []

        def step(data: tuple, _autocast: object) -> tuple:
            seen.append(1)
            loss = (network(data[0]) - data[0].sum(1, keepdim=True)).square().mean()
            return loss, {"loss": float(loss.detach())}

        def make(rng: np.random.Generator) -> tuple:
            return (torch.from_numpy(rng.normal(size=(16, 3)).astype(np.float32)),)

        train(network, make, step, tmp_path / "run", Schedule(minutes=9, steps=steps))
        return seen

    assert len(run(30, torch.nn.Linear(3, 1))) == 30
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert state["steps"] == 30
    assert state["elapsed"] > 0
    fresh = torch.nn.Linear(3, 1)
    assert run(30, fresh) == []  # nothing left to do
    torch.testing.assert_close(fresh.weight.data, state["mean"]["weight"])
    assert len(run(45, torch.nn.Linear(3, 1))) == 15
    later = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert later["steps"] == 45
    assert later["elapsed"] > state["elapsed"]
    with pytest.raises(SettingsError, match="is of another network than this one"):
        run(50, torch.nn.Linear(2, 1))


def test_a_part_of_the_way_lies_between_the_weights_before_and_those_learnt(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 1)
    before = network.weight.detach().clone()

    def step(data: tuple, _autocast: object) -> tuple:
        return (network(data[0]) - 1).square().mean(), {}

    def make(rng: np.random.Generator) -> tuple:
        return (torch.from_numpy(rng.normal(size=(16, 3)).astype(np.float32)),)

    train(network, make, step, tmp_path, Schedule(9, 0.1, steps=40, kept=0.25))
    learnt = torch.load(tmp_path / "state.pt", weights_only=True)["mean"]["weight"]
    assert (learnt - before).abs().max() > 0.1
    torch.testing.assert_close(network.weight.data, 0.75 * before + 0.25 * learnt)
    written = torch.load(tmp_path / "weights.pt", weights_only=True)
    torch.testing.assert_close(written["weight"], network.weight.data)


def test_the_generator_trains_and_leaves_its_judges_alone(
    tmp_path: Path, portraits: Portraits, drawn: list
) -> None:
    torch.manual_seed(0)
    model = CompactModel()
    model.template.copy_(mean_face(portraits.landmarks, SIZE))
    judges = torch.nn.ModuleList([model.detector, model.eyes])
    before = [value.clone() for value in judges.state_dict().values()]
    material = pairs.gather(portraits, mattes(portraits), drawn, [])
    train_generator(model, material, tmp_path, Schedule(minutes=9, steps=2), batch_size=2)
    after = list(judges.state_dict().values())
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    trained = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert {name.split(".")[0] for name in trained} == {
        "encoder",
        "motion",
        "painter",
        "critics",
    }
    assert all(torch.isfinite(value).all() for value in trained.values())


@needs_weights
def test_lids_are_learnt_and_all_else_stays(
    tmp_path: Path, portraits: Portraits, drawn: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    known = read_model(DEFAULT_WEIGHTS)
    model = with_lids(known)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    material = pairs.gather(portraits, mattes(portraits), drawn, [])
    seen = _figures_on_one_batch(monkeypatch, "training.generator", 80)
    # Neither a critic nor what the readers read by chance: they are moving aims.
    monkeypatch.setattr("training.generator.LABELS", 1.0)
    weights, schedule = LossWeights(mouth=0), Schedule(minutes=9)
    train_generator(model, material, tmp_path, schedule, 2, weights=weights, only_lids=True)
    changed = {n for n, value in model.state_dict().items() if not value.equal(before[n])}
    assert changed
    assert all(name.startswith("painter.lids.") for name in changed)
    with pytest.raises(ValueError, match="only_lids wants a model with lids"):
        train_generator(CompactModel(), material, tmp_path, schedule, only_lids=True)
    assert 0 < seen[-1]["painted"] < 0.96 * seen[0]["painted"]


def test_two_readings_agree_on_a_picture_and_its_mirror_image() -> None:
    torch.manual_seed(3)
    network = LandmarkDetector().eval().requires_grad_(False)
    image = torch.rand(2, 3, 128, 128)
    one, other = read_twice(network, image), read_twice(network, image.flip(-1))
    torch.testing.assert_close(one, other[:, list(MIRROR)] * torch.tensor([-1.0, 1.0]))
    assert not torch.allclose(network(image)[0], one, atol=1e-3)


def _figures_on_one_batch(monkeypatch: pytest.MonkeyPatch, module: str, steps: int) -> list:
    """Has ``module`` train on one and the same batch; the list gets each step's figures."""
    seen: list[dict[str, float]] = []

    def overfit(network, make_batch, step, run, schedule):
        data = make_batch(np.random.default_rng(5))
        optimizer = torch.optim.Adam(network.train().parameters(), 2e-3)
        for _ in range(steps):
            loss, figures = step(data, torch.autocast("cpu", torch.bfloat16))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append(figures)
        return network

    monkeypatch.setattr(f"{module}.train", overfit)
    return seen


@needs_weights
def test_a_taught_detector_is_held_against_its_teacher_and_not_the_labels(
    tmp_path: Path, portraits: Portraits, drawn: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _figures_on_one_batch(monkeypatch, "training.keypoints", 1)
    faces = gather(portraits, drawn, [])
    faces.landmarks[:] = [points + np.float32(12) for points in faces.landmarks]  # wrong labels
    for teacher in (DEFAULT_WEIGHTS, None):
        train_detector(faces, tmp_path, Schedule(minutes=9), DEFAULT_WEIGHTS, teacher)
    taught, labelled = (figures["error_px256"] for figures in seen)
    assert taught < 0.3 * labelled


@needs_weights
def test_a_widened_generator_begins_as_what_it_was_and_all_of_it_learns(
    tmp_path: Path, portraits: Portraits, drawn: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = read_model(DEFAULT_WEIGHTS)
    wide = widened(model, "l")
    assert wide.variant == "l"
    image = torch.from_numpy(portraits.images[:1]).permute(0, 3, 1, 2) / 255
    keypoints = model.detect(image)
    moved = model.keypoints(keypoints.value * 1.1 + 0.03)
    with torch.no_grad():
        before, after = (one.generate(one.encode(image), keypoints, moved) for one in (model, wide))
    torch.testing.assert_close(after, before, atol=1e-4, rtol=0)
    own = {name: value.clone() for name, value in wide.state_dict().items()}
    _figures_on_one_batch(monkeypatch, "training.generator", 3)
    material = pairs.gather(portraits, mattes(portraits), drawn, [])
    train_generator(wide, material, tmp_path, Schedule(minutes=9), 2)
    known = model.state_dict()
    for name, value in wide.state_dict().items():
        if value.ndim == 4 and value.shape != known[name].shape:
            assert (value != own[name]).flatten(1).any(1).all(), name


@needs_weights
def test_a_small_generator_comes_near_its_teacher(
    tmp_path: Path, portraits: Portraits, drawn: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    teacher = read_model(DEFAULT_WEIGHTS)
    model = student(teacher, "s")
    own = {name: value.clone() for name, value in model.state_dict().items()}
    known = teacher.state_dict()
    assert all(v.equal(known[n]) for n, v in own.items() if n.split(".")[0] not in CHANGED)
    before = [value.clone() for value in known.values()]
    material = pairs.gather(portraits, mattes(portraits), drawn, [])
    # No true picture is looked at: whatever it comes nearer to, it learns from its teacher.
    names = "pixels carried painted edges features landmarks eyes mouth lids keep smooth"
    only = LossWeights(**dict.fromkeys(names.split(), 0.0))
    seen = _figures_on_one_batch(monkeypatch, "training.generator", 12)
    schedule = Schedule(minutes=9)
    train_generator(model, material, tmp_path, schedule, 2, weights=only, teacher=teacher)
    for name in ("taught", "shown"):
        assert 0 < seen[-1][name] < 0.8 * seen[0][name], name
    assert all(map(torch.equal, before, teacher.state_dict().values()))
    now = model.state_dict().items()
    assert {n.split(".")[0] for n, v in now if not v.equal(own[n])} == CHANGED
