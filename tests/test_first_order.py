"""Golden figures in data/vox256-seed1.npz: what the paper's published networks answer on
deterministic weights and pictures (torch 2.13, CPU, float32)."""

import dataclasses
import hashlib
import math
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from config.network import load_network
from models.dense_motion import sparse_motions
from models.first_order import FirstOrderModel
from models.keypoints import Keypoints, relative_motion
from models.layers import AntiAliasDown, pixel_grid

DATA = Path(__file__).parent / "data"
CLOSE = 1e-4
PUBLISHED = ["vox-256", "vox-adv-256", "taichi-256", "nemo-128", "mgif-256", "bair-256"]
PUBLISHED += ["fashion-256"]
IDENTITY = torch.eye(2).expand(1, 3, 2, 2)


def drawn_weights(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    """Numbers drawn from each name, its shape and the seed alone."""
    drawn = {}
    for name, shape in shapes.items():
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        kind = name.split(".")[-1]
        if kind == "num_batches_tracked":
            drawn[name] = torch.tensor(1)
            continue
        if kind == "running_mean":
            values = random.normal(0, 0.1, shape)
        elif kind == "running_var":
            values = random.uniform(0.6, 1.4, shape)
        elif len(shape) == 1:
            values = float(kind == "weight") + random.normal(0, 0.05, shape)
        else:
            values = random.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape)
            values *= {"jacobian.weight": 0.2, "final.weight": 0.15}.get(name, 1.0)
        if name == "jacobian.bias":  # a second draw, around identities
            values = np.eye(2).reshape(1, 4).repeat(shape[0] // 4, 0).ravel()
            values = values + random.normal(0, 0.05, shape)
        drawn[name] = torch.from_numpy(values.astype(np.float32))
    return drawn


def waves(seed: int, size: int = 256) -> torch.Tensor:
    """(1, 3, size, size) in 0..1: a sum of smooth coloured waves."""
    random = np.random.default_rng([seed, 7])
    y, x = np.mgrid[0:size, 0:size] / size
    image = np.zeros((size, size, 3))
    for _ in range(24):
        across, down = random.uniform(-6, 6, 2)
        phase = random.uniform(0, 6.28)
        colour = random.uniform(-1, 1, 3)
        image += np.sin(6.28 * (across * x + down * y) + phase)[:, :, None] * colour
    image = (image - image.min()) / (image.max() - image.min())
    return torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1).unsqueeze(0)


