"""The imperceptible mark: a grid of cells over the whole picture, each swinging in brightness.

It is in every frame and cannot be switched off. A cell swings 1.25 times a second of the frames'
own time, by half a grey level where nothing would hide more, so a reader that knows the pattern
finds it by watching for some seconds; a cell's phase carries one of 48 bits, so that two recordings
can be told apart. The key is public: anybody can read the mark, and who knows how can also remove
or forge it. The format, for those who write readers: docs/provenance.md; the reading side:
``provenance.detector``.
"""

import hashlib
import math
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

VERSION = 1
"""Of the format."""
CELLS = 32
"""Cells in a row and in a column, whatever the picture's size."""
CARRIER_HZ = 1.25
"""How often a cell swings."""
BITS = 48
"""4 of version, 14 of day, 18 of session, 12 of check."""
FIRST_DAY = date(2026, 1, 1)
"""Day 0 of the payload."""

_SESSION_BITS = 18
_DAY_BITS = 14
_CHECK_BITS = 12
_CHECK_POLYNOMIAL = 0x80F
AMPLITUDES = 0.025, 0.05, 0.08, 0.14, 0.5, 1.25, 2.5
"""Of the swing, grey levels: of smooth places four, the darker the less, so that no eye sees them
(Kelly 1979; docs/provenance.md); then where it is a little, rather, very rough."""
_BRIGHT_FROM = 8, 48, 96
"""Grey levels from which a smooth place has the second to fourth of them."""
_ROUGH_FROM = 1, 2
"""Differences of a pixel from the mean around it, grey levels, for the next two."""
_VERY_ROUGH_FROM = 3
"""Of a pixel from those beside and from those above and below it, for the last."""
_BLOCK_PX = 8
_SOFT = 1 / 3
"""Width of the slope between two cells, of a cell: eyes see sharp edges first."""
_STEPS = 16
"""Pictures of the swing in one period: a step every 50 ms."""
_KEPT_SIZES = 2


@dataclass(frozen=True, slots=True)
class Payload:
    """What the mark says."""

    day: int
    """Days since ``FIRST_DAY``, UTC, 0 to 16383."""
    session: int
    """Random number of the recording, 0 to 262143."""
    version: int = VERSION
    """0 to 15."""

    @classmethod
    def new(cls) -> "Payload":
        """Of today, with a random session."""
        day = (datetime.now(UTC).date() - FIRST_DAY).days
        return cls(min(max(day, 0), 2**_DAY_BITS - 1), secrets.randbelow(2**_SESSION_BITS))

    @property
    def date(self) -> date:
        """The day as a date."""
        return FIRST_DAY + timedelta(days=self.day)

    def __str__(self) -> str:
        return f"{self.date.isoformat()}-{self.session:05x}"

    def bits(self) -> NDArray[np.int8]:
        """(48,) int8 of 0 and 1, most significant first: version, day, session, check."""
        word = (self.version << _DAY_BITS | self.day) << _SESSION_BITS | self.session
        word = word << _CHECK_BITS | _check(word)
        return np.array([word >> (BITS - 1 - place) & 1 for place in range(BITS)], np.int8)

    @classmethod
    def from_bits(cls, bits: NDArray[np.int8]) -> "Payload | None":
        """None where the check bits do not fit, or the version is not known."""
        word = int("".join("1" if bit else "0" for bit in bits), 2)
        message, check = word >> _CHECK_BITS, word & (2**_CHECK_BITS - 1)
        version = message >> (_DAY_BITS + _SESSION_BITS)
        if check != _check(message) or version != VERSION:
            return None
        day = message >> _SESSION_BITS & (2**_DAY_BITS - 1)
        return cls(day, message & (2**_SESSION_BITS - 1), version)


def _check(message: int) -> int:
    """CRC-12 (polynomial 0x80F, starts at 0) of the 36 bits before it, in 4.5 bytes."""
    rest = message << _CHECK_BITS
    for place in range(BITS - 1, _CHECK_BITS - 1, -1):
        if rest >> place & 1:
            rest ^= (1 << _CHECK_BITS | _CHECK_POLYNOMIAL) << (place - _CHECK_BITS)
    return rest


