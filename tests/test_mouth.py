"""Mouths that open, against drawn faces that really do, and what is fixed to the skull."""

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from drawn_crop import AHEAD, drawn  # noqa: E402
from torch import Tensor  # noqa: E402

from models.field import SIZE, coordinate_grid  # noqa: E402
from models.head import MEAN_SHAPE  # noqa: E402
from models.landmarks import INDEX, indices  # noqa: E402
from models.mouth import Mouth, newly_open  # noqa: E402
from models.openings import Openings  # noqa: E402
from models.windows import CELLS, Windows  # noqa: E402
from realtime.performer import Moment  # noqa: E402

LIPS = indices("inner_lip_upper", "inner_lip_lower")


class Shown:
    """What ``Mouth`` does in a whole picture, each (256, 256) or (128, 128)."""

    def __init__(self, picture: Tensor, avatar: Tensor, driving: Tensor) -> None:
        openings, windows = Openings.of(avatar, driving), Windows.around_mouth(driving)
        small = F.avg_pool2d(picture, SIZE // CELLS) * 2 - 1
        places = windows.places_by_cell(4)[:, 0]
        newly = newly_open(openings)
        patches = Mouth()(small, avatar, driving, openings, places, newly)
        away, added, share = (windows.laid(patch) for patch in patches)
        moves, added = F.pixel_shuffle(away, 2)[0], F.pixel_shuffle(added, 4)[0]
        self.share = F.pixel_shuffle(share, 4)[0, 0]
        self.alpha = added[3]
        self.rgb = torch.sigmoid(added[:3] / self.share.clamp(min=1e-3))
        self.carried = moves[2]
        self.displacement = moves[:2] / self.carried.clamp(min=1e-3)

    def light(self, where: Tensor) -> float:
        return float(self.rgb.mean(0)[where].mean())


def level(landmarks: Tensor, name: str) -> float:
    return float(landmarks[0, INDEX[name], 1])


def between_lips(landmarks: Tensor, from_: float, to: float) -> Tensor:
    """(256, 256): pixels near the middle of the mouth, from one part of its height to the other."""
    grid = coordinate_grid(SIZE, landmarks)
    upper, lower = landmarks[0, LIPS]
    half = float((landmarks[0, INDEX["mouth_left"]] - landmarks[0, INDEX["mouth_right"]])[0]) / 2
    down = (grid[..., 1] - upper[1]) / (lower[1] - upper[1])
    return (down > from_) & (down < to) & ((grid[..., 0] - upper[0]).abs() < 0.3 * half)


def test_a_mouth_that_was_shut_shows_teeth_above_dark_and_a_tongue_below() -> None:
    picture, avatar = drawn(AHEAD)
    _, driving = drawn(Moment(mouth_open=0.8))
    shown = Shown(picture, avatar, driving)
    inside = between_lips(driving, 0.1, 0.9)
    assert float(shown.share[inside].mean()) > 0.9
    assert float(shown.alpha[inside].max()) < -3  # painted, not carried
    teeth, dark, tongue = (
        shown.light(between_lips(driving, *part)) for part in ((0.1, 0.25), (0.4, 0.48), (0.6, 0.8))
    )
    assert teeth > 0.5
    assert dark < 0.35 * teeth
    assert dark < 0.7 * tongue
    assert tongue < 0.6 * teeth


def test_it_looks_more_like_a_face_drawn_so_than_the_shut_one() -> None:
    picture, avatar = drawn(AHEAD)
    wanted, driving = drawn(Moment(mouth_open=0.8))
    shown = Shown(picture, avatar, driving)
    inside = shown.share > 0.5
    assert inside.sum() > 300
    before, after = ((one - wanted[0]).abs()[:, inside].mean() for one in (picture[0], shown.rgb))
    assert float(after) < 0.7 * float(before)


@pytest.mark.parametrize("mouth", [0.0, 0.02])
def test_lips_that_stay_together_show_nothing(mouth: float) -> None:
    picture, avatar = drawn(AHEAD)
    _, driving = drawn(Moment(mouth_open=mouth))
    assert Shown(picture, avatar, driving).share.max() < 0.3


def test_nothing_is_shown_beyond_the_lips() -> None:
    picture, avatar = drawn(AHEAD)
    _, driving = drawn(Moment(mouth_open=0.8))
    rows, columns = torch.nonzero(Shown(picture, avatar, driving).share > 0.1, as_tuple=True)
    x, y = columns / 255 * 2 - 1, rows / 255 * 2 - 1
    right, left = driving[0, indices("mouth_right", "mouth_left"), 0]
    assert x.min() > right
    assert x.max() < left
    assert y.min() > level(driving, "inner_lip_upper") - 0.03
    assert y.max() < level(driving, "inner_lip_lower") + 0.03


def mean_face(gap: float = 0.0, jaw: float = 0.0, lift: float = 0.0) -> Tensor:
    """Landmarks (1, 48, 2) of the mean head, whose lips are ``gap`` apart, the lower one and the
    chin gone down by ``jaw``, the upper one up by ``lift``."""
    value = torch.from_numpy(MEAN_SHAPE[:, :2]).float() * 1.1
    seam = value[LIPS, 1].mean()
    for name in ("", "_right", "_left"):
        value[INDEX[f"inner_lip_upper{name}"], 1] = seam - lift
        value[INDEX[f"inner_lip_lower{name}"], 1] = seam + gap + jaw
    value[INDEX["lip_lower"], 1] += jaw
    value[INDEX["chin"], 1] += jaw
    return value[None]


GREY = torch.full((1, 3, SIZE, SIZE), 0.5)


def edge_of_teeth(shown: Shown, x: float, seam: float) -> int:
    """The last row that is light, of what is shown around the seam at ``x``."""
    column, row = (round((place + 1) * 127.5) for place in (x, seam))
    near = slice(row - 12, row + 16)
    light = shown.rgb.mean(0)[near, column] * (shown.share[near, column] > 0.5)
    return near.start + int(torch.nonzero(light > 0.25).max())


SEAM = float(mean_face()[0, LIPS, 1].mean())


def test_upper_teeth_stay_where_they_are_when_lips_and_jaw_move() -> None:
    edges = [
        edge_of_teeth(Shown(GREY, mean_face(), mean_face(0, jaw, lift)), 0.02, SEAM)
        for jaw, lift in ((0.2, 0.0), (0.3, 0.0), (0.2, 0.06))
    ]
    assert max(edges) - min(edges) <= 1


def test_upper_teeth_go_with_the_head() -> None:
    driving = mean_face(0, 0.2)
    first = edge_of_teeth(Shown(GREY, mean_face(), driving), 0.02, SEAM)
    shown = Shown(GREY, mean_face(), driving + torch.tensor([0.1, 0.08]))
    assert edge_of_teeth(shown, 0.12, SEAM + 0.08) - first == pytest.approx(0.08 * 127.5, abs=1.5)


def test_teeth_are_as_light_as_the_face() -> None:
    _, avatar = drawn(AHEAD)
    _, driving = drawn(Moment(mouth_open=0.8))
    teeth = between_lips(driving, 0.08, 0.2)
    dark, light = (
        Shown(torch.full((1, 3, SIZE, SIZE), grey), avatar, driving).light(teeth)
        for grey in (0.2, 0.6)
    )
    assert light > 2 * dark


def test_a_bright_window_behind_a_dark_face_does_not_light_its_teeth() -> None:
    _, avatar = drawn(AHEAD)
    _, driving = drawn(Moment(mouth_open=0.8))
    teeth = between_lips(driving, 0.08, 0.2)
    grid = coordinate_grid(SIZE, avatar)
    low, high = avatar[0].amin(0), avatar[0].amax(0)
    middle, half = (low + high) / 2, (high - low) / 2
    face = ((grid - middle) / half / 1.2).square().sum(-1) < 1
    before_a_wall, before_a_window = (
        Shown(torch.where(face, 0.2, wall).expand(1, 3, -1, -1), avatar, driving).light(teeth)
        for wall in (0.2, 1.0)
    )
    assert before_a_window < 1.15 * before_a_wall


def test_teeth_of_a_grey_picture_are_grey_and_of_a_warm_one_warm() -> None:
    _, avatar = drawn(AHEAD)
    _, driving = drawn(Moment(mouth_open=0.8))
    teeth = between_lips(driving, 0.08, 0.2)
    warm = torch.tensor([0.7, 0.5, 0.4])[:, None, None].expand(1, 3, SIZE, SIZE)
    for picture, least, most in ((GREY, 0.0, 0.01), (warm, 0.05, 0.3)):
        red, _, blue = Shown(picture, avatar, driving).rgb[:, teeth].mean(1)
        assert least <= red - blue < most


def test_a_black_picture_has_a_dark_mouth() -> None:
    _, avatar = drawn(AHEAD)
    _, driving = drawn(Moment(mouth_open=0.8))
    shown = Shown(torch.zeros(1, 3, SIZE, SIZE), avatar, driving)
    assert torch.isfinite(shown.rgb).all()
    assert shown.rgb[:, shown.share > 0.9].max() < 0.1


def test_own_teeth_are_carried_with_the_skull_and_paint_begins_below_them() -> None:
    avatar = mean_face(0.1, 0.05, 0.03)
    driving = mean_face(0.1, 0.25, 0.03) + torch.tensor([0.06, 0.0])
    shown = Shown(GREY, avatar, driving)
    column = round((1 + 0.06) * 127.5)
    own = round((SEAM + 0.05 + 1) * 127.5)
    below = round((SEAM + 0.25 + 1) * 127.5)
    assert float(shown.alpha[own, column]) > 5  # carried
    assert float(shown.share[own, column]) < 0.1
    assert float(shown.share[below, column]) > 0.9
    led = shown.displacement[:, own // 2, column // 2]
    assert led.tolist() == pytest.approx([-0.06, 0], abs=0.004)
    assert float(shown.carried[own // 2, column // 2]) > 0.9


def test_an_avatar_that_is_not_driven_keeps_its_own_mouth() -> None:
    avatar = mean_face(0.1, 0.05, 0.03)
    shown = Shown(GREY, avatar, avatar)
    assert shown.share.max() == 0
    assert shown.alpha.min() >= 0
    assert (shown.displacement * shown.carried).abs().max() < 1e-5


def test_faces_of_a_batch_do_not_mix() -> None:
    picture, avatar = drawn(AHEAD)
    drivings = [drawn(Moment(mouth_open=mouth))[1] for mouth in (0.4, 0.8)]
    alone = [Shown(picture, avatar, driving).rgb for driving in drivings]
    openings = Openings.of(avatar.expand(2, -1, -1), torch.cat(drivings))
    windows = Windows.around_mouth(torch.cat(drivings))
    small = F.avg_pool2d(picture, SIZE // CELLS).expand(2, -1, -1, -1) * 2 - 1
    _, added, share = Mouth()(
        small, avatar.expand(2, -1, -1), torch.cat(drivings), openings,
        windows.places_by_cell(4)[:, 0], newly_open(openings),
    )  # fmt: skip
    added, share = (F.pixel_shuffle(windows.laid(one), 4) for one in (added, share))
    together = torch.sigmoid(added[:, :3] / share.clamp(min=1e-3))
    for one, both in zip(alone, together, strict=True):
        torch.testing.assert_close(one, both, atol=1e-4, rtol=0)
