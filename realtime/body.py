"""How the driver's shoulders and hair move, beyond what the landmarks of his face tell.

The network moves what is around a face as the landmarks say, which know nothing of a shrug. Here
the driver's pictures are asked: his calm one, carried as the avatar is now, against the newest, by
optical flow (DIS, Kroeger et al. 2016). What that finds left, an affine movement above the chin and
another below, and a little beside them, moves the avatar too. Movements alone go from one to the
other, no pixel. A hand before the chest is not followed, as far as it hides less than all of it.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.head import STEADY
from realtime.carry import NETWORK_SIDE, Array, Carry
from realtime.crop import Crop, Points
from realtime.expression import shortened
from realtime.frame import Image

SIDE = 96
"""Of the pictures that are compared, pixels."""
CELLS = 32
"""Of the movement, along each side of them."""
MOST = 0.15
"""Farthest that anything moves, -1..1 of the avatar."""
SOFT_S = 0.08
"""Time constant with which the avatar's body follows."""
REST_S = 6.0
"""Time constant with which it comes back to where the avatar has it, as the head does."""
BETTER = 0.7
"""A new calm picture is at most this part as far from the neutral pose as the old one."""

_STEPS, _STRIDE = 12, 4
"""Of the flow: gradient descents for each patch, pixels between patches. Refinement by variations
would cost as much again, for nothing."""
_LEAST_TEXTURE = 2.0
"""Of a place without any, in grey levels of a Sobel filter: it moves as its neighbours do."""
_UNLIKE = 10.0
"""Grey levels by which a place may differ from where it came from: something came between."""
_ROUNDS = 3
"""Of fitting again, what does not move along counting less and less."""
_STRAY = 0.5
"""Pixels beside the affine movement from which on a place counts less (Geman-McClure)."""
_BESIDE, _SPREAD = 0.8, 0.05
"""Beside it nothing moves farther than the first, pixels, and as softly as a Gaussian whose
standard deviation is the second part of the side."""
_SOFTLY = 0.2
"""Height over which the one of them goes over into the other, -1..1 of the picture."""
_STIFF = 0.02
"""Against shifts, how little turns and growth are believed."""


class Sight(NamedTuple):
    """The driver in one frame."""

    grey: NDArray[np.uint8]
    """(SIDE, SIDE)."""
    landmarks: Points
    """(48, 2), -1..1 of it."""

    @classmethod
    def of(cls, image: Image, crop: Crop, landmarks: Points) -> "Sight":
        """What ``crop`` shows of (H, W, 3) uint8 RGB; landmarks -1..1 of the crop."""
        # Made grey before it is reduced, and no more of it than is needed: half of the time.
        margin = crop.side * (0.5 + 2 / SIDE)
        places = zip((crop.cy, crop.cx), image.shape[:2], strict=True)
        top, left = (int(min(max(at - margin, 0), length - 1)) for at, length in places)
        reach = round(2 * margin) + 1
        part = image[top : top + reach, left : left + reach]
        grey = np.asarray(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), np.uint8)
        return cls(Crop(crop.cx - left, crop.cy - top, crop.side).cut(grey, SIDE), landmarks)


