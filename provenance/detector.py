"""Reads the imperceptible mark of ``provenance.watermark``: free, offline, from pictures alone.

What changes between frames is measured at the mark's own rate, so what stands still says nothing;
where much moves counts little. Then the pattern is looked for at every place, in many sizes and
mirrored. ``z`` of a result allows for the number of places that were looked at: a picture without
the mark reaches 5 less than once in a million clips. Turned or skewed pictures (a phone before a
screen) are not looked for, nor films at another speed.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from provenance.places import LARGEST, Place, part_sizes, whole_sizes
from provenance.watermark import BITS, CARRIER_HZ, CELLS, Payload, bit_of_cell, chips

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB, or (H, W) grey."""
Field = NDArray[np.complex64]
"""(h, w): how each place of the picture swings at the carrier's rate."""

THRESHOLD = 5.0
"""Smallest z that counts as found: one in 3.5 million."""
WINDOW_S = 4 / CARRIER_HZ
"""Stretch in which the swing is measured; one begins every half of it."""
BLOCK_WINDOWS = 5
"""Windows that are judged together: 9.6 s."""
SHORTEST_S = 2 / CARRIER_HZ
"""A shorter video is not judged."""
WORK_PX = 640
"""Longer side at which pictures are looked at."""
CELL_PX = 3
"""Pixels of a cell when the pattern is looked for, at least."""
_QUIET = 0.25
"""Of the median energy: places that move less count no more than this."""
_NOTHING = 1e-6
"""Energy, grey levels squared, of places that do not change at all: bars, skipped blocks."""
_CELL_SAMPLES = 4
"""Samples across a cell when it is read."""


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of the video that was judged alone."""

    start_s: float
    end_s: float
    z: float
    payload: Payload | None
    place: Place | None
    """Where the marked picture lies; None where nothing was found."""

    @property
    def found(self) -> bool:
        """True: this stretch is marked."""
        return self.place is not None


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found in a video."""

    blocks: tuple[Block, ...]
    payload: Payload | None
    """None where nothing was found, or too little to read it."""
    seconds: float
    frames: int

    @property
    def z(self) -> float:
        """Of the clearest stretch."""
        return max((block.z for block in self.blocks), default=0.0)

    @property
    def found(self) -> bool:
        """True: at least one stretch is marked."""
        return any(block.found for block in self.blocks)


def read_mark(pictures: Iterable[tuple[Picture, float]], expected_s: float = 10.0) -> Reading:
    """Look for the mark in pictures and their times in seconds, rising.

    ``expected_s``: about how long the clip is; more blocks mean more chances of error, and z allows
    for them.
    """
    blocks: list[Block] = []
    soft = np.zeros(BITS)
    chances = max(1, round(expected_s / (BLOCK_WINDOWS * WINDOW_S / 2)))
    count, first_s, last_s = 0, 0.0, 0.0

    def counted() -> Iterator[tuple[Picture, float]]:
        nonlocal count, first_s, last_s
        for picture, time_s in pictures:
            first_s = time_s if count == 0 else first_s
            count, last_s = count + 1, time_s
            yield picture, time_s

    for start_s, end_s, windows in _blocks(_windows(counted())):
        found = _judge(windows, chances)
        soft += found.soft
        payload = _payload(found.soft) if found.place else None
        blocks.append(Block(start_s, end_s, found.z, payload, found.place))
    payload = next((block.payload for block in blocks if block.payload), None) or _payload(soft)
    return Reading(tuple(blocks), payload, last_s - first_s, count)


# --- from pictures to the swing -----------------------------------------------------------------


