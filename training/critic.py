"""Critics of mouths and lids, trained against the generator: is this a real one?

Where teeth and lashes stand exactly cannot be known from a shut mouth or an open eye, and pixel
losses answer what is uncertain with its mean, a grey blur. A patch discriminator (Isola et al.
2017, arXiv 1611.07004) with the hinge loss and spectral norm (Miyato et al. 2018, arXiv 1802.05957)
does not.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from models.field import cut
from models.landmarks import indices

SIDE = 32
"""Pixels of the crop that is seen, a mouth about 20 of them wide: a band of teeth, but not single
ones. Where it saw those, it was given combs that stood still in the picture."""
REACH = 1.5
"""Side of the crop against the width of the part."""
OPEN = 0.25
"""Gap, in widths, at which a part is as open as it counts."""


class Part(NamedTuple):
    """What is judged, by landmarks."""

    corners: list[int]
    """From left to right in the picture."""
    gap: list[int]
    """Middle of the upper edge, of the lower one."""
    counts_open: bool
    """Whether it counts in full when it is open, or when it is shut."""


LIPS = Part(
    indices("mouth_right", "mouth_left"), indices("inner_lip_upper", "inner_lip_lower"), True
)
LIDS = tuple(
    Part(
        indices(*(f"{side}_eye_{corner}" for corner in corners)),
        indices(f"{side}_lid_upper", f"{side}_lid_lower"),
        False,
    )
    for side, corners in (("right", ("outer", "inner")), ("left", ("inner", "outer")))
)


class Critic(nn.Module):
    """(B, 3, 32, 32) RGB 0..1 -> (B, 8, 8): above 0 where it takes a patch for real."""

    def __init__(self, *parts: Part) -> None:
        super().__init__()
        self.parts = parts
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
        weight = torch.cat([_weight(landmarks, part) for part in self.parts])
        made, true = (
            torch.cat([seen(x, landmarks, part) for part in self.parts]) for x in (image, real)
        )
        own = F.relu(1 - self(true)) + F.relu(1 + self(made.detach()))
        self.requires_grad_(False)
        fooled = -self(made)
        self.requires_grad_(True)
        return (own * weight).mean(), (fooled * weight).mean()


def seen(image: Tensor, landmarks: Tensor, part: Part) -> Tensor:
    """The surroundings of a part (B, 3, 32, 32), upright as it is, of pictures (B, 3, H, W) with
    faces at ``landmarks`` (B, 48, 2)."""
    corners = landmarks[:, part.corners]
    centre = landmarks[:, part.corners + part.gap].mean(1, keepdim=True)
    along = (corners[:, 1] - corners[:, 0]) / 2 * REACH
    axes = torch.stack([along, torch.stack([-along[:, 1], along[:, 0]], -1)], 1)
    return F.avg_pool2d(cut(image, centre, axes, 2 * SIDE, 2 * SIDE), 2)


def _weight(landmarks: Tensor, part: Part) -> Tensor:
    """(B, 1, 1), from 0.1 to 1, by how far a part is open."""
    gap = (landmarks[:, part.gap[1]] - landmarks[:, part.gap[0]]).norm(dim=-1)
    width = (landmarks[:, part.corners[1]] - landmarks[:, part.corners[0]]).norm(dim=-1)
    opened = gap / (OPEN * width)
    weight: Tensor = (opened if part.counts_open else 1 - opened).clamp(0.1, 1)
    return weight[:, None, None]
