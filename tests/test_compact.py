"""The compact network: its geometry against closed forms, its shapes and its family face."""

import math

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

from models.compact import (  # noqa: E402
    SIZE,
    CompactModel,
    DenseMotion,
    carry,
    coordinate_grid,
    local_affine,
    new_mouth,
    warp,
)
from models.keypoints import Keypoints  # noqa: E402
from models.landmarks import COUNT, INDEX, MIRROR, NAMES  # noqa: E402


@pytest.fixture(scope="module")
def model() -> CompactModel:
    torch.manual_seed(1)
    made = CompactModel().eval().requires_grad_(False)
    made.template.copy_(torch.rand(COUNT, 2) * 1.2 - 0.6)
    return made


def test_jacobians_of_an_affine_map_of_the_mean_face_are_that_map(model: CompactModel) -> None:
    matrix = torch.tensor([[1.1, 0.2], [-0.1, 0.9]])
    value = model.template @ matrix.T + torch.tensor([0.3, -0.2])
    jacobian = local_affine(value[None], model.template)
    assert jacobian.shape == (1, COUNT, 2, 2)
    torch.testing.assert_close(jacobian, matrix.expand(1, COUNT, 2, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [64, 256])
def test_warp_samples_like_border_padding_with_aligned_corners(size: int) -> None:
    torch.manual_seed(2)
    image = torch.rand(1, 3, size, size)
    flow = torch.rand(1, 32, 32, 2) * 2.4 - 1.2
    # -1..1 are the pixel centres of the 256 px picture: exactly PyTorch's convention there.
    edges = flow * (SIZE - 1) / SIZE
    own = edges * size / (size - 1)
    expected = F.grid_sample(image, own, padding_mode="border", align_corners=True)
    torch.testing.assert_close(warp(image, flow), expected, atol=2e-5, rtol=0)


def test_grids_of_all_sizes_agree_on_where_cells_are() -> None:
    like = torch.zeros(1)
    full = coordinate_grid(SIZE, like)
    assert full[0, 0].tolist() == pytest.approx([-1, -1])
    assert full[-1, -1].tolist() == pytest.approx([1, 1])
    averaged = F.avg_pool2d(full.permute(2, 0, 1)[None], 4)[0].permute(1, 2, 0)
    torch.testing.assert_close(coordinate_grid(64, like), averaged, atol=1e-5, rtol=0)


def test_without_motion_the_flow_stands_still_before_any_training(model: CompactModel) -> None:
    small = torch.rand(1, 3 + DenseMotion.hints, 64, 64)
    keypoints = model.keypoints(torch.rand(1, COUNT, 2) - 0.5)
    flow, occlusion = model.motion(small, keypoints, keypoints)
    torch.testing.assert_close(flow, coordinate_grid(64, flow)[None], atol=1e-4, rtol=0)
    assert occlusion.shape == (1, 1, 64, 64)


def test_a_shift_of_all_keypoints_shifts_the_flow_near_them(model: CompactModel) -> None:
    small = torch.rand(1, 3 + DenseMotion.hints, 64, 64)
    avatar = model.keypoints(torch.rand(1, COUNT, 2) * 0.6 - 0.3)
    shift = torch.tensor([0.1, -0.05])
    moved = Keypoints(avatar.value + shift, avatar.jacobian)
    flow, _ = model.motion(small, avatar, moved)
    back = (flow - coordinate_grid(64, flow))[0, 28:36, 28:36].reshape(-1, 2)
    torch.testing.assert_close(back, -shift.expand_as(back), atol=0.03, rtol=0)


def test_the_flow_is_right_at_every_keypoint_before_any_training(model: CompactModel) -> None:
    """Lids and irises lie close together, and a mean over neighbours would move them by less."""
    small = torch.rand(1, 3 + DenseMotion.hints, 64, 64)
    grid = coordinate_grid(64, small)
    # Every second cell of a patch: 8 pixels apart, as eyes are.
    cells = grid[24:40:2, 26:38:2].reshape(1, COUNT, 2)
    still = torch.eye(2).expand(1, COUNT, 2, 2)
    avatar = cells.clone()
    iris = INDEX["left_iris"]
    avatar[0, iris, 0] += 0.04
    flow, _ = model.motion(small, Keypoints(avatar, still), Keypoints(cells, still))
    missed = (flow[:, 24:40:2, 26:38:2].reshape(1, COUNT, 2) - avatar).norm(dim=-1)[0]
    assert missed[iris] < 0.1 * 0.04
    assert missed.mean() < 0.05 * 0.04


def test_a_mirrored_picture_has_mirrored_landmarks(model: CompactModel) -> None:
    picture = torch.rand(1, 3, 128, 128)
    (seen, _), presence = model.detect_with_presence(picture)
    (mirrored, _), other = model.detect_with_presence(picture.flip(-1))
    back = mirrored[:, list(MIRROR)] * torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(back, seen, atol=1e-5, rtol=0)
    torch.testing.assert_close(other, presence, atol=1e-5, rtol=0)


def test_without_motion_unpainted_pixels_are_the_avatars_own(model: CompactModel) -> None:
    image = torch.rand(1, 3, SIZE, SIZE)
    code = model.encoder(image)
    keypoints = model.keypoints(torch.rand(1, COUNT, 2) - 0.5)
    flow, occlusion = model.motion(code.small, keypoints, keypoints)
    displacement = model.painter(code, flow, occlusion, keypoints, keypoints).displacement
    torch.testing.assert_close(carry(image, displacement), image, atol=2e-3, rtol=0)


def test_it_has_the_face_of_the_family(model: CompactModel) -> None:
    picture = torch.rand(2, 3, SIZE, SIZE)
    keypoints, presence = model.detect_with_presence(picture)
    assert keypoints.value.shape == (2, COUNT, 2)
    assert keypoints.jacobian.shape == (2, COUNT, 2, 2)
    assert ((presence > 0) & (presence < 1)).all()
    image = model.generate(model.encode(picture), keypoints, keypoints)
    assert image.shape == (2, 3, SIZE, SIZE)
    assert image.min() >= 0
    assert image.max() <= 1
    assert (model.size, model.keypoint_size, model.num_keypoints) == (256, 128, 48)


def test_mirroring_twice_gives_the_same_landmarks() -> None:
    assert [MIRROR[i] for i in MIRROR] == list(range(COUNT))
    assert NAMES["left_iris"] == 473
    assert MIRROR[list(NAMES).index("chin")] == list(NAMES).index("chin")


def mouth(gap: float, tilt: float = 0.0) -> torch.Tensor:
    """Landmarks (1, 48, 2) of a mouth 0.4 wide around (0, 0.3), parabolic lips ``gap`` apart."""
    value = torch.zeros(COUNT, 2)
    for side, x in (("_right", -0.1), ("", 0.0), ("_left", 0.1)):
        arch = gap / 2 * (1 - (x / 0.2) ** 2)
        value[INDEX[f"inner_lip_upper{side}"]] = torch.tensor([x, -arch])
        value[INDEX[f"inner_lip_lower{side}"]] = torch.tensor([x, arch])
    value[INDEX["mouth_right"], 0], value[INDEX["mouth_left"], 0] = -0.2, 0.2
    cos, sin = math.cos(tilt), math.sin(tilt)
    turned = value @ torch.tensor([[cos, sin], [-sin, cos]])
    return (turned + torch.tensor([0.0, 0.3]))[None]


@pytest.mark.parametrize("tilt", [0.0, 0.4])
def test_a_newly_opened_mouth_is_marked_between_its_lips(tilt: float) -> None:
    marked = new_mouth(mouth(0.0, tilt), mouth(0.2, tilt), 256)[0, 0]
    area = float(marked.sum()) * (2 / 255) ** 2
    assert area == pytest.approx(2 / 3 * 0.4 * 0.2, rel=0.15)  # under a parabola: two thirds
    centre = coordinate_grid(256, marked).permute(2, 0, 1) * marked
    place = (centre.sum((1, 2)) / marked.sum()).tolist()
    assert place == pytest.approx([0, 0.3], abs=0.01)
    assert marked[0].max() == 0


def test_a_mouth_that_was_as_open_or_stays_closed_is_not_marked() -> None:
    assert new_mouth(mouth(0.2), mouth(0.2), 64).max() < 0.01
    assert new_mouth(mouth(0.3), mouth(0.1), 64).max() == 0
    assert new_mouth(mouth(0.0), mouth(0.0), 64).max() < 0.02