def published_shapes(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Every golden array's name -> the same array from a checkpoint file through the models."""
    with torch.device("meta"):
        blank = FirstOrderModel(load_network("vox-256"))
    file = {
        part: drawn_weights(published_shapes(getattr(blank, part)), seed=1)
        for part in ("generator", "kp_detector")
    }
    path = tmp_path_factory.mktemp("checkpoint") / "drawn.pth.tar"
    torch.save(file, path)
    model = FirstOrderModel.from_checkpoint(str(path), config="vox-256")
    path.unlink()  # 240 MB

    pictures = {"source": waves(10), "initial": waves(11), "driving": waves(12)}
    found = {name: model.detect(picture) for name, picture in pictures.items()}
    found["relative"] = relative_motion(found["source"], found["driving"], found["initial"])
    avatar = model.encode(pictures["source"])
    motion = model.generator.dense_motion_network(
        avatar.thumbnail, found["source"], found["relative"]
    )
    arrays = {f"{name}_value": keypoints.value[0] for name, keypoints in found.items()}
    arrays |= {f"{name}_jacobian": keypoints.jacobian[0] for name, keypoints in found.items()}
    arrays["occlusion"] = motion.occlusion[0, 0]
    arrays["mask"] = motion.mask[0, :, ::4, ::4]
    for name, driving in [("prediction", "relative"), ("prediction_absolute", "driving")]:
        image = model.generate(avatar, found["source"], found[driving])
        assert image.shape == (1, 3, 256, 256)
        arrays[name] = image[0].permute(1, 2, 0)[::4, ::4]
    return {name: array.numpy() for name, array in arrays.items()}


@pytest.fixture
def tiny():
    model = FirstOrderModel(load_network(DATA / "tiny-64.yaml")).eval().requires_grad_(False)
    for part in (model.generator, model.kp_detector):
        part.load_state_dict(drawn_weights(published_shapes(part), seed=5))
    return model


def changed(model: FirstOrderModel, **sizes) -> FirstOrderModel:
    """A model of another configuration with all weights that both have."""
    other = FirstOrderModel(dataclasses.replace(model.config, **sizes)).eval().requires_grad_(False)
    other.load_state_dict(model.state_dict(), strict=False)
    return other


def test_every_golden_array_is_computed(answers):
    with np.load(DATA / "vox256-seed1.npz") as golden:
        assert set(golden.files) == set(answers)


@pytest.mark.parametrize("name", np.load(DATA / "vox256-seed1.npz").files)
def test_parity_with_the_published_networks(answers, name):
    with np.load(DATA / "vox256-seed1.npz") as golden:
        expected = golden[name]
    assert answers[name].shape == expected.shape
    assert np.abs(answers[name] - expected).max() < CLOSE


def test_names_and_shapes_are_the_published_ones():
    with torch.device("meta"):
        model = FirstOrderModel(load_network("vox-256"))
    lines = sorted(f"{name} {shape}" for name, shape in published_shapes(model).items())
    # Of the published file's names and shapes, without the computed down.weight.
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert digest == "cd4c0a722f867b0fb957f5f5efa367ffcfb4e9400a33e897ba9e6ee0ab9ea165"
    # The float values of the pruned published file, which is this many times 4 bytes large.
    floats = [value for value in model.state_dict().values() if value.is_floating_point()]
    assert sum(value.numel() for value in floats) == 59_813_991


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_published_network_has_its_shapes(name):
    size = int(name.rpartition("-")[2])
    with torch.device("meta"):
        model = FirstOrderModel(load_network(name)).eval()
        image = torch.empty(2, 3, size, size)
        keypoints = model.detect(image)
        avatar = model.encode(image)
        output = model.generate(avatar, keypoints, keypoints)
    assert (keypoints.value.shape, keypoints.jacobian.shape) == ((2, 10, 2), (2, 10, 2, 2))
    assert avatar.features.shape == (2, 256, size // 4, size // 4)
    assert avatar.thumbnail.shape == (2, 3, size // 4, size // 4)
    assert output.shape == image.shape
    maps = 1 if name == "mgif-256" else 10
    assert model.kp_detector.jacobian.weight.shape == (4 * maps, 35, 7, 7)
    assert (model.size, model.keypoint_size, model.num_keypoints) == (size, size, 10)
    assert (model.family, model.landmarks) == ("first-order", ())


def test_anti_alias_is_a_gaussian_blur_and_every_fourth_pixel():
    image = waves(3, size=64)
    ours = AntiAliasDown(3, 0.25)(image)[0].permute(1, 2, 0).numpy()
    pixels = np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())
    blurred = cv2.GaussianBlur(pixels, (13, 13), 1.5, borderType=cv2.BORDER_CONSTANT)
    assert np.abs(ours - blurred[::4, ::4]).max() < 1e-6


def test_pixel_grid_runs_over_the_centres_of_the_outer_pixels():
    grid = pixel_grid(3, 5, torch.zeros(1))
    assert grid.shape == (3, 5, 2)
    assert torch.equal(grid[0, :, 0], torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]))
    assert torch.equal(grid[:, 4, 1], torch.tensor([-1.0, 0.0, 1.0]))


def test_sparse_motion_is_backward_affine_around_each_keypoint():
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    avatar = Keypoints(torch.tensor([[[0.1, 0.2]]]), turn.expand(1, 1, 2, 2))
    driving = Keypoints(torch.tensor([[[0.5, -0.5]]]), 2 * torch.eye(2).expand(1, 1, 2, 2))
    grid = torch.tensor([[[0.5, -0.5], [0.7, -0.5]]])  # the driving keypoint, and right of it
    background, moved = sparse_motions(grid, avatar, driving)[0]
    assert torch.allclose(background, grid[0])
    # The keypoint maps to the avatar's; a step of 0.2 right becomes, halved and turned, 0.1 down.
    assert torch.allclose(moved, torch.tensor([[0.1, 0.2], [0.1, 0.3]]))


def test_keypoints_that_stay_put_warp_nothing(tiny):
    keypoints = tiny.detect(waves(1, size=64))
    thumbnail = tiny.encode(waves(1, size=64)).thumbnail
    motion = tiny.generator.dense_motion_network(thumbnail, keypoints, keypoints)
    assert torch.allclose(motion.flow[0], pixel_grid(16, 16, thumbnail), atol=1e-5)
    assert torch.allclose(motion.mask.sum(dim=1), torch.ones(1, 16, 16), atol=1e-6)


