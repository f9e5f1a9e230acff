"""Training of the compact generator: encoder, dense motion and painter.

The landmark detector is trained before and stays fixed. It reads both pictures of a pair, as it
will in use, so that the generator learns what its landmarks look like when eyes are shut; and it
judges the result: the landmarks it finds there must be those of the driving picture, and its inner
features must agree (a perceptual loss, Johnson et al. 2016, with a network of our own). The reader
of eyes, fixed too, judges lids and irises near by; critics, trained along, judge mouths and lids.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.compact import CompactModel
from models.field import carry, coordinate_grid
from models.keypoints import Keypoints
from models.landmark_detector import LandmarkDetector
from models.landmarks import indices
from realtime.crop import READ_RATIO
from training.critic import LIDS, LIPS, Critic
from training.eyes import eye_loss
from training.keypoints import GAP_WEIGHTS, GAPS
from training.loop import Schedule, train
from training.pairs import Material, batch

EYES = indices("right_lid_upper", "right_lid_lower", "left_lid_upper", "left_lid_lower",
               "right_iris", "left_iris")  # fmt: skip
MOUTH = indices("mouth_right", "mouth_left", "inner_lip_upper", "inner_lip_lower", "lip_upper",
                "lip_lower")  # fmt: skip

LABELS = 0.85
"""Share of pairs whose keypoints are the labels; the others have what the readers find."""


@dataclass(frozen=True, slots=True)
class LossWeights:
    """What each loss counts."""

    pixels: float = 1.0
    carried: float = 0.5
    """The warped avatar alone: the flow must be right without the painter's help."""
    painted: float = 0.5
    """The painted picture alone, at eyes and mouth: blended in at a few per cent it would learn
    nothing, and then there would be no reason to blend in more."""
    edges: float = 1.0
    features: float = 0.10
    landmarks: float = 4.0
    eyes: float = 0.7
    """As landmarks, by the reader of eyes."""
    mouth: float = 0.06
    """The critic of mouths is not taken in."""
    lids: float = 0.0
    """Nor is that of lids."""
    keep: float = 0.01
    """Painting outside eyes and mouth, where the avatar's own pixels are the better ones."""
    smooth: float = 0.02
    """Uneven flow."""
    taught: float = 10.0
    """The teacher's flow, -1..1."""
    shown: float = 0.5
    """The teacher's paint, at eyes and mouth, and how much of it is laid on, everywhere."""
    region: float = 10.0
    """Extra weight of eyes and mouth in pixels and edges."""


NEAR = LossWeights(mouth=0.0, lids=0.2)
"""Where eyes alone are painted, nothing else can be spoilt, and a critic may be heard."""


class _Judge(nn.Module):
    """The detector's inner features and landmarks, from a face in a picture at 256, looked at as
    near as a driver is read: in the whole picture a lid is a pixel."""

    def __init__(self, detector: LandmarkDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor, around: Tensor) -> tuple[list[Tensor], Tensor]:
        """image (B, 3, 256, 256), ``around``: landmarks (B, 48, 2) -> features of the crop, and
        landmarks in -1..1 of the picture."""
        low, high = around.amin(1), around.amax(1)
        centre = ((low + high) / 2)[:, None]  # (B, 1, 2)
        half = (high - low)[:, 1].reshape(-1, 1, 1) / 2 * READ_RATIO
        line = torch.linspace(-1, 1, LandmarkDetector.size, device=image.device)
        square = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
        places = centre[:, None] + half[..., None] * square
        crop = F.grid_sample(image, places, padding_mode="border", align_corners=True)
        found: list[Tensor] = []
        parts = [self.detector.stem, self.detector.down1, self.detector.down2]
        hooks = [
            part.register_forward_hook(lambda _m, _i, out: found.append(out)) for part in parts
        ]
        try:
            value, _ = self.detector(crop)
        finally:
            for hook in hooks:
                hook.remove()
        return found, value.float() * half + centre


