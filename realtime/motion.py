"""How the driver's keypoints move the avatar: stage, neutral reference, transfer, limits.

The face tracker's crop follows the driver at once, so it cannot be what motion is measured in.
Motion is measured on a **stage**: a square of the frame that is laid around the neutral face and
then drifts after the driver over several seconds, so that who shifts in the chair comes back to the
middle, and a nod or a turn stays what it is.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from config.schema import MotionSettings
from models.keypoints import Keypoints, inverse_2x2, relative_motion
from models.landmarks import NAMES, indices
from realtime.crop import CROP_RATIO, Crop, Points
from realtime.expression import Blinks, growth, retarget, shortened, soft_limit
from realtime.neutral import look_of, unneutral
from realtime.pose import Head, Pose, axis_of, pose_of, turn, turned_by

FOLLOW_S = 6.0
"""Time constant with which the stage drifts after the face."""
LEASH = 0.5
"""Distance of the face from the stage's centre, in half sides, beyond which it pulls the stage."""
REACH = 1.4
"""Face against stage size beyond which it pulls the stage."""
FIRST_LOOK_S = 0.5
"""Frames are gathered for this long before the avatar moves for the first time."""
REFERENCE_EASE_S = 0.4
"""A better reference replaces the old one over this time."""
LONGEST_FRAME_S = 0.25
"""A longer pause between two frames with a face is not time spent looking at it."""
BETTER = 0.7
"""A new reference is at most this part as far from neutral as the old one."""
WIDTH_OF_FACE = 0.83
"""Width of a face against its height, median over portraits, where keypoints do not tell it."""
MOST_TURN = math.radians(34.0)
"""Farthest that the avatar's head turns or tilts from its own pose: its picture has no pixels for
what would come into view beyond."""
SIDEWAYS = math.radians(28.0), math.radians(44.0)
"""A driver whose head is turned so far from the camera shows less and less of what lips, brows and
irises do: their landmarks go where the network guesses them, and the avatar's mouth would melt."""
LEAST_ACTING = 0.15
"""What is taken of them beyond."""
JACOBIAN_LIMIT = 0.95
"""Largest change of a local frame (spectral norm). Below 1 it can neither flip nor collapse."""

_TEMPLES = indices("temple_right", "temple_left")
_ACTING = np.array(
    [[any(part in name for part in ("mouth", "lip", "brow", "iris"))] for name in NAMES], np.float32
)


class Reference(NamedTuple):
    """The driver's neutral face: the stage around it, and on that stage its keypoints and its 48
    landmarks."""

    stage: Crop
    initial: Keypoints
    landmarks: Points


class Calibration(NamedTuple):
    """What was learnt of a driver, for a later run: nothing of it depends on where he sits."""

    initial: Keypoints
    """On the stage of the neutral face, like ``Reference``."""
    landmarks: Points
    zoom: float
    """That of the stage."""
    closed: float
    """``Blinks.closed``."""


