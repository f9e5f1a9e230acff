"""Eyes that look elsewhere, against drawn faces that really do."""

from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from drawn_crop import AHEAD, drawn  # noqa: E402
from torch import Tensor  # noqa: E402

from models.compact import CompactModel  # noqa: E402
from models.eye_flow import IRIS, eye_flow, skin_around  # noqa: E402
from models.field import SIZE, carry, coordinate_grid  # noqa: E402
from models.landmarks import INDEX, indices  # noqa: E402
from models.openings import Openings  # noqa: E402
from models.windows import Windows  # noqa: E402
from realtime.performer import Moment  # noqa: E402

CORNERS = indices("right_eye_outer", "right_eye_inner", "left_eye_inner", "left_eye_outer")
IRISES = indices("right_iris", "left_iris")


def turned(picture: Tensor, avatar: Tensor, driving: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Displacement (1, 2, 128, 128) times its share, that, and what is seen of it at 256, of an
    avatar in ``picture`` with landmarks ``avatar``."""
    openings, windows = Openings.of(avatar, driving), Windows.around_eyes(driving)
    places = windows.places()
    skin = skin_around(F.avg_pool2d(picture, 4) * 2 - 1, openings)
    flow = eye_flow(skin, openings, places, openings.eyes_at(places))
    whole = F.pixel_shuffle(windows.laid(windows.in_cells(flow, 2)), 2)
    open_eyes = F.interpolate(whole[:, 3:], scale_factor=2.0, mode="bilinear")
    return whole[:, :2], whole[:, 2:3], open_eyes


def evenly_lit(picture: Tensor) -> Tensor:
    return torch.full_like(picture, 0.6)


def near_eyes(landmarks: Tensor, beyond: float = 0.0) -> Tensor:
    """(1, 1, 256, 256): the pixels that are no farther from an eye's middle than its corners, and
    those as far ``beyond``."""
    grid = coordinate_grid(SIZE, landmarks)
    ends = landmarks[0, CORNERS].reshape(2, 2, 2)
    middle, half = ends.mean(1), (ends[:, 1] - ends[:, 0]).norm(dim=-1) / 2
    away = (grid[None] - middle[:, None, None]).norm(dim=-1)
    inside: Tensor = (away < half[:, None, None] + beyond).any(0)
    return inside[None, None]


@pytest.mark.parametrize("gaze", [-1.0, -0.7, 0.7, 1.0])
def test_eyes_that_look_aside_look_as_if_they_had_been_drawn_so(gaze: float) -> None:
    picture, avatar = drawn(AHEAD)
    wanted, driving = drawn(Moment(gaze_x=gaze))
    moves, share, whole = turned(picture, avatar, driving)
    assert share.max() > 0.9
    made = torch.lerp(picture, carry(picture, moves / share.clamp(min=1e-3)), whole)
    eyes = near_eyes(driving)
    before, after = (((one - wanted).abs() * eyes).sum() for one in (picture, made))
    assert after < 0.45 * before


def test_an_iris_keeps_its_form() -> None:
    picture, avatar = drawn(AHEAD)
    _, driving = drawn(Moment(gaze_x=0.8))
    moves, share, _ = turned(picture, avatar, driving)
    grid = coordinate_grid(128, avatar)
    for iris, ends in zip(IRISES, (CORNERS[:2], CORNERS[2:]), strict=True):
        half = float((driving[0, ends[1]] - driving[0, ends[0]]).norm()) / 2
        inside = (grid - driving[0, iris]).norm(dim=-1) < 0.7 * IRIS * half
        inside &= share[0, 0] > 0.85
        assert inside.sum() >= 4
        led = (moves / share.clamp(min=1e-3))[0, :, inside]
        assert float(led.std(dim=1).max()) < 0.1 * half
        moved = float(driving[0, iris, 0] - avatar[0, iris, 0])
        assert -float(led[0].mean()) == pytest.approx(moved, rel=0.3)


@pytest.mark.parametrize("lids", [0.5, 0.7, 1.0])
def test_open_eyes_are_the_avatars_own_however_little_they_move(lids: float) -> None:
    """Nothing is painted in them: an iris has the avatar's colour, whether it glances or not."""
    picture, avatar = drawn(AHEAD)
    wanted, driving = drawn(Moment(gaze_x=0.05, eye_right=lids, eye_left=lids))
    moves, share, whole = turned(picture, avatar, driving)
    made = carry(picture, moves / share.clamp(min=1e-3))
    for iris in IRISES:
        x, y = ((driving[0, iris] + 1) * 127.5).round().int().tolist()
        assert whole[0, 0, y, x] > 0.6
        away = (made - wanted)[0, :, y - 2 : y + 3, x - 2 : x + 3].abs()
        assert float(away.mean()) < 0.08


def test_no_painter_is_sure_enough_to_paint_over_an_open_eye() -> None:
    """One that would paint all of the picture paints all of it but the eyes."""
    torch.manual_seed(5)
    model = CompactModel().eval().requires_grad_(False)
    _, avatar = drawn(AHEAD)
    picture, driving = drawn(Moment(gaze_x=0.1, yaw=15))
    model.template.copy_(avatar[0])
    last = model.painter.paint[-1]
    last.weight.zero_()
    last.bias.zero_()[-16:] = -7.0  # alpha of a cell's pixels
    code = model.encode(picture).code
    alpha = model.paint(code, model.keypoints(avatar), model.keypoints(driving)).alpha[0, 0]
    pixel = ((driving[0] + 1) * 127.5).round().int()
    for iris in IRISES:
        x, y = pixel[iris].tolist()
        assert alpha[y, x] > 0.95
    for name in ("nose_tip", "jaw_right", "forehead", "right_brow"):
        x, y = pixel[INDEX[name]].tolist()
        assert alpha[y, x] < 0.01, name


def test_a_face_that_does_not_move_keeps_its_eyes() -> None:
    picture, avatar = drawn(AHEAD)
    moves, share, whole = turned(picture, avatar, avatar)
    made = torch.lerp(picture, carry(picture, moves / share.clamp(min=1e-3)), whole)
    assert float(((made - picture).abs() * near_eyes(avatar)).max()) < 0.05
    assert float((made - picture)[:, :, near_eyes(avatar)[0, 0]].abs().mean()) < 0.002


@pytest.mark.parametrize("gaze", [0.0, 0.8])
def test_over_shut_eyes_lies_skin_from_above_and_below_and_may_be_painted(gaze: float) -> None:
    picture, avatar = drawn(AHEAD)
    _, driving = drawn(Moment(gaze_x=gaze, eye_right=0.0, eye_left=0.0))
    moves, share, seen = turned(picture, avatar, driving)
    assert seen.max() < 0.02
    both = torch.cat([moves, share], 1)
    for side in ("right", "left"):
        upper, lower = INDEX[f"{side}_lid_upper"], INDEX[f"{side}_lid_lower"]
        seam = driving[0, [upper, lower]].mean(0)
        x, y = ((seam + 1) * 127.5).round().int().tolist()
        assert seen[0, 0, y, x] < -0.6  # of the open eye, nothing is
        for away in (-0.018, 0.018):  # a little more than two pixels
            point = seam + torch.tensor([0.0, away])
            place = (point * (SIZE - 1) / SIZE).reshape(1, 1, 1, 2)
            x, y, part = F.grid_sample(both, place, align_corners=False).flatten().tolist()
            assert part > 0.6
            led = float(point[1]) + y / part
            lid = float(avatar[0, upper if away < 0 else lower, 1])
            assert (led - lid) * away > 0, (side, away)
            assert abs(led - lid) < 0.05
            assert abs(x) < 0.01


def test_the_seam_of_a_shut_eye_is_painted_from_corner_to_corner() -> None:
    picture, avatar = drawn(AHEAD)
    _, driving = drawn(Moment(eye_right=0.0, eye_left=0.0))
    _, share, seen = turned(picture, avatar, driving)
    lit = turned(evenly_lit(picture), avatar, driving)[2]
    for corners in (CORNERS[:2], CORNERS[2:]):
        ends = driving[0, corners]
        middle, half = ends.mean(0), (ends[1] - ends[0]) / 2
        for along in (-0.95, -0.6, 0.0, 0.6, 0.95):
            x, y = ((middle + along * half + 1) * 127.5).round().int().tolist()
            assert seen[0, 0, y - 3 : y + 4, x].min() < -0.6, along
            assert share[0, 0, y // 2 - 1 : y // 2 + 2, x // 2].max() > 0.6, along
        x, y = ((middle + 1) * 127.5).round().int().tolist()
        assert seen[0, 0, y - 12, x].abs() < 0.05  # the lid is not
        assert lit[0, 0, y - 8, x] > 0.9  # nor may it be, out of the light


def test_a_shut_lid_is_the_skin_between_lashes_and_brow_stretched() -> None:
    picture, avatar = drawn(AHEAD)
    wanted, driving = drawn(Moment(eye_right=0.0, eye_left=0.0))
    moves, share, seen = turned(evenly_lit(picture), avatar, driving)
    made = torch.lerp(picture, carry(picture, moves / share.clamp(min=1e-3)), seen.clamp(min=0))
    for side in ("right", "left"):
        lid, brow = (float(avatar[0, INDEX[f"{side}_{name}"], 1]) for name in ("lid_upper", "brow"))
        seam = driving[0, indices(f"{side}_lid_upper", f"{side}_lid_lower")].mean(0)
        x, y = ((seam + 1) * 127.5).round().int().tolist()
        rows = range(y // 2 - 2, int((lid + 1) * 63.5), -1)  # up to where the lid was
        led = [(row + 0.5) / 64 - 1 + float((moves / share)[0, 1, row, x // 2]) for row in rows]
        assert all(brow < above < below < lid for below, above in pairwise(led)), (side, led)
        before, after = (
            (one - wanted)[0, :, 2 * rows[-1] : 2 * rows[0], x - 4 : x + 5].abs().mean()
            for one in (picture, made)
        )
        assert after < 0.2 * before, (side, before, after)


@pytest.mark.parametrize("colour", [(0.8, 0.6, 0.5), (0.2, 0.3, 0.6)])
def test_the_seam_of_a_shut_eye_has_the_hue_of_skin(colour: tuple[float, ...]) -> None:
    torch.manual_seed(0)
    model = CompactModel().eval().requires_grad_(False)
    picture, avatar = drawn(AHEAD)
    _, driving = drawn(Moment(eye_right=0.0, eye_left=0.0))
    model.template.copy_(avatar[0])
    skin = torch.tensor(colour)
    code = model.encode(torch.ones_like(picture) * skin[:, None, None]).code
    painted = model.paint(code, model.keypoints(avatar), model.keypoints(driving)).painted[0]
    shut = driving[0, indices("right_lid_lower", "left_lid_lower")]
    for x, y in ((shut + 1) * 127.5).round().int().tolist():
        hues = [(one / (1 - one)).log() for one in (skin, painted[:, y, x])]
        wanted, found = (hue - hue.mean() for hue in hues)
        torch.testing.assert_close(found, wanted, atol=0.0, rtol=0.2)


def test_a_lid_does_not_come_out_of_the_dark() -> None:
    picture, avatar = drawn(AHEAD)
    _, driving = drawn(Moment(eye_right=0.0, eye_left=0.0))
    seam = driving[0, indices("right_lid_upper", "right_lid_lower")].mean(0)
    x, y = ((seam + 1) * 127.5).round().int().tolist()
    for light, ends in ((1.0, (0.9, 1.0)), (0.7, (0.3, 0.7)), (0.5, (-0.01, 0.01))):
        in_shade = evenly_lit(picture)
        in_shade[:, :, : y - 4] *= light
        seen = turned(in_shade, avatar, driving)[2]
        assert ends[0] < seen[0, 0, y - 8, x] <= ends[1], light


def test_an_avatar_with_shut_eyes_has_none_to_move() -> None:
    picture, asleep = drawn(Moment(eye_right=0.0, eye_left=0.0))
    _, driving = drawn(Moment(gaze_x=0.8))
    assert turned(picture, asleep, driving)[1].max() < 0.02


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.2, -0.1), (3.0, 3.0)])
def test_it_stays_between_the_lids(shift: tuple[float, float]) -> None:
    picture, avatar = drawn(AHEAD)
    _, driving = drawn(Moment(gaze_x=0.9, yaw=10))
    moved = driving + torch.tensor(shift)
    parts = turned(picture, avatar, moved)
    assert all(bool(torch.isfinite(one).all()) for one in parts)
    place = 2 * 2 / 255  # as wide as what is told apart: 2 pixels
    assert not (parts[2] > 0.01)[~near_eyes(moved, place)].any()
    if shift[0] < 1:
        assert parts[2].max() > 0.9
        pixel = ((moved[0] + 1) * 127.5).round().int()
        for name in ("nose_bridge", "right_brow", "right_eye_outer", "left_eye_inner"):
            x, y = pixel[INDEX[name]].tolist()
            assert parts[2][0, 0, y, x] < 0.3, name
