"""Faces for tests: landmarks in space, a picture of them, and a network that reads the picture."""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.keypoints import Keypoints
from models.landmarks import COUNT, INDEX, NAMES

# The person's right half and the middle: x, y (up), z (forward) in face widths, rounded.
_RIGHT = {
    "right_eye_outer": (-0.29, 0.17, 0.21),
    "right_eye_inner": (-0.12, 0.17, 0.25),
    "right_lid_upper_outer": (-0.24, 0.19, 0.24),
    "right_lid_upper": (-0.21, 0.195, 0.25),
    "right_lid_upper_inner": (-0.18, 0.19, 0.25),
    "right_lid_lower_outer": (-0.24, 0.15, 0.24),
    "right_lid_lower": (-0.21, 0.145, 0.25),
    "right_lid_lower_inner": (-0.18, 0.15, 0.25),
    "right_iris": (-0.21, 0.17, 0.25),
    "right_brow_outer": (-0.37, 0.28, 0.18),
    "right_brow": (-0.26, 0.33, 0.29),
    "right_brow_inner": (-0.09, 0.33, 0.35),
    "right_nostril": (-0.09, -0.11, 0.34),
    "mouth_right": (-0.16, -0.28, 0.28),
    "lip_upper_right": (-0.09, -0.24, 0.36),
    "lip_lower_right": (-0.09, -0.32, 0.34),
    "inner_lip_upper_right": (-0.04, -0.28, 0.34),
    "inner_lip_lower_right": (-0.04, -0.28, 0.34),
    "jaw_right": (-0.39, -0.41, -0.04),
    "temple_right": (-0.5, 0.04, -0.16),
}
_MIDDLE = {
    "nose_tip": (0, -0.07, 0.49),
    "nose_bridge": (0, 0.16, 0.38),
    "lip_upper": (0, -0.23, 0.39),
    "lip_lower": (0, -0.34, 0.36),
    "inner_lip_upper": (0, -0.28, 0.35),
    "inner_lip_lower": (0, -0.28, 0.35),
    "chin": (0, -0.61, 0.28),
    "forehead": (0, 0.54, 0.29),
}
SKIN = (224, 178, 150)


def head() -> NDArray[np.float64]:
    """(48, 3) landmarks of a closed-mouthed face that looks ahead, x right and y down."""
    points = np.zeros((COUNT, 3))
    for name in NAMES:
        if name in _MIDDLE:
            points[INDEX[name]] = _MIDDLE[name]
        elif name in _RIGHT:
            points[INDEX[name]] = _RIGHT[name]
        else:
            x, y, z = _RIGHT[name.replace("left", "right")]
            points[INDEX[name]] = (-x, y, z)
    return points * [1, -1, 1]


_FIT = np.linalg.pinv(np.concatenate([head()[:, :2], np.ones((COUNT, 1))], axis=1))


def face(
    centre: tuple[float, float] = (320, 240),
    width: float = 160,
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    roll: float = 0.0,
    lids: float = 1.0,
    eyes: float = 1.0,
    mouth: float = 0.0,
    gaze: float = 0.0,
    lips: float = 1.0,
    brows: float = 0.0,
) -> NDArray[np.float32]:
    """(48, 2) landmarks in pixels. Angles in degrees; ``lids``: 1 open, 0 closed; ``eyes``: height
    of this person's open eyes; ``mouth``: opening in face widths; ``gaze``: to the right of the
    picture, in widths of the eye; ``lips``: width of this mouth; ``brows``: how far they are
    raised, in face widths."""
    points = head()
    for side in ("right", "left"):
        for part in ("_outer", "", "_inner"):
            upper, lower = INDEX[f"{side}_lid_upper{part}"], INDEX[f"{side}_lid_lower{part}"]
            gap = points[lower, 1] - points[upper, 1]
            points[upper, 1] = points[lower, 1] - gap * eyes * lids
        points[INDEX[f"{side}_iris"], 0] += gaze * 0.17
    for name in NAMES:
        if name in ("mouth_right", "mouth_left"):
            points[INDEX[name], 0] *= lips
        if "brow" in name:
            points[INDEX[name], 1] -= brows
        if "lip_lower" in name:
            points[INDEX[name], 1] += mouth * 0.8
        if "lip_upper" in name:
            points[INDEX[name], 1] -= mouth * 0.2
    points[INDEX["chin"], 1] += mouth * 0.6
    a, b, c = np.radians([yaw, pitch, roll])
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    nod = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    tilt = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    seen = points @ (tilt @ nod @ turn).T
    return (seen[:, :2] * width + centre).astype(np.float32)