class Motion:
    """All state between the driver's keypoints and the avatar's. No clock: time comes in."""

    def __init__(self, settings: MotionSettings, landmarks: tuple[str, ...], zoom: float) -> None:
        """``landmarks``: names of the keypoints, () where they were learnt unsupervised.
        ``zoom``: size of the stage against ``CROP_RATIO``."""
        self.settings = settings
        self._is_face = landmarks == tuple(NAMES)
        self._avatar: Keypoints | None = None
        self._head: Head | None = None
        self._driver: tuple[Points, Head] | None = None
        self._blinks = Blinks()
        self._zoom = zoom
        self._current: Reference | None = None
        self._start: Reference | None = None
        self._goal: Reference | None = None
        self._goal_since = 0.0
        self._last: tuple[float, Points] | None = None
        self._first_seen: float | None = None
        self._known: Calibration | None = None
        self.recentre()

    def recentre(self) -> None:
        """Gather frames for a new neutral reference; until one is there, the old one holds."""
        self._looks: list[tuple[float, ...]] = []
        self._candidates: list[Reference] = []
        self._chosen = -1
        self._gathered_s = 0.0
        self._gathering = True

    @property
    def calibrating(self) -> bool:
        """True while the neutral reference may still be replaced by a better one."""
        return self._gathering and self.settings.relative

    @property
    def calibration(self) -> Calibration | None:
        """The neutral face that is moved by, once no better one is looked for. Never changed
        afterwards: any thread may read it."""
        if self._current is None or self._gathering:
            return None
        _, initial, landmarks = self._current
        return Calibration(initial, landmarks, self._zoom, self._blinks.closed)

    def resume(self, known: Calibration) -> None:
        """Move by this neutral face from the first face on, instead of looking for one."""
        self._known = known
        self._blinks.closed = known.closed
        self._gathering = False

    @property
    def stage(self) -> Crop | None:
        """Where motion is measured now; None before the first face."""
        return self._current.stage if self._current else None

    @property
    def neutral(self) -> Points | None:
        """(48, 2), where the driver's landmarks are on the stage when he is at rest; None where
        motion is not relative to it."""
        if self._current is None or not (self._is_face and self.settings.relative):
            return None
        neutral: Points = self._current.initial.value
        return neutral

    def ready(self, now: float) -> bool:
        """True once there is a reference that is good enough to move by."""
        if self._first_seen is None:
            return False
        return not self.settings.relative or now - self._first_seen >= FIRST_LOOK_S

    def set_avatar(self, keypoints: Keypoints) -> None:
        """Move this avatar from now on; the driver's reference stays."""
        self._avatar = keypoints
        self._head = None
        if self._is_face:
            self._head = Head(keypoints.value)
            # Weighted least squares, as in ``local_affine`` of the networks: all but the result.
            apart = keypoints.value[None] - keypoints.value[:, None]
            weight = np.exp(-0.5 * np.square(apart).sum(-1) / 0.35**2) + 0.25
            weighted = apart * weight[..., None]
            own = weighted.transpose(0, 2, 1) @ apart
            self._around = np.asarray(weighted @ inverse_2x2(own), np.float32)

    def zoom(self, factor: float) -> None:
        """Make the stage ``factor`` times as large at once: the avatar's face gets smaller."""
        self._zoom *= factor
        references = (self._current, self._start, self._goal)
        self._current, self._start, self._goal = (
            one and _zoomed(one, factor) for one in references
        )

    def take_reference(self, keypoints: Keypoints, landmarks: Points, now: float) -> None:
        """Make this face the neutral one at once and end the calibration.

        ``keypoints`` in frame pixels, ``landmarks`` (48, 2) frame pixels.
        """
        self._current = self._reference(keypoints, landmarks)
        self._start = self._goal = None
        self._gathering = False
        self._first_seen = now - FIRST_LOOK_S

    def drive(
        self, keypoints: Keypoints, landmarks: Points, confidence: float, now: float
    ) -> Keypoints:
        """The avatar's keypoints for the driver's. ``set_avatar`` comes first.

        ``keypoints``: frame pixels, smoothed; ``landmarks``: (48, 2) frame pixels; ``confidence``:
        0..1; ``now``: seconds. The result is in -1..1 of the avatar.
        """
        if self._avatar is None:
            raise ValueError("set_avatar comes before drive")
        if self._known is not None:
            # Laid where the driver sits today.
            neutral = Reference(Crop(0, 0, 2), self._known.initial, self._known.landmarks)
            neutral = _zoomed(neutral, self._zoom / self._known.zoom)
            self._current = neutral._replace(stage=_home(neutral, landmarks))
            self._known, self._first_seen = None, now - FIRST_LOOK_S
        if self._first_seen is None:
            self._first_seen = now
        elapsed = now - self._last[0] if self._last else 0.0
        if self.calibrating:
            before = self._last[1] if self._last else None
            look = look_of(landmarks, before, elapsed, confidence)
            # Seconds with the face in view: a driver who looks away is waited for.
            self._gathered_s += min(max(elapsed, 0.0), LONGEST_FRAME_S)
            self._gather(look, self._reference(keypoints, landmarks), now)
        self._last = (now, landmarks)
        current = self._advance(landmarks, max(elapsed, 0.0), now, keypoints)
        driving = current.stage.keypoints_from_frame(keypoints)
        if not self.settings.relative:
            return driving
        return self._transfer(driving, current.initial, now)

    def _reference(self, keypoints: Keypoints, landmarks: Points) -> Reference:
        stage = Crop.around(landmarks).scaled(self._zoom)
        return Reference(stage, stage.keypoints_from_frame(keypoints), stage.from_frame(landmarks))

    def _gather(self, look: tuple[float, ...], candidate: Reference, now: float) -> None:
        self._looks.append(look)
        self._candidates.append(candidate)
        last = self._gathered_s >= self.settings.recentre_s
        costs = unneutral(np.array(self._looks))
        best = int(costs.argmin())
        if self._chosen < 0 or (
            best != self._chosen and (last or costs[best] < BETTER * costs[self._chosen])
        ):
            self._chosen = best
            self._start, self._goal = self._current, self._candidates[best]
            self._goal_since = now
        if last:
            self._gathering = False
            self._looks, self._candidates = [], []

    def _advance(
        self, landmarks: Points, elapsed_s: float, now: float, keypoints: Keypoints
    ) -> Reference:
        """Ease to a new reference, or let the stage drift after the face."""
        if self._current is None:
            self._current = self._goal or self._reference(keypoints, landmarks)
            self._goal = None
        elif self._goal and self._start:
            done = min((now - self._goal_since) / REFERENCE_EASE_S, 1.0)
            self._current = _between(self._start, self._goal, smoothstep(done))
            if done >= 1:
                self._start = self._goal = None
        else:
            weight = 1 - math.exp(-elapsed_s / FOLLOW_S)
            stage = _follow(self._current.stage, _home(self._current, landmarks), weight)
            self._current = self._current._replace(stage=stage)
        return self._current

    def _transfer(self, driving: Keypoints, initial: Keypoints, now: float) -> Keypoints:
        avatar: Any = self._avatar
        if self._head is None:
            moved = relative_motion(avatar, driving, initial, self.settings.adapt_scale)
            return self._limited(moved, avatar)
        if self._driver is None or self._driver[0] is not initial.value:
            self._driver = initial.value, Head(initial.value)
        value, scale = self._as_a_head(self._driver[1], driving.value)
        value = retarget(
            value,
            avatar.value,
            driving.value,
            initial.value,
            scale=scale,
            gain=self.settings.expression,
            blinks=self._blinks,
            now=now,
        )
        return Keypoints(value, self._with_frames(value))

    def _as_a_head(self, driver: Head, driving: Points) -> tuple[Points, float]:
        """The avatar's landmarks (48, 2) when its head turns as the driver's did and its face acts
        as his; and how much larger the avatar is."""
        head: Any = self._head
        limit = self.settings.limit
        pose = pose_of(driving, driver.shape)
        acting = pose.on_face(driving - pose.show(driver.shape))
        acting *= 1 + _ACTING * (self.settings.expression * _readable(pose) - 1)
        acting = shortened(acting, limit)
        ratio = head.pose.scale / driver.pose.scale if self.settings.adapt_scale else 1.0
        axis = axis_of(turned_by(driver.pose, pose))
        axis[:2] *= self.settings.nod, self.settings.turn
        grown = math.log(pose.scale / driver.pose.scale)
        shift = (pose.place - driver.pose.place) * ratio

        def part(share: float) -> Pose:
            return Pose(
                turn(axis * share, head.pose.rotation),
                head.pose.scale * math.exp(grown * share),
                head.pose.place + shift * share,
            )

        # The whole pose goes back, so that a face stays a face at the limit.
        angle = float(np.linalg.norm(axis))
        axis *= float(soft_limit(angle, MOST_TURN)) / max(angle, 1e-9)
        away = (part(1).show(head.shape) - head.landmarks) / head.pose.scale
        travel = float(np.hypot(*away.T).max())
        share = float(soft_limit(travel, limit)) / max(travel, 1e-9)
        return np.asarray(part(share).show(head.shape + acting), np.float32), ratio

    def _with_frames(self, value: Points) -> Any:
        """The avatar's local frames (48, 2, 2) when its landmarks are at ``value``: moved by the
        affine map that best takes the landmarks around each to where they are now."""
        avatar: Any = self._avatar
        apart = value[None] - value[:, None]
        change = np.einsum("ijx,ijy->ixy", apart, self._around) - np.eye(2, dtype=np.float32)
        return _changed(avatar.jacobian, change)

    def _limited(self, moved: Keypoints, avatar: Keypoints) -> Keypoints:
        """Stop keypoints of unknown meaning softly at ``settings.limit``.

        The displacement is split into what an affine map explains, the head's, and the rest, the
        expression's. All of the head's part shrinks by one factor.
        """
        limit = self.settings.limit * WIDTH_OF_FACE * 2 / CROP_RATIO
        basis = np.column_stack([np.ones(len(avatar.value)), avatar.value])
        shift = moved.value - avatar.value
        head = basis @ np.linalg.lstsq(basis, shift, rcond=None)[0]
        travel = float(np.hypot(*head.T).max())
        factor = np.float32(soft_limit(travel, limit) / max(travel, 1e-9))
        rest = shortened(shift - head, limit)
        value = np.asarray(avatar.value + head * factor + rest, np.float32)
        # J = R J_avatar: R is the driver's change of the local frame.
        with np.errstate(all="ignore"):
            change = moved.jacobian @ inverse_2x2(avatar.jacobian) - np.eye(2, dtype=np.float32)
        change = np.nan_to_num(change, nan=0.0, posinf=0.0, neginf=0.0) * factor
        return Keypoints(value, _changed(avatar.jacobian, change))


