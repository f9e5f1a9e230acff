"""Windows around both eyes, for what is finer than the painter's cells of 4x4 pixels."""

from typing import NamedTuple

import torch
from torch import Tensor

from models.field import SIZE, coordinate_grid, product
from models.landmarks import indices

CELLS = SIZE // 4
"""Cells of the painter in a row."""
COLUMNS, ROWS = 12, 8
"""Cells of a window."""
EDGE = 8
"""Pixels over which a window begins."""

_CORNERS = indices("right_eye_outer", "right_eye_inner", "left_eye_outer", "left_eye_inner")


class EyeWindows(NamedTuple):
    """Where the windows lie, in whole cells, so that nothing is blurred: rows and columns are
    chosen by ones."""

    rows: Tensor
    """(B, 2, ROWS, CELLS), of the right eye and the left one."""
    columns: Tensor
    """(B, 2, COLUMNS, CELLS)."""

    @classmethod
    def of(cls, driving: Tensor) -> "EyeWindows":
        """For a face at landmarks (B, 48, 2)."""
        cells = torch.arange(CELLS, device=driving.device, dtype=torch.float32)
        most = driving.new_tensor([CELLS - COLUMNS, CELLS - ROWS])
        centre = driving[:, _CORNERS].reshape(-1, 2, 2, 2).mean(2)
        middle = (centre + 1) * (CELLS / 2) - (CELLS - most) / 2
        corner = torch.minimum(torch.round(middle).clamp(min=0), most)[..., None, None]
        columns = 1 - (corner[:, :, 0] + cells[:COLUMNS, None] - cells).abs()
        rows = 1 - (corner[:, :, 1] + cells[:ROWS, None] - cells).abs()
        return cls(rows.clamp(min=0), columns.clamp(min=0))

    def cut(self, picture: Tensor) -> Tensor:
        """What of (B, C, CELLS, CELLS) lies in them: (B * 2, C, ROWS, COLUMNS)."""
        near = product(self.rows[:, :, None], picture[:, None])
        return product(near, self.columns[:, :, None].transpose(3, 4)).flatten(0, 1)

    def laid(self, patches: Tensor) -> Tensor:
        """(B, 2, C, ROWS, COLUMNS) where they belong, and 0 around them: (B, C, CELLS, CELLS)."""
        wide = product(patches, self.columns[:, :, None])
        # Both windows at once: the rows of one after those of the other.
        to = self.rows.flatten(1, 2).transpose(1, 2)[:, None]
        return product(to, wide.transpose(1, 2).flatten(2, 3))

    def places(self, parts: int) -> Tensor:
        """x, y, 1 of ``parts`` x ``parts`` places in each cell: (B, 2, 3, n)."""
        line = coordinate_grid(parts * CELLS, self.rows)[0, :, 0].reshape(CELLS, parts)
        square = -1, 2, parts * ROWS, parts * COLUMNS
        x = product(self.columns, line).reshape(-1, 2, 1, square[3]).expand(square).flatten(2)
        y = product(self.rows, line).reshape(-1, 2, square[2], 1).expand(square).flatten(2)
        return torch.stack([x, y, torch.ones_like(x)], 2)


def faded(device: torch.device) -> Tensor:
    """(4 * ROWS, 4 * COLUMNS): 1 in a window's pixels, falling towards its edges."""
    return _fade(4 * ROWS, device)[:, None] * _fade(4 * COLUMNS, device)


def _fade(length: int, device: torch.device) -> Tensor:
    place = torch.arange(length, device=device, dtype=torch.float32) + 0.5
    return (torch.minimum(place, length - place) / EDGE).clamp(max=1)
