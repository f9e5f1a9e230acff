"""Eyes are read once more, near by: an iris in the picture of a whole face is a few pixels.

Each eye is cut out by its corners, turned upright and, the left one, mirrored, so that both are
read alike by one small network.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.field import spread, warp
from models.landmarks import COUNT, MIRROR, indices
from models.layers import Residual, conv, soft_argmax

RIGHT = indices(
    "right_eye_outer",
    "right_eye_inner",
    *("right_lid_upper_outer", "right_lid_upper", "right_lid_upper_inner"),
    *("right_lid_lower_outer", "right_lid_lower", "right_lid_lower_inner"),
    "right_iris",
)
"""The nine landmarks of an eye."""
LEFT = [MIRROR[index] for index in RIGHT]
HEIGHT, WIDTH = 32, 48
"""Of the picture of an eye, pixels."""
REACH = 0.36
"""Half its width against the distance between the eyes."""
TEMPERATURE = 0.1
"""Of the heatmaps."""
SHARE = 0.75
"""Of what is read near by, in the mean with what the whole face's picture gave."""

_REST = [index for index in range(COUNT) if index not in {*RIGHT, *LEFT}]
_ORDER = sorted(range(COUNT), key=[*_REST, *RIGHT, *LEFT].__getitem__)


def frames(value: Tensor) -> tuple[Tensor, Tensor]:
    """Where the eyes lie: landmarks (B, 48, 2) -> centre (2B, 1, 2), and axes (2B, 2, 2) of which
    the rows lead from it to the edges, along the eye and down; all right eyes first."""
    right, left = value[:, RIGHT[:2]].mean(1), value[:, LEFT[:2]].mean(1)
    along = (left - right) * REACH  # (B, 2)
    down = torch.stack([-along[:, 1], along[:, 0]], -1) * (HEIGHT / WIDTH)
    axes = torch.cat([torch.stack([along, down], 1), torch.stack([-along, down], 1)])
    return torch.cat([right, left])[:, None], axes


class EyeReader(nn.Module):
    """The landmarks of eyes, better than the whole face's picture gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = conv(3, 24)
        self.down1 = nn.Sequential(conv(24, 32, 2), Residual(32))
        self.down2 = nn.Sequential(conv(32, 64, 2), Residual(64), Residual(64))
        self.up = conv(64 + 32, 32)
        self.heatmaps = nn.Conv2d(32, len(RIGHT), 1)

    def forward(self, eyes: Tensor) -> Tensor:
        """(N, 3, 32, 48) RGB 0..1 -> (N, 9, 2) in -1..1 of it, in the order of ``RIGHT``."""
        a = self.down1(self.fine(eyes * 2 - 1))  # (N, 32, 16, 24)
        b = self.down2(a)  # (N, 64, 8, 12)
        y = self.up(torch.cat([F.interpolate(b, scale_factor=2.0), a], 1))
        return soft_argmax(self.heatmaps(y).float(), TEMPERATURE)

    def read(self, image: Tensor, around: Tensor) -> Tensor:
        """The eyes of image (B, 3, S, S) RGB 0..1, cut out by landmarks (B, 48, 2) in -1..1 of it
        -> (2B, 9, 2) in -1..1 of each cut, all right eyes first."""
        # One below the other: the picture is not copied for each.
        places = torch.cat(spread(*frames(around), WIDTH, HEIGHT).chunk(2), 1)
        eyes: Tensor = self(torch.cat(warp(image, places).chunk(2, 2)))
        return eyes

    def reread(self, image: Tensor, value: Tensor) -> Tensor:
        """Landmarks (B, 48, 2) with those of the eyes read anew in image (B, 3, S, S) RGB 0..1."""
        centre, axes = frames(value)
        found = centre + self.read(image, value) @ axes
        right, left = found.chunk(2)
        return torch.cat([value[:, _REST], right, left], 1)[:, _ORDER]

    def refine(self, image: Tensor, value: Tensor) -> Tensor:
        """As ``reread``, but a mean with what was read before: their errors differ."""
        return torch.lerp(value, self.reread(image, value), SHARE)
