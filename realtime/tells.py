"""What people are taught to look for in a made-up video, measured: hints, never proof.

Each tell has a natural range. Where papers give one it is theirs; the others were measured on 37
unmarked clips of people (docs/log.md).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.landmarks import indices
from realtime.crop import Crop, Points
from realtime.frame import Image
from realtime.speech import Sound, follow_sound

Floats = NDArray[np.float64]

MEASURED = "measured on 37 unmarked clips, 5 % lie beyond each end that is not 0 or 1"
BENTIVOGLIO = (
    "Bentivoglio et al. 1997, Movement Disorders: means of 4.5/min reading, 17 at rest, 26 in "
    "conversation; widened by two standard deviations of chance for this length"
)
IN_ICTU_OCULI = "Li, Chang, Lyu 2018, In Ictu Oculi"
EVINGER = "Evinger, Manning, Sibony 1991, IOVS: lids close faster than they open; range "
FACE_WARPING = "Li, Lyu 2018, Exposing DeepFake Videos by Detecting Face Warping Artifacts: range "
JOHNSON_FARID = "Johnson, Farid 2005, Exposing Digital Forgeries by Detecting ... Lighting: range "
CHANDRASEKARAN = "Chandrasekaran et al. 2009, PLoS Comput Biol: "
TOGETHER = (
    CHANDRASEKARAN + "mouth opening and loudness go together; lower end: 95 % of what this sound "
    "gives at moments that do not belong together"
)
AHEAD = (
    CHANDRASEKARAN + "the mouth moves 100 to 300 ms ahead of the voice; sound that is 45 ms early "
    "is noticed (ITU-R BT.1359)"
)

SIDE = 160
"""Size of the crop that blur, light and colour are measured in, pixels."""
LOOK_EVERY_S = 0.2
"""Time between two such looks."""
LEAST_S, LEAST_FRAMES = 2.0, 20
"""Less of a face is not judged."""
_UPPER_LIDS = [indices(*(f"{s}_lid_upper{p}" for p in ("_outer", "", "_inner"))) for s in
               ("right", "left")]  # fmt: skip
_LOWER_LIDS = [indices(*(f"{s}_lid_lower{p}" for p in ("_outer", "", "_inner"))) for s in
               ("right", "left")]  # fmt: skip
_CORNERS = [indices(f"{s}_eye_outer", f"{s}_eye_inner") for s in ("right", "left")]
_LIPS = indices("inner_lip_upper_right", "inner_lip_upper", "inner_lip_upper_left")
_LOWER_LIPS = indices("inner_lip_lower_right", "inner_lip_lower", "inner_lip_lower_left")
_CHIN, _FOREHEAD, _TEMPLE_RIGHT, _TEMPLE_LEFT = indices(
    "chin", "forehead", "temple_right", "temple_left"
)


@dataclass(frozen=True, slots=True)
class Tell:
    """One measure of one film."""

    name: str
    value: float
    """Not a number where it cannot be told."""
    unit: str
    low: float
    high: float
    source: str
    """Where the range comes from."""

    @property
    def verdict(self) -> str:
        """natural, unusual or not measured."""
        if not math.isfinite(self.value):
            return "not measured"
        return "natural" if self.low <= self.value <= self.high else "unusual"

    def values(self) -> dict[str, Any]:
        """As JSON has it: null for what is not a number."""
        found = asdict(self) | {"verdict": self.verdict}
        return {
            key: None if isinstance(one, float) and not math.isfinite(one) else one
            for key, one in found.items()
        }


class Blink(NamedTuple):
    """One blink, seconds."""

    start_s: float
    deepest_s: float
    end_s: float
    depth: float
    """Part of the open eye that was covered, 0..1."""


class Ovals(NamedTuple):
    """Where pixels lie against the oval of a face."""

    u: Floats
    """(H, W); -1 right temple (picture left), 1 left temple."""
    v: Floats
    """(H, W); -1 forehead, 1 chin."""
    across: Floats
    """(2,) from the middle to the left temple, pixels."""
    down: Floats
    """(2,) to the chin."""

    @property
    def r(self) -> Floats:
        """(H, W); 1 on the outline."""
        return np.hypot(self.u, self.v)

    def only(self, seen: NDArray[np.bool_]) -> "Ovals":
        """Not numbers where nothing is seen, so that no measure looks there."""
        return self._replace(u=np.where(seen, self.u, math.nan), v=np.where(seen, self.v, math.nan))


class Watcher:
    """Collects what the tells need from one film, frame by frame."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._lids: list[float] = []
        self._mouth: list[float] = []
        self._patches: list[Floats] = []
        self._looked_at = -math.inf
        self._blurs: list[float] = []
        self._colours: list[float] = []
        self._lights: list[tuple[Floats, Floats]] = []

    def see(self, image: Image, landmarks: Points | None, now: float) -> None:
        """A picture (H, W, 3) uint8 RGB at ``now``, seconds, and the face's 48 landmarks."""
        if landmarks is None:
            return
        self._times.append(now)
        self._lids.append(lid_opening(landmarks))
        self._mouth.append(mouth_opening(landmarks))
        crop = Crop.around(landmarks, 1.0)
        patch = cv2.cvtColor(crop.cut(image, 16), cv2.COLOR_RGB2GRAY)
        self._patches.append(patch.astype(np.float64))
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        view = Crop.around(landmarks, 2.0)
        picture = view.cut(image, SIDE)
        ovals = ovals_of(_within(view, landmarks), SIDE)
        ovals = ovals.only(_inside(view, image))
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float64)
        self._blurs.append(edge_sharpness(grey, ovals))
        self._colours.append(colour_difference(picture, ovals))
        self._lights.append((face_light(grey, ovals), contour_light(grey, ovals)))

    def tells(self, sound: Sound | None = None) -> list[Tell]:
        """All tells of what was seen; ``sound``: the film's."""
        times, lids, mouth = (np.array(one) for one in (self._times, self._lids, self._mouth))
        nan = math.nan
        enough = len(times) >= LEAST_FRAMES and times[-1] - times[0] >= LEAST_S
        seen_s = _seen_s(times) if enough else nan
        blinks = find_blinks(times, lids) if enough else []
        rate = len(blinks) / seen_s * 60
        spans = [one.end_s - one.start_s for one in blinks]
        forms = [(b.end_s - b.deepest_s) / max(b.deepest_s - b.start_s, 1e-3) for b in blinks]
        correlation, lag_s, chance = (
            follow_sound(times, mouth, sound) if enough and sound else (nan, nan, nan)
        )
        lights = [one for one in self._lights if np.isfinite(one).all()] if enough else []
        face, contour = np.mean(lights, axis=0) if lights else np.full((2, 2), nan)
        edge, colour, trembling = (
            (_median(self._blurs), _median(self._colours), flicker(times, np.array(self._patches)))
            if enough
            else (nan, nan, nan)
        )
        depth = _median([one.depth for one in blinks])
        light = light_angle(face, contour)
        lag = 1000 * lag_s
        return [
            Tell("blink rate", rate, "/min", *blink_range(seen_s), BENTIVOGLIO),
            Tell("blink duration", 1000 * _median(spans), "ms", 100, 400, IN_ICTU_OCULI),
            Tell("blink form", _median(forms), "opening/closing", 0.9, 4.6, EVINGER + MEASURED),
            Tell("blink depth", depth, "of the open eye", 0.4, 1, MEASURED),
            Tell("edge sharpness", edge, "of the rest", 0.74, 1.13, FACE_WARPING + MEASURED),
            Tell("light direction", light, "degrees apart", 0, 137, JOHNSON_FARID + MEASURED),
            Tell("colour", colour, "in a*b*, face to neck", 0, 21.5, MEASURED),
            Tell("mouth and sound", correlation, "correlation", chance, 1, TOGETHER),
            Tell("sound after mouth", lag, "ms", -45, 300, AHEAD),
            Tell("flicker", trembling, "grey levels", 0.7, 2.5, MEASURED),
        ]