def _windows(pictures: Iterable[tuple[Picture, float]]) -> Iterator[tuple[float, float, Field]]:
    """(start, end, swing) of each window; a video shorter than one gives one of its own length."""
    kept: list[tuple[NDArray[np.float32], float]] = []
    start_s: float | None = None
    size = None
    given = False
    for picture, time_s in pictures:
        small = _small(picture)
        if small.shape != size or (kept and time_s <= kept[-1][1]):
            kept, start_s, size = [], time_s, small.shape  # another picture, or time went back
        start_s = time_s if start_s is None else start_s
        while time_s >= start_s + WINDOW_S and kept:
            yield start_s, start_s + WINDOW_S, _swing(kept, start_s, WINDOW_S)
            given = True
            start_s += WINDOW_S / 2
            kept = [one for one in kept if one[1] >= start_s]
        if not kept:
            start_s = time_s  # a gap
        kept.append((small, time_s))
    if kept and not given:
        start_s, length_s = kept[0][1], kept[-1][1] - kept[0][1]
        # A whole number of frames is a little longer than its time stamps say.
        length_s *= len(kept) / max(len(kept) - 1, 1)
        if length_s >= SHORTEST_S - 1e-6:
            yield start_s, start_s + length_s, _swing(kept, start_s, length_s)


def _small(picture: Picture) -> NDArray[np.float32]:
    grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, WORK_PX / max(grey.shape))
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    return np.asarray(
        cv2.resize(grey.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32
    )


def _swing(
    pictures: Sequence[tuple[NDArray[np.float32], float]], start_s: float, length_s: float
) -> Field:
    """The swing at the carrier's rate under a Hann window, what stands still taken away."""
    times = np.array([time_s for _, time_s in pictures])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.clip((times - start_s) / length_s, 0, 1))
    # A frame counts for as long as it is shown, whatever the rate.
    weights = window * np.gradient(times) if len(times) > 1 else window
    weights /= max(weights.sum(), 1e-9)
    turns = weights * np.exp(-2j * np.pi * CARRIER_HZ * times)
    turns -= weights * turns.sum()
    shape = pictures[0][0].shape
    real, imaginary = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for (picture, _), turn in zip(pictures, turns, strict=True):
        cv2.scaleAdd(picture, float(turn.real), real, real)
        cv2.scaleAdd(picture, float(turn.imag), imaginary, imaginary)
    return np.asarray(real + 1j * imaginary, np.complex64)


def _blocks(
    windows: Iterable[tuple[float, float, Field]],
) -> Iterator[tuple[float, float, list[Field]]]:
    """Windows of one size in groups of at most ``BLOCK_WINDOWS``."""
    kept: list[tuple[float, float, Field]] = []
    for window in windows:
        follows = kept and window[2].shape == kept[0][2].shape
        if kept and (len(kept) == BLOCK_WINDOWS or not follows):
            yield kept[0][0], kept[-1][1], [one[2] for one in kept]
            kept = []
        kept.append(window)
    if kept:
        yield kept[0][0], kept[-1][1], [one[2] for one in kept]


# --- from the swing to the pattern --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    z: float
    place: Place | None
    soft: NDArray[np.float64]
    """(48,): above 0 is a 1; the further from 0 the surer."""


def _judge(windows: Sequence[Field], chances: int) -> _Found:
    """Look for the pattern in likely sizes, then in all others, with half of the allowance for
    error each."""
    height, width = windows[0].shape
    best = 0.0
    for sizes in (whole_sizes(), part_sizes(width / height)):
        raw, place, tried = _search(windows, sizes)
        z = _significance(raw, 2 * tried * chances)
        best = max(best, z)
        if z >= THRESHOLD:
            place, cells = _refined(windows, place)
            return _Found(z, place, _soft_bits(cells))
    return _Found(best, None, np.zeros(BITS))


def _search(
    windows: Sequence[Field], sizes: Sequence[tuple[float, float]]
) -> tuple[float, Place, int]:
    """(largest raw z, where, places looked at) over sizes and every shift, mirrored or not."""
    best, place, tried = 0.0, Place(0, 0, 1, 1), 0
    levelled: dict[tuple[int, int], _Levelled] = {}
    for part in sizes:
        # Sizes within half an octave share a field.
        size = _field_px(part[0]), _field_px(part[1])
        if size not in levelled:
            levelled[size] = _Levelled(windows, *size)
        field = levelled[size]
        shape = round(part[0] * size[0]), round(part[1] * size[1])
        for z, left, top, mirrored in field.correlate(*shape):
            if z > best:
                best = z
                place = Place(
                    left / size[0], top / size[1], shape[0] / size[0], shape[1] / size[1], mirrored
                )
        tried += field.count(*shape)
    return best, place, tried


