"""Eyes that look elsewhere: the iris carried as a disc that keeps its form, the white stretched.

The flow's cells are as wide as the white beside an iris: a network that moves an iris by them bends
it into a crescent. Here, in windows around the eyes, each pixel between the lids is told where the
avatar has it, by geometry alone. Nothing of it is learnt.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.field import product
from models.landmarks import indices
from models.openings import Openings, within
from models.windows import COLUMNS, ROWS, EyeWindows, faded

IRIS = 0.5
"""Radius of what keeps its form, in half widths of the eye: an iris is 11.7 mm wide, an eye 28, and
irises are read a little beside."""
REACH, TIRING = 1.3, 0.6
"""Small glances go further than landmarks say, since landmarkers tell a part of them; far ones do
not, since an iris stays in its eye."""
STILL = 0.6
"""Part of the white, from the corner on, that is not stretched: corners are red."""
SOFT = 0.06
"""How softly it begins at the lids, in half widths."""
MARGIN = 0.04
"""And how far inside of them: rims and lashes belong to lids."""
FAR = (0.1, 0.22)
"""From where to where, in half widths, an iris has to be moved for this to take over: small glances
are painted well, and lids with them."""

_IRISES = indices("right_iris", "left_iris")
_ENDS = indices("right_eye_outer", "right_eye_inner", "left_eye_inner", "left_eye_outer")


def glance(
    avatar: Tensor, driving: Tensor, openings: Openings, windows: EyeWindows
) -> tuple[Tensor, Tensor, Tensor]:
    """How the eyes of ``avatar`` look where those of ``driving`` do, landmarks (B, 48, 2) each.

    Displacement (B, 2, 128, 128), as a ``Painting`` has it, times the share of it that is to be
    taken; that share (B, 1, 128, 128), 0..1; and the share of each pixel, (B, 1, 256, 256).
    """
    places = windows.places(4)
    along, down = product(openings.rows[:, :2], places).unbind(2)  # (B, 2, n)
    before = _seen(openings.own_rows, avatar)
    after = _seen(openings.rows, driving)
    from_x = before[..., :1]
    shift_x, shift_y = (after - before)[..., None].unbind(2)
    to_x = from_x + REACH * shift_x / (1 + TIRING * shift_x.abs())
    off = along - to_x
    right = 1 - _white(1 - along, 1 - from_x - IRIS, 1 - to_x - IRIS)
    left = _white(1 + along, 1 + from_x - IRIS, 1 + to_x - IRIS) - 1
    x = torch.where(off > IRIS, right, torch.where(off < -IRIS, left, from_x + off)).clamp(-1, 1)

    upper, lower = openings.driven_lids(along)
    own_upper, own_lower = openings.own_lids(x)
    part = ((down - upper) / (lower - upper).clamp(min=0.02)).clamp(0, 1)
    stretched = own_upper + part * (own_lower - own_upper)
    # Never beyond the avatar's own lids.
    moved = torch.maximum(down - shift_y, own_upper + MARGIN)
    moved = torch.minimum(moved, own_lower - MARGIN)
    y = torch.lerp(moved, stretched, _step(off.abs() / IRIS, 1.0, 1.5))

    ends = avatar[:, _ENDS].reshape(-1, 2, 2, 2)
    middle, half = ends.mean(2), (ends[:, :, 1] - ends[:, :, 0]) / 2
    across = torch.stack([-half[..., 1], half[..., 0]], -1)
    there = torch.stack([half, across, middle], -1)  # (B, 2, 2, 3)
    there = product(there, torch.stack([x, y, torch.ones_like(x)], 2))

    own, driven = ((one[:, :2, 1] - one[:, :2, 0]) for one in (openings.own, openings.driven))
    wanted = (
        _step((after - before).norm(dim=-1), *FAR)
        # The lids' business, where they are nearly shut; and who shows no eyes has none to move.
        * _step(driven / own.clamp(min=0.05), 0.3, 0.6)
        * _step(own, 0.15, 0.3)
    )
    share = within(down, upper + MARGIN, lower - MARGIN, SOFT) * wanted[..., None]
    share = share.reshape(-1, 1, 4 * ROWS, 4 * COLUMNS) * faded(share.device)
    away = (there - places[:, :, :2]).reshape(-1, 2, 4 * ROWS, 4 * COLUMNS)
    halved = F.avg_pool2d(torch.cat([away * share, share], 1), 2)
    patches = torch.cat([F.pixel_unshuffle(halved, 2), F.pixel_unshuffle(share, 4)], 1)
    laid = windows.laid(patches.reshape(-1, 2, 3 * 4 + 16, ROWS, COLUMNS))
    moves = F.pixel_shuffle(laid[:, : 3 * 4], 2)
    return moves[:, :2], moves[:, 2:], F.pixel_shuffle(laid[:, 3 * 4 :], 4)


def _seen(rows: Tensor, face: Tensor) -> Tensor:
    """Where the irises of landmarks (B, 48, 2) are in their eyes, along and down: (B, 2, 2)."""
    irises = face[:, _IRISES]
    points = torch.cat([irises, torch.ones_like(irises[..., :1])], -1)
    return product(rows[:, :2], points[..., None])[..., 0]


def _white(place: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Where a place in the white, counted from the corner, was, when the iris was ``before`` from
    there and is ``after`` now."""
    before, after = before.clamp(min=0.02), after.clamp(min=0.02)
    still = STILL * torch.minimum(before, after)
    return place + (place - still).clamp(min=0) * ((before - still) / (after - still) - 1)


def _step(value: Tensor, start: float, end: float) -> Tensor:
    """0 up to ``start``, 1 from ``end`` on, smoothly between."""
    part = ((value - start) / (end - start)).clamp(0, 1)
    return part * part * (3 - 2 * part)
