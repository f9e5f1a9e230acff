"""The synchronous core: a driving frame in, an avatar frame out. All state, no thread.

What it shows of the driver is motion alone. Where there is no face or no camera, the avatar holds
and then eases to its neutral pose; a camera's pixels never reach the output.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

import cv2
import numpy as np

from config.errors import AvatarError, SourceError
from config.schema import Settings
from models.keypoints import Keypoints
from models.landmarks import NAMES
from provenance.badge import Area, draw_label
from provenance.watermark import Watermark
from realtime.avatar import Avatar
from realtime.body import Body, Sight
from realtime.compose import Composer
from realtime.crop import READ_RATIO, Crop, Points
from realtime.cutout import with_label
from realtime.engine import Engine
from realtime.face import Face, Tracker
from realtime.frame import Frame, Image
from realtime.light import Denoiser
from realtime.matte import Matte
from realtime.motion import Calibration, Motion, mix, smoothstep
from realtime.scene import Scene
from realtime.smoothing import KeypointSmoother

_log = logging.getLogger(__name__)

RETURN_S = 0.35
"""A face that comes back takes over from the held or neutral pose in this time."""
BLINK_OF_TRACKING_S = 0.1
"""A face that was away for less than this goes on without easing."""
FACE_ROOM = 0.05
"""Beside and below the keypoints of a face, of its width: what the label leaves free."""
FOREHEAD = 0.3
"""Above the keypoints, of their height."""
PAUSED = "paused"
NO_AVATAR = "no avatar is set; choose a picture with --avatar"


class Status(Enum):
    """What the output shows."""

    CALIBRATING = "calibrating"
    LIVE = "live"
    HOLDING = "holding"
    LOST = "lost"
    NO_CAMERA = "no camera"
    PANIC = "panic"


class View(NamedTuple):
    """What is to be seen of the driver."""

    camera: Image
    """(H, W, 3) uint8 RGB."""
    crop: Crop
    side: int
    """Pixels to cut it to."""


@dataclass(frozen=True, slots=True)
class Step:
    """The result of one driving frame."""

    frame: Frame
    """What sinks get: ``output.width`` x ``output.height``, labelled and marked. Never camera
    pixels."""
    result: Image
    """(h, w, 3) uint8 RGB: what the engine generated, as large as the output needs it, unlabelled,
    unmirrored."""
    view: View | None
    """None without a frame and in panic."""
    status: Status
    stages: Mapping[str, float]
    """Seconds by stage: face, keypoints, motion, generate, compose. Where tracker and engine share
    a network, reading it counts as face."""
    landmarks: Points | None = None
    """(48, 2) float32, -1..1 of ``driving``: the driver's face as the tracker sees it."""

    @property
    def driving(self) -> Image | None:
        """(S, S, 3) uint8 RGB: camera pixels around the driver's face, for side-by-side views and
        the private preview only; cut when asked for, since most are not looked at."""
        return self.view.crop.cut(self.view.camera, self.view.side) if self.view else None


