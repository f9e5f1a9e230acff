"""Lids, irises and lips of the avatar, set from the driver's whatever the sizes of their eyes and
mouths.

The relative motion of landmarks alone leaves a big-eyed avatar half open when a narrow-eyed driver
blinks, lets lips cross, and moves an iris out of its eye when a driver who was thought to look
ahead looked aside. Here the openings are carried over as what they are, and a glance has its end.
"""

import math
from typing import Any

import numpy as np

from models.landmarks import indices
from realtime.crop import Points

CLOSED = 0.2
"""Part of the neutral lid gap that counts as closed: lids have thickness, networks smooth. The
least that ``Blinks`` learns."""
MOST_CLOSED = 0.7
"""The most that ``Blinks`` learns: beyond, closed and open cannot be told apart."""
DIP = 0.88
"""Part of the neutral gap below which a blink begins and above which it has ended."""
LONGEST_BLINK_S = 0.5
"""Eyes that are lowered for longer look down or rest."""
WIDE = 1.5
"""Lid gap against the neutral one beyond which the avatar's eyes open no further."""
LOWER_LID = 0.25
"""Part of the way to a closed eye that the lower lid goes."""
ASIDE = 0.32
"""Farthest that an iris stands from the middle between its eye's corners, in widths of the eye.
Nine of ten portraits look aside by less than 0.12; beyond 0.3 an eye has little left to show."""
ABOVE = 0.12
"""Farthest that an iris rises or sinks from where the avatar has it, in widths of the eye."""
LOWER_LIP = 0.7
"""Part of the mouth's opening that the lower lip goes."""
RESTING = 0.04
"""Largest gap between resting lips that is taken as closed, in distances of the eyes."""
KNEE = 0.6
"""Part of a limit that is reached unchanged."""

# Each eye from left to right in the picture, so that both have the same axes.
_EYES = tuple(
    (
        indices(f"{side}_eye_{start}", f"{side}_eye_{end}"),
        indices(*(f"{side}_lid_upper{part}" for part in ("_outer", "", "_inner"))),
        indices(*(f"{side}_lid_lower{part}" for part in ("_outer", "", "_inner"))),
        indices(f"{side}_iris"),
    )
    for side, start, end in (("right", "outer", "inner"), ("left", "inner", "outer"))
)
_MOUTH = indices("mouth_right", "mouth_left")
_UPPER = indices("inner_lip_upper_right", "inner_lip_upper", "inner_lip_upper_left")
_LOWER = indices("inner_lip_lower_right", "inner_lip_lower", "inner_lip_lower_left")
_OUTER_UPPER = indices("lip_upper_right", "lip_upper", "lip_upper_left")
_OUTER_LOWER = indices("lip_lower_right", "lip_lower", "lip_lower_left")
_EYE_LINE = indices("right_eye_outer", "left_eye_outer")
_NOSTRILS = indices("right_nostril", "left_nostril")


class Blinks:
    """Learns how closed this driver's closed eyes are read: networks make blinks shallow, more so
    with glasses or in poor light, and the avatar's eyes are to close fully all the same."""

    def __init__(self) -> None:
        self.closed = CLOSED
        """Part of the neutral lid gap that counts as closed now."""
        self._since: float | None = None
        self._depth = 1.0

    def see(self, ratio: float, now: float) -> None:
        """The mean of both eyes' lid gaps over the neutral ones at ``now``, seconds."""
        if ratio < DIP:
            if self._since is None:
                self._since, self._depth = now, ratio
            self._depth = min(self._depth, ratio)
        elif self._since is not None:
            if now - self._since <= LONGEST_BLINK_S:
                # A little above the depth: not every blink is as deep.
                found = min(max(self._depth * 1.1 + 0.02, CLOSED), MOST_CLOSED)
                quick = 0.5 if found < self.closed else 0.3
                self.closed += quick * (found - self.closed)
            self._since = None


def retarget(
    moved: Points,
    avatar: Points,
    driving: Points,
    initial: Points,
    *,
    scale: float,
    gain: float,
    blinks: Blinks,
    now: float,
) -> Points:
    """``moved`` with its lids, irises and lips set anew; all (48, 2), no crossing lids or lips.

    ``moved``: the avatar's landmarks after the transfer; ``avatar``: before it; ``driving``,
    ``initial``: the driver's, now and neutral; ``scale``: avatar's face size over the driver's;
    ``gain``: how far lips go for the driver's; ``blinks`` sees the driver's lids at ``now``,
    seconds.
    """
    result = moved.copy()
    driver_growth = growth(driving, initial)
    avatar_growth = growth(moved, avatar)
    ratios = []
    for corners, upper, lower, _ in _EYES:
        neutral = max(_gap(initial, corners, upper, lower), 0.05 * _length(initial, corners))
        ratios.append(_gap(driving, corners, upper, lower) / (neutral * driver_growth))
    blinks.see(sum(ratios) / 2, now)
    for eye, ratio in zip(_EYES, ratios, strict=True):
        _set_lids(result, avatar, eye, openness(ratio, blinks.closed), avatar_growth)
        _keep_iris(result, avatar, eye)
    _set_lips(result, driving, initial, driver_growth, gain * scale * avatar_growth)
    return result


def openness(ratio: float, closed: float = CLOSED) -> float:
    """The avatar's lid gap over its own, from the driver's over the neutral one.

    0 up to ``closed``, 1 at 1, at most ``WIDE``. Where blinks are read shallow, noise would be
    stretched along with them: then 1 is reached a little earlier.
    """
    full = 1 - 0.25 * (closed - CLOSED)
    if ratio < full:
        return max(0.0, (ratio - closed) / (full - closed))
    return min(max(ratio, 1.0), WIDE)


