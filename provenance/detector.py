"""Reads the imperceptible mark of ``provenance.watermark``: free, offline, from pictures alone.

In a video the swing of each place is measured at the mark's own rate: what stands still says
nothing, and what moves much counts little. In stills, what is smooth is taken away. Then the
pattern is looked for in many sizes, everywhere and mirrored; z allows for all that was tried, so
that unmarked pictures reach ``THRESHOLD`` less than once in a million times. Not looked for:
turned or skewed pictures (a phone before a screen), films at another speed.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from provenance.pattern import Fields, Level, Match, Plane, refined
from provenance.places import Place, part_sizes, whole_sizes
from provenance.watermark import BITS, CARRIER_HZ, Payload, bit_of_cell, chips

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB, or (H, W) grey."""

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
MOST_STILLS = 16
"""Stills that are judged together."""
UNSURE_BITS = 6
"""Bits of a payload that may be read wrong, each of them the least sure."""
_WEIGHINGS = (5, 0.05), (9, 0.5)
"""Both are tried: over how much a place is compared with its surroundings, and its energy averaged,
at ``CELL_PX`` a cell; and the part of the median energy below which places count no more. What
moves much wants the first; what H.264 leaves of smooth places, where little is not sure, the
second. Chosen on films of CRF 30 and half the size."""
_NOTHING = 1e-6
"""Energy, grey levels squared, of places that do not change at all: bars, skipped blocks."""


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of a video, or some stills, judged alone."""

    start_s: float
    end_s: float
    z: float
    place: Place | None
    """Where the marked picture lies; None where nothing was found."""
    payload: Payload | None
    """What the mark says; None where that cannot be read."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found."""

    blocks: tuple[Block, ...]
    payload: Payload | None
    """None where nothing was found, or too little to read it; stills are never enough."""
    seconds: float
    """From the first picture to the last; 0 for stills."""
    pictures: int

    @property
    def z(self) -> float:
        """Of the clearest block."""
        return max((block.z for block in self.blocks), default=0.0)

    @property
    def found(self) -> bool:
        """True: at least one block is marked."""
        return any(block.place for block in self.blocks)


def read_video(pictures: Iterable[tuple[Picture, float]], expected_s: float = 60.0) -> Reading:
    """Look for the mark in pictures and their times in seconds, rising.

    ``expected_s``: about how long it goes on: more blocks mean more chances of a false find, and z
    allows for them.
    """
    blocks: list[Block] = []
    soft = np.zeros(BITS)
    chances = max(1, math.ceil(expected_s / (BLOCK_WINDOWS * WINDOW_S / 2)))
    times: list[float] = []

    def timed() -> Iterator[tuple[Picture, float]]:
        for picture, time_s in pictures:
            times.append(time_s)
            yield picture, time_s

    for start_s, end_s, windows in _blocks(swings(timed())):
        weighed = levels(windows)
        match, level = _judge(weighed, windows[0][0].shape[1] / windows[0][0].shape[0], chances)
        place, payload = None, None
        if match.z >= THRESHOLD:
            place, cells = refined(level, match.place)
            bits = _soft_bits(cells)
            soft += bits
            payload = _payload(bits)
        blocks.append(Block(start_s, end_s, match.z, place, payload))
    # What one block cannot say, all together may.
    payload = next((block.payload for block in blocks if block.payload), None) or _payload(soft)
    seconds = times[-1] - times[0] if times else 0.0
    return Reading(tuple(blocks), payload, seconds, len(times))