def keypoints_of(landmarks: NDArray[np.float32]) -> Keypoints:
    """Landmarks as keypoints, each with the affine map that fits the whole face to ``head``."""
    fit = (_FIT @ landmarks)[:2].T
    return Keypoints(landmarks, np.tile(fit, (COUNT, 1, 1)).astype(np.float32))


def draw_face(
    image: NDArray[np.uint8], centre: tuple[float, float], height: float, tilt: float = 0.0
) -> None:
    """A simple face that finders find, ``height`` from hairline to chin."""
    side, unit = 256, 1.6
    canvas = np.zeros((side, side, 4), np.float32)

    def blob(x: float, y: float, w: float, h: float, colour: tuple[int, int, int]) -> None:
        middle = (int(side / 2 + x * unit), int(side / 2 + y * unit))
        axes = (int(w * unit), int(h * unit))
        cv2.ellipse(canvas, middle, axes, 0, 0, 360, (*colour, 255), cv2.FILLED)

    blob(0, 0, 40, 50, SKIN)
    for sign in (-1, 1):
        blob(17 * sign, -14, 10, 3, (90, 60, 50))
        blob(17 * sign, -6, 8, 4, (245, 245, 245))
        blob(17 * sign, -6, 4, 4, (30, 20, 20))
        blob(5 * sign, 13, 2, 2, (150, 100, 90))
    blob(0, 26, 14, 4, (150, 60, 60))
    reach = int(height * 0.8)
    left, top = int(centre[0]) - reach, int(centre[1]) - reach
    x0, y0 = max(left, 0), max(top, 0)
    part = image[y0 : max(top + 2 * reach, 0), x0 : max(left + 2 * reach, 0)]
    if part.size == 0:
        return
    place = cv2.getRotationMatrix2D((side / 2, side / 2), tilt, height / 100 / unit)
    place[:, 2] += [centre[0] - side / 2 - x0, centre[1] - side / 2 - y0]
    drawn = cv2.warpAffine(canvas, place, (part.shape[1], part.shape[0]))
    part[:] = np.where(drawn[..., 3:] > 127, drawn[..., :3], part).astype(np.uint8)


class SkinNetwork:
    """The landmark network of this drawn world: finds the skin nearest to the crop's centre."""

    def __init__(self) -> None:
        self.calls = 0

    def keypoints(self, image: NDArray[np.uint8]) -> tuple[Keypoints, float]:
        """Landmarks of the oval in (S, S, 3) uint8 RGB, and 1.0 where there is a whole one."""
        self.calls += 1
        size = image.shape[0]
        skin = (np.abs(image.astype(int) - SKIN).max(axis=2) < 20).astype(np.uint8)
        closed = cv2.morphologyEx(skin, cv2.MORPH_CLOSE, np.ones((size // 8, size // 8), np.uint8))
        count, _, stats, centres = cv2.connectedComponentsWithStats(closed)
        ovals = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] > 0.02 * size**2]
        if not ovals:
            return keypoints_of(face((0, 0), 0.8)), 0.0
        best = min(ovals, key=lambda i: np.hypot(*(centres[i] - size / 2)))
        x, y, w, h, _ = stats[best]
        whole = x > 0 and y > 0 and x + w < size and y + h < size
        low, high = face().min(axis=0), face().max(axis=0)
        part = (face() - low) / (high - low)
        pixels = part * [w - 1, h - 1] + [x, y]
        value = (pixels / ((size - 1) / 2) - 1).astype(np.float32)
        return keypoints_of(value), 1.0 if whole else 0.3
