"""Eyes, painted once more near by.

The painter works in cells of 4x4 pixels, and what it knows of lids is a soft spot a few cells wide:
the seams of shut eyes are pale. Here a window around each eye is painted in cells of 2x2, by a
network that is told of each where it lies between the lids.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.field import SIZE, coordinate_grid, product
from models.landmarks import indices
from models.layers import Residual, conv, doubled
from models.openings import Openings

CELLS = SIZE // 4
"""Cells of the painter in a row."""
COLUMNS, ROWS = 12, 8
"""Cells of a window."""
CHANNELS = 32
EDGE = 8
"""Pixels over which a window begins."""

_CORNERS = indices("right_eye_outer", "right_eye_inner", "left_eye_outer", "left_eye_inner")
_IRISES = indices("right_iris", "left_iris")


class LidPainter(nn.Module):
    """See the module."""

    across: Tensor
    down: Tensor
    most: Tensor
    fade: Tensor
    line: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.enter = conv(features, CHANNELS)
        # 5 numbers of the opening, 2 of the iris.
        self.join = conv(CHANNELS + 5 + 2, CHANNELS)
        self.between = Residual(CHANNELS)
        # Light and alpha of 2x2 pixels, at first nothing.
        self.paint = nn.Conv2d(CHANNELS, 2 * 4, 3, 1, 1)
        nn.init.zeros_(self.paint.weight)
        nn.init.zeros_(self.paint.bias)  # type: ignore[arg-type]
        cells = torch.arange(CELLS, dtype=torch.float32)
        fade = _fade(4 * ROWS)[:, None] * _fade(4 * COLUMNS)
        constants = {
            "across": cells[:COLUMNS, None] - cells,
            "down": cells[:ROWS, None] - cells,
            "most": CELLS - torch.tensor([float(COLUMNS), float(ROWS)]),
            "fade": fade,
            "line": coordinate_grid(2 * CELLS, fade)[0, :, 0].reshape(CELLS, 2),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, features: Tensor, driving: Tensor, openings: Openings) -> Tensor:
        """What is to be added to the painter's logits (B, 64, CELLS, CELLS), from its features (B,
        C, CELLS, CELLS), for a face at landmarks (B, 48, 2)."""
        centre = driving[:, _CORNERS].reshape(-1, 2, 2, 2).mean(2)
        # Whole cells, so that nothing is blurred: rows and columns are chosen by ones.
        middle = (centre + 1) * (CELLS / 2) - (CELLS - self.most) / 2
        corner = torch.minimum(torch.round(middle).clamp(min=0), self.most)[..., None, None]
        columns = (1 - (corner[:, :, 0] + self.across).abs()).clamp(min=0)  # (B, 2, COLUMNS, CELLS)
        rows = (1 - (corner[:, :, 1] + self.down).abs()).clamp(min=0)

        near = product(rows[:, :, None], features[:, None])
        near = product(near, columns[:, :, None].transpose(3, 4)).flatten(0, 1)
        entered = doubled(self.enter(near))  # (B * 2, CHANNELS, 2 * ROWS, 2 * COLUMNS)
        # Places of the cells of 2x2 pixels.
        square = -1, 2, 2 * ROWS, 2 * COLUMNS
        x = product(columns, self.line).reshape(-1, 2, 1, 2 * COLUMNS).expand(square).flatten(2)
        y = product(rows, self.line).reshape(-1, 2, 2 * ROWS, 1).expand(square).flatten(2)
        seen, half = openings.eyes_from(torch.stack([x, y, torch.ones_like(x)], 2))
        away = ((torch.stack([x, y], 2) - driving[:, _IRISES, :, None]) / half).clamp(-3, 3)
        told = torch.cat([seen, away], 2).reshape(-1, 7, 2 * ROWS, 2 * COLUMNS)
        added = self.paint(self.between(self.join(torch.cat([entered, told], 1)))).float()
        added = F.pixel_unshuffle(F.pixel_shuffle(added, 2) * self.fade, 4)
        wide = product(added.reshape(-1, 2, 2 * 16, ROWS, COLUMNS), columns[:, :, None])
        # Both windows at once: the rows of one after those of the other.
        to = rows.flatten(1, 2).transpose(1, 2)[:, None]
        light, alpha = product(to, wide.transpose(1, 2).flatten(2, 3)).chunk(2, 1)
        # Red, green and blue alike: where colours were free, lids had rainbows.
        return torch.cat([light, light, light, alpha], 1)


def _fade(length: int) -> Tensor:
    """(length,): 1, falling towards both ends."""
    place = torch.arange(length, dtype=torch.float32) + 0.5
    return (torch.minimum(place, length - place) / EDGE).clamp(max=1)