def read_stills(pictures: Iterable[Picture]) -> Reading:
    """Look for the mark in pictures without times, such as screenshots. Those of one size that
    follow each other are taken for the same scene."""
    groups: list[list[NDArray[np.float32]]] = []
    count = 0
    for picture in pictures:
        count += 1
        small = _small(picture)
        if not groups or groups[-1][0].shape != small.shape or len(groups[-1]) == MOST_STILLS:
            groups.append([])
        groups[-1].append(small)
    blocks = []
    for group in groups:
        # What all have in common is content, mostly, and stands apart.
        mean = np.asarray(np.mean(group, axis=0), np.float32)
        stills = [one - mean for one in group] if len(group) > 1 else []
        stills.append(mean)

        weighed = [_still_level(stills, *weighing) for weighing in _WEIGHINGS]
        match, level = _judge(weighed, group[0].shape[1] / group[0].shape[0], len(groups))
        place = refined(level, match.place)[0] if match.z >= THRESHOLD else None
        blocks.append(Block(0.0, 0.0, match.z, place, None))
    return Reading(tuple(blocks), None, 0.0, count)


def _judge(weighed: Sequence[Level], aspect: float, chances: int) -> tuple[Match, Level]:
    """The best match, and where it was: in likely sizes, else in all others; the same part of the
    allowance for each of them and each weighing."""
    best, where = Match(0.0, Place(0, 0, 1, 1)), weighed[0]
    fields = [Fields(level) for level in weighed]
    searches = (whole_sizes(), math.inf), (part_sizes(aspect), 2 * THRESHOLD)
    allowance = math.log(len(searches) * len(weighed) * chances)
    for sizes, enough_z in searches:
        for field, level in zip(fields, weighed, strict=True):
            match = field.search(sizes, enough_z=enough_z)
            match = Match(match.log_p + allowance, match.place)
            if match.log_p < best.log_p:
                best, where = match, level
        if best.z >= THRESHOLD:
            break
    return best, where


# --- from pictures to the swing -----------------------------------------------------------------

Swing = tuple[Plane, ...]
"""Real and imaginary part of the swing at the carrier's rate, grey levels; one part for stills."""


def swings(pictures: Iterable[tuple[Picture, float]]) -> Iterator[tuple[float, float, Swing]]:
    """(start, end, swing) of each window; a video shorter than one gives one of its own length."""
    kept: list[tuple[Plane, float]] = []
    start_s, given = 0.0, False
    for picture, time_s in pictures:
        small = _small(picture)
        if kept and (small.shape != kept[0][0].shape or time_s <= kept[-1][1]):
            kept = []  # another picture, or time went back
        if not kept:
            start_s = time_s
        while time_s >= start_s + WINDOW_S and kept:
            yield start_s, start_s + WINDOW_S, _swing(kept, start_s, WINDOW_S)
            given = True
            start_s += WINDOW_S / 2
            kept = [one for one in kept if one[1] >= start_s]
        if not kept:
            start_s = time_s  # the start, or a gap
        kept.append((small, time_s))
    if len(kept) > 1:
        # The last picture is shown for as long as the others.
        length_s = (kept[-1][1] - start_s) * len(kept) / (len(kept) - 1)
        if length_s >= WINDOW_S - 1e-6 or (not given and length_s >= SHORTEST_S - 1e-6):
            length_s = min(length_s, WINDOW_S)
            yield start_s, start_s + length_s, _swing(kept, start_s, length_s)


def _small(picture: Picture) -> Plane:
    grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, WORK_PX / max(grey.shape))
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    return np.asarray(cv2.resize(grey.astype(np.float32), size, interpolation=cv2.INTER_AREA))


def _swing(pictures: Sequence[tuple[Plane, float]], start_s: float, length_s: float) -> Swing:
    """The swing under a Hann window, what stands still taken away."""
    times = np.array([time_s for _, time_s in pictures])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.clip((times - start_s) / length_s, 0, 1))
    # A picture counts for as long as it is shown, whatever the rate.
    weights = window * np.gradient(times)
    weights /= max(float(weights.sum()), 1e-9)
    turns = weights * np.exp(-2j * np.pi * CARRIER_HZ * times)
    turns -= weights * turns.sum()
    real, imaginary = np.zeros_like(pictures[0][0]), np.zeros_like(pictures[0][0])
    for (picture, _), turn in zip(pictures, turns, strict=True):
        cv2.scaleAdd(picture, float(turn.real), real, dst=real)
        cv2.scaleAdd(picture, float(turn.imag), imaginary, dst=imaginary)
    return real, imaginary


