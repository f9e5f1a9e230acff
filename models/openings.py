"""Eyes and mouths as openings between two edges, from landmarks.

A keypoint's map holds on its own side of an opening; and what a mouth shows that was shut before,
no pixel of the avatar can.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from models.field import cells, product
from models.landmarks import NAMES, indices

SEAM = 0.35
"""Of the seam of a shut eye, how far it reaches above and below, in half widths of the eye: a cell
and a half of the flow."""

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
_CORNERS = [point for between in _OPENINGS for point in between.corners]
_EDGES = [point for between in _OPENINGS for point in between.edges]
_IRISES_AND_BROWS = indices("right_iris", "right_brow", "left_iris", "left_brow")
_SOFT = [between.soft for between in _OPENINGS]


class _Seen(NamedTuple):
    """All openings, each seen from its middle, in units of half its width: between two parabolas
    through the corners."""

    rows: Tensor
    """(B, 3, 2, 3): times x, y, 1, the places along (1 is a corner) and down."""
    heights: Tensor
    """(B, 3, 2): of the upper and the lower parabola in the middle."""
    frames: Tensor
    """(B, 3, 2, 3): times along, down, 1, a place's x and y."""
    irises: Tensor
    """(B, 2, 2): how far along and down they are in the right eye and the left one."""
    brows: Tensor
    """(B, 2, 2): as ``irises``, of the brows' middles."""

    @classmethod
    def of(cls, value: Tensor) -> "_Seen":
        """Of landmarks (B, 48, 2)."""
        corners = value[:, _CORNERS].reshape(-1, len(_OPENINGS), 2, 2)  # (B, 3, 2, 2)
        middle, half = corners.mean(2), (corners[:, :, 1] - corners[:, :, 0]) / 2
        square = half.square().sum(-1, keepdim=True).clamp(min=1e-4)
        across = torch.stack([-half[..., 1], half[..., 0]], -1)
        axes = torch.stack([half, across], 2) / square[..., None]  # (B, 3, 2, 2)
        rows = torch.cat([axes, -product(axes, middle[..., None])], -1)
        edges = value[:, _EDGES].reshape(-1, len(_OPENINGS), 6, 2)
        places = product(edges, axes.transpose(2, 3)) + rows[:, :, None, :, 2]
        along, down = places.unbind(-1)
        heights = down / (1 - along.square()).clamp(min=0.4)  # (B, 3, 6)
        frames = torch.stack([half, across, middle], -1)
        heights = heights.reshape(-1, len(_OPENINGS), 2, 3).mean(-1)
        seen = value[:, _IRISES_AND_BROWS].reshape(-1, 2, 2, 2)
        seen = product(seen, axes[:, :2].transpose(2, 3)) + rows[:, :2, None, :, 2]
        irises, brows = seen.unbind(2)
        return cls(rows, heights, frames, irises, brows)