def train_generator(
    model: CompactModel,
    material: Material,
    run: Path,
    schedule: Schedule,
    batch_size: int = 8,
    compiled: bool = False,
    weights: LossWeights | None = None,
    teacher: CompactModel | None = None,
    only_lids: bool = False,
) -> CompactModel:
    """Train encoder, motion and painter of ``model`` into ``run``; detector and eyes stay.

    ``compiled``: by TorchInductor, which takes minutes and then saves about a fifth of each step.
    ``teacher``: a larger model, whose flow and paint are to be imitated besides (Hinton et al.
    2015, arXiv 1503.02531); its encoder is taken over as it is. ``only_lids``: all but what
    paints eyes near by stays as it is; raises ValueError for a model without that.
    """
    weigh = weights or (NEAR if only_lids else LossWeights())
    networks: dict[str, nn.Module] = {"motion": model.motion, "painter": model.painter}
    fixed: list[nn.Module] = [model.detector, model.eyes]
    lids = model.painter.lids
    if only_lids:
        if lids is None:
            raise ValueError("only_lids wants a model with lids: CompactModel(lids=True)")
        networks = {"lids": lids}
        fixed += [model.encoder, model.motion, model.painter]
    elif teacher is None:
        networks["encoder"] = model.encoder
    else:
        model.encoder.load_state_dict(teacher.encoder.state_dict())
        fixed += [model.encoder, teacher]
    for one in (model, teacher):
        if one is not None:
            one.to(schedule.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    for part in fixed:
        part.eval().requires_grad_(False)
    for network in networks.values():
        network.requires_grad_(True)
    critics = {"mouth": Critic(LIPS), "lids": Critic(*LIDS)}
    critics = {name: one for name, one in critics.items() if getattr(weigh, name) > 0}
    trained = nn.ModuleDict({**networks, "critics": nn.ModuleDict(critics)})
    judge = _Judge(model.detector)
    pyramid, edges = _pyramid, _edges
    if compiled:
        parts: list[nn.Module] = [model.encoder, model.motion, model.painter]
        if teacher is not None:
            parts += [teacher.motion, teacher.painter]
        for part in parts:
            part.compile()
        pyramid, edges = torch.compile(_pyramid), torch.compile(_edges)

    def step(data: tuple[Tensor, ...], autocast: torch.autocast) -> tuple[Tensor, dict[str, float]]:
        avatar, driving, start, end, true = data
        avatar = avatar.contiguous(memory_format=torch.channels_last)
        driving = driving.contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), autocast:
            seen = judge(avatar, start)[1]
            wanted_features, wanted = judge(driving, end)
            wanted_eyes = model.eyes.read(driving, end)
            # As in use.
            read_start = model.eyes.refine(avatar, seen)
            read_end = model.eyes.refine(driving, wanted)
        # Mostly the labels: what the detector misreads, the generator would learn to disobey.
        use_labels = (torch.rand(len(avatar), 1, 1, device=avatar.device) < LABELS).float()
        avatar_keypoints = model.keypoints(torch.lerp(read_start, start, use_labels))
        keypoints = model.keypoints(torch.lerp(read_end, end, use_labels))
        with autocast:
            code = model.encoder(avatar)
            flow, occlusion = model.motion(code.small, avatar_keypoints, keypoints)
            painting = model.painter(code, flow, occlusion, avatar_keypoints, keypoints)
            displacement = painting.displacement.float()
            painted, alpha = painting.painted.float(), painting.alpha.float()
            carried = carry(avatar, displacement)
            image = alpha * carried + (1 - alpha) * painted
            found_features, found = judge(image, end)
            found_eyes = model.eyes.read(image, end)
        region = _region(keypoints)
        weight = true * (1 + weigh.region * region)
        losses = {
            "pixels": weigh.pixels * pyramid(image, driving, weight),
            "carried": weigh.carried * pyramid(carried, driving, weight),
            "painted": weigh.painted * pyramid(painted, driving, weigh.region * true * region),
            "edges": weigh.edges * edges(image, driving, weight),
            "features": weigh.features * _feature_loss(found_features, wanted_features),
            "landmarks": weigh.landmarks * _landmark_loss(found, wanted.float()),
            "eyes": weigh.eyes * eye_loss(found_eyes, wanted_eyes),
            "keep": weigh.keep * ((1 - alpha) * (1 - region)).mean(),
            "smooth": weigh.smooth * _unevenness(flow),
        }
        if teacher is not None:
            with torch.no_grad(), autocast:
                example = teacher.paint(code, avatar_keypoints, keypoints)
            wanted_paint = example.painted.float(), example.alpha.float()
            away = (displacement - example.displacement.float()).abs()
            losses["taught"] = weigh.taught * away.mean()
            losses["shown"] = weigh.shown * (
                pyramid(painted, wanted_paint[0], weigh.region * region)
                + pyramid(alpha, wanted_paint[1], 1 + weigh.region * region)
            )
        for name, critic in critics.items():
            losses[f"critic {name}"], unlikely = critic.losses(image, driving, end)
            losses[name] = getattr(weigh, name) * unlikely
        with torch.no_grad():
            figures = {name: float(value) for name, value in losses.items()}
            figures["L1"] = float(((image - driving).abs() * true).mean())
            figures["copy"] = float(((avatar - driving).abs() * true).mean())
            figures["paint"] = float(((1 - alpha) * region).sum() / region.sum())
        return torch.stack(list(losses.values())).sum(), figures

    train(trained, lambda rng: batch(material, rng, batch_size), step, run, schedule)
    return model.eval()


