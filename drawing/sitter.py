"""One drawn person, from a moment to pixels and the truth about them."""

from dataclasses import dataclass

import numpy as np

from drawing import body, features, texture
from drawing.appearance import Appearance
from drawing.curves import Array, Image, step
from drawing.head import FACE_HEIGHT, Head
from drawing.moment import Moment, turned
from drawing.surface import Light, Surface, grid_places

_CAMERA = 62.0
"""Centimetres from the camera to the ears: how strong perspective is."""
_IRIS, _PUPIL = 0.6, 0.26
"""Radii, centimetres."""
_COVERS_EARS = ("long", "bob", "fringe", "curly")


@dataclass(frozen=True, slots=True)
class Truth:
    """What really is in a drawn picture."""

    landmarks: Array
    """(48, 2) float32, pixels (x, y) of the frame, whole at pixel centres, in the order of
    ``models.landmarks.NAMES``; outside the frame where the face is."""
    yaw: float
    """Degrees; above 0 the nose points to the picture's right."""
    pitch: float
    """Degrees; above 0 the face looks up."""
    roll: float
    """Degrees; above 0 the crown tilts to the picture's right."""
    eye_right: float
    """0 closed .. 1 open, the person's right eye."""
    eye_left: float
    gaze: tuple[float, float]
    """(-1..1 to the picture's right, -1..1 up), eyes in the head."""
    mouth_open: float
    """0 closed .. 1 wide open."""
    smile: float
    """-0.5 sad .. 1 broad smile."""
    brow: float
    """-0.7 frown .. 1 raised."""
    present: bool
    """At least half of the landmarks are in the frame."""


@dataclass(frozen=True, slots=True)
class View:
    """Where heads appear in a picture."""

    width: int
    height: int
    scale: float
    """Pixels per centimetre at the ears."""
    x: float
    """Pixel of the point between the ears, at the height of the eyes."""
    y: float

    @classmethod
    def webcam(cls, width: int, height: int) -> "View":
        """The framing of a person before a webcam: the face takes 45 % of the height."""
        return cls(width, height, 0.45 * height / FACE_HEIGHT, width / 2, 0.41 * height)

    def at(self, moment: Moment) -> "View":
        """The view with the moment's shift and zoom."""
        x, y = self.x + moment.x * self.height, self.y + moment.y * self.height
        return View(self.width, self.height, self.scale * moment.zoom, x, y)

    def project(self, points: Array) -> Array:
        """(..., 3) centimetres to (..., 2) float32 pixels."""
        near = self.scale / (1 - points[..., 2:] / _CAMERA)
        return np.asarray(points[..., :2] * near + (self.x, self.y), np.float32)


