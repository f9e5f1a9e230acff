"""The compact network's last step: the avatar's own pixels, moved, and what was painted over them.

The network says where each pixel comes from on 64x64 cells, and paints at 256 pixels what the
avatar cannot show. Carrying the pixels is left to OpenCV, which moves uint8 pictures of any size
several times faster than a network's runtime: the avatar keeps its detail, at whatever size the
output wants it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.head import hair_plane
from realtime.frame import Image
from realtime.ground import distance

NETWORK_SIDE = 256
"""Pixels between whose first and last centre displacements count as -1..1."""
MARGIN = 0.25
"""Where motion fades out, it does so within this part of the square's side beyond the square."""

_SLACK = 0.025
"""Of the square's side: so far from where the solid head has it hair may be."""
_BROWS, _EYES = -0.3, -0.1
"""Heights on the head in widths of a face, see ``models.head``: hair is above the first, and below
the second a body, or hair that does not go along, may be anywhere."""

Array = NDArray[np.float32]

Carry = Callable[[Array, Array, Array, Array | None], Image]
"""``Carrier.__call__``, or what comes before it."""


@dataclass(frozen=True, slots=True)
class Box:
    """Whole pixels of a picture, ``left`` to ``right`` without the latter."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def part(self) -> tuple[slice, slice]:
        """For indexing a picture."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top

    def grown(self, by: int) -> "Box":
        """Larger by so many pixels on each side."""
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)

    def within(self, other: "Box") -> "Box":
        """What lies in ``other`` too; the two must meet."""
        return Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    def seen_from(self, other: "Box") -> "Box":
        """The same box, counted from ``other``'s corner."""
        x, y = other.left, other.top
        return Box(self.left - x, self.top - y, self.right - x, self.bottom - y)


class Ground(NamedTuple):
    """What stands still behind the person."""

    matte: NDArray[np.uint8]
    """(h, w), of the carrier's still: 255 the person."""
    image: Image
    """Of the results' size."""
    landmarks: NDArray[np.float32] | None = None
    """(48, 2) of the avatar, -1..1 of the network's square, where they are known: then a head that
    moved away leaves nothing behind."""


class _Head(NamedTuple):
    """A plane through a head's hair, in pixels."""

    axes: NDArray[np.float64]
    """(2, 2): where steps along its x and y lead."""
    origin: NDArray[np.float64]

    @classmethod
    def of(cls, landmarks: Array, scale: np.float32, centre: NDArray[np.float64]) -> "_Head":
        """Of landmarks (48, 2) in -1..1."""
        axes, origin = hair_plane(landmarks)
        return cls(axes * scale, origin * scale + centre)