class Body:
    """One driver's body against one avatar's. Not thread-safe."""

    def __init__(self, *, eases: bool = True) -> None:
        """``eases``: the avatar's follows softly and comes back, as in a call. Otherwise it is at
        once where the driver's is."""
        self._eases = eases
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._flow.setGradientDescentIterations(_STEPS)
        self._flow.setPatchStride(_STRIDE)
        self._flow.setVariationalRefinementIterations(0)
        self._avatar: Points | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the driver."""
        self._calm: Sight | None = None
        self._anew = False
        self._sight: Sight | None = None
        self._neutral: Points | None = None
        self._at = self._elapsed_s = 0.0
        self._affine = [np.zeros((3, 2), np.float32)] * 2
        self._moved = self._rest = np.zeros((CELLS, CELLS, 2), np.float32)

    def set_avatar(self, landmarks: Points) -> None:
        """Move this avatar from now on: (48, 2) of its own face, -1..1."""
        self._avatar = landmarks

    def see(self, sight: Sight, neutral: Points, now: float) -> None:
        """The driver at ``now``, seconds; ``neutral``: (48, 2), where his landmarks are at rest."""
        if self._calm is None or _away(sight, neutral) < BETTER * _away(self._calm, neutral):
            self._calm, self._anew = sight, True
        self._neutral = neutral
        self._sight, self._elapsed_s, self._at = sight, max(now - self._at, 0.0), now

    def before(self, carrier: Carry, share: float) -> Carry:
        """A carrier that carries bodies too, as far as ``share``, 0..1, of the driver's movement.

        The driver is looked at once for each ``see``, when it is first called.
        """

        def carry(moves: Array, painted: Array, alpha: Array, landmarks: Array | None) -> Image:
            if share and landmarks is not None:
                moves = self._bent(moves, landmarks, share)
            return carrier(moves, painted, alpha, landmarks)

        return carry

    def _bent(self, displacement: Array, landmarks: Array, share: float) -> Array:
        """A displacement (2, n, n) of ``Carrier``, the body's movement added."""
        if self._calm is None or self._neutral is None or self._avatar is None:
            return displacement
        turn, shift = _similarity(self._neutral, self._avatar)
        number = displacement.shape[-1]
        # From pixels of the driver's picture to cells of the avatar's.
        half, cell = (SIDE - 1) / 2, number / 2 * (NETWORK_SIDE - 1) / NETWORK_SIDE
        centre = (number - 1) / 2
        across = turn * (cell / half)
        to_cells = np.column_stack([across, shift * cell + centre - across @ [half, half]])
        field = cv2.merge(tuple(displacement))
        edge = cv2.BORDER_REPLICATE
        if self._sight is not None:
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            told = cv2.warpAffine(field, to_cells, (SIDE, SIDE), flags=flags, borderMode=edge)
            told = cv2.transform(told, half * np.linalg.inv(turn))
            self._follow(self._measured(self._calm, self._sight, told))
            self._sight = None
        moved = np.asarray(cv2.transform(self._moved - self._rest, turn / half), np.float32)
        moved = shortened(moved, MOST) * np.float32(share)
        # A cell of the movement has its centre amid its pixels.
        wide = SIDE / CELLS
        origin = to_cells[:, 2] + across.sum(1) * (wide - 1) / 2
        to_cells = np.column_stack([across * wide, origin])
        laid = cv2.warpAffine(moved, to_cells, (number, number), borderMode=edge)
        around = _around_face(landmarks * cell + centre, number)
        soft = cv2.GaussianBlur(around, (0, 0), number / 80)
        return np.asarray(cv2.split(field + laid * soft[..., None]), np.float32)

    def _measured(self, calm: Sight, sight: Sight, told: Any) -> Array:
        """Where the body is in ``sight`` (CELLS, CELLS, 2), pixels beside where ``told`` (SIDE,
        SIDE, 2) has it."""
        edge, none = cv2.BORDER_REPLICATE, np.empty(0)
        grid = _grid(SIDE)
        carried = cv2.remap(calm.grey, told + grid, none, cv2.INTER_LINEAR, borderMode=edge)
        flow = self._flow.calc(sight.grey, carried, np.zeros((SIDE, SIDE, 2), np.float32))
        found = cv2.remap(carried, flow + grid, none, cv2.INTER_LINEAR, borderMode=edge)
        unlike = cv2.absdiff(found, sight.grey) * np.float32(1 / _UNLIKE)
        edges = (cv2.Sobel(sight.grey, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
        weight = (cv2.magnitude(*edges) + _LEAST_TEXTURE) / (1 + unlike * unlike)
        weight *= _around_face((sight.landmarks + 1) * ((SIDE - 1) / 2), SIDE)
        moved, weight = _averaged(flow, weight, CELLS)
        coarse, sure = _averaged(moved, weight, CELLS // 2)
        chin = float(sight.landmarks[:, 1].max())
        parts = [sure * part for part in _parted(chin, CELLS // 2)]
        self._affine = [_fitted(coarse, *one) for one in zip(parts, self._affine, strict=True)]
        hair, body = (cv2.transform(_places(CELLS), affine.T) for affine in self._affine)
        smooth = cv2.blendLinear(hair, body, *_parted(chin, CELLS))
        beside = shortened(moved - smooth, _BESIDE) * weight[..., None]
        sums = cv2.GaussianBlur(cv2.merge([beside, weight]), (0, 0), _SPREAD * CELLS)
        return np.asarray(smooth + sums[..., :2] / sums[..., 2:], np.float32)

    def _follow(self, moved: Array) -> None:
        """Let the avatar's body follow to where the driver's is."""
        if not self._eases:
            self._moved = moved
            return
        if self._anew:
            # Against another calm picture all is elsewhere: it goes on from where it is.
            self._rest = self._rest + moved - self._moved
            self._moved, self._anew = moved, False
        self._moved = self._moved + (moved - self._moved) * _part(self._elapsed_s, SOFT_S)
        self._rest = self._rest + (self._moved - self._rest) * _part(self._elapsed_s, REST_S)


def _parted(chin: float, number: int) -> tuple[Array, Array]:
    """(number, number) twice, 0..1: hair, above the chin's height in -1..1, and body, below."""
    rows = (np.arange(number, dtype=np.float32) + 0.5) * np.float32(2 / number) - 1
    low = np.clip((rows - chin) / _SOFTLY + 0.5, 0, 1).astype(np.float32)
    body = np.repeat(low[:, None], number, 1)
    return 1 - body, body


def _averaged(flow: Any, weight: Any, number: int) -> tuple[Array, Array]:
    """A smaller flow (number, number, 2), the mean by weight (h, w) of what each cell covers, and
    its weight."""
    sums = cv2.merge([*cv2.split(flow * weight[..., None]), weight])
    sums = cv2.resize(sums, (number, number), interpolation=cv2.INTER_AREA)
    weight = np.maximum(sums[..., 2], 1e-6)
    return np.asarray(sums[..., :2] / weight[..., None], np.float32), weight


def _fitted(moved: Array, weight: Array, before: Array) -> Array:
    """The affine movement (3, 2) of 1, x, y that most of ``moved`` (n, n, 2) follows; weight (n,
    n). ``before``: that of the last frame, to which the first round is near: who puts a hand before
    his chest is still known by the rest of it."""
    places = _places(len(moved))
    # All that the sums of least squares are made of.
    terms = np.concatenate(
        [
            places * places[..., :1],
            places[..., 1:] * places[..., 1:2],
            places[..., 2:] * places[..., 2:],
            places * moved[..., :1],
            places * moved[..., 1:],
        ],
        -1,
    )
    terms = terms.reshape(-1, 12)
    fit = before
    for _ in range(_ROUNDS):
        away = cv2.subtract(cv2.transform(places, fit.T), moved)
        stray = cv2.magnitude(away[..., 0], away[..., 1])
        kept = weight / np.square(1 + np.square(stray * np.float32(1 / _STRAY)))
        sums = cv2.gemm(kept.reshape(1, -1), terms, 1, np.empty(0), 0)[0].astype(np.float64)
        xx, xy, yy = sums[3:6]
        stiff = _STIFF * sums[0]
        normal = np.array(
            [
                [1.001 * sums[0], sums[1], sums[2]],
                [sums[1], xx + stiff, xy],
                [sums[2], xy, yy + stiff],
            ]
        )
        goal = np.ascontiguousarray(sums[6:].reshape(2, 3).T)
        fit = np.asarray(cv2.solve(normal, goal, flags=cv2.DECOMP_LU)[1], np.float32)
    return fit


def _part(elapsed_s: float, constant_s: float) -> np.float32:
    """Of the way that a low-pass goes in that time."""
    return np.float32(1 - math.exp(-elapsed_s / constant_s))


def _away(sight: Sight, neutral: Points) -> float:
    """How far the head is from its neutral pose."""
    return float(np.linalg.norm(sight.landmarks[STEADY] - neutral[STEADY]))


def _similarity(one: Points, other: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The turn and growth (2, 2), and the shift (2,), that take steady landmarks to others."""
    here, there = (np.asarray(value[STEADY], np.float64) for value in (one, other))
    middle, goal = here.mean(0), there.mean(0)
    (x, y), (u, v) = (here - middle).T, (there - goal).T
    square = max(float(x @ x + y @ y), 1e-9)
    cos, sin = float(x @ u + y @ v) / square, float(x @ v - y @ u) / square
    turn = np.array([[cos, -sin], [sin, cos]])
    return turn, goal - turn @ middle


def _around_face(points: Any, side: int) -> NDArray[np.float32]:
    """(side, side): 0 in the hull of points (48, 2), pixels, 1 elsewhere."""
    around = np.ones((side, side), np.float32)
    hull = cv2.convexHull(np.asarray(points, np.float32))
    cv2.fillConvexPoly(around, np.round(hull).astype(np.int32), 0.0)
    return around


@lru_cache(maxsize=4)
def _grid(side: int) -> NDArray[np.float32]:
    """(side, side, 2): x and y of each pixel."""
    places = np.arange(side, dtype=np.float32)
    return np.stack(np.meshgrid(places, places), -1)


@lru_cache(maxsize=1)
def _places(number: int) -> NDArray[np.float32]:
    """(number, number, 3): 1, x, y of each cell, -1..1."""
    places = (_grid(number) + np.float32(0.5)) * np.float32(2 / number) - 1
    return np.dstack([np.ones((number, number), np.float32), places])
