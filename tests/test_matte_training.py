"""The matte network's training: its material, that it learns, and that OpenCV runs it alike."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.matte import SIDE, MatteNetwork  # noqa: E402
from realtime.shipped import open_network  # noqa: E402
from training.loop import Schedule, train  # noqa: E402
from training.matte import Sitters, batch, drawn_sitter, loss_of, sample, write_matte  # noqa: E402


@pytest.fixture(scope="module")
def sitters() -> Sitters:
    drawn = [drawn_sitter(number) for number in range(4)]
    return Sitters(np.stack([one for one, _ in drawn]), np.stack([matte for _, matte in drawn]))


def test_drawn_people_are_where_they_are_said_to_be(sitters: Sitters) -> None:
    assert sitters.images.shape == (4, SIDE, SIDE, 3)
    for matte in sitters.mattes:
        assert 0.2 < (matte > 127).mean() < 0.8
        assert (
            matte[SIDE // 2 - 20 : SIDE // 2 + 20, SIDE // 2 - 10 : SIDE // 2 + 10] == 255
        ).all()
        assert (matte[:4] == 0).all()


def test_picture_and_matte_go_together(sitters: Sitters) -> None:
    plain = np.where(sitters.mattes[..., None] > 127, (250, 250, 250), (5, 5, 5)).astype(np.uint8)
    plain = Sitters(plain, sitters.mattes)
    rng = np.random.default_rng(0)
    for _ in range(20):
        picture, matte = sample(plain, rng)
        assert picture.shape == (3, SIDE, SIDE)
        assert matte.shape == (1, SIDE, SIDE)
        assert matte.min() >= 0
        assert matte.max() <= 1
        person, other = (matte[0] > 0.95), (matte[0] < 0.05)
        # White people; what is behind them may be anything, but then is not the same everywhere.
        assert np.median(picture[:, person]) > np.median(picture[:, other]) - 0.05
        assert picture[:, person].std(1).max() < 0.12


def test_the_network_learns_people_by_heart_and_runs_in_opencv_as_in_torch(
    sitters: Sitters, tmp_path: Path
) -> None:
    fixed = batch(sitters, np.random.default_rng(0), 4)
    torch.manual_seed(0)
    network = MatteNetwork()
    losses: list[float] = []

    def step(data: tuple, _autocast: object) -> tuple:
        loss = loss_of(network(data[0]), data[1])
        losses.append(float(loss.detach()))
        return loss, {}

    train(network, lambda _: fixed, step, tmp_path / "run", Schedule(9, 3e-3, steps=30))
    assert losses[-1] < 0.5 * losses[0]
    write_matte(network, tmp_path)
    opened = open_network(tmp_path / "matte.onnx", "matte network")
    image = fixed[0][:1]
    opened.setInput(image.numpy(), "image")
    logits = opened.forward("logits")
    with torch.no_grad():
        wanted = network.eval()(image).numpy()
    np.testing.assert_allclose(logits, wanted, atol=1e-3)
