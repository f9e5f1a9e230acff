"""Where the avatar has what lies at its eyes, by geometry, where cells of the flow are too large.

A cell of the flow is as wide as the white beside an iris, and higher than the seam of a shut eye: a
network that moves an iris by cells bends it into a crescent, and leaves slivers of the open eye
along the seam. Here, in windows around the eyes, irises go as discs that keep their form, whites
are stretched, and shut lids are the skin above and below, drawn over the eye. None of it is learnt.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.field import product
from models.landmarks import indices
from models.openings import Openings, within
from models.windows import COLUMNS, ROWS, EyeWindows, faded

# Lengths in half widths of the eye.
IRIS = 0.5
"""Radius of what keeps its form: an iris is 11.7 mm wide, an eye 28, and irises are read a little
beside."""
REACH, TIRING = 1.4, 0.8
"""Small glances go further than landmarks say, since landmarkers tell a part of them; far ones do
not, since an iris stays in its eye."""
FAR = (0.1, 0.22)
"""From where to where an iris has to be moved for this to take over: small glances are painted
well, and lids with them."""
OPEN = (0.3, 0.6)
"""How far an eye has to be open for that, against the avatar's."""
STILL = 0.6
"""Part of the white, from the corner on, that is not stretched: corners are red."""
MARGIN = 0.04
"""How far inside of the lids it begins: rims and lashes belong to them."""
SOFT = 0.06
"""How softly all of it begins."""
SHUT = (0.5, 0.15)
"""An eye that is open so far, against the avatar's, is on its way to be shut, and is."""
NEAR = (0.4, 0.3)
"""How far above and below the seam skin goes with its lid: a cell of the flow."""
BEYOND = 0.16
"""How far beyond its landmarks an eye may still be seen: none of that is left when it is shut."""
SHOWN = (0.15, 0.3)
"""Who shows less of an eye has none to move."""

_IRISES = indices("right_iris", "left_iris")


def eye_flow(
    avatar: Tensor, driving: Tensor, openings: Openings, windows: EyeWindows
) -> tuple[Tensor, Tensor, Tensor]:
    """What moves the eyes of ``avatar`` as those of ``driving``, landmarks (B, 48, 2) each.

    Displacement (B, 2, 128, 128), as a ``Painting`` has it, times the share of it that is to be
    taken; that share (B, 1, 128, 128), 0..1; and (B, 1, 256, 256), 0..1, where eyes are open and
    nothing is to be painted over.
    """
    places = windows.places(4)  # (B, 2, 3, n)
    along, down = product(openings.rows[:, :2], places).unbind(2)
    upper, lower = openings.driven_lids(along)
    own, driven = ((one[:, :2, 1:] - one[:, :2, :1]) for one in (openings.own, openings.driven))
    opened, shown = driven / own.clamp(min=0.05), _part(own, SHOWN)  # (B, 2, 1)

    before, after = _seen(openings.own_rows, avatar), _seen(openings.rows, driving)
    wanted = _part((after - before).norm(dim=-1, keepdim=True), FAR) * _part(opened, OPEN) * shown
    inside = within(down, upper + MARGIN, lower - MARGIN, SOFT)
    eyes = inside * wanted
    eye = _eye(along, down, (upper, lower), openings, before, after)

    shut = ((1 - along.square()) * 2.5).clamp(0, 1) * (_part(opened, SHUT) * shown)
    lids = torch.minimum(down - upper + NEAR[0], lower + NEAR[1] - down) / (2 * SOFT)
    lids = lids.clamp(0, 1) * shut * (1 - inside) * (1 - eyes)
    own_upper, own_lower = openings.own_lids(along)
    beyond = BEYOND * shut
    above, below = own_upper - beyond - upper, own_lower + beyond - lower
    skin = down + torch.where(2 * down < upper + lower, above, below)

    # Maps of eyes are affine: places may be weighted and added before they are mapped.
    where = torch.stack([along, skin, torch.ones_like(skin)], 2) * lids[:, :, None]
    where = where + torch.stack([*eye, torch.ones_like(skin)], 2) * eyes[:, :, None]
    share = where[:, :, 2:]
    away = product(openings.own_frames[:, :2], where) - places[:, :, :2] * share
    moves = torch.cat([away, share, eyes[:, :, None]], 2)
    moves = moves.reshape(-1, 4, 4 * ROWS, 4 * COLUMNS) * faded(moves.device)
    halved = F.avg_pool2d(moves[:, :3], 2)
    patches = torch.cat([F.pixel_unshuffle(halved, 2), F.pixel_unshuffle(moves[:, 3:], 4)], 1)
    laid = windows.laid(patches.reshape(-1, 2, 3 * 4 + 16, ROWS, COLUMNS))
    halved = F.pixel_shuffle(laid[:, : 3 * 4], 2)
    return halved[:, :2], halved[:, 2:], F.pixel_shuffle(laid[:, 3 * 4 :], 4)


def _eye(
    along: Tensor,
    down: Tensor,
    lids: tuple[Tensor, Tensor],
    openings: Openings,
    before: Tensor,
    after: Tensor,
) -> tuple[Tensor, Tensor]:
    """Where in the avatar's open eye a place in the driving one is, along and down."""
    from_x = before[..., :1]
    shift_x, shift_y = (after - before)[..., None].unbind(2)
    to_x = from_x + REACH * shift_x / (1 + TIRING * shift_x.abs())
    off = along - to_x
    side = off.sign()
    white = side - side * _white(1 - side * along, 1 - IRIS - side * from_x, 1 - IRIS - side * to_x)
    x = torch.where(off.abs() < IRIS, from_x + off, white).clamp(-1, 1)
    upper, lower = lids
    own_upper, own_lower = openings.own_lids(x)
    part = ((down - upper) / (lower - upper).clamp(min=0.02)).clamp(0, 1)
    stretched = torch.lerp(own_upper, own_lower, part)
    # Never beyond the avatar's own lids.
    moved = torch.maximum(down - shift_y, own_upper + MARGIN)
    moved = torch.minimum(moved, own_lower - MARGIN)
    return x, torch.lerp(moved, stretched, _part(off.abs(), (IRIS, 1.5 * IRIS)))


def _white(place: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Where a place in the white, counted from the corner, was, when the iris was ``before`` from
    there and is ``after`` now."""
    before, after = before.clamp(min=0.02), after.clamp(min=0.02)
    still = STILL * torch.minimum(before, after)
    return place + (place - still).clamp(min=0) * ((before - after) / (after - still))


def _seen(rows: Tensor, face: Tensor) -> Tensor:
    """Where the irises of landmarks (B, 48, 2) are in their eyes, along and down: (B, 2, 2)."""
    irises = face[:, _IRISES]
    points = torch.cat([irises, torch.ones_like(irises[..., :1])], -1)
    return product(rows[:, :2], points[..., None])[..., 0]


def _part(value: Tensor, ends: tuple[float, float]) -> Tensor:
    """How far it is from the first of ``ends`` to the second, 0..1."""
    start, end = ends
    return ((value - start) * (1 / (end - start))).clamp(0, 1)
