"""The synchronous core: a driving frame in, an avatar frame out."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from realtime.frame import Frame, Image


class Status(Enum):
    """What the output shows."""

    CALIBRATING = "calibrating"
    LIVE = "live"
    HOLDING = "holding"
    LOST = "lost"
    NO_CAMERA = "no camera"
    PANIC = "panic"


@dataclass(frozen=True, slots=True)
class Step:
    """The result of one driving frame."""

    frame: Frame
    """What sinks get: ``output.width`` x ``output.height``, labelled. Never camera pixels."""
    result: Image
    """(S, S, 3) uint8 RGB: the network's picture alone, unlabelled, unmirrored."""
    driving: Image | None
    """(S, S, 3) uint8 RGB: the driver's crop, for side-by-side views and the private preview."""
    status: Status
    stages: Mapping[str, float]
    """Seconds by stage: face, keypoints, motion, generate, compose."""
