"""A compact network of the First Order Motion Model family, for machines without a GPU.

Two changes against the paper (Siarohin et al. 2019, arXiv 2003.00196): the keypoints are face
landmarks, learnt with supervision, so that lids and lips are explicit; and the generator mostly
carries the avatar's own pixels, painting only what those cannot show (mouth interior, closed lids).
Relative motion, local affine frames, dense motion and occlusion are the family's.

Coordinates are -1..1 over pixel centres, x right and y down.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.avatar_encoder import HINTS, AvatarCode, AvatarEncoder
from models.eyes import EyeReader
from models.field import SIZE, carry, cells, mix, near, near_at, product, warp
from models.hair import Hair
from models.keypoints import Keypoints, inverse_2x2
from models.landmark_detector import LandmarkDetector, local_affine
from models.landmarks import COUNT, NAMES
from models.layers import Residual, conv, doubled, parted_head, widths
from models.openings import sides
from models.painter import Painter, Painting

VARIANTS = {"s": 0.5, "m": 1.0, "l": 1.8}
"""Channels of dense motion and painter, against the medium ones: about 1, 3 and 7 GMAC a frame."""

SIDES = ("temple_right", "temple_left", "jaw_right", "jaw_left")
SIDEWAYS = 2.0
"""Largest logit by which the network may raise what these rule: hair above a turned face that nods
does not go with its side, which stands still."""


class DenseMotion(nn.Module):
    """Keypoint motion -> a flow field and an occlusion map at 64x64 (section 3.2 of the paper).

    A first flow comes from the keypoints alone: a softmax over keypoints that falls with distance,
    with a steepness of its own for each (lids rule over a few pixels, the jaw over a wide area).
    Between keypoints it is a mean; at them it is nearly right, however near their neighbours are.
    The network sees the avatar under this flow and corrects the weights and the flow itself.
    """

    most: Tensor

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        a, b, c, d = widths(width, 48, 64, 96, 128)
        self.first = conv(COUNT + 3 + HINTS + 2, a)
        self.down1 = conv(a, b, 2)
        self.down2 = conv(b, c, 2)
        self.down3 = nn.Sequential(conv(c, d, 2), Residual(d))
        self.up2 = conv(d + c, c)
        self.up1 = conv(c + b, b)
        self.up0 = conv(b + a, a)
        # Mask (K + 2), flow correction (2) and occlusion (1) in one convolution.
        self.heads = nn.Conv2d(a, COUNT + 2 + 2 + 1, 3, 1, 1)
        nn.init.zeros_(self.heads.weight)
        nn.init.zeros_(self.heads.bias)  # type: ignore[arg-type]
        self.log_steepness = nn.Parameter(torch.tensor([_steepness(n) for n in NAMES]).log())
        self.log_strength = nn.Parameter(torch.tensor([_strength(n) for n in NAMES]))
        self.background = nn.Parameter(torch.tensor(-5.0))
        self.hair = Hair()
        # Maps of background and hair first, as in ``moves``.
        most = [60.0, 60.0, *(SIDEWAYS if name in SIDES else 60.0 for name in NAMES)]
        self.register_buffer("most", torch.tensor(most)[:, None], persistent=False)

    def forward(
        self, small: Tensor, avatar: Keypoints, driving: Keypoints
    ) -> tuple[Tensor, Tensor]:
        """small (B, 3 + HINTS, 64, 64) -> flow (B, 64, 64, 2) in -1..1, occlusion (B, 1, 64, 64).

        The flow points from each output pixel to where the avatar has it.
        """
        size = small.shape[-1]
        # Equation 4: z -> p_avatar + J_avatar J_driving^-1 (z - p_driving), and z -> z behind.
        jacobian = product(avatar.jacobian, inverse_2x2(driving.jacobian))
        shift = avatar.value - product(jacobian, driving.value[..., None])[..., 0]
        steepness, strength = self.log_steepness.exp(), self.log_strength.exp()
        behind = self.background.exp()
        still = torch.eye(2, 3, device=shift.device).expand(shift.shape[0], 1, 2, 3)
        plane = self.hair.plane(driving.value)
        knots = self.hair.knots(plane)
        others = torch.cat([still, self.hair.map(self.hair.plane(avatar.value), plane)], 1)
        moves = torch.cat([jacobian, shift[..., None]], -1)  # (B, K, 2, 3), of x, y, 1
        missed = self._missed(avatar.value, driving.value, moves, knots, others)
        moves = torch.cat([jacobian, (shift + missed)[..., None]], -1)
        moves = torch.cat([others, moves], 1)  # (B, K + 2, 2, 3)
        places = cells(size, small)
        rule = sides(driving.value, places).reshape(-1, COUNT, size, size)
        hair = self.hair.near(knots, size)
        weight = near(driving.value, steepness, size, strength) * rule
        weight = torch.cat([behind.expand_as(hair), hair, weight], 1).flatten(2)
        # Heatmaps of variance 0.01.
        narrow = torch.full_like(self.log_steepness, 50.0)
        difference = near(driving.value, narrow, size) - near(avatar.value, narrow, size)
        grid = places[:2].reshape(2, size, size)
        first_flow = mix(weight, moves, places).reshape(-1, 2, size, size)
        warped = warp(small, first_flow.permute(0, 2, 3, 1))
        a = self.first(torch.cat([difference, warped, (first_flow - grid) * 4], 1))
        b = self.down1(a)
        c = self.down2(b)
        d = self.down3(c)  # (B, ., 8, 8)
        y = self.up2(torch.cat([doubled(d), c], 1))
        y = self.up1(torch.cat([doubled(y), b], 1))
        y = self.up0(torch.cat([doubled(y), a], 1))
        # Rows of cells from here on, as the weights are: a runtime that turns them to and fro, as
        # convolutions like them otherwise, takes longer for it than for all of this.
        parts = parted_head(y, self.heads, COUNT + 2, 3)
        mask, rest = (part.float().flatten(2) for part in parts)
        correction, occlusion = rest[:, :2], rest[:, 2:]
        # Clamped where a softmax would subtract the largest: the same but for absurd logits.
        weight = weight * torch.exp(torch.minimum(mask.clamp(min=-60), self.most))
        flow = mix(weight, moves, places) + 0.06 * torch.tanh(correction)
        flow = flow.reshape(-1, 2, size, size).permute(0, 2, 3, 1)
        return flow, torch.sigmoid(occlusion + 2).reshape(-1, 1, size, size)

    def _missed(
        self, avatar: Tensor, driving: Tensor, moves: Tensor, knots: Tensor, others: Tensor
    ) -> Tensor:
        """How much further each keypoint's map has to go, (B, K, 2), for the first flow to lead
        from every keypoint to the avatar's. ``others``: the maps of background and hair.

        With W the share of each map at each keypoint and r what the flow misses there, that is
        W^-1 r, here the first 4 terms of r + (I - W) r + (I - W)^2 r + ...: what is left out is
        what keypoints that nearly coincide contradict each other in.
        """
        share = near_at(driving, driving, self.log_steepness, self.log_strength)  # (B, K, K)
        points = torch.cat([driving, torch.ones_like(driving[..., :1])], -1).transpose(1, 2)
        share = share * sides(driving, points).transpose(1, 2)
        hair = self.hair.at(knots, driving)
        share = torch.cat([self.background.exp().expand_as(hair), hair, share], -1)
        share = share / share.sum(-1, keepdim=True)  # [i, k]: of map k at keypoint i
        maps = product(share, torch.cat([others, moves], 1).flatten(2))
        a, b, c = maps.reshape(-1, COUNT, 2, 3).unbind(-1)
        missed = avatar - (a * driving[..., :1] + b * driving[..., 1:] + c)
        left = torch.eye(COUNT, device=share.device) - share[..., 2:]
        for _ in range(2):
            missed = missed + product(left, missed)
            left = product(left, left)
        return missed


def _steepness(name: str) -> float:
    if name in ("chin", "jaw_right", "jaw_left", "temple_right", "temple_left", "forehead"):
        return 12.0
    if "lid" in name or "lip" in name or "iris" in name:
        return 300.0
    return 80.0


def _strength(name: str) -> float:
    # An iris moves as a disc between lids that stay, and they are six around it.
    return 2.0 if "iris" in name else 0.0


class CompactAvatar(NamedTuple):
    """What is kept of an avatar between frames."""

    image: Tensor
    """(B, 3, 256, 256) RGB 0..1."""
    code: AvatarCode


class CompactModel(nn.Module):
    """The whole compact network, with the same face as ``FirstOrderModel``.

    ``variant``, one of ``VARIANTS``, is its size; the networks that find landmarks and the one that
    looks at an avatar once are the same in all. ``lids``: eyes are painted near by.
    """

    family = "compact"
    size = SIZE
    output_size = 2 * SIZE
    """Side of the frames that an exported model gives: the avatar's own pixels at that size."""
    keypoint_size = 256
    """Side of the crop that is read. Landmarks are found at half that size, and eyes
    read once more at the whole."""
    num_keypoints = COUNT
    landmarks = tuple(NAMES)

    template: Tensor
    """(48, 2), the mean face that jacobians are measured against."""

    def __init__(self, variant: str = "m", lids: bool = False) -> None:
        super().__init__()
        self.variant = variant
        width = VARIANTS[variant]
        self.detector = LandmarkDetector()
        self.eyes = EyeReader()
        self.encoder = AvatarEncoder()
        self.motion = DenseMotion(width)
        self.painter = Painter(width, lids)
        self.register_buffer("template", torch.zeros(COUNT, 2))

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "CompactModel":
        """The model, of whichever size, that has the weights ``state``. Raises RuntimeError where
        there is none."""
        sizes = {widths(width, 64)[0]: name for name, width in VARIANTS.items()}
        variant = sizes.get(len(state.get("painter.enter.0.weight", ())), "m")
        model = cls(variant, any(name.startswith("painter.lids.") for name in state))
        model.load_state_dict(state)
        return model

    def detect(self, image: Tensor) -> Keypoints:
        """(B, 3, H, W) RGB 0..1, square -> value (B, 48, 2), jacobian (B, 48, 2, 2)."""
        return self.detect_with_presence(image)[0]

    def detect_with_presence(self, image: Tensor) -> tuple[Keypoints, Tensor]:
        """As ``detect``, and the belief (B,) in 0..1 that there is a face."""
        if image.shape[-1] != self.keypoint_size:
            image = F.interpolate(image, size=(self.keypoint_size,) * 2, mode="area")
        small = F.avg_pool2d(image, self.keypoint_size // LandmarkDetector.size)
        value, presence = self.detector(small)
        # From the centres of the small picture's outer pixels to those of the large one's.
        large = self.keypoint_size - 1
        value = self.eyes.refine(image, value * ((large - 1) / large))
        return self.keypoints(value), torch.sigmoid(presence)

    def keypoints(self, value: Tensor) -> Keypoints:
        """Keypoints with their jacobians from landmark positions (B, 48, 2)."""
        return Keypoints(value, local_affine(value, self.template))

    def encode(self, image: Tensor) -> CompactAvatar:
        """(B, 3, 256, 256) RGB 0..1 -> CompactAvatar."""
        return CompactAvatar(image, self.encoder(image))

    def generate(
        self, avatar: CompactAvatar, avatar_keypoints: Keypoints, keypoints: Keypoints
    ) -> Tensor:
        """The avatar at ``keypoints``: (B, 3, 256, 256) RGB 0..1."""
        painting = self.paint(avatar.code, avatar_keypoints, keypoints)
        carried = carry(avatar.image, painting.displacement)
        return painting.alpha * carried + (1 - painting.alpha) * painting.painted

    def paint(
        self, avatar: AvatarCode, avatar_keypoints: Keypoints, keypoints: Keypoints
    ) -> Painting:
        """All of ``generate`` that needs the networks: the rest is ``carry`` and a blend."""
        flow, occlusion = self.motion(avatar.small, avatar_keypoints, keypoints)
        painting: Painting = self.painter(avatar, flow, occlusion, avatar_keypoints, keypoints)
        return painting