def _readable(pose: Pose) -> float:
    """How much of a face's acting can be read in this pose: 1 from the front."""
    start, end = SIDEWAYS
    away = math.acos(min(max(float(pose.rotation[2, 2]), -1.0), 1.0))
    return 1 - (1 - LEAST_ACTING) * min(max((away - start) / (end - start), 0.0), 1.0)


def _changed(jacobian: Any, change: Any) -> Any:
    """Local frames (K, 2, 2) changed by 1 + ``change``, as far as ``JACOBIAN_LIMIT``."""
    norm = _spectral_norm(change)
    change = change * (soft_limit(norm, JACOBIAN_LIMIT) / np.maximum(norm, 1e-9))[:, None, None]
    return np.asarray(jacobian + change @ jacobian, np.float32)


def smoothstep(x: float) -> float:
    """0..1 -> 0..1 with flat ends."""
    return x * x * (3 - 2 * x)


def mix(one: Keypoints, other: Keypoints, weight: float) -> Keypoints:
    """Keypoints between two: ``one`` at weight 0, ``other`` at 1."""
    kept, taken = np.float32(1 - weight), np.float32(weight)
    return Keypoints(
        one.value * kept + other.value * taken, one.jacobian * kept + other.jacobian * taken
    )


def _between(one: Reference, other: Reference, weight: float) -> Reference:
    return Reference(
        _mix_crops(one.stage, other.stage, weight),
        mix(one.initial, other.initial, weight),
        one.landmarks + (other.landmarks - one.landmarks) * np.float32(weight),
    )


