"""What the compact network paints where the avatar's own pixels cannot show what is asked.

Eyes and mouths are done near by, in windows: see ``models.eye_flow``, ``models.lids`` and
``models.mouth``.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.avatar_encoder import AvatarCode
from models.eye_flow import eye_flow, hue_of, skin_around
from models.field import SIZE, coordinate_grid, enlarged, near, warp
from models.keypoints import Keypoints
from models.landmarks import COUNT
from models.layers import Residual, conv, doubled, widths
from models.lids import LidPainter
from models.mouth import Mouth, newly_open
from models.openings import Openings
from models.windows import CELLS, Windows

MOUTH_GATE = 4.0
"""How much the painter's alpha is held open inside a newly opened mouth, as a logit."""
MOUTH_SHADE = 1.5
"""How much darker the paint starts there, as a logit."""
SEAM_GATE = 4.0
"""As ``MOUTH_GATE``, along the seam of shut eyes."""
CARRIED = 1.0
"""How much alpha starts on the side of the avatar's own pixels, as a logit."""
EYE_GATE = 12.0
"""How much alpha is held shut in open eyes, which geometry moves, as a logit: the painter, who
knows eyes of many, is sure of their irises on turned heads."""


class Painting(NamedTuple):
    """How to make a frame of the avatar's picture of whatever size."""

    displacement: Tensor
    """(B, 2, 128, 128): where each cell's content lies in the avatar, minus the cell's own place, x
    and y in -1..1."""
    rgba: Tensor
    """(B, 4, 256, 256), 0..1: RGB, and how much of the avatar's own pixel is taken: 1 carries, 0
    paints."""

    @property
    def painted(self) -> Tensor:
        """(B, 3, 256, 256) RGB 0..1."""
        return self.rgba[:, :3]

    @property
    def alpha(self) -> Tensor:
        """(B, 1, 256, 256)."""
        return self.rgba[:, 3:]