def _field_px(part: float) -> int:
    """Pixels for the picture's side so that a cell has ``CELL_PX`` to 1.41 times as many, when
    ``part`` of that side is marked."""
    return round(CELLS * CELL_PX * math.sqrt(2) ** max(0, math.ceil(-2 * math.log2(part) - 1e-6)))


class _Levelled:
    """The windows of a block in one field of a given size, each place by how much it can say."""

    def __init__(self, windows: Sequence[Field], width: int, height: int) -> None:
        self._size = width, height
        field = sum((_level(one, width, height) for one in windows), np.zeros((), np.complex64))
        # A cropped picture's pattern reaches over the edges.
        self._margin = round(width * (LARGEST - 1)), round(height * (LARGEST - 1))
        self._padded = np.pad(field, ((self._margin[1],) * 2, (self._margin[0],) * 2))
        rows, columns = (cv2.getOptimalDFTSize(side) for side in self._padded.shape)
        self._shape = rows, columns
        self._spectrum = np.fft.fft2(self._padded, self._shape)
        self._cells: dict[tuple[int, int], tuple[NDArray[np.float32], NDArray[np.complex64]]] = {}

    def count(self, width: int, height: int) -> int:
        """Places that ``correlate`` looks at."""
        rows, columns = self._padded.shape
        return 2 * (rows - height + 1) * (columns - width + 1)

    def correlate(self, width: int, height: int) -> list[tuple[float, int, int, bool]]:
        """Best (raw z, left, top, mirrored), pixels, of a pattern of this size, plain and mirrored.

        Raw z: the sum of the swing under the pilot's signs, against its spread for random signs.
        For independent signs and any picture P(z) <= exp(-z^2 / 2) (Hoeffding 1963).
        """
        rows, columns = self._padded.shape[0] - height + 1, self._padded.shape[1] - width + 1
        spread = self._spread(width, height)[:rows, :columns]
        pilot = cv2.resize(
            chips("pilot").astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST
        )
        best = []
        for mirrored in (False, True):
            template = np.fft.fft2(pilot[:, ::-1] if mirrored else pilot, self._shape)
            plane = np.fft.ifft2(self._spectrum * np.conj(template))[:rows, :columns]
            z = np.abs(plane) / spread
            top, left = np.unravel_index(int(z.argmax()), z.shape)
            place = int(left) - self._margin[0], int(top) - self._margin[1]
            best.append((float(z[top, left]), *place, mirrored))
        return best

    def _spread(self, width: int, height: int) -> NDArray[np.float32]:
        """What random signs of cells would give at each shift, along its larger axis."""
        cell = round(width / CELLS), round(height / CELLS)
        if cell not in self._cells:
            sums = _sums(np.pad(self._padded, ((0, cell[1] - 1), (0, cell[0] - 1))), *cell)
            sums = sums / math.sqrt(cell[0] * cell[1])
            self._cells[cell] = np.abs(sums) ** 2, sums**2
        energy, twist = (_sums(plane, width, height) for plane in self._cells[cell])
        power = (energy + np.abs(twist)) / 2
        # A place without pictures has neither: it must not look like a find.
        return np.sqrt(np.maximum(power, 1e-3 * power.max()) + 1e-12)


def _level(swing: Field, width: int, height: int) -> Field:
    """The swing at this size, without what is smooth, and weighed by how little moves there."""
    planes = [
        cv2.resize(np.ascontiguousarray(plane), (width, height), interpolation=cv2.INTER_AREA)
        for plane in (swing.real, swing.imag)
    ]
    reach = (3 * CELL_PX, 3 * CELL_PX)
    sharp = [plane - cv2.blur(plane, reach) for plane in planes]
    energy = cv2.blur(sharp[0] ** 2 + sharp[1] ** 2, reach)
    quiet = _QUIET * float(np.median(energy[energy > _NOTHING])) if (energy > _NOTHING).any() else 1
    weight = math.sqrt(quiet) / (energy + quiet)
    return np.asarray((sharp[0] + 1j * sharp[1]) * weight, np.complex64)