def _blocks(
    windows: Iterable[tuple[float, float, Swing]],
) -> Iterator[tuple[float, float, list[Swing]]]:
    """Windows of one size in groups of at most ``BLOCK_WINDOWS``."""
    kept: list[tuple[float, float, Swing]] = []
    for window in windows:
        follows = not kept or window[2][0].shape == kept[0][2][0].shape
        if len(kept) == BLOCK_WINDOWS or not follows:
            yield kept[0][0], kept[-1][1], [one[2] for one in kept]
            kept = []
        kept.append(window)
    if kept:
        yield kept[0][0], kept[-1][1], [one[2] for one in kept]


def _levelled(swing: Swing, width: int, height: int, around_px: int, quiet: float) -> Swing:
    """The swing in this size, without what is smooth, each place weighed by how little is there
    besides."""
    around = (around_px, around_px)
    sharp = []
    for plane in swing:
        sized = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
        sharp.append(sized - cv2.blur(sized, around))
    energy = cv2.blur(sum((one * one for one in sharp), np.zeros_like(sharp[0])), around)
    some = energy[energy > _NOTHING]
    least = quiet * float(np.median(some)) if some.size else 1.0
    # All windows on nearly one scale: where a codec has thrown all away, little would weigh most.
    weight = math.sqrt(least) / (energy + least)
    return tuple(np.asarray(one * weight, np.float32) for one in sharp)


def levels(windows: Sequence[Swing]) -> list[Level]:
    """The windows of a block, added up, in any size; one for each weighing."""
    return [_block_level(windows, *weighing) for weighing in _WEIGHINGS]


def _block_level(windows: Sequence[Swing], around_px: int, quiet: float) -> Level:
    def level(width: int, height: int) -> list[Plane]:
        sized = [_levelled(window, width, height, around_px, quiet) for window in windows]
        return [np.asarray(np.sum(parts, axis=0), np.float32) for parts in zip(*sized, strict=True)]

    return level


def _still_level(stills: Sequence[Plane], around_px: int, quiet: float) -> Level:
    def level(width: int, height: int) -> list[Plane]:
        return [_levelled((still,), width, height, around_px, quiet)[0] for still in stills]

    return level


# --- from the cells to the bits -----------------------------------------------------------------


def _soft_bits(cells: Sequence[Plane]) -> NDArray[np.float64]:
    """(48,): above 0 is a 1, and the further from 0 the surer."""
    swing = cells[0] + 1j * cells[1]
    # The data swing a quarter period after the pilot.
    pilot = complex((swing * chips("pilot")).sum())
    data = -(swing * np.conj(pilot)).imag * chips("data")
    bits = np.bincount(bit_of_cell().ravel(), weights=data.ravel(), minlength=BITS)
    return np.asarray(bits / max(float(np.abs(bits).mean()), 1e-12), np.float64)


def _payload(soft: NDArray[np.float64]) -> Payload | None:
    """The payload; where its check bits do not fit, with the least sure bits turned, the likeliest
    first. Of noise alone, one in a thousand fits (64 tries, 16 bits of check and version)."""
    if not soft.any():
        return None
    unsure = np.argsort(np.abs(soft))[:UNSURE_BITS]
    turns = itertools.product((False, True), repeat=UNSURE_BITS)
    for turn in sorted(turns, key=lambda turn: float(np.abs(soft[unsure[list(turn)]]).sum())):
        bits = (soft > 0).astype(np.int8)
        bits[unsure[list(turn)]] ^= 1
        payload = Payload.from_bits(bits)
        if payload is not None:
            return payload
    return None
