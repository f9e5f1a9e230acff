"""Where the avatar has what lies at its eyes, by geometry, where cells of the flow are too large.

A cell of the flow is as wide as the white beside an iris, and higher than the seam of a shut eye: a
network that moves an iris by cells bends it into a crescent, and leaves slivers of the open eye
along the seam. Here, in windows around the eyes, irises go as discs that keep their form, whites
are stretched, and shut lids are the skin above and below, drawn over the eye. None of it is learnt.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.field import near, part, product
from models.openings import EyePlaces, Openings, inward
from models.windows import EYE

# Lengths in half widths of the eye.
IRIS = 0.5
"""Radius of what keeps its form: an iris is 11.7 mm wide, an eye 28, and irises are read a little
beside."""
REACH, TIRING = 1.6, 1.2
"""Small glances go further than landmarks say, since landmarkers tell a part of them; far ones do
not, since an iris stays in its eye."""
OPEN = (0.2, 0.45)
"""From where to where an eye has to be open for this to take over, against the avatar's. What is
painted instead is an iris of nobody's."""
STILL = 0.7
"""Part of the white, from the corner on, that is not stretched: corners are red."""
MARGIN = 0.04
"""How far inside of the lids the avatar's eye begins: rims and lashes belong to them."""
SOFT = 0.15
"""How far inside of the lids the driving eye is all there."""
SHUT = (0.5, 0.15)
"""An eye that is open so far, against the avatar's, is on its way to be shut, and is."""
BROW = 0.25
"""How far below the middle of a brow its hair ends."""
SKIN = (0.4, 0.6)
"""From where to where, of the way to there, lies the skin that becomes an upper lid: nearer it has
lashes."""
UPPER_SKIN, LOWER_SKIN = (0.28, 0.5), (0.16, 0.35)
"""How far beyond the avatar's eye that skin lies, at most, and the skin that meets it from below:
what is nearer may still be seen of the eye."""
SKIN_ENDS = (1.15, 0.75)
"""From where to where, of the way to skin that stays in its place, it ends."""
ENDS = (1.3, 1.1)
"""From where to where, beyond its corners, an eye that is shut is covered."""
SEAM, LID = (-0.2, -0.12), (-0.16, -0.3)
"""Where above and below its skin meets, a shut eye is painted; and from where on it is not."""
LIT = (0.55, 0.85)
"""How bright that skin has to be, against skin below the eye, to become a lid, and to be all of it:
sockets are dark, and lids that come out of them are not."""
SPOT = 1500.0
"""Steepness of the spots in which skin is looked at: they are some 3 pixels of 256 wide."""
SHOWN = (0.15, 0.3)
"""Who shows less of an eye has none to move."""


def eye_flow(skin: Tensor, openings: Openings, places: Tensor, eyes: EyePlaces) -> Tensor:
    """What moves the avatar's eyes as the driving ones: (B * 2, 4, 2 * rows, 2 * columns), of an
    avatar with ``skin_around`` the eyes, for windows of ``places`` (B, 2, 3, n), which lie in the
    eyes at ``eyes``.

    Displacement, x and y, as a ``Painting`` has it, times the share of it that is to be taken; that
    share, 0..1; and what is seen of it, -1..1: 1 in an open eye and on the lids of a shut one,
    which nothing is to be painted over, and -1 along its seam, which is to be painted.
    """
    along, inside = eyes.along, eyes.inside
    own, driven = (one[:, :2, None] for one in openings.apart())
    opened, shown = driven / own.clamp(min=0.05), part(own, SHOWN)  # (B, 2, 1)
    glance = openings.irises - openings.own_irises
    wanted = (part(opened, OPEN) * shown)[..., None]
    closed = (part(opened, SHUT) * shown)[..., None] * part(along.abs(), ENDS)

    within = inside.amin(2, keepdim=True)
    whole = part(within, (0.0, SOFT))
    open_eye = whole * wanted
    x, y = _eye(openings, eyes, glance)
    lid, shut = _lid(openings, eyes, closed)
    shut = shut * closed * (1 - whole)
    share = open_eye + shut

    # Maps of eyes are affine: places may be weighted and added before they are mapped.
    where = torch.cat([along * shut + x * open_eye, lid * shut + y * open_eye, share], 2)
    away = product(openings.own_frames[:, :2], where) - places[:, :, :2] * share
    above, below = skin.mean(-1, keepdim=True).chunk(2, 2)
    lit = part(above / below, LIT)
    seen = open_eye + (part(within, LID) * lit - part(within, SEAM)) * closed
    return torch.cat([away, share, seen], 2).reshape(-1, 4, 2 * EYE.rows, 2 * EYE.columns)


