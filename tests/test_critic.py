"""Critics: see mouths upright, tell real from made, train neither by the other."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.landmarks import COUNT, INDEX  # noqa: E402
from training.critic import LIDS, LIPS, REACH, SIDE, Critic, seen  # noqa: E402


def _face(angle: float = 0.0, gap: float = 0.1) -> "torch.Tensor":
    """(1, 48, 2): all in the middle but the mouth, 0.4 wide around (0.1, 0.3), turned."""
    value = torch.zeros(1, COUNT, 2)
    along = torch.tensor([np.cos(angle), np.sin(angle)], dtype=torch.float32)
    down = torch.stack([-along[1], along[0]])
    middle = torch.tensor([0.1, 0.3])
    value[0, INDEX["mouth_right"]], value[0, INDEX["mouth_left"]] = (
        middle - 0.2 * along,
        middle + 0.2 * along,
    )
    value[0, INDEX["inner_lip_upper"]] = middle - gap / 2 * down
    value[0, INDEX["inner_lip_lower"]] = middle + gap / 2 * down
    return value


@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_mouths_are_seen_upright(angle: float) -> None:
    line = torch.linspace(-1, 1, 256)
    y, x = torch.meshgrid(line, line, indexing="ij")
    # How far along the mouth, in half widths of it, as red; how far down as green.
    along = ((x - 0.1) * np.cos(angle) + (y - 0.3) * np.sin(angle)) / 0.2
    down = (-(x - 0.1) * np.sin(angle) + (y - 0.3) * np.cos(angle)) / 0.2
    picture = torch.stack([along, down, down])[None]
    crop = seen(picture, _face(angle), LIPS)[0]
    # Of every two of twice as many places the mean.
    wanted = torch.linspace(-REACH, REACH, 2 * SIDE).reshape(SIDE, 2).mean(1)
    torch.testing.assert_close(crop[0], wanted.expand(SIDE, SIDE), atol=0.02, rtol=0)
    torch.testing.assert_close(crop[1], wanted[:, None].expand(SIDE, SIDE), atol=0.02, rtol=0)


def test_neither_loss_trains_the_others_network() -> None:
    torch.manual_seed(0)
    critic = Critic(LIPS)
    made = torch.rand(1, 3, 256, 256, requires_grad=True)
    own, unlikely = critic.losses(made, torch.rand(1, 3, 256, 256), _face())
    own.backward()
    assert made.grad is None
    learnt = [p.grad.clone() for p in critic.parameters()]
    assert any(float(gradient.abs().sum()) > 0 for gradient in learnt)
    unlikely.backward()
    assert float(made.grad.abs().sum()) > 0
    for parameter, before in zip(critic.parameters(), learnt, strict=True):
        torch.testing.assert_close(parameter.grad, before)


def test_an_open_mouth_counts_more_than_a_shut_one() -> None:
    torch.manual_seed(0)
    critic = Critic(LIPS).eval()  # spectral norms stay
    real, made = torch.rand(2, 1, 3, 256, 256)
    with torch.no_grad():
        opened = critic.losses(made, real, _face(gap=0.1))[0]
        shut = critic.losses(made, real, _face(gap=0.0))[0]
    assert float(shut) == pytest.approx(0.1 * float(opened), rel=1e-3)


def test_a_shut_eye_counts_more_than_an_open_one_and_each_eye_is_its_own() -> None:
    torch.manual_seed(0)
    critic = Critic(*LIDS).eval()

    def face(gap: float) -> torch.Tensor:
        value = torch.zeros(1, COUNT, 2)
        for side, x, ends in (("right", -0.3, (-0.1, 0.1)), ("left", 0.3, (0.1, -0.1))):
            for corner, away in zip(("outer", "inner"), ends, strict=True):
                value[0, INDEX[f"{side}_eye_{corner}"], 0] = x + away
            for lid, down in (("upper", -gap / 2), ("lower", gap / 2)):
                value[0, INDEX[f"{side}_lid_{lid}"]] = torch.tensor([x, down])
        return value

    real = torch.rand(1, 3, 256, 256)
    made = real.clone()
    made[..., :128] = torch.rand(1, 3, 256, 128)
    for part, same in zip(LIDS, (False, True), strict=True):
        assert seen(real, face(0.05), part).equal(seen(made, face(0.05), part)) == same
    with torch.no_grad():
        opened = critic.losses(made, real, face(0.05))[0]
        shut = critic.losses(made, real, face(0.0))[0]
    assert float(opened) == pytest.approx(0.1 * float(shut), rel=1e-3)


def test_it_learns_to_tell_sharp_mouths_from_blurred_ones() -> None:
    torch.manual_seed(0)
    critic = Critic(LIPS)
    optimizer = torch.optim.AdamW(critic.parameters(), 2e-3)
    real = torch.rand(4, 3, 128, 128)
    blurred = torch.nn.functional.avg_pool2d(real, 5, 1, 2)
    face = _face().expand(4, -1, -1)
    losses = []
    for _ in range(30):
        loss = critic.losses(blurred, real, face)[0]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
