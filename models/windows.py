"""Windows around eyes and mouth, for what is finer than the painter's cells of 4x4 pixels."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from models.field import SIZE, coordinate_grid, product
from models.landmarks import indices

CELLS = SIZE // 4
"""Cells of the painter in a row."""
EDGE = 2
"""Cells over which a window begins."""


class Size(NamedTuple):
    """Of a window, in cells."""

    columns: int
    rows: int


EYE = Size(12, 8)
MOUTH = Size(22, 16)

_EYES = indices("right_eye_outer", "right_eye_inner", "left_eye_outer", "left_eye_inner")
_MOUTH = indices("mouth_right", "mouth_left", "inner_lip_upper", "inner_lip_lower")


class Windows(NamedTuple):
    """Where N windows lie, in whole cells, so that nothing is blurred: rows and columns are chosen
    by ones."""

    rows: Tensor
    """(B, N, size.rows, CELLS)"""
    columns: Tensor
    """(B, N, size.columns, CELLS)"""
    size: Size

    @classmethod
    def around_eyes(cls, driving: Tensor) -> "Windows":
        """The right eye and the left one, of a face at landmarks (B, 48, 2)."""
        return cls._around(driving[:, _EYES].reshape(-1, 2, 2, 2).mean(2), EYE)

    @classmethod
    def around_mouth(cls, driving: Tensor) -> "Windows":
        """One, of a face at landmarks (B, 48, 2)."""
        return cls._around(driving[:, _MOUTH].mean(1, keepdim=True), MOUTH)

    @classmethod
    def _around(cls, centre: Tensor, size: Size) -> "Windows":
        cells = torch.arange(CELLS, device=centre.device, dtype=torch.float32)
        most = centre.new_tensor([CELLS - side for side in size])
        middle = (centre + 1) * (CELLS / 2) - (CELLS - most) / 2
        corner = torch.minimum(torch.round(middle).clamp(min=0), most)[..., None, None]
        columns = 1 - (corner[:, :, 0] + cells[: size.columns, None] - cells).abs()
        rows = 1 - (corner[:, :, 1] + cells[: size.rows, None] - cells).abs()
        return cls(rows.clamp(min=0), columns.clamp(min=0), size)

    def cut(self, picture: Tensor) -> Tensor:
        """What of (B, C, CELLS, CELLS) lies in them: (B * N, C, size.rows, size.columns)."""
        near = product(self.rows[:, :, None], picture[:, None])
        return product(near, self.columns[:, :, None].transpose(3, 4)).flatten(0, 1)

    def in_cells(self, patch: Tensor, parts: int) -> Tensor:
        """(B * N, C, p * size.rows, p * size.columns), ``parts`` = p places in a cell either way,
        falling to 0 towards the edges: (B * N, C * p * p, size.rows, size.columns), as
        ``pixel_unshuffle`` has them."""
        return F.pixel_unshuffle(patch * fade(self.size, parts, patch.device), parts)

    def laid(self, *patches: Tensor) -> Tensor:
        """Patches (B * N, C, size.rows, size.columns) where they belong, all channels one after
        the other: (B, C + ..., CELLS, CELLS)."""
        within = torch.cat(patches, 1)
        within = within.reshape(-1, self.rows.shape[1], *within.shape[1:])
        wide = product(within, self.columns[:, :, None])
        # All windows at once: the rows of one after those of the other.
        to = self.rows.flatten(1, 2).transpose(1, 2)[:, None]
        return product(to, wide.transpose(1, 2).flatten(2, 3))

    def places(self) -> Tensor:
        """x, y, 1 of 2x2 places in each cell, row by row: (B, N, 3, n)."""
        x, y = self._lines(2)
        square = -1, x.shape[1], 2 * self.size.rows, 2 * self.size.columns
        x = x.reshape(-1, square[1], 1, square[3]).expand(square).flatten(2)
        y = y.reshape(-1, square[1], square[2], 1).expand(square).flatten(2)
        return torch.stack([x, y, torch.ones_like(x)], 2)

    def places_by_cell(self, parts: int) -> Tensor:
        """x, y, 1 of ``parts`` x ``parts`` places in each cell, first those of all cells at the
        upper left of them, in the order of ``in_cells``: (B, N, 3, n)."""
        x, y = self._lines(parts)
        square = -1, x.shape[1], parts, parts, self.size.rows, self.size.columns
        x = x.transpose(2, 3)[:, :, None, :, None].expand(square).flatten(2)
        y = y.transpose(2, 3)[:, :, :, None, :, None].expand(square).flatten(2)
        return torch.stack([x, y, torch.ones_like(x)], 2)

    def _lines(self, parts: int) -> tuple[Tensor, Tensor]:
        """x of the windows' columns and y of their rows, (B, N, columns or rows, parts)."""
        line = coordinate_grid(parts * CELLS, self.rows)[0, :, 0].reshape(CELLS, parts)
        return product(self.columns, line), product(self.rows, line)


def fade(size: Size, parts: int, device: torch.device | None = None) -> Tensor:
    """(parts * rows, parts * columns): 1, falling to 0 towards the edges of a window."""
    columns, rows = (_line_fade(parts, cells, device) for cells in size)
    return rows[:, None] * columns


def _line_fade(parts: int, cells: int, device: torch.device | None) -> Tensor:
    place = (torch.arange(parts * cells, device=device, dtype=torch.float32) + 0.5) / parts
    return (torch.minimum(place, cells - place) / EDGE).clamp(max=1)
