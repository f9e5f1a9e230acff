"""What an open mouth shows, by geometry: teeth, tongue and dark.

No pixel of an avatar whose mouth is shut can show it, and a network that saw twenty people talk
paints a blur. Upper teeth are fixed to the skull and lower ones to the jaw, whatever lips do: they
are drawn once (``models.teeth``), and shown where head and chin have gone. Who shows his own teeth
keeps them, fixed to the skull as well, as far as lips let them be seen. None of it is learnt.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.field import near, part, product
from models.head import MEAN_SHAPE, SEEN
from models.keypoints import inverse_2x2
from models.landmarks import COUNT, INDEX, indices
from models.openings import Openings
from models.teeth import ABOVE, BELOW, SIDE, teeth
from models.windows import MOUTH, fade

# Lengths in half widths of the avatar's mouth, or of the driving one.
UPPER_EDGE, LOWER_EDGE = 0.11, 0.13
"""How far below the seam of shut lips the edges of teeth are: lower ones stand behind upper ones,
and behind their lip."""
SHOWN = 0.25
"""How much of lower teeth is seen above their lip at most, besides that."""
CORNER, ROUND, LEAST = 0.914, 0.25, 0.65
"""Where what is open ends, of the way to the corners: measured in MediaPipe's landmarks of
portraits. How much sooner in a mouth that is less wide, as lips of an O are round, and later in a
wider one. At least so far."""
OWN = (0.2, 0.35)
"""Who opens the mouth so far in his picture shows nothing, and who opens it so far shows teeth."""
MARGINS = (0.03, 0.07)
"""How far below the upper lip and above the lower one that begins."""
PARTED, PARTED_MORE = (0.01, 0.05), (0.05, 0.25)
"""How far lips have to part more than the avatar's for paint to begin, and to be all there: of a
mouth that shows nothing, and of one that shows teeth."""
EDGE = 0.09
"""How softly all of it ends at the lips: some 2.5 pixels of 256, a quarter of that beyond them."""
CORNERS = 0.1
"""How softly it ends at the corners."""

# Light, of 1 in the open.
BEHIND = 0.6
"""On lower teeth."""
GUMS, TONGUE, DARK = 0.9, 0.45, 0.25
"""What the lips' colour becomes there."""
UNDER_LIP, OVER_LIP, IN_CORNER = (0.65, 0.15), (0.7, 0.1), (0.35, 0.4)
"""What is left of it right below the upper lip, above the lower one, in the corners; and how far
away all of it is there."""
TONGUE_SIZE, TONGUE_PLACE = (0.75, 0.5), 0.0
"""Half its width and height, and how far below the edges of lower teeth its middle is."""
ENAMEL, HUE = 1.34, (0.03, 0.0, -0.08)
"""How bright teeth are, of the light that falls on them, and what their hue adds to that in RGB."""
FULL_HUE = 5.0
"""Times the saturation of the skin: how much hue they have, up to 1. None in grey pictures."""
FACE, GLARE = 40.0, 6.0
"""Steepness of the spot in which a face is looked for its brightest, so narrow that a bright window
behind it does not light its teeth; and how much more what is bright counts, as an exponent."""
BRIGHTEST, TINT = 0.3, 0.25
"""Shares in the light on teeth: of the brightness of what is brightest, the rest being that around
the mouth, and of its tint, the rest being white. On 321 mouths that show teeth (docs/log.md)."""
FLESH = (1.0, 0.9, 0.9)
"""RGB of what is moist, of the lips' colour."""

HIDDEN = 6.0
"""How much the avatar's own pixels are held back where paint is, and taken where own teeth are, as
a logit."""
KEPT = 3.0
"""How much they are taken around them: lips and beards that are painted are soft."""
AROUND = 0.8
"""Over which distance that ends."""


class _Points(NamedTuple):
    """Where things are that move with the skull, or do not."""

    axes: Tensor
    """(B, 2, 2): where steps along x and y of the head lead."""
    origin: Tensor
    """(B, 2, 1): of the plane through the lips."""
    away: Tensor
    """(B, 2, 3): from there to the lower lip; from the origin of the plane through the chin to the
    chin; half the way from corner to corner."""


def _told() -> NDArray[np.float32]:
    """(6, 48), times landmarks (48, 2): ``_Points``."""
    chin, lip = INDEX["chin"], INDEX["inner_lip_lower"]
    lips = MEAN_SHAPE[indices("inner_lip_upper", "inner_lip_lower"), 2].mean()
    planes = [SEEN[3] + depth * SEEN[2] for depth in (lips, MEAN_SHAPE[chin, 2])]
    one = np.eye(COUNT)
    half = (one[INDEX["mouth_left"]] - one[INDEX["mouth_right"]]) / 2
    rows = [SEEN[0], SEEN[1], planes[0], one[lip] - planes[0], one[chin] - planes[1], half]
    return np.asarray(rows, np.float32)