def _mix_crops(one: Crop, other: Crop, weight: float) -> Crop:
    return Crop(
        one.cx + (other.cx - one.cx) * weight,
        one.cy + (other.cy - one.cy) * weight,
        one.side + (other.side - one.side) * weight,
    )


def _zoomed(reference: Reference, factor: float) -> Reference:
    """The same reference looked at with a larger stage: where home is, the face is smaller, and
    against the unchanged keypoints that is motion."""
    landmarks = reference.landmarks / np.float32(factor)
    return Reference(reference.stage.scaled(factor), reference.initial, landmarks)


def _home(reference: Reference, landmarks: Points) -> Crop:
    """The stage on which the head stands where it stood in the reference, as large as there.

    The middle of the temples stays put when the head turns or nods, unlike the landmarks' box.
    """
    size = growth(landmarks, reference.landmarks)  # frame pixels for 1 of the stage
    x, y = landmarks[_TEMPLES].mean(axis=0) - reference.landmarks[_TEMPLES].mean(axis=0) * size
    return Crop(float(x), float(y), 2 * size)


def _follow(stage: Crop, face: Crop, weight: float) -> Crop:
    """The stage moved by ``weight`` of its way to the face, and as far as the leash demands."""
    stage = _mix_crops(stage, face, weight)
    away = math.hypot(face.cx - stage.cx, face.cy - stage.cy) / (stage.side / 2)
    pull = 1 - LEASH / away if away > LEASH else 0.0
    side = min(max(stage.side, face.side / REACH), face.side * REACH)
    pulled = _mix_crops(stage, face, pull)
    return Crop(pulled.cx, pulled.cy, side)


def _spectral_norm(matrices: Any) -> Any:
    """Largest singular value of (K, 2, 2), (K,)."""
    squares = np.square(matrices).sum(axis=(1, 2))
    a, b = matrices[:, 0, 0], matrices[:, 0, 1]
    c, d = matrices[:, 1, 0], matrices[:, 1, 1]
    determinant = a * d - b * c
    spread = np.maximum(np.square(squares) - 4 * np.square(determinant), 0)
    return np.sqrt((squares + np.sqrt(spread)) / 2)