# --- lids and lips ------------------------------------------------------------------------------


def lid_opening(landmarks: Points) -> float:
    """Lid gap over eye width of (48, 2) landmarks, mean of both eyes."""
    gaps = [_length(landmarks, u, d) for u, d in zip(_UPPER_LIDS, _LOWER_LIDS, strict=True)]
    return sum(gaps) / max(sum(_length(landmarks, a, b) for a, b in _CORNERS), 1e-3)


def mouth_opening(landmarks: Points) -> float:
    """Inner lip gap over the height of the face."""
    return _length(landmarks, _LIPS, _LOWER_LIPS) / _length(landmarks, _CHIN, _FOREHEAD)


def find_blinks(times: Floats, lids: Floats) -> list[Blink]:
    """Short dips of lid gaps (T,) at ``times`` (T,), seconds.

    From 85 % of the open eye to 85 % again, 50 to 800 ms apart, at least 30 % covered: networks
    read blinks shallow. The open eye is the upper quartile of the 3 s around.
    """
    base = np.array([np.quantile(lids[np.abs(times - t) <= 1.5], 0.75) for t in times])
    ratio = lids / np.maximum(base, 1e-6)
    found, start = [], None
    for n in range(1, len(ratio)):
        if ratio[n] < 0.85 <= ratio[n - 1]:
            start = n
        if start is None or not ratio[n - 1] < 0.85 <= ratio[n]:
            continue
        deepest = start + int(ratio[start:n].argmin())
        began, ended = (_crossing(times, ratio, one, 0.85) for one in (start, n))
        if 0.05 <= ended - began <= 0.8 and ratio[deepest] <= 0.7:
            found.append(Blink(began, float(times[deepest]), ended, 1 - float(ratio[deepest])))
        start = None
    return found