class Painter(nn.Module):
    """See the module."""

    enlarge2: Tensor
    enlarge4: Tensor

    def __init__(self, width: float = 1.0, lids: bool = False) -> None:
        super().__init__()
        a, b = widths(width, 64, 96)
        self.pose = nn.Conv2d(COUNT, 24, 1)
        self.enter = conv(64 + 3 + 24, a)
        self.before = Residual(a)
        self.down = nn.Sequential(conv(a, b, 2), Residual(b))
        self.up = conv(b, a)
        self.after = nn.Sequential(Residual(a), Residual(a))
        # RGB and alpha of 4x4 output pixels per cell: no convolution at full size.
        self.paint = nn.Sequential(conv(a, a), nn.Conv2d(a, 4 * 16, 3, 1, 1))
        self.lids = LidPainter(a) if lids else None
        self.mouth = Mouth()
        # Constants, not weights: to enlarge cells twice and to pixels.
        for times in (2, 4):
            enlarge = F.interpolate(torch.eye(SIZE // 4)[None], scale_factor=times, mode="linear")
            self.register_buffer(f"enlarge{times}", enlarge[0].T.contiguous(), persistent=False)

    def forward(
        self,
        avatar: AvatarCode,
        flow: Tensor,
        occlusion: Tensor,
        avatar_keypoints: Keypoints,
        driving: Keypoints,
    ) -> Painting:
        """What the avatar's features under the flow give, besides its own pixels."""
        size = flow.shape[1]
        features, small = warp(avatar.features, flow), warp(avatar.small[:, :3], flow)
        narrow = torch.full_like(driving.value[0, :, 0], 1 / 0.006)
        pose = near(driving.value, narrow, size)
        x = self.before(self.enter(torch.cat([features * occlusion, small, self.pose(pose)], 1)))
        x = self.after(x + doubled(self.up(self.down(x))))
        logits = self.paint(x).float()  # (B, 4 * 16, 64, 64)
        # A mouth that was closed has no inside to carry: there paint goes first, and it is dark, as
        # far as what it shows is not known. Nor has an eye that was open a shut lid.
        openings = Openings.of(avatar_keypoints.value, driving.value)
        mouth, seams = openings.uncarried(size)
        newly = newly_open(openings)
        mouth = mouth * (1 - newly)
        held = mouth * MOUTH_GATE + seams * SEAM_GATE - CARRIED
        gates = enlarged(torch.cat([mouth * MOUTH_SHADE, held], 1), self.enlarge4)
        moves, paint = self._eyes(x, logits, avatar, driving.value, openings)
        away, inside, share = self._mouth(
            avatar, avatar_keypoints.value, driving.value, openings, newly
        )
        moves = F.pixel_shuffle(moves + away, 2)
        # Rows of cells, then of pixels, from here on: as in DenseMotion.
        logits = (logits + paint).reshape(-1, 4, 16, size * size) * (1 - share) + inside
        # As pixel_shuffle by 4, which takes ONNX Runtime twice as long.
        logits = logits.reshape(-1, 16, 4, size * size).transpose(2, 3)
        logits = logits.reshape(-1, 4, 4, size, SIZE).transpose(2, 3).reshape(-1, 4, SIZE, SIZE)
        rgba = torch.sigmoid(logits - gates[:, [0, 0, 0, 1]])
        # The displacement is enlarged, not the flow: no motion stays no motion up to the border.
        moved = (flow - coordinate_grid(size, flow)).permute(0, 3, 1, 2)
        moved = enlarged(moved, self.enlarge2)
        displacement = moved * (1 - moves[:, 2:]) + moves[:, :2]
        return Painting(displacement, rgba)

    def _eyes(
        self,
        features: Tensor,
        logits: Tensor,
        avatar: AvatarCode,
        driving: Tensor,
        openings: Openings,
    ) -> tuple[Tensor, Tensor]:
        """What is done to the eyes near by, of a face at landmarks (B, 48, 2).

        Displacement times its share, and the share, (B, 3 * 4, 64, 64); and what is to be added to
        the logits (B, 4 * 16, 64, 64).
        """
        windows = Windows.around_eyes(driving)
        places = windows.places()
        eyes = openings.eyes_at(places)
        skin = skin_around(avatar.small[:, :3], openings)
        flow = eye_flow(skin, openings, places, eyes)
        seen = F.interpolate(flow[:, 3:], scale_factor=2.0, mode="bilinear")
        whole, seam = seen.clamp(min=0), -seen.clamp(max=0)
        # By the square towards the lids, whose edge is the painter's.
        kept = EYE_GATE * whole.square() - SEAM_GATE * seam
        paint = F.pad(kept, (0, 0, 0, 0, 1, 0))  # light and alpha
        if self.lids is not None:
            paint = paint + self.lids(features, driving, windows, places, eyes)
        paint = windows.in_cells(torch.cat([paint, seam], 1), 4)
        light, alpha, seam = paint.chunk(3, 1)
        # Red, green and blue alike: where colours were free, lids had rainbows. The seam of a shut
        # eye has the hue of skin, not of the iris that lies behind it.
        rgb = windows.cut(logits[:, : 3 * 16]).reshape(-1, 3, *light.shape[1:])
        tinted = rgb.mean(1, keepdim=True) + hue_of(skin) - rgb
        rgb = (tinted * seam[:, None] + light[:, None]).flatten(1, 2)
        laid = windows.laid(windows.in_cells(flow[:, :3], 2), rgb, alpha)
        moves, added = torch.split(laid, [3 * 4, 4 * 16], 1)
        return moves, added

    def _mouth(
        self,
        avatar: AvatarCode,
        own: Tensor,
        driving: Tensor,
        openings: Openings,
        newly: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What an avatar with landmarks ``own`` shows in its mouth.

        Displacement times its share, and the share, (B, 3 * 4, 64, 64); logits of RGB times their
        share, and what is to be added to those of alpha, (B, 4, 16, 64 * 64); and that share, (B,
        1, 16, 64 * 64).
        """
        windows = Windows.around_mouth(driving)
        places = windows.places_by_cell(4)[:, 0]
        patches = self.mouth(avatar.small[:, :3], own, driving, openings, places, newly)
        away, added, share = (windows.laid(patch) for patch in patches)
        cells = 16, CELLS * CELLS
        return away, added.reshape(-1, 4, *cells), share.reshape(-1, 1, *cells)