_SPOTS = np.zeros((4, COUNT), np.float32)
"""The face's middle, the mouth's, and both lips."""
_SPOTS[0] = 1 / COUNT
_SPOTS[1, indices("mouth_right", "mouth_left")] = 0.5
_SPOTS[[2, 3], indices("lip_upper", "lip_lower")] = 1


class Mouth(nn.Module):
    """See the module. It has no weights."""

    teeth: Tensor
    told: Tensor
    spots: Tensor
    luma: Tensor
    fade: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, constant in {
            "teeth": torch.from_numpy(teeth()),
            "told": torch.from_numpy(_told()),
            "spots": torch.from_numpy(_SPOTS),
            "luma": torch.tensor([[0.299], [0.587], [0.114]]),
            "fade": F.pixel_unshuffle(fade(MOUTH, 4)[None], 4).flatten(),
        }.items():
            self.register_buffer(name, constant, persistent=False)

    def forward(
        self,
        small: Tensor,
        avatar: Tensor,
        driving: Tensor,
        openings: Openings,
        places: Tensor,
        newly: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What lies at ``places`` (B, 3, n) of a window, 4x4 in each of its cells, cell by cell,
        of an avatar who looks like ``small`` (B, 3, 64, 64), RGB -1..1, with landmarks (B, 48, 2)
        of both faces. ``newly``: of ``newly_open``.

        What is carried by the skull, (B, 3 * 4, rows, columns): displacement, x and y, as a
        ``Painting`` has it, times the share of it that is to be taken, and that share, of 2x2
        places in each cell. What is painted, (B, 4 * 16, rows, columns): logits of RGB times their
        share, and what is to be added to the logit of alpha. That share, (B, 16, rows, columns).
        Shares are 0..1.
        """
        to_own, to_teeth, wide = self._maps(avatar, driving, openings)
        end = (CORNER + ROUND * (wide - 1)).clamp(LEAST, 1)
        along, inside = openings.mouth_at(places, end)  # (B, 1, n), (B, 2, n)
        within = inside.amin(1, keepdim=True)
        to_corner = end - along.abs()
        corners = (to_corner / CORNERS + 0.5).clamp(0, 1)
        opened = (within / EDGE + 0.25).clamp(0, 1) * corners * self.fade

        there = product(to_own, places)  # (B, 2, n)
        has = part(openings.apart()[0][:, 2:, None], OWN)  # (B, 1, 1)
        margins = places.new_tensor(MARGINS)[:, None]
        own = ((openings.own_mouth_at(there) - margins) / EDGE).clamp(0, 1) * has  # (B, 2, n)
        # Wherever the mouth is open: where own pixels end, paint begins.
        carried = opened * has
        carried = torch.cat([(there - places[:, :2]) * carried, carried], 1)

        # Who shows his upper teeth has no others below them.
        light = self._light(to_teeth, places, 1 - own[:, :1])
        dark = _lit(inside[:, :1], UNDER_LIP) * _lit(inside[:, 1:], OVER_LIP)
        light = light * (dark * _lit(to_corner, IN_CORNER))
        colour = product(self._colours(small, avatar).transpose(1, 2), light).clamp(0.004, 0.996)
        own = own.amin(1, keepdim=True) * opened
        newly = newly[..., 0]
        share = (opened - own) * newly
        around = (within / AROUND + 1).clamp(0, 1) * (newly * KEPT) * self.fade
        alpha = around * (1 - share) + (own - share) * HIDDEN
        painted = torch.cat([torch.log(colour / (1 - colour)) * share, alpha], 1)

        cells = MOUTH.rows, MOUTH.columns
        halves = carried.reshape(-1, 3, 2, 2, 2, 2, cells[0] * cells[1]).mean((3, 5))
        patches = (halves, 3 * 4), (painted, 4 * 16), (share, 16)
        away, added, shares = (patch.reshape(-1, count, *cells) for patch, count in patches)
        return away, added, shares

    def _maps(
        self, avatar: Tensor, driving: Tensor, openings: Openings
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of x, y, 1: to where the avatar has what is fixed to its skull, (B, 2, 3), and to
        the pictures of upper and lower teeth, -1..1, (B, 2, 2, 3); and how wide the driving mouth
        is against the avatar's, (B, 1, 1)."""
        one, other = self._points(avatar), self._points(driving)
        turn = product(one.axes, inverse_2x2(other.axes))
        to_own = torch.cat([turn, one.origin - product(turn, other.origin)], -1)
        # In half widths of the avatar's mouth, from the middle of its seam.
        axes, start = torch.split(openings.own_rows[:, 2], [2, 1], 2)
        start = start - F.pad(openings.own[:, 2].mean(-1, keepdim=True)[..., None], (0, 0, 1, 0))
        turn = product(axes, turn)
        start = product(axes, one.origin) + start
        moved, stays = product(turn, other.away), product(axes, one.away)
        lip, chin, half = moved.chunk(3, 2)
        # How far the jaw has gone: not up, and with the lower lip where the chin tells less.
        sideways, down = (chin - stays[..., 1:2]).chunk(2, 1)
        down = torch.maximum(down, (lip + start)[:, 1:] - SHOWN).clamp(min=0)
        start = start - product(turn, other.origin)
        corner = start.new_tensor([[-SIDE, UPPER_EDGE - ABOVE], [-SIDE, LOWER_EDGE - BELOW]])
        starts = torch.stack([start, start - torch.cat([sideways, down], 1)], 1)
        maps = torch.cat([turn[:, None].expand(-1, 2, -1, -1), starts - corner[..., None]], -1)
        scale = start.new_tensor([[1 / SIDE], [2 / (ABOVE + BELOW)]])
        return to_own, maps * scale - maps.new_tensor([0, 0, 1]), half[:, :1]

    def _points(self, value: Tensor) -> _Points:
        """Of landmarks (B, 48, 2)."""
        seen = product(self.told, value).transpose(1, 2)  # (B, 2, 6)
        return _Points(*torch.split(seen, [2, 1, 3], 2))

    def _light(self, to_teeth: Tensor, places: Tensor, upper_shown: Tensor) -> Tensor:
        """Light on what has the colour of teeth, and on what has the lips', (B, 2, n)."""
        grid = product(places.transpose(1, 2)[:, None], to_teeth.transpose(2, 3))  # (B, 2, n, 2)
        seen = F.grid_sample(
            self.teeth, grid.transpose(0, 1), "bilinear", "zeros", align_corners=False
        )  # (2, 2, B, n)
        upper, lower = seen.transpose(1, 2).unbind(0)
        # In front of each other: upper teeth, lower ones, tongue, dark.
        tooth, gum = (upper * upper_shown).chunk(2, 1)
        behind = _uncovered(tooth, gum)
        tooth_below, gum_below = (lower * behind).chunk(2, 1)
        to_tongue = (to_teeth[:, 1] - places.new_tensor(_TONGUE)) * places.new_tensor(_PER_TONGUE)
        x, y = product(to_tongue, places).square().chunk(2, 1)
        tongue = (1 - x - y).clamp(0, 0.7) * (TONGUE / 0.7)
        deep = behind * _uncovered(tooth_below, gum_below) * (tongue + DARK)
        return torch.cat(
            [tooth + BEHIND * tooth_below, GUMS * (gum + BEHIND * gum_below) + deep], 1
        )

    def _colours(self, small: Tensor, avatar: Tensor) -> Tensor:
        """(B, 2, 3) RGB: of teeth, and of lips."""
        steepness = small.new_tensor([FACE, 14.0, 1500.0, 1500.0])
        weight = near(product(self.spots, avatar), steepness, small.shape[-1]).flatten(2)
        pixels = small.flatten(2).transpose(1, 2) * 0.5 + 0.5  # (B, n, 3)
        bright = torch.exp(GLARE * product(pixels, self.luma)).transpose(1, 2)  # (B, 1, n)
        weight = torch.cat([weight[:, :1] * bright, weight[:, 1:]], 1)
        mean = product(weight, pixels) / weight.sum(-1, keepdim=True)  # (B, 4, 3)
        # Teeth are as bright as between what is brightest in a face and what surrounds its mouth.
        light = product(mean[:, :2], self.luma).clamp(min=0.01)  # (B, 2, 1)
        brightest, around = light[:, :1], light[:, 1:]
        tint = mean[:, :1] * (TINT / brightest) + (1 - TINT)
        skin = mean[:, 1:2]
        least, most = skin.amin(-1, keepdim=True), skin.amax(-1, keepdim=True).clamp(min=0.01)
        coloured = ((1 - least / most) * FULL_HUE).clamp(max=1)
        enamel = small.new_tensor(HUE) * coloured + ENAMEL
        white = tint * enamel * (brightest**BRIGHTEST * around ** (1 - BRIGHTEST))
        return torch.cat([white, mean[:, 2:].mean(1, keepdim=True) * small.new_tensor(FLESH)], 1)


# In the picture of lower teeth.
_TONGUE = [[0, 0, 0], [0, 0, (TONGUE_PLACE + BELOW) * 2 / (ABOVE + BELOW) - 1]]
_PER_TONGUE = [[SIDE / TONGUE_SIZE[0]], [(ABOVE + BELOW) / 2 / TONGUE_SIZE[1]]]


def _uncovered(tooth: Tensor, gum: Tensor) -> Tensor:
    """1 where there is neither: the darkest of them has 1 / 2.2 of light."""
    return (1 - 2.2 * (tooth + gum)).clamp(min=0)


def newly_open(openings: Openings) -> Tensor:
    """(B, 1, 1, 1), 0..1: 1 where a mouth is more open than the avatar's."""
    before, after = (apart[:, 2:, None, None] for apart in openings.apart())
    parted = after - before
    return torch.lerp(part(parted, PARTED), part(parted, PARTED_MORE), part(before, OWN))


def _lit(distance: Tensor, shade: tuple[float, float]) -> Tensor:
    """Light that rises from the first of ``shade`` to 1 over the second."""
    least, reach = shade
    return (distance * ((1 - least) / reach) + least).clamp(least, 1)
