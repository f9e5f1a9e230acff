"""Eyes and mouths as openings between two edges, from landmarks.

A keypoint's map holds on its own side of an opening; and what a mouth shows that was shut before,
no pixel of the avatar can.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from models.field import cells, product
from models.landmarks import NAMES, indices

_SIDES = ("_right", "", "_left")


class _Between(NamedTuple):
    """What an opening lies between, by landmarks."""

    corners: list[int]
    """From left to right in the picture."""
    edges: list[int]
    """Three of the upper one, then three of the lower one."""
    upper: str
    """Part of the names of what goes along with the upper one."""
    lower: str
    inside: str
    """Of what shows between them alone; "-" for nothing."""
    soft: float
    """How sharply one ends where the other begins, in half widths of the opening: about 1.5 pixels
    of 256."""


def _eye(side: str, *corners: str) -> _Between:
    upper, lower = f"{side}_lid_upper", f"{side}_lid_lower"
    edges = [f"{lid}{part}" for lid in (upper, lower) for part in ("_outer", "", "_inner")]
    ends = (f"{side}_eye_{corner}" for corner in corners)
    return _Between(indices(*ends), indices(*edges), upper, lower, f"{side}_iris", 0.14)


_MOUTH = _Between(
    indices("mouth_right", "mouth_left"),
    indices(*(f"inner_lip_{lip}{side}" for lip in ("upper", "lower") for side in _SIDES)),
    "lip_upper",
    "lip_lower",
    "-",
    0.07,
)
_OPENINGS = (_eye("right", "outer", "inner"), _eye("left", "inner", "outer"), _MOUTH)


class _Opening(NamedTuple):
    """Eyes or mouths seen from their middle, in units of half their width: between two parabolas
    through the corners."""

    rows: Tensor
    """(B, 2, 3): times x, y, 1, the places along (1 is a corner) and down."""
    heights: Tensor
    """(B, 2): of the upper and the lower parabola in the middle."""

    @classmethod
    def of(cls, value: Tensor, between: _Between) -> "_Opening":
        """Of landmarks (B, 48, 2)."""
        corners = value[:, between.corners]
        middle, half = corners.mean(1), (corners[:, 1] - corners[:, 0]) / 2
        square = half.square().sum(-1, keepdim=True).clamp(min=1e-4)
        across = torch.stack([-half[:, 1], half[:, 0]], -1)
        axes = torch.stack([half, across], 1) / square[..., None]  # (B, 2, 2)
        rows = torch.cat([axes, -(axes @ middle[..., None])], -1)
        edges = value[:, between.edges]
        along, down = (edges @ axes.transpose(1, 2) + rows[:, None, :, 2]).unbind(-1)
        heights = down / (1 - along.square()).clamp(min=0.4)  # (B, 6)
        return cls(rows, heights.reshape(-1, 2, 3).mean(-1))

    def places(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Of points (3, n) or (B, 3, n), rows x, y, 1: their places along and down, (B, n)."""
        along, down = product(self.rows, points).unbind(1)
        return along, down


def sides(value: Tensor, points: Tensor) -> Tensor:
    """How much each of the keypoints (B, 48, 2) rules at points (3, n) or (B, 3, n), by the side
    that they are on: (B, 48, n), 0..1.

    What lies above the line between two lids, or lips, goes with the upper one, what lies below
    with the lower one, and an iris shows between its lids alone. A mean of both, where they meet,
    would show what they cover.
    """
    gates = []
    for between in _OPENINGS:
        opening = _Opening.of(value, between)
        along, down = opening.places(points)
        arch = (1 - along.square()).clamp(min=0)
        upper, lower = (opening.heights[:, :, None] * arch[:, None]).unbind(1)
        above = torch.sigmoid(((upper + lower) / 2 - down) / between.soft)
        gates += [above, 1 - above, _inside(down, upper, lower, between.soft)]
    gates.append(torch.ones_like(gates[0]))
    return torch.stack(gates, 1)[:, _SIDE_OF]


def _inside(down: Tensor, upper: Tensor, lower: Tensor, soft: float) -> Tensor:
    """1 between two edges, falling to 0 over ``soft``."""
    return torch.sigmoid((down - upper) / soft) * torch.sigmoid((lower - down) / soft)


def _side_of(name: str) -> int:
    """Which of the gates of ``sides`` is a keypoint's."""
    for number, between in enumerate(_OPENINGS):
        for order, part in enumerate((between.upper, between.lower, between.inside)):
            if part in name:
                return 3 * number + order
    return 3 * len(_OPENINGS)


_SIDE_OF = [_side_of(name) for name in NAMES]


def new_mouth(avatar: Tensor, driving: Tensor, size: int) -> Tensor:
    """Where the driving face shows more of the inside of its mouth than the avatar does: (B, 1,
    size, size), 0..1. Both faces as landmarks (B, 48, 2).

    Inside is between two parabolas through the corners of the mouth and the inner lips.
    """
    # Both faces at once: small tensors cost a runtime by their number.
    mouth = _Opening.of(torch.cat([avatar, driving]), _MOUTH)
    own, driven = mouth.heights.chunk(2)
    opening = driven[:, 1:] - driven[:, :1]
    more = (1 - (own[:, 1:] - own[:, :1]) / opening.clamp(min=0.02)).clamp(0, 1)
    along, down = (one.chunk(2)[1] for one in mouth.places(cells(size, driving)))
    arch = (1 - along.square()).clamp(min=0)
    inside = _inside(down, driven[:, :1] * arch, driven[:, 1:] * arch, 0.04)
    # Closed lips give a quarter on their line.
    inside = ((inside - 0.25) / 0.75).clamp(min=0) * more
    return inside.reshape(-1, 1, size, size)