def _sums(plane: NDArray[np.generic], width: int, height: int) -> NDArray[np.generic]:
    """The sum over each (height, width) rectangle that lies within the plane, by its top left."""
    total = np.pad(plane.cumsum(axis=0, dtype=np.complex128).cumsum(axis=1), ((1, 0), (1, 0)))
    sums = total[height:, width:] - total[:-height, width:]
    return sums - total[height:, :-width] + total[:-height, :-width]


def _significance(raw: float, tried: int) -> float:
    """The z of a normal distribution that is passed as seldom as ``raw`` by the largest of
    ``tried`` places without a mark."""
    log_p = math.log(tried) - raw * raw / 2
    if log_p > math.log(0.5):
        return 0.0
    return -NormalDist().inv_cdf(math.exp(max(log_p, -700.0)))


# --- from the place to the bits -----------------------------------------------------------------


def _refined(windows: Sequence[Field], place: Place) -> tuple[Place, Field]:
    """The best place near this one, and its cells, (32, 32)."""
    size = _field_px(place.width), _field_px(place.height)
    field = sum((_level(one, *size) for one in windows), np.zeros((), np.complex64))
    cells = _cells(field, place)
    best = _raw(cells)
    step = 0.25 / CELLS
    while step > 0.02 / CELLS:
        better = False
        for edge in _edges(place, step):
            one = _cells(field, edge)
            z = _raw(one)
            if z > best:
                best, place, cells, better = z, edge, one, True
        step = step if better else step / 2
    return place, cells


def _edges(place: Place, step: float) -> Iterator[Place]:
    """The place moved and stretched by ``step`` of its size, one at a time."""
    across, down = step * place.width, step * place.height
    for sign in (-1, 1):
        yield replace(place, left=place.left + sign * across)
        yield replace(place, top=place.top + sign * down)
        yield replace(place, left=place.left - sign * across, width=place.width + 2 * sign * across)
        yield replace(place, top=place.top - sign * down, height=place.height + 2 * sign * down)


def _cells(field: Field, place: Place) -> Field:
    """The swing of each cell, (32, 32), of a picture that lies at ``place``, unmirrored."""
    height, width = field.shape
    side = CELLS * _CELL_SAMPLES
    across, down = place.width * width / side, place.height * height / side
    # Pixel centres: sample i lies at (i + 0.5) / side of the place.
    grid = np.array(
        [
            [across, 0, place.left * width + across / 2 - 0.5],
            [0, down, place.top * height + down / 2 - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    planes = [
        cv2.warpAffine(np.ascontiguousarray(plane), grid, (side, side), flags=flags)
        .reshape(CELLS, _CELL_SAMPLES, CELLS, _CELL_SAMPLES)
        .sum(axis=(1, 3))
        for plane in (field.real, field.imag)
    ]
    cells = planes[0] + 1j * planes[1]
    return np.asarray(cells[:, ::-1] if place.mirrored else cells, np.complex64)


def _raw(cells: Field) -> float:
    """The raw z of cells: their sum under the pilot's signs against its spread."""
    power = (float((np.abs(cells) ** 2).sum()) + abs(complex((cells**2).sum()))) / 2
    return abs(complex((cells * chips("pilot")).sum())) / math.sqrt(power + 1e-12)


def _soft_bits(cells: Field) -> NDArray[np.float64]:
    """(48,): above 0 is a 1. The data swing a quarter period after the pilot."""
    turn = complex((cells * chips("pilot")).sum())
    data = -(cells * (abs(turn) / turn)).imag * chips("data")
    soft = np.bincount(bit_of_cell().ravel(), weights=data.ravel(), minlength=BITS)
    return np.asarray(soft / max(float(np.abs(soft).mean()), 1e-12), np.float64)


def _payload(soft: NDArray[np.float64]) -> Payload | None:
    return Payload.from_bits((soft > 0).astype(np.int8))
