"""Looks for the mark's pilot in planes: where it lies, how sure that is, what its cells say.

A plane is what pictures show besides their content: how each place swings at the carrier's rate,
or one still without what is smooth. At a place, the sum R of a plane under the pilot's signs is
compared with its spread V = sum of squares of the cells, which it has for random signs. Over K
planes without common content S = sum of R^2 / V, and for random signs and any picture

    P(S >= s) <= (s / K)^(K / 2) exp((K - s) / 2)      (Chernoff's bound of a chi-square)

times the number of places that were looked at.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from provenance.places import LARGEST, STEP, Place
from provenance.watermark import CELLS, chips

Plane = NDArray[np.float32]
"""(h, w)."""
Level = Callable[[int, int], Sequence[Plane]]
"""Gives the planes of all that is judged together in a width and height, pixels."""

CELL_PX = 3
"""Pixels of a cell, at least, while the pattern is looked for."""
_SAMPLES = 4
"""Samples across a cell when it is read."""
_REFINE = 0.25, 0.02
"""First and last step while a place is refined, cells."""


@dataclass(frozen=True, slots=True)
class Match:
    """The best place of a search."""

    log_p: float
    """Logarithm of the bound on how often pictures without the mark match as well or better
    anywhere that was looked at."""
    place: Place

    @property
    def z(self) -> float:
        """The deviation of a normal distribution that is as rare; 0 where that is common."""
        if self.log_p > math.log(0.5):
            return 0.0
        if self.log_p > -700:
            return -NormalDist().inv_cdf(math.exp(self.log_p))
        # No double is so small: P = exp(-z^2 / 2) / (z sqrt(2 pi)) for large z.
        z = math.sqrt(-2 * self.log_p)
        return math.sqrt(-2 * self.log_p - math.log(2 * math.pi * z * z))


class Fields:
    """What is judged together, in all the sizes that a search needs."""

    def __init__(self, level: Level) -> None:
        self._level = level
        self._fields: dict[tuple[int, int], _Field] = {}

    def search(
        self,
        sizes: Sequence[tuple[float, float]],
        pilot: NDArray[np.int8] | None = None,
        enough_z: float = math.inf,
    ) -> Match:
        """Try all sizes, parts of the picture's width and height, at every shift, mirrored or not;
        after a match of ``enough_z``, only those near it.

        ``pilot``: (32, 32) of -1 and 1; None: the mark's own. Others measure what chance gives.
        """
        signs = (chips("pilot") if pilot is None else pilot).astype(np.float32)
        log_tried = math.log(sum(_shifts(*part) for part in sizes))
        best = Match(log_tried, Place(0, 0, 1, 1))
        for part in sizes:
            if best.z >= enough_z and not _near_size(part, best.place):
                continue
            size = _field_px(part[0]), _field_px(part[1])
            if size not in self._fields:
                self._fields[size] = _Field(self._level(*size))
            width, height = round(part[0] * size[0]), round(part[1] * size[1])
            for log_p, left, top, mirrored in self._fields[size].match(signs, width, height):
                if log_p + log_tried < best.log_p:
                    place = Place(
                        left / size[0], top / size[1], width / size[0], height / size[1], mirrored
                    )
                    best = Match(log_p + log_tried, place)
        return best


def _near_size(part: tuple[float, float], place: Place) -> bool:
    ratios = part[0] / place.width, part[1] / place.height
    return all(abs(math.log(ratio)) < 3 * math.log(STEP) for ratio in ratios)


def _shifts(part_width: float, part_height: float) -> int:
    """Places that are looked at for a size."""
    count = 2
    for part in (part_width, part_height):
        side = _field_px(part)
        count *= side + 2 * _margin_px(side) - round(part * side) + 1
    return count


def _margin_px(side: int) -> int:
    """How far a pattern may reach over an edge: the picture may be cropped."""
    return round(side * (LARGEST - 1))


def _field_px(part: float) -> int:
    """Pixels for the picture's side that give a cell ``CELL_PX`` to 1.41 times as many, when
    ``part`` of that side is marked; sizes within half an octave share a field."""
    half_octaves = max(0, math.ceil(-2 * math.log2(part) - 1e-6))
    return round(CELLS * CELL_PX * math.sqrt(2.0**half_octaves))


def _log_p(s: NDArray[np.float64], planes: int) -> NDArray[np.float64]:
    ratio = np.maximum(s / planes, 1.0)
    return np.asarray(planes / 2 * (np.log(ratio) + 1 - ratio), np.float64)


class _Field:
    """Planes of one size, ready to be compared with patterns."""

    def __init__(self, planes: Sequence[Plane]) -> None:
        height, width = (int(side) for side in planes[0].shape)
        self._margin = _margin_px(width), _margin_px(height)
        pad = (self._margin[1],) * 2, (self._margin[0],) * 2
        self._planes = [np.pad(plane, pad) for plane in uncorrelated(planes)]
        self._height, self._width = height + 2 * self._margin[1], width + 2 * self._margin[0]
        self._shape = [int(cv2.getOptimalDFTSize(side)) for side in (self._height, self._width)]
        self._spectra = [np.fft.rfft2(plane, self._shape) for plane in self._planes]
        # Turning the field serves for turning every pattern.
        self._turned = [np.fft.rfft2(plane[:, ::-1], self._shape) for plane in self._planes]
        self._totals: dict[tuple[int, int], list[NDArray[np.float64]]] = {}

    def match(
        self, signs: Plane, width: int, height: int
    ) -> Iterator[tuple[float, int, int, bool]]:
        """(log P, left, top, mirrored), pixels, of the best shift, plain and then mirrored."""
        sized = cv2.resize(signs, (width, height), interpolation=cv2.INTER_NEAREST)
        pattern = np.conj(np.fft.rfft2(sized, self._shape))
        rows, columns = self._height - height + 1, self._width - width + 1
        spreads = list(self._spreads(width, height))
        for mirrored, spectra in ((False, self._spectra), (True, self._turned)):
            s = np.zeros((rows, columns))
            for spectrum, spread in zip(spectra, spreads, strict=True):
                sums = np.fft.irfft2(spectrum * pattern, self._shape)[:rows, :columns]
                s += sums**2 / (spread[:, ::-1] if mirrored else spread)
            top, left = (int(one) for one in np.unravel_index(int(s.argmax()), s.shape))
            log_p = float(_log_p(s[top : top + 1, left], len(self._planes))[0])
            if mirrored:
                left = columns - 1 - left
            yield log_p, left - self._margin[0], top - self._margin[1], mirrored

    def _spreads(self, width: int, height: int) -> Iterator[NDArray[np.float64]]:
        """V of each plane at each shift."""
        cell = round(width / CELLS), round(height / CELLS)
        if cell not in self._totals:
            self._totals[cell] = []
            for plane in self._planes:
                sums = cv2.boxFilter(plane, cv2.CV_32F, cell, normalize=False)
                total = cv2.integral(sums * sums / (cell[0] * cell[1]))
                self._totals[cell].append(np.asarray(total, np.float64))
        for total in self._totals[cell]:
            spread = total[height:, width:] - total[:-height, width:]
            spread = spread - total[height:, :-width] + total[:-height, :-width]
            # Bars and other places without anything must not look like a find.
            yield np.maximum(spread, 0.02 * float(spread.max()) + 1e-9)


def uncorrelated(planes: Sequence[Plane]) -> list[Plane]:
    """As many planes or fewer, turned so that no two share content."""
    stack = np.stack([plane.ravel() for plane in planes]).astype(np.float64)
    values, axes = np.linalg.eigh(stack @ stack.T)
    keep = values > 1e-6 * max(float(values.max()), 1e-9)
    if not keep.any():
        return [np.zeros_like(planes[0])]
    turned = axes[:, keep].T @ stack
    return [np.asarray(one, np.float32).reshape(planes[0].shape) for one in turned]


# --- from the place to its cells ----------------------------------------------------------------


def refined(level: Level, place: Place) -> tuple[Place, list[Plane]]:
    """The best place near this one, and the cells of each plane there, (32, 32), unmirrored."""
    planes = list(level(_field_px(place.width), _field_px(place.height)))
    cells = _cells(planes, place)
    best = _score(cells)
    step, last = (one / CELLS for one in _REFINE)
    while step > last:
        better = False
        for near in _near(place, step):
            found = _cells(planes, near)
            score = _score(found)
            if score > best:
                best, place, cells, better = score, near, found, True
        step = step if better else step / 2
    return place, cells


def _near(place: Place, step: float) -> Iterator[Place]:
    """The place moved and stretched by ``step`` of its size, one at a time."""
    across, down = step * place.width, step * place.height
    for sign in (-1, 1):
        yield replace(place, left=place.left + sign * across)
        yield replace(place, top=place.top + sign * down)
        yield replace(place, left=place.left - sign * across, width=place.width + 2 * sign * across)
        yield replace(place, top=place.top - sign * down, height=place.height + 2 * sign * down)


def _cells(planes: Sequence[Plane], place: Place) -> list[Plane]:
    height, width = planes[0].shape
    side = CELLS * _SAMPLES
    across, down = place.width * width / side, place.height * height / side
    # The centre of sample i lies at (i + 0.5) / side of the place.
    grid = np.array(
        [
            [across, 0, place.left * width + across / 2 - 0.5],
            [0, down, place.top * height + down / 2 - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found = []
    for plane in planes:
        samples = cv2.warpAffine(plane, grid, (side, side), flags=flags)
        cells = samples.reshape(CELLS, _SAMPLES, CELLS, _SAMPLES).mean(axis=(1, 3))
        found.append(np.asarray(cells[:, ::-1] if place.mirrored else cells, np.float32))
    return found


def _score(cells: Sequence[Plane]) -> float:
    """S of the cells."""
    pilot = chips("pilot")
    return sum(
        float((one * pilot).sum()) ** 2 / (float((one * one).sum()) + 1e-9)
        for one in uncorrelated(cells)
    )
