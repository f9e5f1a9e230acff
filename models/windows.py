"""Windows around both eyes, for what is finer than the painter's cells of 4x4 pixels."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from models.field import SIZE, coordinate_grid, product
from models.landmarks import indices

CELLS = SIZE // 4
"""Cells of the painter in a row."""
COLUMNS, ROWS = 12, 8
"""Cells of a window."""
EDGE = 2
"""Cells over which a window begins."""

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

    def laid(self, *patches: tuple[Tensor, int]) -> Tensor:
        """Patches where they belong, falling to 0 towards the edges of their windows.

        Each (B * 2, C, p * ROWS, p * COLUMNS) comes with p: there are p x p places in a cell. It
        becomes (B, C * p * p, CELLS, CELLS), as ``pixel_unshuffle`` has them, one after the other.
        """
        within = torch.cat([_in_cells(*one) for one in patches], 1)
        within = within.reshape(-1, 2, *within.shape[1:])
        wide = product(within, self.columns[:, :, None])
        # Both windows at once: the rows of one after those of the other.
        to = self.rows.flatten(1, 2).transpose(1, 2)[:, None]
        return product(to, wide.transpose(1, 2).flatten(2, 3))

    def places(self) -> Tensor:
        """x, y, 1 of 2x2 places in each cell: (B, 2, 3, n)."""
        line = coordinate_grid(2 * CELLS, self.rows)[0, :, 0].reshape(CELLS, 2)
        square = -1, 2, 2 * ROWS, 2 * COLUMNS
        x = product(self.columns, line).reshape(-1, 2, 1, square[3]).expand(square).flatten(2)
        y = product(self.rows, line).reshape(-1, 2, square[2], 1).expand(square).flatten(2)
        return torch.stack([x, y, torch.ones_like(x)], 2)


def _in_cells(patch: Tensor, parts: int) -> Tensor:
    fade = _fade(parts, ROWS, patch.device)[:, None] * _fade(parts, COLUMNS, patch.device)
    return F.pixel_unshuffle(patch * fade, parts)


def _fade(parts: int, cells: int, device: torch.device) -> Tensor:
    place = (torch.arange(parts * cells, device=device, dtype=torch.float32) + 0.5) / parts
    return (torch.minimum(place, cells - place) / EDGE).clamp(max=1)