def test_a_batch_gives_what_its_pictures_give_alone(tiny):
    pictures = torch.cat([waves(1, size=64), waves(2, size=64)])
    driving = tiny.detect(pictures.flip(3))

    def animate(images, moved):
        return tiny.generate(tiny.encode(images), tiny.detect(images), moved)

    together = animate(pictures, driving)
    for i in range(2):
        alone = animate(pictures[i : i + 1], Keypoints(*(x[i : i + 1] for x in driving)))
        assert torch.allclose(together[i : i + 1], alone, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_the_picture_depends_on_the_keypoints(tiny):
    picture = waves(1, size=64)
    avatar, keypoints = tiny.encode(picture), tiny.detect(picture)
    moved = Keypoints(keypoints.value + 0.3, keypoints.jacobian)
    still = tiny.generate(avatar, keypoints, keypoints)
    assert (tiny.generate(avatar, keypoints, moved) - still).abs().max() > 1e-3
    turned = Keypoints(keypoints.value, keypoints.jacobian @ torch.tensor([[0.0, -1], [1, 0]]))
    assert (tiny.generate(avatar, keypoints, turned) - still).abs().max() > 1e-3


def test_one_jacobian_map_is_as_many_equal_ones(tiny):
    single = dataclasses.replace(tiny.config.keypoint_detector, single_jacobian_map=True)
    one = FirstOrderModel(dataclasses.replace(tiny.config, keypoint_detector=single)).eval()
    head, heads = one.kp_detector.jacobian, tiny.kp_detector.jacobian
    torch.nn.init.normal_(head.weight, 0, 0.05)
    heads.weight.copy_(head.weight.repeat(3, 1, 1, 1))
    heads.bias.copy_(head.bias.repeat(3))
    one.kp_detector.predictor.load_state_dict(tiny.kp_detector.predictor.state_dict())
    one.kp_detector.kp.load_state_dict(tiny.kp_detector.kp.state_dict())
    theirs, ours = tiny.detect(waves(1, size=64)), one.detect(waves(1, size=64))
    assert torch.allclose(ours.value, theirs.value, atol=1e-6)
    assert torch.allclose(ours.jacobian, theirs.jacobian, atol=1e-6)
    assert (ours.jacobian - IDENTITY).abs().max() > 1e-3


def test_without_jacobians_keypoints_carry_identities(tiny):
    zero_order = changed(tiny, estimate_jacobian=False)
    assert not any("jacobian" in name for name in zero_order.state_dict())
    picture = waves(1, size=64)
    keypoints = zero_order.detect(picture)
    assert torch.equal(keypoints.jacobian, IDENTITY)
    assert torch.allclose(keypoints.value, tiny.detect(picture).value, atol=1e-6)


def test_without_occlusion_nothing_is_hidden(tiny):
    sizes = dataclasses.replace(tiny.config.generator, estimate_occlusion_map=False)
    bare = changed(tiny, generator=sizes)
    assert not any("occlusion" in name for name in bare.state_dict())
    # An occlusion head that always says "visible" must give the same picture.
    head = tiny.generator.dense_motion_network.occlusion
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.constant_(head.bias, 100.0)
    picture, keypoints = waves(1, size=64), tiny.detect(waves(2, size=64))
    images = [m.generate(m.encode(picture), m.detect(picture), keypoints) for m in (tiny, bare)]
    assert torch.allclose(images[0], images[1], atol=1e-6)


@pytest.mark.parametrize("scale", [1, 0.5, 0.125])
def test_motion_may_have_another_size_than_the_features(tiny, scale):
    motion = dataclasses.replace(tiny.config.generator.dense_motion, scale_factor=scale)
    sizes = dataclasses.replace(tiny.config.generator, dense_motion=motion)
    model = changed(tiny, generator=sizes)
    picture = waves(1, size=64)
    avatar, keypoints = model.encode(picture), model.detect(picture)
    assert avatar.thumbnail.shape[2] == 64 * scale
    assert model.generate(avatar, keypoints, keypoints).shape == picture.shape


class OneFrame(torch.nn.Module):
    """Avatar picture, driving picture -> the avatar in the driver's pose."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, avatar, driving):
        encoded, keypoints = self.model.encode(avatar), self.model.detect(avatar)
        return self.model.generate(encoded, keypoints, self.model.detect(driving))


def test_a_graph_taken_on_one_pair_of_pictures_serves_another(tiny):
    frame, pictures = OneFrame(tiny), [waves(seed, size=64) for seed in (1, 2, 3)]
    with warnings.catch_warnings():
        # Tracing warns of each Python branch on data, and such a warning stays an error here.
        warnings.filterwarnings("ignore", message=r"`torch\.jit", category=DeprecationWarning)
        graph = torch.jit.trace(frame, (pictures[0], pictures[1]))
    assert torch.allclose(graph(*pictures[1:]), frame(*pictures[1:]), atol=1e-6)
