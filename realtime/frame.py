"""A picture with the moment it was captured, and the only hand-over between threads."""

import threading
from dataclasses import dataclass
from typing import Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

T = TypeVar("T")


def fitted(image: Image, width: int, height: int) -> Image:
    """``image`` as an output of fixed size takes it: itself, or whole, centred between black bars,
    when its size is another one. Returns (height, width, 3) uint8 RGB."""
    if image.shape[:2] == (height, width):
        return image
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(
        image, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    return canvas


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture on its way. ``image`` (H, W, 3) uint8 RGB, not to be written to."""

    image: Image
    captured_at: float
    """Seconds on the ``time.perf_counter`` clock, when the driving frame was captured."""
    index: int
    """Number of the driving frame in its source, from 0."""
    alpha: NDArray[np.uint8] | None = None
    """(H, W), 255 opaque: the picture's transparency, for sinks that keep it (``realtime.cutout``);
    None: opaque. What is transparent is chroma-key green in ``image``."""


class Latest(Generic[T]):
    """A slot of one: the newest wins, so nothing ever queues."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self.dropped = 0
        """Items that were replaced before anybody took them."""

    def put(self, item: T) -> None:
        """Lay down ``item``; an item that nobody took is dropped."""
        with self._changed:
            if self._item is not None:
                self.dropped += 1
            self._item = item
            self._changed.notify_all()

    def take(self, timeout_s: float | None = None) -> T | None:
        """Remove and return the item; None after ``timeout_s`` or once closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Wake every waiter; ``take`` gives what is left, then None at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """True once ``close`` was called."""
        return self._closed