def chips(name: str) -> NDArray[np.int8]:
    """(32, 32) int8 of -1 and 1, row by row the bits of SHA-256("puppetcam mark 1 NAME N"), N
    from 0 on; ``name``: "pilot", which the reader looks for, or "data"."""
    text = f"puppetcam mark {VERSION} {name}"
    blocks = range(CELLS * CELLS // 256)
    digest = b"".join(hashlib.sha256(f"{text} {block}".encode()).digest() for block in blocks)
    bits = np.unpackbits(np.frombuffer(digest, np.uint8)).astype(np.int8)
    return np.asarray(2 * bits - 1, np.int8).reshape(CELLS, CELLS)


def bit_of_cell() -> NDArray[np.intp]:
    """(32, 32): which of the 48 bits each cell carries; 21 or 22 cells a bit, far apart."""
    rows, columns = np.indices((CELLS, CELLS))
    return np.asarray((columns + 11 * rows) % BITS, np.intp)


class Watermark:
    """Marks pictures of one recording. Not thread-safe."""

    def __init__(self, payload: Payload | None = None) -> None:
        """``payload``: None for a new one of today."""
        self.payload = payload or Payload.new()
        signs = 2 * self.payload.bits()[bit_of_cell()] - 1
        # Pilot and data swing a quarter period apart.
        self._phases = np.arctan2(signs * chips("data"), chips("pilot"))
        self._swings: OrderedDict[tuple[int, int], _Swing] = OrderedDict()

    def apply(self, image: NDArray[np.uint8], time_s: float) -> None:
        """Mark ``image``, (H, W, 3) uint8, in place, as it is at ``time_s``, on the clock of all
        frames of the recording."""
        size = image.shape[1], image.shape[0]
        swing = self._swings.get(size)
        if swing is None:
            swing = self._swings[size] = _Swing(self._phases, *size)
            if len(self._swings) > _KEPT_SIZES:
                self._swings.popitem(last=False)
        swing.apply(image, time_s)


class _Swing:
    """The swing's steps as pictures of one size, for each amplitude."""

    def __init__(self, phases: NDArray[np.float64], width: int, height: int) -> None:
        blocks = -(-height // _BLOCK_PX), -(-width // _BLOCK_PX)
        size = tuple(_BLOCK_PX * side for side in blocks)
        rows, columns = (
            np.minimum(np.arange(padded) * CELLS // side, CELLS - 1)
            for padded, side in zip(size, (height, width), strict=True)
        )
        spread = phases[np.ix_(rows, columns)].astype(np.float32)
        threshold = np.tile(_dither(), blocks)
        soft = tuple(max(1, round(side / CELLS * _SOFT)) for side in (width, height))
        self._steps = []
        # Half a period later everything has the other sign.
        for step in range(_STEPS // 2):
            turn = cv2.blur(np.cos(2 * math.pi * (step + 0.5) / _STEPS - spread), soft)
            far, sign = np.abs(turn), np.sign(turn)
            planes = [
                (sign * np.floor(far * amplitude + 1 - threshold)).astype(np.int8)
                for amplitude in AMPLITUDES
            ]
            # Eight pixels at a time.
            self._steps.append(np.stack(planes).view(np.uint64).ravel())
        self._places = np.arange(size[0] * blocks[1]).reshape(blocks[0], _BLOCK_PX, blocks[1])
        # Kept: fresh memory of this size takes longer than what is done in it.
        self._chosen = np.empty_like(self._places)
        self._change = np.empty((size[0], blocks[1]), np.uint64)
        self._added, self._taken = (np.empty((height, width), np.int8) for _ in range(2))
        self._nothing = np.zeros((height, width), np.int8)
        self._colours = np.empty((height, width, 3), np.uint8)

    def apply(self, image: NDArray[np.uint8], time_s: float) -> None:
        height, width = image.shape[:2]
        step = math.floor(time_s * CARRIER_HZ * _STEPS) % _STEPS
        amplitudes = _amplitudes(image).astype(np.intp) * self._places.size
        np.add(self._places, amplitudes[:, None], out=self._chosen)
        chosen = self._chosen.reshape(self._change.shape)
        # All are valid; clip does not look twice.
        self._steps[step % (_STEPS // 2)].take(chosen, out=self._change, mode="clip")
        change = self._change.view(np.int8)[:height, :width]
        added, taken = self._added, self._taken
        cv2.max(change, self._nothing, dst=added)
        cv2.subtract(added, change, dst=taken)
        if step >= _STEPS // 2:
            added, taken = taken, added
        for part, put in ((added, cv2.add), (taken, cv2.subtract)):
            cv2.cvtColor(part.view(np.uint8), cv2.COLOR_GRAY2RGB, dst=self._colours)
            put(image, self._colours, dst=image)


def _amplitudes(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Which of ``AMPLITUDES`` each block of 8 x 8 pixels has, told from one of its pixels."""
    small = np.ascontiguousarray(image[::_BLOCK_PX, ::_BLOCK_PX, 1])
    rough = cv2.absdiff(small, cv2.blur(small, (3, 3)))
    # In both directions: beside a straight edge it may be smooth.
    lines = cv2.min(*(cv2.absdiff(small, cv2.blur(small, line)) for line in ((3, 1), (1, 3))))
    smooth, rough, very = (
        cv2.LUT(plane, table) for plane, table in zip((small, rough, lines), _tables(), strict=True)
    )
    return np.asarray(cv2.max(cv2.max(smooth, rough), very), np.uint8)


@lru_cache(maxsize=1)
def _tables() -> tuple[NDArray[np.uint8], ...]:
    """(256,) each: for grey levels and both kinds of differences, which amplitude they allow."""
    steps = (_BRIGHT_FROM, 1), (_ROUGH_FROM, 4), ((_VERY_ROUGH_FROM,), 6)
    found = []
    for starts, first in steps:
        table = np.zeros(256, np.uint8)
        for number, start in enumerate(starts):
            table[start:] = first + number
        found.append(table)
    return tuple(found)


def _dither() -> NDArray[np.float32]:
    """(8, 8) thresholds in 0..1, evenly spread (Bayer 1973): a third of a level is a level on a
    third of the pixels."""
    order = np.zeros((1, 1), np.int64)
    while len(order) < 8:
        order = np.block([[4 * order, 4 * order + 2], [4 * order + 3, 4 * order + 1]])
    return ((order + 0.5) / order.size).astype(np.float32)
