"""A critic of mouths, trained against the generator: is this a real one?

Where teeth stand exactly cannot be known from a shut mouth, and pixel losses answer what is
uncertain with its mean, a grey blur. A patch discriminator (Isola et al. 2017, arXiv 1611.07004)
with the hinge loss and spectral norm (Miyato et al. 2018, arXiv 1802.05957) does not.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from models.field import cut
from models.landmarks import indices

SIDE = 32
"""Pixels of the crop that it sees, a mouth about 20 of them wide: a band of teeth, but not single
ones. Where it saw those, it was given combs, of the painter's cells, that stood still."""
NEAR_SIDE = 64
"""The same of one that sees single teeth."""
REACH = 1.5
"""Side of the crop against the width of the mouth."""
OPEN = 0.25
"""Gap of the lips, in widths of the mouth, at which a mouth counts in full."""

_CORNERS = indices("mouth_right", "mouth_left")
_GAP = indices("inner_lip_upper", "inner_lip_lower")


class MouthCritic(nn.Module):
    """(B, 3, side, side) RGB 0..1 -> (B, side / 4, side / 4): above 0 where it takes a patch for
    real."""

    def __init__(self, side: int = SIDE) -> None:
        super().__init__()
        self.side = side
        layers: list[nn.Module] = []
        for before, after in ((3, 48), (48, 96)):
            layers += [spectral_norm(nn.Conv2d(before, after, 4, 2, 1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(96, 1, 3, 1, 1)))

    def forward(self, crop: Tensor) -> Tensor:
        """See the class."""
        found: Tensor = self.layers(crop * 2 - 1)
        return found[:, 0].float()

    def losses(self, image: Tensor, real: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor]:
        """Its own loss, and the generator's, of pictures (B, 3, H, W) made and real, whose face is
        at ``landmarks`` (B, 48, 2), -1..1. Neither loss trains the other's network."""
        weight = _openness(landmarks)
        made, true = (mouths(x, landmarks, self.side) for x in (image, real))
        own = F.relu(1 - self(true)) + F.relu(1 + self(made.detach()))
        self.requires_grad_(False)
        fooled = -self(made)
        self.requires_grad_(True)
        return (own * weight).mean(), (fooled * weight).mean()


def mouths(image: Tensor, landmarks: Tensor, side: int = SIDE) -> Tensor:
    """The surroundings of the mouth (B, 3, side, side), upright as the mouth is, of pictures (B, 3,
    H, W) with faces at ``landmarks`` (B, 48, 2)."""
    corners = landmarks[:, _CORNERS]
    centre = landmarks[:, _CORNERS + _GAP].mean(1, keepdim=True)
    along = (corners[:, 1] - corners[:, 0]) / 2 * REACH
    axes = torch.stack([along, torch.stack([-along[:, 1], along[:, 0]], -1)], 1)
    return F.avg_pool2d(cut(image, centre, axes, 2 * side, 2 * side), 2)


def _openness(landmarks: Tensor) -> Tensor:
    """(B, 1, 1): 0.1 of a shut mouth, 1 of an open one."""
    gap = (landmarks[:, _GAP[1]] - landmarks[:, _GAP[0]]).norm(dim=-1)
    width = (landmarks[:, _CORNERS[1]] - landmarks[:, _CORNERS[0]]).norm(dim=-1)
    weight: Tensor = (gap / (OPEN * width)).clamp(0.1, 1)
    return weight[:, None, None]
