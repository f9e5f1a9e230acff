"""The compact network: its geometry against closed forms, its shapes and its family face."""

import copy
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from drawn_face import face  # noqa: E402

from models.avatar_encoder import HINTS  # noqa: E402
from models.compact import SIDEWAYS, VARIANTS, CompactModel  # noqa: E402
from models.field import SIZE, carry, coordinate_grid, warp  # noqa: E402
from models.head import HAIR, MEAN_SHAPE, hair_plane  # noqa: E402
from models.keypoints import Keypoints  # noqa: E402
from models.landmark_detector import local_affine  # noqa: E402
from models.landmarks import COUNT, INDEX, MIRROR, NAMES  # noqa: E402
from models.openings import Openings  # noqa: E402
from realtime.pose import Pose, turn  # noqa: E402


@pytest.fixture(scope="module")
def model() -> CompactModel:
    torch.manual_seed(1)
    made = CompactModel().eval().requires_grad_(False)
    made.template.copy_(torch.rand(COUNT, 2) * 1.2 - 0.6)
    return made


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_weights_tell_the_size_of_their_model(variant: str) -> None:
    made = CompactModel(variant)
    found = CompactModel.of(made.state_dict())
    assert found.variant == variant
    assert found.painter.enter[0].weight.equal(made.painter.enter[0].weight)
    with pytest.raises(RuntimeError):
        CompactModel.of({"painter.enter.0.weight": torch.zeros(3)})


def test_sizes_cost_about_1_3_and_7_billion_products_a_frame() -> None:
    found = {}
    for variant in VARIANTS:
        model = CompactModel(variant).eval()
        products = []

        def count(module: torch.nn.Module, _: object, out: torch.Tensor, to=products) -> None:
            to.append(out.numel() * module.weight[0].numel() / 1e9)

        for part in (model.detector, model.eyes, model.motion, model.painter):
            for module in part.modules():
                if isinstance(module, torch.nn.Conv2d):
                    module.register_forward_hook(count)
        with torch.no_grad():
            image = torch.rand(1, 3, SIZE, SIZE)
            keypoints = model.detect(image)
            model.generate(model.encode(image), keypoints, keypoints)
        found[variant] = sum(products)
    assert found == pytest.approx({"s": 1.25, "m": 2.85, "l": 7.0}, rel=0.05)


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
    small = torch.rand(1, 3 + HINTS, 64, 64)
    keypoints = model.keypoints(torch.rand(1, COUNT, 2) - 0.5)
    flow, occlusion = model.motion(small, keypoints, keypoints)
    torch.testing.assert_close(flow, coordinate_grid(64, flow)[None], atol=1e-4, rtol=0)
    assert occlusion.shape == (1, 1, 64, 64)


def test_a_shift_of_all_keypoints_shifts_the_flow_near_them(model: CompactModel) -> None:
    small = torch.rand(1, 3 + HINTS, 64, 64)
    avatar = model.keypoints(torch.rand(1, COUNT, 2) * 0.6 - 0.3)
    shift = torch.tensor([0.1, -0.05])
    moved = Keypoints(avatar.value + shift, avatar.jacobian)
    flow, _ = model.motion(small, avatar, moved)
    back = (flow - coordinate_grid(64, flow))[0, 28:36, 28:36].reshape(-1, 2)
    torch.testing.assert_close(back, -shift.expand_as(back), atol=0.03, rtol=0)


def eyes(lids: float = 1.0, gaze: float = 0.0) -> torch.Tensor:
    """Landmarks (1, 48, 2) of a drawn face in its crop: lids apart by this part, irises moved to
    the right."""
    landmarks = torch.from_numpy(face(lids=lids))
    low, high = landmarks.amin(0), landmarks.amax(0)
    value = (landmarks - (low + high) / 2) / (high - low).max() * 1.1
    value[[INDEX["right_iris"], INDEX["left_iris"]], 0] += gaze
    return value[None]