class Carrier:
    """Holds one avatar's picture, at one size, and moves it. Not thread-safe: its own buffers are
    used again."""

    def __init__(
        self,
        still: Image,
        square: Box | None = None,
        region: Box | None = None,
        *,
        ground: Ground | None = None,
        fading: bool = False,
    ) -> None:
        """``still``: (h, w, 3) uint8 RGB, the avatar's picture, in which the network's square lies
        at ``square`` (None: it is all of it); it may reach beyond the square, and then what moves
        in from there is real. ``region``: the part of ``still`` that results show (None: the
        square). ``ground``: the person alone moves, before it. ``fading``: motion goes on beyond
        the square and ends ``MARGIN`` outside of it; so far the region may reach then, without it
        to the square's border.
        """
        height, width = still.shape[:2]
        self._still = still if ground is None else np.dstack([still, ground.matte])
        self._square = square or Box(0, 0, width, height)
        self._region = region or self._square
        self._ground = ground
        xs = np.arange(self._region.left, self._region.right, dtype=np.float32)
        ys = np.arange(self._region.top, self._region.bottom, dtype=np.float32)
        self._grid = np.stack(np.meshgrid(xs, ys), -1)  # x and y of each pixel in the still
        side = self._square.size[0]
        self._margin = round(side * MARGIN) if fading else 0
        # From -1..1 over the network's pixel centres to pixels of this picture.
        self._scale = np.float32((NETWORK_SIDE - 1) / NETWORK_SIDE * side / 2)
        self._slack = np.float32(side * _SLACK)
        self._centre = np.array([self._square.left, self._square.top]) + (side - 1) / 2
        # New memory costs more than the work in it: 400 pages a buffer and frame.
        field = self._square.grown(self._margin)
        self._field = np.empty((*reversed(field.size), 2), np.float32)
        self._source = np.empty_like(self._grid)
        self._paint = np.empty((side, side, 3), np.uint8)
        self._keep = np.empty((side, side), np.uint8)
        self._keep_rgb = np.empty((*reversed(self._square.within(self._region).size), 3), np.uint8)
        shape = tuple(reversed(self._region.size))
        self.matte = np.full(shape, 255, np.uint8)
        """The person in the last result, (h, w) uint8; all of it without a ground."""
        self._both = np.empty((*shape, 4) if ground else 0, np.uint8)
        self._cover = np.empty((*shape, 3) if ground else 0, np.uint8)
        self._head = None
        if ground is not None and ground.landmarks is not None:
            self._head = _Head.of(ground.landmarks, self._scale, self._centre)
            self._room = self._around_head(ground.matte, self._head)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the results, pixels."""
        return self._region.size

    def __call__(
        self, displacement: Array, painted: Array, alpha: Array, landmarks: Array | None = None
    ) -> Image:
        """A fresh (h, w, 3) uint8 RGB picture of the region.

        displacement (2, n, n): where each cell's content lies in the avatar, minus the cell's own
        place, -1..1; painted (3, m, m) RGB 0..1; alpha (1, m, m): 1 carries, 0 paints; landmarks
        (48, 2): what the network was told, -1..1.
        """
        self._aim(displacement)
        none, edge = np.empty(0), cv2.BORDER_REPLICATE
        to = None if self._ground is None else self._both
        moved = cv2.remap(self._still, self._source, none, cv2.INTER_LINEAR, to, edge)
        if self._ground is not None:
            cv2.extractChannel(moved, 3, self.matte)
            moved = cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB)
        carried = np.asarray(moved, np.uint8)
        # Paint is weighed before it is enlarged, and the blend done in uint8: a quarter of the
        # time of weights in float at full size, and at most 1 of 255 away from it.
        share = 1 - alpha
        if self._margin:
            share = share * _inner(share.shape[-1])  # nothing is painted beyond the square
        levels = cv2.merge([cv2.convertScaleAbs(plane, alpha=255) for plane in painted * share])
        size = self._square.size
        cv2.resize(levels, size, dst=self._paint, interpolation=cv2.INTER_CUBIC)
        keep = cv2.convertScaleAbs(1 - share[0], alpha=255)
        cv2.resize(keep, size, dst=self._keep, interpolation=cv2.INTER_LINEAR)
        shown = self._square.within(self._region)
        part = shown.seen_from(self._square).part
        cv2.merge([self._keep[part]] * 3, self._keep_rgb)
        inner = carried[shown.seen_from(self._region).part]
        cv2.multiply(inner, self._keep_rgb, dst=inner, scale=1 / 255)
        cv2.add(inner, self._paint[part], dst=inner)
        if self._ground is not None:
            if landmarks is not None and self._head is not None:
                self._leave_nothing(self._head, _Head.of(landmarks, self._scale, self._centre))
            put_before(carried, self._ground.image, self.matte, self._cover)
        return carried

    def _aim(self, displacement: Array) -> None:
        """Set where each pixel of the region comes from."""
        cells = np.ascontiguousarray(displacement.transpose(1, 2, 0)) * self._scale
        if self._margin:
            number = cells.shape[0]
            margin = round(number * MARGIN)
            edge = cv2.BORDER_REPLICATE
            padded = cv2.copyMakeBorder(cells, margin, margin, margin, margin, edge)
            cells = np.asarray(padded * _outer(number, margin), np.float32)
        field = self._square.grown(self._margin)
        cv2.resize(cells, field.size, dst=self._field, interpolation=cv2.INTER_LINEAR)
        cv2.add(self._field[self._region.seen_from(field).part], self._grid, dst=self._source)

    def _around_head(self, matte: NDArray[np.uint8], head: "_Head") -> NDArray[np.uint8]:
        """Where the person may be, in the still, as far as his head tells: above the eyes where the
        matte has him, or near. The flow is of the head there; beside it, it stands still, and would
        show the hair where it was before."""
        near = 1.5 - distance(matte) / self._slack
        ys, xs = np.ogrid[: matte.shape[0], : matte.shape[1]]
        across, down = np.linalg.pinv(head.axes)[1]
        height = (xs - head.origin[0]) * across + (ys - head.origin[1]) * down
        below = (height - _BROWS) / (_EYES - _BROWS)
        return np.asarray(np.clip(np.maximum(near, below), 0, 1) * 255, np.uint8)

    def _leave_nothing(self, head: "_Head", moved: "_Head") -> None:
        """Take away from the matte what is beyond that room, gone along with the head."""
        # From where he is to where the avatar has it; a face in one point leads nowhere.
        back = head.axes @ np.linalg.pinv(moved.axes)
        box = self._region
        corner = np.array([box.left, box.top])
        move = np.column_stack([back, head.origin + back @ (corner - moved.origin)])
        ends = np.array([[x, y, 1] for x in (0, box.size[0]) for y in (0, box.size[1])])
        if np.abs(ends @ move.T - ends[:, :2] - corner).max() < self._slack / 2:
            return  # it would take nothing
        flags, edge = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
        room = cv2.warpAffine(self._room, move, box.size, flags=flags, borderMode=edge)
        cv2.min(self.matte, room, dst=self.matte)


def put_before(
    person: Image, ground: Image, matte: NDArray[np.uint8], memory: Image | None = None
) -> None:
    """Put what ``matte`` (h, w) uint8 leaves of ``person`` before ``ground``, in place; ``memory``:
    a picture like theirs that may be written to."""
    cover = np.asarray(cv2.merge([matte] * 3, memory), np.uint8)
    cv2.multiply(person, cover, dst=person, scale=1 / 255)
    cv2.bitwise_not(cover, dst=cover)
    cv2.multiply(ground, cover, dst=cover, scale=1 / 255)
    cv2.add(person, cover, dst=person)


@lru_cache(maxsize=4)
def _outer(number: int, margin: int) -> Array:
    """(number + 2 margin) squared and 1: 1 in the square, falling to 0 at the margin's end."""
    cells = np.arange(number + 2 * margin, dtype=np.float32)
    # The outermost two cells are 0: between them nothing is left to interpolate.
    depth = np.minimum(cells, cells[::-1]) - 1
    ramp = _smooth(depth / max(margin - 1, 1))
    return np.asarray(np.minimum.outer(ramp, ramp)[..., None], np.float32)


@lru_cache(maxsize=4)
def _inner(number: int) -> Array:
    """(number, number): 0 at the square's border, 1 from a sixteenth of its side on."""
    cells = np.arange(number, dtype=np.float32)
    ramp = _smooth(np.minimum(cells, cells[::-1]) / max(number / 16, 1))
    return np.asarray(np.minimum.outer(ramp, ramp), np.float32)


def _smooth(part: NDArray[np.floating[Any]]) -> Array:
    part = np.clip(part, 0, 1)
    return np.asarray(part * part * (3 - 2 * part), np.float32)