class Puppeteer:
    """Owns the way from the driver's face to the avatar's frame. One thread calls it.

    ``set_avatar`` comes before the first ``step``. Engine and tracker stay the caller's to close.
    """

    def __init__(
        self,
        engine: Engine,
        tracker: Tracker,
        settings: Settings,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``clock`` measures the stages only; what happens when is told by the frames' times."""
        self._engine = engine
        self._tracker = tracker
        self._settings = settings
        self._clock = clock
        landmarks = engine.bundle.landmarks
        self._landmarks = landmarks if landmarks == tuple(NAMES) else ()
        self._motion = Motion(settings.motion, self._landmarks, settings.tracking.zoom)
        self._smoother = self._new_smoother()
        self._denoise = Denoiser()
        carries = engine.bundle.family == "compact"
        self._composer = Composer(settings.output, carries=carries)
        self._body = Body()
        self.avatar: Avatar | None = None
        self._neutral: Keypoints | None = None
        # The output lies between two poses: at weight 0 the first, at 1 the second.
        self._from: Keypoints | None = None
        self._to: Keypoints | None = None
        self._weight = 0.0
        self._moved_at: float | None = None
        self._seen_at: float | None = None
        self._missed = False
        self._lost = True
        self._panic = False
        self._index = 0
        self.mark = Watermark()
        """In every finished picture; no setting switches it off."""

    @property
    def settings(self) -> Settings:
        """May be replaced while running; the next step uses the new ones, but for how the output is
        composed: that is prepared beside, some steps long. The output's size stays: no virtual
        camera can change it."""
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        before = self._settings
        size = before.output.width, before.output.height
        if (settings.output.width, settings.output.height) != size:
            _log.warning("the output stays %dx%d until puppetcam is started again", *size)
            output = replace(settings.output, width=size[0], height=size[1])
            settings = replace(settings, output=output)
        self._settings = settings
        self._composer.change(settings.output)
        self._motion.settings = settings.motion
        if settings.camera.mirror != before.camera.mirror:
            # Another picture altogether: nothing of the old one holds.
            self._smoother.reset()
            self._denoise.reset()
            self.recentre()
        if settings.smoothing != before.smoothing:
            self._smoother = self._new_smoother()
        if settings.tracking.zoom != before.tracking.zoom:
            self._motion.zoom(settings.tracking.zoom / before.tracking.zoom)
            self._body.reset()

    @property
    def calibrating(self) -> bool:
        """True while a better neutral frame of the driver is still looked for."""
        return self._motion.calibrating

    @property
    def calibration(self) -> Calibration | None:
        """The driver's neutral face, once it is settled; any thread may read it."""
        return self._motion.calibration

    def resume(self, calibration: Calibration) -> None:
        """Take the neutral face of an earlier run with the same network: no look for a new one."""
        self._motion.resume(calibration)

    def prepare(self, avatar: Avatar) -> None:
        """Do what can be done for an avatar before ``set_avatar``; any thread may call this."""
        self._composer.prepare(avatar)

    def set_avatar(self, avatar: Avatar) -> None:
        """Animate this avatar from the next step on; the driver's reference is kept."""
        self._composer.show(avatar)
        self._neutral = self._engine.set_avatar(avatar.image)
        self._motion.set_avatar(self._neutral)
        self._body.set_avatar(self._neutral.value)
        self.avatar = avatar
        # Poses of the avatar before it mean nothing now.
        self._from = self._to = self._neutral

    def recentre(self) -> None:
        """Look for the driver anew, the largest face, and take the neutral pose from the next
        frames: the way back when the tracker is on somebody else."""
        self._tracker.reset()
        self._motion.recentre()
        self._body.reset()

    def panic(self, on: bool) -> None:
        """Show a static card, and do not look at the camera, until switched off."""
        self._panic = on

    @property
    def panicking(self) -> bool:
        """True while the card is shown."""
        return self._panic

    def take_reference(self, frame: Frame, face: Face | None = None) -> None:
        """Make ``face`` in this frame (None: its largest face) the neutral one at once. Raises
        SourceError without a face.

        For videos, where the best frame is known before; ``realtime.neutral`` finds it.
        """
        image = self._driving_image(frame)
        face = face or next(iter(self._tracker.find_all(image)), None)
        if face is None:
            raise SourceError(f"no face in driving frame {frame.index}; choose another frame")
        crop = Crop.around(face.landmarks).scaled(self._settings.tracking.zoom)
        keypoints = self._read(image, face, crop)
        self._motion.take_reference(keypoints, face.landmarks, frame.captured_at)
        self._weight = 1.0

    def step(self, frame: Frame) -> Step:
        """The avatar moved as the driver in ``frame``; the time is ``frame.captured_at``."""
        self._index = frame.index
        if self._panic:
            return self._card(frame.captured_at)
        if self.avatar is None:
            raise AvatarError(NO_AVATAR)
        marks = [self._clock()]
        image, now = self._driving_image(frame), frame.captured_at
        calm = self._denoise(image) if self._settings.camera.denoise else image
        face = self._tracker.track(calm, now)
        marks.append(self._clock())
        keypoints = self._read(calm, face, self._motion.stage) if face else None
        marks.append(self._clock())
        if face and keypoints:
            self._drive(face, keypoints, now)
        pose, status = self._pose(now, face is not None)
        marks.append(self._clock())
        crop = self._motion.stage or Crop.whole(image)
        landmarks = crop.from_frame(face.landmarks) if face else None
        neutral = self._motion.neutral
        if landmarks is not None and neutral is not None and self._settings.motion.body:
            self._body.see(Sight.of(calm, crop, landmarks), neutral, now)
        view = View(image, crop, self._engine.bundle.output_size)
        return self._finish(pose, status, now, marks, view=view, landmarks=landmarks)

    def idle(self, now: float) -> Step:
        """The picture while there is no driving frame: held, then easing to neutral."""
        if self._panic:
            return self._card(now)
        marks = [self._clock()] * 3
        pose, _ = self._pose(now, False)
        marks.append(self._clock())
        return self._finish(pose, Status.NO_CAMERA, now, marks)

    def _new_smoother(self) -> KeypointSmoother:
        smoothing = self._settings.smoothing
        return KeypointSmoother(smoothing.min_cutoff_hz, smoothing.beta, self._landmarks)

    def _driving_image(self, frame: Frame) -> Image:
        if not self._settings.camera.mirror:
            return frame.image
        return np.asarray(cv2.flip(frame.image, 1), np.uint8)

    def _read(self, image: Image, face: Face, stage: Crop | None) -> Keypoints:
        """The driver's keypoints, frame pixels.

        Landmarks are read in the crop that follows the face; unsupervised keypoints know nothing
        of faces and are read where they are measured, on the stage.
        """
        if self._landmarks:
            if face.keypoints is not None:
                return face.crop.keypoints_to_frame(face.keypoints)
            crop = Crop.around(face.landmarks, READ_RATIO)
        else:
            around = Crop.around(face.landmarks).scaled(self._settings.tracking.zoom)
            crop = stage or around
        cut = crop.cut(image, self._engine.bundle.keypoint_size)
        return crop.keypoints_to_frame(self._engine.keypoints(cut)[0])

    def _drive(self, face: Face, keypoints: Keypoints, now: float) -> None:
        """Let the driver's face move the avatar, easing in where it was away."""
        away = now - self._seen_at if self._seen_at is not None else 0.0
        if self._missed and away >= BLINK_OF_TRACKING_S:
            self._smoother.reset()
            self._from, self._weight = self._output(), 0.0
        self._seen_at, self._missed, self._lost = now, False, False
        if self._settings.smoothing.enabled:
            unit = Crop.around(face.landmarks).side / 2
            keypoints = self._smoother(keypoints, now, unit)
        self._to = self._motion.drive(keypoints, face.landmarks, face.confidence, now)

    def _pose(self, now: float, seen: bool) -> tuple[Keypoints, Status]:
        """The avatar's pose now, and what it is."""
        tracking = self._settings.tracking
        elapsed = max(now - self._moved_at, 0.0) if self._moved_at is not None else 0.0
        self._moved_at = now
        if seen:
            if self._motion.ready(now):
                self._weight = min(self._weight + elapsed / RETURN_S, 1.0)
            status = Status.CALIBRATING if self._motion.calibrating else Status.LIVE
            return self._output(), status
        self._missed = True
        away = now - self._seen_at if self._seen_at is not None else tracking.lost_s
        if away < tracking.lost_s:
            # Hold where the output is, even half way into easing.
            return self._output(), Status.HOLDING
        if not self._lost:
            self._to, self._weight = self._output(), 1.0
            self._from, self._lost = self._neutral, True
        self._weight = max(self._weight - elapsed / tracking.ease_s, 0.0)
        return self._output(), Status.LOST

    def _output(self) -> Keypoints:
        if self._from is None or self._to is None:
            raise AvatarError(NO_AVATAR)
        return mix(self._from, self._to, smoothstep(self._weight))

    def _finish(
        self,
        pose: Keypoints,
        status: Status,
        now: float,
        marks: list[float],
        *,
        view: View | None = None,
        landmarks: Points | None = None,
    ) -> Step:
        scene = self._composer.scene
        if scene.carrier is None:
            result = self._engine.generate(pose)
        else:
            share = self._settings.motion.body * smoothstep(self._weight)
            result = self._engine.generate(pose, self._body.before(scene.carrier, share))
        marks.append(self._clock())
        picture, alpha = self._composed(scene, result, now)
        marks.append(self._clock())
        names = ("face", "keypoints", "motion", "generate", "compose")
        stages = dict(zip(names, np.diff(marks).tolist(), strict=True))
        frame = Frame(picture, now, self._index, alpha)
        return Step(frame, result, view, status, stages, landmarks)

    def _composed(self, scene: Scene, result: Image, now: float) -> tuple[Image, Matte | None]:
        picture, alpha = scene.compose(result)
        if self._settings.output.mirror:
            picture = np.asarray(cv2.flip(picture, 1), np.uint8)
            alpha = None if alpha is None else np.asarray(cv2.flip(alpha, 1), np.uint8)
        label, face = self._settings.label, self._face_area(scene)
        draw_label(picture, label, face)
        self.mark.apply(picture, now)
        return picture, None if alpha is None else with_label(alpha, label, face)

    def _face_area(self, scene: Scene) -> Area | None:
        """Where the avatar's face is in the output while it looks ahead, with the forehead, which
        has no keypoints, and a little room to move."""
        if self._neutral is None:
            return None
        left, top = (float(one) for one in self._neutral.value.min(axis=0))
        right, bottom = (float(one) for one in self._neutral.value.max(axis=0))
        wide, high = FACE_ROOM * (right - left), FOREHEAD * (bottom - top)
        square, half = scene.square, scene.square.size[0] / 2
        left, right = (square.left + half * (1 + x) for x in (left - wide, right + wide))
        top, bottom = (square.top + half * (1 + y) for y in (top - high, bottom + wide))
        if self._settings.output.mirror:
            left, right = (self._settings.output.width - x for x in (right, left))
        return Area(left, top, right, bottom)

    def _card(self, now: float) -> Step:
        self._moved_at, self._missed = now, True
        output = self._settings.output
        picture = card(output.width, output.height)
        draw_label(picture, self._settings.label)
        self.mark.apply(picture, now)
        size = self._engine.bundle.output_size
        frame = Frame(picture, now, self._index)
        return Step(frame, card(size, size), None, Status.PANIC, {})


def card(width: int, height: int) -> Image:
    """A fresh (height, width, 3) uint8 RGB card that says "paused"."""
    picture = np.full((height, width, 3), (38, 42, 54), np.uint8)
    short = min(width, height)
    scale, thickness = short / 220, max(short // 130, 1)
    font = cv2.FONT_HERSHEY_DUPLEX
    (text_width, text_height), _ = cv2.getTextSize(PAUSED, font, scale, thickness)
    origin = ((width - text_width) // 2, (height + text_height) // 2 + short // 9)
    cv2.putText(picture, PAUSED, origin, font, scale, (226, 230, 238), thickness, cv2.LINE_AA)
    bar, tall = short // 22, short // 6
    for x in (-2 * bar, bar):
        corner = (width // 2 + x, height // 2 - short // 20 - tall)
        cv2.rectangle(picture, corner, (corner[0] + bar, corner[1] + tall), (226, 230, 238), -1)
    return picture