def student(teacher: CompactModel, variant: str, lids: bool = False) -> CompactModel:
    """A model of another size, with those of the teacher's weights that fit as they are."""
    model = CompactModel(variant, lids)
    own = model.state_dict()
    known = teacher.state_dict().items()
    model.load_state_dict({n: v for n, v in known if n in own and v.shape == own[n].shape}, False)
    return model


def with_lids(model: CompactModel) -> CompactModel:
    """The same, and eyes painted near by, for now as they are."""
    return student(model, model.variant, lids=True)


def widened(model: CompactModel, variant: str) -> CompactModel:
    """A wider model that does what ``model`` does: the channels that are new see all that there is,
    but nothing that was there before listens to them yet (as Net2Net, Chen et al. 2016, arXiv
    1511.05641, with zeros instead of copies, which would all learn the same)."""
    wide = student(model, variant, lids=model.painter.lids is not None)
    state = model.state_dict()
    for name, new in wide.state_dict().items():
        old = state[name]
        if new.ndim == 1:
            new[: len(old)] = old
        elif new.shape != old.shape:
            outputs, inputs = old.shape[:2]
            places = torch.arange(inputs)
            if name.startswith("motion.up"):
                # What comes from below is followed by as many channels as come out.
                below = inputs - outputs
                places[below:] += new.shape[1] - new.shape[0] - below
            new[:outputs] = 0
            new[:outputs, places] = old
    return wide.eval()


def pair_error(model: CompactModel, data: tuple[Tensor, ...]) -> float:
    """Mean absolute difference (0..1) at eyes and mouth, of a batch that ``pairs.batch`` made."""
    avatar, driving, start, end, true = data
    with torch.no_grad():
        code, keypoints = model.encode(avatar), model.keypoints(end)
        image = model.generate(code, model.keypoints(start), keypoints)
        weight = _region(keypoints) * true
        return float(((image - driving).abs().mean(1, keepdim=True) * weight).sum() / weight.sum())


def mean_face(landmarks: np.ndarray, size: int) -> Tensor:
    """The template of local affine frames: mean of landmarks (N, 48, 2) in pixels -> (48, 2)."""
    return torch.from_numpy((landmarks.mean(0) / (size - 1) * 2 - 1).astype(np.float32))


def _region(keypoints: Keypoints) -> Tensor:
    """(B, 1, 256, 256): 1 at eyes and mouth of the driving picture, falling to 0."""
    grid = coordinate_grid(64, keypoints.value).reshape(1, 1, -1, 2)
    mask = torch.zeros(len(keypoints.value), 64 * 64, device=keypoints.value.device)
    for points, variance in ((EYES, 0.0025), (MOUTH, 0.006)):
        near = (grid - keypoints.value[:, points, None]).square().sum(-1)
        mask = torch.maximum(mask, torch.exp(-0.5 * near / variance).amax(1))
    return F.interpolate(mask.reshape(-1, 1, 64, 64), scale_factor=4.0, mode="bilinear")


def _pyramid(image: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted L1 at full, half, quarter and eighth size."""
    total = image.new_zeros(())
    for _ in range(4):
        total = total + ((image - target).abs() * weight).mean()
        image, target, weight = (F.avg_pool2d(x, 2) for x in (image, target, weight))
    return total


def _edges(image: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted L1 of differences to the right and below: sharpness."""
    difference = image - target
    right = (difference[..., 1:] - difference[..., :-1]).abs() * weight[..., 1:]
    below = (difference[..., 1:, :] - difference[..., :-1, :]).abs() * weight[..., 1:, :]
    return right.mean() + below.mean()


def _feature_loss(found: list[Tensor], wanted: list[Tensor]) -> Tensor:
    total = torch.zeros((), device=found[0].device)
    for a, b in zip(found, wanted, strict=True):
        scale = b.float().abs().mean().clamp(min=1e-3)
        total = total + (a.float() - b.float()).abs().mean() / scale
    return total


def _landmark_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Distance of landmarks, and of their gaps, in -1..1."""
    first, second = GAPS
    error = found - wanted
    gaps = (error[:, first] - error[:, second]).abs().mean((0, 2))
    weight = gaps.new_tensor(GAP_WEIGHTS)
    return error.abs().mean() + 2 * (gaps * weight).sum() / weight.sum()


def _unevenness(flow: Tensor) -> Tensor:
    move = flow - coordinate_grid(flow.shape[1], flow)
    right, below = move[:, :, 1:] - move[:, :, :-1], move[:, 1:] - move[:, :-1]
    return right.abs().mean() + below.abs().mean()