def blink_range(seconds: float) -> tuple[float, float]:
    """Blinks a minute that are natural in so many seconds."""
    least, most = 4.5 * seconds / 60, 26 * seconds / 60
    per_minute = 60 / seconds
    return (
        max(0.0, least - 2 * math.sqrt(least)) * per_minute,
        (most + 2 * math.sqrt(most)) * per_minute,
    )


# --- blur, light, colour ------------------------------------------------------------------------


def ovals_of(landmarks: Points, size: int) -> Ovals:
    """Of the landmarks (48, 2), for all pixels of a picture (size, size)."""
    marks = np.asarray(landmarks, np.float64)
    across = (marks[_TEMPLE_LEFT] - marks[_TEMPLE_RIGHT]) / 2
    down = (marks[_CHIN] - marks[_FOREHEAD]) / 2
    middle = (marks[_CHIN] + marks[_FOREHEAD]) / 2
    y, x = np.mgrid[:size, :size].astype(np.float64)
    u, v = np.einsum("ij,jhw->ihw", np.linalg.pinv(np.stack([across, down], 1)),
                     np.stack([x - middle[0], y - middle[1]]))  # fmt: skip
    return Ovals(u, v, across, down)


def edge_sharpness(grey: Floats, ovals: Ovals) -> float:
    """How sharp the face's outline is against the face and its surroundings.

    Sharpness: root mean square of the Laplacian over that of the gradient, whatever the contrast;
    noise under a Gaussian of sigma s has sqrt(2) / s.
    """
    r = ovals.r
    ring, rest = (r > 0.9) & (r < 1.15), (r < 0.8) | ((r > 1.25) & (r < 1.7))
    if not (ring.any() and rest.any()):
        return math.nan
    laplacian = np.asarray(cv2.Laplacian(grey, cv2.CV_64F)) ** 2
    dy, dx = np.gradient(grey)
    gradient = np.asarray(dx**2 + dy**2)
    sharp = [float(laplacian[w].mean()) / max(gradient[w].mean(), 1e-9) for w in (ring, rest)]
    return math.sqrt(sharp[0] / max(sharp[1], 1e-9))


def face_light(grey: Floats, ovals: Ovals) -> Floats:
    """Where the light on the face comes from: (x, y) in the picture, length over brightness.

    The face is taken for half an ellipsoid: brightness = light . normal + ambient, least squares
    (Johnson, Farid 2005, their equation for known normals).
    """
    return _light(grey, ovals, ovals.r < 0.85, np.sqrt(np.maximum(1 - ovals.r**2, 0)))


