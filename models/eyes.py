"""Eyes are read once more, near by: an iris in the picture of a whole face is a few pixels.

Each eye is cut out by its corners, turned upright and, the left one, mirrored, so that both are
read alike by one small network.
"""

import torch
from torch import Tensor, nn

from models.field import warp
from models.landmarks import COUNT, MIRROR, indices
from models.layers import Residual, conv

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
        self.look = nn.Sequential(
            conv(3, 16),
            conv(16, 32, 2),
            Residual(32),
            conv(32, 48, 2),
            Residual(48),
            nn.Flatten(),
            nn.Linear(48 * (HEIGHT // 4) * (WIDTH // 4), 64),
            nn.ReLU(),
            nn.Linear(64, 2 * len(RIGHT)),
        )

    def forward(self, eyes: Tensor) -> Tensor:
        """(N, 3, 32, 48) RGB 0..1 -> (N, 9, 2) in -1..1 of it, in the order of ``RIGHT``."""
        found: Tensor = self.look(eyes * 2 - 1)
        return found.float().reshape(-1, len(RIGHT), 2)

    def read(self, image: Tensor, around: Tensor) -> Tensor:
        """The eyes of image (B, 3, S, S) RGB 0..1, cut out by landmarks (B, 48, 2) in -1..1 of it
        -> (2B, 9, 2) in -1..1 of each cut, all right eyes first."""
        centre, axes = frames(around)
        x, y = (torch.linspace(-1, 1, side, device=image.device) for side in (WIDTH, HEIGHT))
        square = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(1, -1, 2)
        places = (centre + square @ axes).reshape(-1, HEIGHT, WIDTH, 2)
        eyes: Tensor = self(warp(torch.cat([image, image]), places))
        return eyes

    def reread(self, image: Tensor, value: Tensor) -> Tensor:
        """Landmarks (B, 48, 2) with those of the eyes read anew in image (B, 3, S, S) RGB 0..1."""
        centre, axes = frames(value)
        found = centre + self.read(image, value) @ axes
        right, left = found.chunk(2)
        return torch.cat([value[:, _REST], right, left], 1)[:, _ORDER]
