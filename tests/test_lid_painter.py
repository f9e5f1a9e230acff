"""Eyes near by: where they are painted, and what the painter is told of each place."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.compact import CompactModel  # noqa: E402
from models.head import MEAN_SHAPE  # noqa: E402
from models.landmarks import COUNT, INDEX  # noqa: E402
from models.lids import LidPainter  # noqa: E402
from models.openings import Openings  # noqa: E402
from models.painter import Painter  # noqa: E402
from models.windows import Windows  # noqa: E402

FACE = torch.from_numpy(MEAN_SHAPE[:, :2]).float()[None] * 0.9


def with_lids() -> CompactModel:
    torch.manual_seed(3)
    model = CompactModel("m", lids=True).eval().requires_grad_(False)
    model.template.copy_(FACE[0])
    return model


def logits_near(lids: LidPainter, face: torch.Tensor) -> torch.Tensor:
    """What random weights add, (256, 256): how much each pixel changes."""
    torch.manual_seed(4)
    torch.nn.init.normal_(lids.paint.weight)
    torch.nn.init.normal_(lids.paint.bias)
    return torch.pixel_shuffle(added_by(lids, torch.rand(1, 64, 64, 64), face), 4)[0].abs().amax(0)


def added_by(lids: LidPainter, features: torch.Tensor, face: torch.Tensor) -> torch.Tensor:
    windows = Windows.around_eyes(face)
    places = windows.places()
    eyes = Openings.of(face, face).eyes_at(places)
    return windows.laid(windows.in_cells(lids(features, face, windows, places, eyes), 4))


def test_at_first_it_changes_nothing_and_weights_tell_that_it_is_there() -> None:
    model = with_lids()
    assert CompactModel.of(model.state_dict()).painter.lids is not None
    without = CompactModel().eval().requires_grad_(False)
    assert CompactModel.of(without.state_dict()).painter.lids is None
    without.load_state_dict(model.state_dict(), strict=False)
    picture = torch.rand(1, 3, 256, 256)
    asked = FACE * 1.1 + 0.05
    one, other = (
        each.generate(each.encode(picture), each.keypoints(FACE), each.keypoints(asked))
        for each in (model, without)
    )
    assert one.equal(other)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.31, -0.2), (5.0, 5.0)])
def test_only_the_surroundings_of_eyes_are_painted(shift: tuple[float, float]) -> None:
    lids = with_lids().painter.lids
    assert lids is not None
    face = FACE + torch.tensor(shift)
    changed = logits_near(lids, face) > 0
    rows, columns = (np.nonzero(changed.any(axis).numpy())[0] for axis in (1, 0))
    if shift[0] > 1:  # out of the picture: as near as there is room
        assert rows[-1] >= 254
        assert columns[-1] >= 254
        return
    assert 0.035 < changed.float().mean() < 0.05
    pixel = (face[0] + 1) * 127.5
    for name in ("right_iris", "left_iris", "right_lid_upper_outer", "left_lid_lower_inner"):
        x, y = pixel[INDEX[name]].round().int().tolist()
        assert changed[y, x], name
    for name in ("nose_tip", "forehead", "temple_left", "lip_upper"):
        x, y = pixel[INDEX[name]].round().int().tolist()
        assert not changed[y, x], name


def test_windows_move_with_the_face_by_whole_cells() -> None:
    lids = with_lids().painter.lids
    assert lids is not None
    cell = 2 * 4 / 255
    features = torch.rand(1, 64, 64, 64)
    logits_near(lids, FACE)
    moved = FACE + torch.tensor([2 * cell * 255 / 256, 0.0])
    here = added_by(lids, features, FACE)
    there = added_by(lids, features.roll(2, 3), moved)
    torch.testing.assert_close(there, here.roll(2, 3), atol=2e-2, rtol=1e-2)
    assert here.abs().max() > 1


@pytest.mark.parametrize("tilt", [0.0, 0.5])
def test_places_are_told_from_between_the_lids(tilt: float) -> None:
    # A right eye 0.4 wide, its lids parabolas 0.1 above and 0.06 below the line of its corners.
    face = torch.zeros(COUNT, 2)
    for part, x in (("_outer", -0.1), ("", 0.0), ("_inner", 0.1)):
        arch = 1 - (x / 0.2) ** 2
        face[INDEX[f"right_lid_upper{part}"]] = torch.tensor([x, -0.1 * arch])
        face[INDEX[f"right_lid_lower{part}"]] = torch.tensor([x, 0.06 * arch])
    face[INDEX["right_eye_outer"], 0], face[INDEX["right_eye_inner"], 0] = -0.2, 0.2
    turn = torch.tensor([[math.cos(tilt), math.sin(tilt)], [-math.sin(tilt), math.cos(tilt)]])
    places = torch.tensor([[0.0, 0.0], [0.0, -0.1], [0.1, 0.045], [-0.2, 0.0]]) @ turn
    points = torch.cat([places.T, torch.ones(1, 4)]).expand(1, 2, 3, 4)
    driving = (face @ turn)[None]
    eyes = Openings.of(driving * 0.5, driving).eyes_at(points)
    assert eyes.half[0, 0].item() == pytest.approx(0.2)
    along, (below, above), (upper, lower) = eyes.along[0, 0, 0], eyes.inside[0, 0], eyes.own[0, 0]
    torch.testing.assert_close(along, torch.tensor([0.0, 0.0, 0.5, -1.0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(below, torch.tensor([0.5, 0.0, 0.6, 0.0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(above, torch.tensor([0.3, 0.8, 0.0, 0.0]), atol=1e-4, rtol=0)
    # The avatar's eye is as open for its width.
    torch.testing.assert_close(upper, torch.tensor([-0.5, -0.5, -0.375, 0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(lower, torch.tensor([0.3, 0.3, 0.225, 0]), atol=1e-4, rtol=0)


def test_a_painter_has_one_only_where_it_is_told() -> None:
    assert Painter().lids is None
    assert isinstance(Painter(lids=True).lids, LidPainter)