def leads(flow: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Where a flow (1, 64, 64, 2) leads from points (1, K, 2)."""
    cells = points * (SIZE - 1) / SIZE
    found = F.grid_sample(flow.permute(0, 3, 1, 2), cells[:, None], align_corners=False)
    return found[:, :, 0].transpose(1, 2)


def test_an_iris_goes_with_its_keypoint_between_lids_that_stay(model: CompactModel) -> None:
    """A mean over its neighbours, before any training, would move it by a fifth."""
    small = torch.rand(1, 3 + HINTS, 64, 64)
    gaze = 0.03  # four pixels
    avatar, driving = model.keypoints(eyes()), model.keypoints(eyes(gaze=gaze))
    driving = Keypoints(driving.value, avatar.jacobian)
    flow, _ = model.motion(small, avatar, driving)
    found = leads(flow, driving.value)[0]
    iris, brow = INDEX["left_iris"], INDEX["left_brow"]
    moved = float(driving.value[0, iris, 0] - found[iris, 0])
    assert 0.55 * gaze < moved < 1.1 * gaze
    assert float((driving.value[0, brow] - found[brow]).norm()) < 0.1 * gaze


def test_over_a_shut_eye_lies_the_skin_above_it_and_below_that_below(model: CompactModel) -> None:
    small = torch.rand(1, 3 + HINTS, 64, 64)
    still = torch.eye(2).expand(1, COUNT, 2, 2)
    avatar, driving = Keypoints(eyes(), still), Keypoints(eyes(lids=0.0), still)
    flow, _ = model.motion(small, avatar, driving)
    upper, lower = INDEX["right_lid_upper"], INDEX["right_lid_lower"]
    aside = torch.tensor([0.0, 0.035])  # between cells that the line does not touch
    line = driving.value[:, upper : upper + 1]
    above, below = (leads(flow, line + way)[0, 0, 1] for way in (-aside, aside))
    top, bottom = (float(avatar.value[0, one, 1]) for one in (upper, lower))
    assert float(above) < top
    assert float(below) > bottom


def test_hair_nods_with_the_head_and_not_with_the_forehead(model: CompactModel) -> None:
    small = torch.rand(1, 3 + HINTS, 64, 64)
    poses = [Pose(turn(np.array([nod, 0, 0])), 0.8, np.zeros(2)) for nod in (0.0, 0.3)]
    shown = [torch.from_numpy(pose.show(MEAN_SHAPE)[None]).float() for pose in poses]
    before, after = (torch.from_numpy(pose.show(HAIR)).float() for pose in poses)
    motion = copy.deepcopy(model.motion)
    missed = []
    for strength in (-20.0, 0.0):
        motion.hair.log_strength.fill_(strength)
        flow, _ = motion(small, *(local_keypoints(value) for value in shown))
        led = F.grid_sample(flow.permute(0, 3, 1, 2), after[None, None], align_corners=False)
        missed.append((led[0, :, 0].T - before).norm(dim=-1).mean())
    assert missed[1] < 0.5 * missed[0]


def test_the_hairs_plane_is_the_same_with_and_without_torch(model: CompactModel) -> None:
    landmarks = (face((120, 130), 110, yaw=20) / 127.5 - 1).astype(np.float32)
    plane = model.motion.hair.plane(torch.from_numpy(landmarks)[None])
    axes, origin = hair_plane(landmarks)
    np.testing.assert_allclose(plane.axes[0].numpy(), axes, atol=1e-5)
    np.testing.assert_allclose(plane.origin[0].numpy(), origin, atol=1e-5)


def local_keypoints(value: torch.Tensor) -> Keypoints:
    """With the frames that the mean head as the template gives."""
    return Keypoints(value, local_affine(value, torch.from_numpy(MEAN_SHAPE[:, :2]).float()))


@pytest.mark.parametrize(("name", "held"), [("temple_left", True), ("forehead", False)])
def test_the_sides_of_a_face_rule_no_more_than_so_far(
    model: CompactModel, name: str, held: bool
) -> None:
    avatar = model.keypoints(torch.from_numpy(face((128, 128), 120))[None] / 127.5 - 1)
    driving = model.keypoints(torch.from_numpy(face((134, 140), 120))[None] / 127.5 - 1)
    small = torch.zeros(1, 3 + HINTS, 64, 64)
    flows = []
    for wanted in (SIDEWAYS, 8.0):
        motion = copy.deepcopy(model.motion)
        with torch.no_grad():
            motion.heads.bias[2 + INDEX[name]] = wanted  # after background and hair
            flows.append(motion(small, avatar, driving)[0])
    assert bool((flows[0] == flows[1]).all()) == held


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
    assert (model.size, model.keypoint_size, model.num_keypoints) == (256, 256, 48)


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


def uncarried(
    avatar: torch.Tensor, driving: torch.Tensor, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    return Openings.of(avatar, driving).uncarried(size)


@pytest.mark.parametrize("tilt", [0.0, 0.4])
def test_a_newly_opened_mouth_is_marked_between_its_lips(tilt: float) -> None:
    marked = uncarried(mouth(0.0, tilt), mouth(0.2, tilt), 256)[0][0, 0]
    area = float(marked.sum()) * (2 / 255) ** 2
    assert area == pytest.approx(2 / 3 * 0.4 * 0.2, rel=0.15)  # under a parabola: two thirds
    centre = coordinate_grid(256, marked).permute(2, 0, 1) * marked
    place = (centre.sum((1, 2)) / marked.sum()).tolist()
    assert place == pytest.approx([0, 0.3], abs=0.01)
    assert marked[0].max() == 0


def test_a_mouth_that_was_as_open_or_stays_closed_is_not_marked() -> None:
    assert uncarried(mouth(0.2), mouth(0.2), 64)[0].max() < 0.01
    assert uncarried(mouth(0.3), mouth(0.1), 64)[0].max() == 0
    assert uncarried(mouth(0.0), mouth(0.0), 64)[0].max() < 0.02


def eye(gap: float) -> torch.Tensor:
    """Landmarks (1, 48, 2) of a right eye 0.2 wide around (-0.2, -0.1), its lids ``gap`` apart;
    the left one, 0.2 to the right of the middle, stays open."""
    value = torch.zeros(1, COUNT, 2)
    for side, start, end, x0, apart in (
        ("right", "outer", "inner", -0.2, gap), ("left", "inner", "outer", 0.2, 0.08),
    ):  # fmt: skip
        value[0, INDEX[f"{side}_eye_{start}"]] = torch.tensor([x0 - 0.1, -0.1])
        value[0, INDEX[f"{side}_eye_{end}"]] = torch.tensor([x0 + 0.1, -0.1])
        for part, x in ((f"_{start}", -0.05), ("", 0.0), (f"_{end}", 0.05)):
            arch = apart / 2 * (1 - (x / 0.1) ** 2)
            value[0, INDEX[f"{side}_lid_upper{part}"]] = torch.tensor([x0 + x, -0.1 - arch])
            value[0, INDEX[f"{side}_lid_lower{part}"]] = torch.tensor([x0 + x, -0.1 + arch])
    return value


def test_the_seam_of_a_shut_eye_is_marked_and_nothing_of_the_open_one() -> None:
    marked = uncarried(eye(0.08), eye(0.0), 256)[1][0, 0]
    rows, columns = torch.nonzero(marked > 0.5, as_tuple=True)
    x, y = columns / 255 * 2 - 1, rows / 255 * 2 - 1
    assert x.min() > -0.3
    assert x.max() < -0.1
    assert y.max() - y.min() == pytest.approx(0.07, abs=0.02)  # a cell and a half to either side
    assert (y.max() + y.min()) / 2 == pytest.approx(-0.1, abs=0.01)
    assert float(marked.max()) > 0.9
    assert marked[:, 128:].max() < 0.01


def test_an_eye_that_is_half_open_or_was_shut_has_no_seam() -> None:
    assert uncarried(eye(0.08), eye(0.05), 64)[1].max() == 0
    assert uncarried(eye(0.0), eye(0.0), 64)[1].max() < 0.01
    assert uncarried(eye(0.0), eye(0.08), 64)[1].max() == 0