def _places(rows: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Of points (3, n) or (B, 3, n), rows x, y, 1: their places along and down, (B, 3, n)."""
    around = points if points.ndim == 2 else points[:, None]
    along, down = product(rows, around).unbind(2)
    return along, down


def _edges(heights: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
    """Both parabolas of ``heights`` (B, 3, 2) at places ``along`` (B, 3, n), (B, 3, n) each."""
    arch = (1 - along.square()).clamp(min=0)
    upper, lower = (heights[..., None] * arch[:, :, None]).unbind(2)
    return upper, lower


def sides(value: Tensor, points: Tensor) -> Tensor:
    """How much each of the keypoints (B, 48, 2) rules at points (3, n) or (B, 3, n), by the side
    that they are on: (B, 48, n), 0..1.

    What lies above the line between two lids, or lips, goes with the upper one, what lies below
    with the lower one, and an iris shows between its lids alone. A mean of both, where they meet,
    would show what they cover.
    """
    seen = _Seen.of(value)
    along, down = _places(seen.rows, points)
    upper, lower = _edges(seen.heights, along)
    soft = down.new_tensor(_SOFT)[:, None]
    above = torch.sigmoid(((upper + lower) / 2 - down) / soft)
    inside = _inside(down, upper, lower, soft)
    gates = torch.cat([above, 1 - above, inside, torch.ones_like(above[:, :1])], 1)
    return gates[:, _SIDE_OF]


def _inside(down: Tensor, upper: Tensor, lower: Tensor, soft: float | Tensor) -> Tensor:
    """1 between two edges, falling to 0 over ``soft``."""
    return torch.sigmoid((down - upper) / soft) * torch.sigmoid((lower - down) / soft)


def _within(down: Tensor, upper: Tensor, lower: Tensor, soft: float | Tensor) -> Tensor:
    """As ``_inside``, but 0 where the edges meet: that gives a quarter on their line."""
    return ((_inside(down, upper, lower, soft) - 0.25) / 0.75).clamp(min=0)


def _side_of(name: str) -> int:
    """Which of the gates of ``sides`` is a keypoint's."""
    for number, between in enumerate(_OPENINGS):
        for order, part in enumerate((between.upper, between.lower, between.inside)):
            if part in name:
                return order * len(_OPENINGS) + number
    return 3 * len(_OPENINGS)


_SIDE_OF = [_side_of(name) for name in NAMES]
# How far beyond the edges paint goes first, and how softly that ends, in half widths.
_MARGINS = [[-SEAM, SEAM], [-SEAM, SEAM], [0.0, 0.0]]
_ENDS = [0.08, 0.08, 0.04]


class Openings(NamedTuple):
    """What of eyes and mouth is open in two faces."""

    own: Tensor
    """(B, 3, 2), the avatar's: as ``_Seen.heights``."""
    driven: Tensor
    """(B, 3, 2), the driving one's."""
    own_irises: Tensor
    """(B, 2, 2), the avatar's: as ``_Seen.irises``."""
    irises: Tensor
    """(B, 2, 2), the driving one's."""
    own_brows: Tensor
    """(B, 2, 2), the avatar's: as ``_Seen.brows``."""
    own_frames: Tensor
    """(B, 3, 2, 3), the avatar's: as ``_Seen.frames``."""
    own_rows: Tensor
    """(B, 3, 2, 3), the avatar's: as ``_Seen.rows``."""
    rows: Tensor
    """(B, 3, 2, 3), of the driving one: as ``_Seen.rows``."""

    @classmethod
    def of(cls, avatar: Tensor, driving: Tensor) -> "Openings":
        """Of landmarks (B, 48, 2) each."""
        # Both faces at once: small tensors cost a runtime by their number.
        seen = _Seen.of(torch.cat([avatar, driving]))
        own, driven = seen.heights.chunk(2)
        own_irises, irises = seen.irises.chunk(2)
        own_brows, own_frames = seen.brows.chunk(2)[0], seen.frames.chunk(2)[0]
        own_rows, rows = seen.rows.chunk(2)
        return cls(own, driven, own_irises, irises, own_brows, own_frames, own_rows, rows)

    def apart(self) -> tuple[Tensor, Tensor]:
        """How far the edges are apart in the middle, the avatar's and the driving ones: (B, 3)."""
        return self.own[..., 1] - self.own[..., 0], self.driven[..., 1] - self.driven[..., 0]

    def uncarried(self, size: int) -> tuple[Tensor, Tensor]:
        """Where the driving face shows what no pixel of the avatar can, (B, 1, size, size) each,
        0..1: more of the inside of its mouth, and the seam of eyes that are shut, or nearly.

        Between the lids of a shut eye, a flow of cells would still carry a sliver of the open one.
        """
        along, down = _places(self.rows, cells(size, self.own))
        # Against the driver's opening for mouths and the avatar's for eyes.
        before, after = self.apart()
        opened = 1 - before[:, 2:] / after[:, 2:].clamp(min=0.02)
        shut = ((before - after)[:, :2] / before[:, :2].clamp(min=0.1) - 0.4) / 0.5
        changed = torch.cat([shut, opened], 1).clamp(0, 1)[..., None]
        upper, lower = _edges(self.driven + down.new_tensor(_MARGINS), along)
        shown = _within(down, upper, lower, down.new_tensor(_ENDS)[:, None]) * changed
        shown = shown.reshape(-1, len(_OPENINGS), size, size)
        return shown[:, 2:], shown[:, :2].amax(1, keepdim=True)

    def eyes_at(self, points: Tensor) -> "EyePlaces":
        """How places (B, 2, 3, n), rows x, y, 1, lie in the driving face's right and left eye."""
        along, down = product(self.rows[:, :2], points).chunk(2, 2)
        arch = (1 - along.square()).clamp(min=0)
        heights = torch.cat([self.driven[:, :2], self.own[:, :2]], 2)[..., None]
        edges, own = (arch * heights).chunk(2, 2)
        half = self.rows[:, :2, :1, :2].square().sum(-1, keepdim=True).rsqrt()
        return EyePlaces(along, down, (down - edges) * inward(down), own, half)

    def mouth_at(self, points: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """How places (B, 3, n), rows x, y, 1, lie in the driving mouth, in half widths of it, if
        what is open ends at ``end`` (B, 1, 1) of the way to the corners.

        How far along, (B, 1, n), where 1 is a corner; how far below the upper lip and above the
        lower one, (B, 2, n).
        """
        along, down = product(self.rows[:, 2], points).chunk(2, 1)
        heights = self.driven[:, 2, :, None]
        away = _from_edges(along / end, down, heights)
        # Edges are steep at the corners of a wide mouth: less than straight down to them.
        return along, away * ((2 * heights * along).square() + 1).rsqrt()

    def own_mouth_at(self, points: Tensor) -> Tensor:
        """How far below the avatar's upper lip and above its lower one places (B, 2, n) of its
        picture lie, in half widths of its mouth, (B, 2, n)."""
        rows = self.own_rows[:, 2]
        along, down = (product(rows[..., :2], points) + rows[..., 2:]).chunk(2, 1)
        return _from_edges(along, down, self.own[:, 2, :, None])


def _from_edges(along: Tensor, down: Tensor, heights: Tensor) -> Tensor:
    """How far places are below the upper and above the lower of two parabolas of ``heights`` (B, 2,
    1): (B, 2, n)."""
    return (down - heights * (1 - along.square()).clamp(min=0)) * inward(down)


def inward(like: Tensor) -> Tensor:
    """(2, 1): inside is below the upper edge and above the lower one."""
    return like.new_tensor([[1.0], [-1.0]])


class EyePlaces(NamedTuple):
    """How places lie in the right and the left eye, in half widths of the eye."""

    along: Tensor
    """(B, 2, 1, n): 1 is a corner."""
    down: Tensor
    """(B, 2, 1, n)."""
    inside: Tensor
    """(B, 2, 2, n): how far below the upper lid and above the lower one."""
    own: Tensor
    """(B, 2, 2, n): how far down the avatar's own lids are there."""
    half: Tensor
    """(B, 2, 1, 1): half widths of the driving face's eyes, in -1..1 of the picture."""