class Sitter:
    """A prepared person; ``draw`` costs some milliseconds, making one some hundred."""

    def __init__(self, look: Appearance) -> None:
        self.look = look
        self.head = Head(look.shape)
        self._light = Light.from_side(look.light_side, look.light_strength, look.warmth)
        self._torso, self._torso_surface = body.torso(look)
        self._hair = body.hair(look)
        self._face = self._make_face()

    def draw(self, canvas: Image, moment: Moment, view: View, detail: float = 0.5) -> Truth:
        """Draw the person onto ``canvas`` (H, W, 3) uint8 RGB, in place.

        ``detail``: pixels of the shaded surfaces per pixel of the canvas; lids, lips and brows are
        always sharp.
        """
        pose = (moment.yaw, moment.pitch, moment.roll)
        view = view.at(moment)
        light = self._light
        if self._hair:
            shell, hair = self._hair
            hanging = step(7.0, 17.0, shell[:, 1:2])
            still = turned(shell, 0.35 * moment.yaw, 0, 0.3 * moment.roll)
            shell = (1 - hanging) * turned(shell, *pose) + hanging * still
            shell_pixels = view.project(shell)
            if self.look.hair in _COVERS_EARS:  # its inside shows beside the neck
                hair.draw(canvas, shell_pixels, shell, light, detail, inside=True)
        loose = turned(self._torso, 0.15 * moment.yaw, 0, 0.1 * moment.roll)
        neck = step(15.5, 10.5, self._torso[:, 1:2])
        torso = (1 - neck) * loose + neck * turned(self._torso, *pose)
        self._torso_surface.draw(canvas, view.project(torso), torso, light, 0.8 * detail)

        points, pixels, irises = self._place(moment, view)
        count = len(self._face.places)
        self._face.draw(canvas, pixels[:count], points[:count], light, detail)
        pen = features.Pen(canvas, view.scale, light)
        parts = {name: pixels[part] for name, part in self.head.parts.items()}
        for side, iris in zip(("right", "left"), irises, strict=True):
            features.draw_eye(pen, self.look, parts, side, *iris)
        features.draw_brows(pen, self.look, parts)
        features.draw_mouth(pen, self.look, parts)
        if self.look.glasses != "none":
            lines = features.glasses(self.look)
            features.draw_glasses(pen, self.look, [view.project(turned(p, *pose)) for p in lines])
        if self._hair:
            hair.draw(canvas, shell_pixels, shell, light, detail)
        return _truth(moment, view, self._landmarks(pixels, irises))

    def truth(self, moment: Moment, view: View) -> Truth:
        """What ``draw`` would show, without drawing."""
        view = view.at(moment)
        _, pixels, irises = self._place(moment, view)
        return _truth(moment, view, self._landmarks(pixels, irises))

    def _make_face(self) -> Surface:
        head, size = self.head, texture.SIZE
        rows, columns = head.texture_points.shape[:2]
        # Ears take the colour of the cheeks beside the nose, where nothing ever grows.
        ears = np.repeat(np.array([[0.4, 0.42], [0.6, 0.42]]) * size, 102, axis=0)
        x, y, z = head.neutral[head.parts["skin"]].T
        edge = np.full(len(x), -np.inf)
        if self.look.hair not in ("bald", "receding"):
            angle = np.degrees(np.arctan2(x, z))
            edge = texture.hairline(self.look.hair, angle, self.look.seed) - 2.5
        return Surface(
            grids=((rows, columns), (6, 17), (6, 17)),
            places=np.concatenate([grid_places(rows, columns, size), ears]).astype(np.float32),
            paint=texture.skin_texture(self.look, head),
            gloss=0.16,
            hidden=np.concatenate([y < edge, np.full(204, self.look.hair in _COVERS_EARS)]),
        )

    def _place(self, moment: Moment, view: View) -> tuple[Array, Array, list[list[Array]]]:
        """All points in space and in pixels; of each eye the iris' centre, its rim, the pupil's."""
        pose = (moment.yaw, moment.pitch, moment.roll)
        placed = turned(self.head.points(moment), *pose)
        irises = []
        for sign in (-1, 1):
            large = self.look.shape.eyes**0.6
            centre, rim = self.head.iris(sign, moment, _IRIS * large)
            _, pupil = self.head.iris(sign, moment, _PUPIL * large)
            irises.append([view.project(turned(p, *pose)) for p in (centre, rim, pupil)])
        return placed, view.project(placed), irises

    def _landmarks(self, pixels: Array, irises: list[list[Array]]) -> Array:
        landmarks = pixels[self.head.landmarks]
        landmarks[self.head.landmarks < 0] = [iris[0] for iris in irises]
        return landmarks


def _truth(moment: Moment, view: View, landmarks: Array) -> Truth:
    inside = (landmarks >= 0) & (landmarks <= (view.width - 1, view.height - 1))
    return Truth(
        landmarks=landmarks,
        yaw=moment.yaw,
        pitch=moment.pitch,
        roll=moment.roll,
        eye_right=moment.eye_right,
        eye_left=moment.eye_left,
        gaze=(moment.gaze_x, moment.gaze_y),
        mouth_open=moment.mouth_open,
        smile=moment.smile,
        brow=moment.brow,
        present=bool(inside.all(axis=1).mean() >= 0.5),
    )