def contour_light(grey: Floats, ovals: Ovals) -> Floats:
    """The same for what surrounds the face, hair, ears and neck: normals point outward."""
    r = ovals.r
    return _light(grey, ovals, (r > 1.05) & (r < 1.4), None)


def light_angle(face: Floats, surroundings: Floats) -> float:
    """Between two directions, degrees 0..180; not a number where either is too weak to tell."""
    strength = math.hypot(*face), math.hypot(*surroundings)
    if not min(strength) > 0.05:
        return math.nan
    cosine = float(face @ surroundings) / (strength[0] * strength[1])
    return math.degrees(math.acos(min(max(cosine, -1.0), 1.0)))


def colour_difference(picture: Image, ovals: Ovals) -> float:
    """Of the face to the neck, in a* and b* of CIELAB: brightness does not count."""
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 1:]
    face = (ovals.r > 0.2) & (ovals.r < 0.75)
    neck = (np.abs(ovals.u) < 0.4) & (ovals.v > 1.15) & (ovals.v < 1.45)
    if not (neck.any() and face.any()):
        return math.nan
    return float(np.hypot(*(np.median(lab[face], 0) - np.median(lab[neck], 0))))


# --- over time ----------------------------------------------------------------------------------


def flicker(times: Floats, patches: Floats) -> float:
    """Standard deviation of what changes from frame to frame in (T, h, w) grey, 0..255.

    From second differences, which see no steady change: noise of s has sqrt(6) s in them. The
    median over time: a blink or a turn of the head is not flicker.
    """
    steps = np.diff(times)
    second = patches[2:] - 2 * patches[1:-1] + patches[:-2]
    steady = np.maximum(steps[1:], steps[:-1]) < 2.5 * np.median(steps)
    if not steady.any():
        return math.nan
    return float(np.median(np.sqrt((second[steady] ** 2).mean((1, 2)) / 6)))


def _inside(view: Crop, image: Image) -> NDArray[np.bool_]:
    """(SIDE, SIDE): which pixels of the crop lie in the picture."""
    marks = np.arange(SIDE) / (SIDE - 1) * view.side - view.side / 2
    x, y = marks + view.cx, marks + view.cy
    height, width = image.shape[:2]
    seen = ((y >= 0) & (y <= height - 1))[:, None] & ((x >= 0) & (x <= width - 1))
    return np.asarray(seen, np.bool_)


def _within(view: Crop, landmarks: Points) -> Points:
    """Landmarks in pixels of the crop."""
    corner = np.array((view.cx, view.cy)) - view.side / 2
    return np.asarray((landmarks - corner) * (SIDE - 1) / view.side, np.float32)


def _light(grey: Floats, ovals: Ovals, where: NDArray[np.bool_], z: Floats | None) -> Floats:
    if not where.any():
        return np.full(2, math.nan)
    across, down = (one / np.hypot(*one) for one in (ovals.across, ovals.down))
    u, v = ovals.u[where], ovals.v[where]
    if z is None:
        u, v = u / np.hypot(u, v), v / np.hypot(u, v)
    columns = [u, v, np.ones_like(u)] + ([] if z is None else [z[where]])
    solved = np.linalg.lstsq(np.stack(columns, 1), grey[where], rcond=None)[0]
    return np.asarray((solved[0] * across + solved[1] * down) / max(grey[where].mean(), 1.0))


def _crossing(times: Floats, values: Floats, n: int, level: float) -> float:
    """When ``level`` was crossed between n - 1 and n."""
    part = (level - values[n - 1]) / (values[n] - values[n - 1])
    return float(times[n - 1] + part * (times[n] - times[n - 1]))


def _seen_s(times: Floats) -> float:
    """Time with a face: gaps of more than a second do not count."""
    steps = np.diff(times)
    return float(steps[steps < 1].sum())


def _length(marks: Points, one: Any, other: Any) -> float:
    """Mean distance between landmarks."""
    return float(np.mean(np.linalg.norm(marks[one] - marks[other], axis=-1)))


def _median(values: Sequence[float]) -> float:
    told = [one for one in values if math.isfinite(one)]
    return float(np.median(told)) if told else math.nan