def _strip(openings: Openings) -> tuple[Tensor, Tensor]:
    """How far above the avatar's eyes the skin begins and ends that becomes lids, (B, 2, 1)."""
    to_brow = openings.own[:, :2, :1] - openings.own_brows[..., 1:] - BROW
    to_brow = to_brow.clamp(min=0.05)
    begins, ends = (
        (to_brow * share).clamp(max=most) for share, most in zip(SKIN, UPPER_SKIN, strict=True)
    )
    return begins, ends


def skin_around(small: Tensor, openings: Openings) -> Tensor:
    """The skin that meets over the eyes of an avatar who looks like ``small`` (B, 3, 64, 64), RGB
    -1..1: (B, 2, 2, 3), RGB 0..1, above and below each eye."""
    begins, ends = _strip(openings)
    upper, lower = openings.own[:, :2].chunk(2, 2)
    down = torch.cat([upper - (begins + ends) / 2, lower + LOWER_SKIN[1]], 2)[..., None]
    spots = F.pad(F.pad(down, (1, 0)), (0, 1), value=1.0)  # (B, 2, 2, 3): along, down, 1
    spots = product(spots, openings.own_frames[:, :2].transpose(2, 3)).flatten(1, 2)
    weight = near(spots, small.new_full((4,), SPOT), small.shape[-1]).flatten(2)
    colours = product(weight, (small * 0.5 + 0.5).flatten(2).transpose(1, 2))
    colours = (colours / weight.sum(-1, keepdim=True)).clamp(0.01, 0.99)
    return colours.reshape(-1, 2, 2, 3)


def hue_of(skin: Tensor) -> Tensor:
    """How far the logits of RGB are from their mean, (B * 2, 3, 1, 1, 1), of ``skin_around`` each
    eye."""
    colour = skin.mean(2).flatten(0, 1)
    logits = torch.log(colour / (1 - colour))
    return (logits - logits.mean(-1, keepdim=True))[..., None, None, None]


def _lid(openings: Openings, eyes: EyePlaces, closed: Tensor) -> tuple[Tensor, Tensor]:
    """How far down the avatar has the skin that lies over an eye that is ``closed`` so far, and how
    much of what is there is skin that has moved, 0..1: (B, 2, 1, n) each.

    It is stretched, from the seam to where skin stays in its place: a strip between lashes and
    brow becomes the lid, which no pixel shows as long as it is folded.
    """
    nearest, furthest = (
        F.pad(strip, (0, 1), value=lower)[..., None]  # (B, 2, 2, 1)
        for strip, lower in zip(_strip(openings), LOWER_SKIN, strict=True)
    )
    sign = inward(eyes.down)
    # How far each lid has gone, and how much of the way to skin that stays.
    gone = ((eyes.down - eyes.own) * sign - eyes.inside).clamp(min=0)
    away = -eyes.inside / (gone + furthest)
    skin = eyes.own - torch.lerp(nearest * closed, furthest, away.clamp(0, 1)) * sign
    above, below = eyes.inside.chunk(2, 2)
    upper, lower = torch.cat([skin, part(away, SKIN_ENDS)], 3).chunk(2, 2)
    skin, moved = torch.where((above < below).tile(2), upper, lower).chunk(2, 3)
    return skin, moved


def _eye(openings: Openings, eyes: EyePlaces, glance: Tensor) -> tuple[Tensor, Tensor]:
    """Where in the avatar's open eye, whose iris goes ``glance`` (B, 2, 2), a place in the driving
    one is, along and down."""
    glance_x, glance_y = glance[..., None].chunk(2, 2)  # (B, 2, 1, 1)
    shift = glance_x * (REACH / (1 + TIRING * glance_x.abs()))
    # Whites left and right of the iris, each counted from its corner: their widths before and now.
    outward = glance.new_tensor([[1.0], [-1.0]])
    white = openings.own_irises[:, :, :1, None] * outward + (1 - IRIS)
    was, now = white.clamp(min=0.02), (white + shift * outward).clamp(min=0.02)
    still = STILL * torch.minimum(was, now)
    # 1 in the iris, falling to 0 where the white is still.
    slope = 1 / (now - still)
    taken = (eyes.along * (slope * outward) + (1 - still) * slope).amin(2, keepdim=True).clamp(0, 1)
    x = eyes.along - shift * taken
    arch = (1 - x.square()).clamp(min=0)
    margin = glance.new_tensor([MARGIN, -MARGIN])
    upper, lower = (arch * (openings.own[:, :2] + margin)[..., None]).chunk(2, 2)
    above, below = eyes.inside.chunk(2, 2)
    stretched = torch.lerp(upper, lower, (above / (above + below).clamp(min=0.02)).clamp(0, 1))
    moved = eyes.down - glance_y
    # Never beyond the avatar's own lids.
    moved = torch.minimum(torch.maximum(moved, upper), lower)
    return x, torch.lerp(stretched, moved, taken)