def growth(points: Points, reference: Points) -> float:
    """How much larger a face is than it was; a turned or nodding head does not look smaller."""
    width, height = _length(points, _EYE_LINE), _height(points)
    return max(
        width / max(_length(reference, _EYE_LINE), 1e-6), height / max(_height(reference), 1e-6)
    )


def _set_lids(
    result: Points, avatar: Points, eye: tuple[list[int], ...], opening: float, size: float
) -> None:
    """Put the avatar's own lids into the moved eye corners, ``opening`` times as far apart."""
    corners, upper, lower, _ = eye
    across, down = _axes(avatar, corners)
    new_across, new_down = _axes(result, corners)
    stretch = _length(result, corners) / max(_length(avatar, corners), 1e-6)
    start, new_start = avatar[corners[0]], result[corners[0]]
    top, bottom = (avatar[upper] - start) @ down, (avatar[lower] - start) @ down
    meeting = bottom + (top - bottom) * LOWER_LID
    for points, height in ((upper, top), (lower, bottom)):
        along = (avatar[points] - start) @ across * stretch
        away = (meeting + (height - meeting) * opening) * size
        result[points] = new_start + along[:, None] * new_across + away[:, None] * new_down


def _keep_iris(result: Points, avatar: Points, eye: tuple[list[int], ...]) -> None:
    """Let a glance end softly within the eye; one that the avatar has himself is his."""
    own_aside, own_below = _iris_place(avatar, eye)
    aside, below = _iris_place(result, eye)
    aside, below = aside - own_aside, below - own_below
    room = ASIDE - math.copysign(own_aside, own_aside * aside)
    too_far, too_low = aside - _eased(aside, max(room, 0.01)), below - _eased(below, ABOVE)
    if too_far or too_low:
        corners, _, _, iris = eye
        (x0, y0), (x1, y1) = result[corners].tolist()
        dx, dy = x1 - x0, y1 - y0
        result[iris] -= (too_far * dx - too_low * dy, too_far * dy + too_low * dx)


def _iris_place(points: Points, eye: tuple[list[int], ...]) -> tuple[float, float]:
    """How far along the eye, and down, an iris stands from the middle between the eye's corners,
    in widths of the eye."""
    corners, _, _, iris = eye
    (x0, y0), (x1, y1), (x, y) = points[corners + iris].tolist()
    dx, dy = x1 - x0, y1 - y0
    square = max(dx * dx + dy * dy, 1e-12)
    x, y = x - (x0 + x1) / 2, y - (y0 + y1) / 2
    return (x * dx + y * dy) / square, (y * dx - x * dy) / square


def _eased(shift: float, limit: float) -> float:
    """``soft_limit`` to either side; for most shifts there is nothing to do."""
    if abs(shift) <= KNEE * limit:
        return shift
    return math.copysign(float(soft_limit(abs(shift), limit)), shift)


def soft_limit(value: Any, limit: Any) -> Any:
    """``value`` (0 or more) up to ``KNEE`` times the limit, then easing into the limit."""
    knee = KNEE * limit
    over = np.maximum(np.asarray(value) - knee, 0) / (limit - knee)
    return np.minimum(value, knee) + (limit - knee) * np.tanh(over)


def shortened(shift: Any, limit: float) -> Any:
    """Each of (..., n) eased into ``limit`` by its length in the picture, that of its first two."""
    length = np.hypot(shift[..., 0], shift[..., 1])
    return shift * (soft_limit(length, limit) / np.maximum(length, 1e-9))[..., None]


def _set_lips(
    result: Points, driving: Points, initial: Points, driver_growth: float, size: float
) -> None:
    _, down = _axes(driving, _MOUTH)
    _, initial_down = _axes(initial, _MOUTH)
    _, new_down = _axes(result, _MOUTH)
    resting = (initial[_LOWER] - initial[_UPPER]) @ initial_down
    resting = np.clip(resting, 0, RESTING * _length(initial, _EYE_LINE))
    opening = (driving[_LOWER] - driving[_UPPER]) @ down / driver_growth - resting
    wanted = np.maximum(opening, 0) * size
    missing = wanted - (result[_LOWER] - result[_UPPER]) @ new_down
    for lips, part in (
        (_UPPER, LOWER_LIP - 1),
        (_OUTER_UPPER, LOWER_LIP - 1),
        (_LOWER, LOWER_LIP),
        (_OUTER_LOWER, LOWER_LIP),
    ):
        result[lips] += (part * missing)[:, None] * new_down


def _axes(points: Points, ends: list[int]) -> tuple[Points, Points]:
    """Unit vectors along the line between two points and, a quarter turn on, down the face."""
    (x0, y0), (x1, y1) = points[ends].tolist()
    length = max(math.hypot(x1 - x0, y1 - y0), 1e-6)
    x, y = (x1 - x0) / length, (y1 - y0) / length
    return np.array([x, y], np.float32), np.array([-y, x], np.float32)


def _gap(points: Points, corners: list[int], upper: list[int], lower: list[int]) -> float:
    _, down = _axes(points, corners)
    return float(((points[lower] - points[upper]) @ down).sum()) / len(upper)


def _length(points: Points, ends: list[int]) -> float:
    (x0, y0), (x1, y1) = points[ends].tolist()
    return math.hypot(x1 - x0, y1 - y0)


def _height(points: Points) -> float:
    """From the middle of the eyes to the middle of the nostrils."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = points[_EYE_LINE + _NOSTRILS].tolist()
    return math.hypot(ax + bx - cx - dx, ay + by - cy - dy) / 2
