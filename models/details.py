"""Eyes and mouth, painted once more near by.

The painter works in cells of 4x4 pixels, and what it knows of lids and lips is a soft spot a few
cells wide: seams are pale, teeth a band, edges jagged. Here windows around eyes and mouth are
painted in cells of 2x2, by networks that are told for each of them where it lies between the edges.
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
WIDTH = 32
"""Channels."""
EDGE = 8
"""Pixels over which a window begins."""

_CORNERS = indices("right_eye_outer", "right_eye_inner", "left_eye_outer", "left_eye_inner")
_IRISES = indices("right_iris", "left_iris")
_MOUTH = indices("mouth_right", "mouth_left", "lip_upper", "lip_lower")
_NOSTRILS = indices("right_nostril", "left_nostril")


class Window(nn.Module):
    """Rectangles of cells, painted by the same network wherever they are."""

    across: Tensor
    down: Tensor
    most: Tensor
    fade: Tensor
    line: Tensor

    def __init__(self, features: int, width: int, height: int) -> None:
        super().__init__()
        self.enter = conv(features, WIDTH)
        # 5 numbers of the opening, 2 of a fixed point.
        self.join = conv(WIDTH + 5 + 2, WIDTH)
        self.between = Residual(WIDTH)
        self.paint = nn.Conv2d(WIDTH, 2 * 4, 3, 1, 1)
        nn.init.zeros_(self.paint.weight)
        nn.init.zeros_(self.paint.bias)  # type: ignore[arg-type]
        cells = torch.arange(CELLS, dtype=torch.float32)
        fade = _fade(4 * height)[:, None] * _fade(4 * width)
        constants = {
            "across": cells[:width, None] - cells,
            "down": cells[:height, None] - cells,
            "most": CELLS - torch.tensor([float(width), float(height)]),
            "fade": fade,
            "line": coordinate_grid(2 * CELLS, fade)[0, :, 0].reshape(CELLS, 2),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def forward(
        self,
        features: Tensor,
        centre: Tensor,
        fixed: Tensor,
        openings: Openings,
        which: slice,
    ) -> tuple[Tensor, Tensor]:
        """What is to be added to light and alpha, from the painter's ``features`` (B, C, CELLS,
        CELLS), in n windows around ``centre`` (B, n, 2).

        ``fixed`` (B, n, 2): of each a point that goes along with what it shows. ``which``: of the
        openings. Returns (B, 32, n * height, CELLS), the rows of all windows, 16 pixels a cell, and
        (B, n * height, CELLS), 1 where each is to go.
        """
        count, height, width = centre.shape[1], len(self.down), len(self.across)
        # Whole cells, so that nothing is blurred: rows and columns are chosen by ones.
        middle = (centre + 1) * (CELLS / 2) - (CELLS - self.most) / 2
        corner = torch.minimum(torch.round(middle).clamp(min=0), self.most)[..., None, None]
        columns = (1 - (corner[:, :, 0] + self.across).abs()).clamp(min=0)  # (B, n, width, CELLS)
        rows = (1 - (corner[:, :, 1] + self.down).abs()).clamp(min=0)

        near = product(rows[:, :, None], features[:, None])
        near = product(near, columns[:, :, None].transpose(3, 4)).flatten(0, 1)
        entered = doubled(self.enter(near))  # (B * n, WIDTH, 2 * height, 2 * width)
        # Places of the cells of 2x2 pixels.
        square = -1, count, 2 * height, 2 * width
        x = product(columns, self.line).reshape(-1, count, 1, 2 * width).expand(square).flatten(2)
        y = product(rows, self.line).reshape(-1, count, 2 * height, 1).expand(square).flatten(2)
        seen = openings.seen_from(which, torch.stack([x, y, torch.ones_like(x)], 2))
        scale = openings.rows[:, which, :1, :2].square().sum(-1, keepdim=True).sqrt()
        away = ((torch.stack([x, y], 2) - fixed[..., None]) * scale).clamp(-3, 3)
        told = torch.cat([seen, away], 2).reshape(-1, 7, 2 * height, 2 * width)
        joined = self.join(torch.cat([entered, told], 1))
        added = F.pixel_shuffle(self.paint(self.between(joined)).float(), 2) * self.fade
        added = F.pixel_unshuffle(added, 4).reshape(-1, count, 2 * 16, height, width)
        wide = product(added, columns[:, :, None])
        return wide.transpose(1, 2).flatten(2, 3), rows.flatten(1, 2)


class Details(nn.Module):
    """See the module."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.eyes = Window(features, 12, 8)
        self.mouth = Window(features, 20, 16)

    def forward(self, features: Tensor, driving: Tensor, openings: Openings) -> Tensor:
        """What is to be added to the painter's logits (B, 64, 64, 64), from its features (B, C, 64,
        64), for a face at landmarks (B, 48, 2)."""
        corners = driving[:, _CORNERS].reshape(-1, 2, 2, 2)
        mouth, nose = (driving[:, points].mean(1, keepdim=True) for points in (_MOUTH, _NOSTRILS))
        irises = driving[:, _IRISES]
        eyes = self.eyes(features, corners.mean(2), irises, openings, slice(0, 2))
        lips = self.mouth(features, mouth, nose, openings, slice(2, 3))
        rows = torch.cat([eyes[1], lips[1]], 1).transpose(1, 2)[:, None]
        light, alpha = product(rows, torch.cat([eyes[0], lips[0]], 2)).chunk(2, 1)
        # Red, green and blue alike: where colours were free, critics were shown rainbows.
        return torch.cat([light, light, light, alpha], 1)


def _fade(length: int) -> Tensor:
    """(length,): 1, falling towards both ends."""
    place = torch.arange(length, dtype=torch.float32) + 0.5
    return (torch.minimum(place, length - place) / EDGE).clamp(max=1)
