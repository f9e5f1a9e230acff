"""A human head as surfaces in space, and how its face moves.

Units are centimetres of an adult head. x runs to the picture's right, y down, z to the viewer;
y 0 is the line of the eyes, z 0 the plane of the ears. "right" is the person's right, the
picture's left. Everything that an expression moves is linear in its amounts: a neutral point plus
a sum of displacements, so mesh, lids and lips move by one matrix product and the landmarks are
points of the drawn curves themselves.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from drawing.curves import Array, bell, step
from drawing.moment import AMOUNTS, Moment
from models.landmarks import NAMES

ROWS, COLUMNS = 64, 57
FACE_HEIGHT = 17.2
"""Forehead to chin."""
_EYE_X, _EYE_Z, _EYE_RADIUS = 3.18, 5.5, 1.3
_MOUTH_Y = 6.95
_SIDES = (("right", -1), ("left", 1))
"""The person's side and its sign on the picture's x axis."""

# Height, half width and front depth of the bare skull's cross-sections, crown to under the chin.
_PROFILE = (
    (-11.7, 0.0, 0.0), (-11.6, 2.0, 1.9), (-11.1, 3.85, 3.7), (-10.0, 5.5, 5.4), (-8.5, 6.75, 6.8),
    (-6.5, 7.5, 7.8), (-4.5, 7.8, 8.25), (-2.5, 7.88, 8.4), (-1.2, 7.88, 8.1), (0.0, 7.85, 7.6),
    (1.5, 7.8, 7.45), (3.0, 7.73, 7.55), (4.5, 7.55, 7.75), (6.0, 7.25, 7.95), (7.3, 6.85, 8.0),
    (8.6, 6.3, 7.75), (9.7, 5.5, 7.45), (10.6, 4.5, 7.2), (11.25, 3.45, 6.9), (11.75, 2.5, 6.3),
    (11.95, 2.1, 5.3), (11.75, 1.95, 3.8), (11.4, 1.75, 2.4),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """Proportions of one head; 1 or 0 is the average adult."""

    width: float = 1.0
    """0.9..1.1, of the whole head."""
    jaw: float = 1.0
    """0.85..1.15, width of the lower face."""
    chin: float = 0.0
    """-0.8..0.8 cm, length below the mouth."""
    cheeks: float = 0.0
    """-1..1, hollow to full."""
    nose_width: float = 1.0
    """0.8..1.3"""
    nose_length: float = 1.0
    """0.85..1.15"""
    eyes: float = 1.0
    """0.85..1.25, size of the eye openings."""
    eye_tilt: float = 0.0
    """-0.25..0.3 cm, outer corners up."""
    brow_y: float = 0.0
    """-0.4..0.4 cm, brows down."""
    brow_thickness: float = 1.0
    """0.5..1.6"""
    brow_arch: float = 0.3
    """0..0.8 cm"""
    mouth: float = 1.0
    """0.85..1.15, width of the mouth."""
    lips: float = 1.0
    """0.6..1.5, fullness."""
    beard: float = 0.0
    """0..1.5 cm, how far a beard stands out."""


class Head:
    """The points of one head: ``points(moment)`` moves them, ``parts`` names them.

    ``parts``: "skin" and the "ear_*" meshes (row by row), and curves: "lid_upper_*",
    "lid_lower_*", "crease_*" (17 points outer to inner corner), "brow_*" (upper edge) and
    "under_brow_*" (lower edge, 9 points outer to inner), "lip_upper", "lip_lower" (outer contour)
    and "inner_upper", "inner_lower" (21 points, picture left to right), "teeth_upper_root",
    "teeth_upper_edge", "teeth_lower_root", "teeth_lower_edge", "tongue", "fixed" (landmarks on the
    plain skin).
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.parts: dict[str, slice] = {}
        self._neutral: list[Array] = []
        self._moves: list[Array] = []
        self._count = 0
        self._profile = self._make_profile()
        self._add_skin()
        for side, sign in _SIDES:
            self._add_ear(side, sign)
        for side, sign in _SIDES:
            self._add_eye(side, sign)
            self._add_brow(side, sign)
        self._add_mouth()
        self._add_fixed()
        self.neutral = np.concatenate(self._neutral)
        """(N, 3) float32: all points, eyes closed as amounts 0 say."""
        self.moves = np.concatenate(self._moves, axis=1)
        """(6, N, 3) float32: displacement for an amount of 1."""
        self.landmarks = self._landmarks()
        """(48,) numbers of the points that are landmarks; -1 for the irises."""

    def points(self, moment: Moment) -> Array:
        """(N, 3) float32: all points of the face at ``moment``, before the head is turned."""
        moved = moment.amounts() @ self.moves.reshape(len(AMOUNTS), -1)
        return np.asarray(self.neutral + moved.reshape(-1, 3))

    def eye_centre(self, sign: int) -> Array:
        """(3,) centre of the eyeball at picture right (1) or left (-1)."""
        return np.array([sign * _EYE_X * self.shape.width, 0.05, _EYE_Z], np.float32)

    def iris(self, sign: int, moment: Moment, radius: float) -> tuple[Array, Array]:
        """Centre (3,) and rim (24, 3) of a disc of ``radius`` on an eyeball, by the gaze."""
        right, up = np.radians(26.0 * moment.gaze_x), np.radians(20.0 * moment.gaze_y)
        ahead = np.array([np.sin(right) * np.cos(up), -np.sin(up), np.cos(right) * np.cos(up)])
        across = np.array([np.cos(right), 0.0, -np.sin(right)])
        upward = np.cross(ahead, across)
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)[:, None]
        centre = self.eye_centre(sign) + _EYE_RADIUS * ahead
        rim = centre + radius * (np.cos(angle) * across + np.sin(angle) * upward)
        return centre.astype(np.float32), rim.astype(np.float32)

    def surface(self, x: Array, y: Array) -> Array:
        """z of the skin's front at (x, y), any shape."""
        height, width, depth = self._profile[:, :226]
        half = np.interp(y, height, width)
        inner = np.clip(1 - (x / half) ** 2, 0, 1)
        depth = np.interp(y, height, depth) * np.sqrt(inner)
        return np.asarray(depth + self._bumps(x, y), np.float32)

    # -- parts -------------------------------------------------------------------------------

    def _add(self, name: str, points: Array, moves: Array) -> None:
        self.parts[name] = slice(self._count, self._count + len(points))
        self._neutral.append(points.astype(np.float32))
        self._moves.append(moves.astype(np.float32))
        self._count += len(points)

    def _make_profile(self) -> Array:
        """(3, 256): the cross-sections with the shape's widths, smooth along the head."""
        knots = np.array(_PROFILE, np.float32)
        at = np.linspace(0, len(knots) - 1, 256)
        table = np.stack([np.interp(at, np.arange(len(knots)), column) for column in knots.T])
        table = cv2.GaussianBlur(table, (0, 1), 4.0, sigmaY=0.01, borderType=cv2.BORDER_REPLICATE)
        height, width, depth = table
        width *= self.shape.width * (1 + (self.shape.jaw - 1) * step(2.0, 8.5, height))
        width += self.shape.cheeks * 0.22 * bell(height, 5.5, 3.0)
        height += self.shape.chin * step(7.8, 11.5, height)
        return np.stack([height, width, depth]).astype(np.float32)

    def _bumps(self, x: Array, y: Array) -> Array:
        """What nose, brows, sockets, cheeks, lips and chin add to the skull's depth."""
        s = self.shape
        ax = np.abs(x)
        ridge_y = np.array([-3.0, -1.6, -0.6, 0.6, 1.8, 3.0, 3.7, 4.25, 4.7, 5.1, 5.6, 6.2])
        ridge_z = np.array([0.0, 0.1, 0.35, 0.95, 1.75, 2.6, 3.05, 3.0, 2.3, 1.1, 0.25, 0.0])
        fine = np.linspace(-3.0, 6.2, 185)
        profile = cv2.GaussianBlur(
            np.interp(fine, ridge_y, ridge_z)[None], (0, 1), 4.0, sigmaY=0.01
        )[0]
        ridge = np.interp(y, fine, profile) * s.nose_length
        spread = (0.62 + 0.55 * step(1.2, 4.2, y)) * (1 + (s.nose_width - 1) * step(0, 3, y))
        bumps = ridge * np.exp(-((ax / spread) ** 2.2) * 0.8)
        bumps += 0.95 * bell(ax, 1.3 * s.nose_width, 0.5) * bell(y, 4.3, 0.62)  # wings
        bumps -= 0.95 * bell(ax, 3.1 * s.width, 1.5) * bell(y, 0.1, 1.25)  # sockets
        bumps -= 0.5 * bell(ax, 1.75, 0.7) * bell(y, 0.0, 0.9)
        bumps += 0.35 * bell(ax, 2.8, 2.0) * bell(y, -2.4, 0.8)  # brow ridge
        bumps -= 0.25 * bell(ax, 0.0, 0.8) * bell(y, -0.9, 0.9)  # root of the nose
        bumps += (0.4 + 0.25 * s.cheeks) * bell(ax, 4.5, 1.6) * bell(y, 3.0, 1.5)
        bumps -= 0.3 * (1 - s.cheeks) * bell(ax, 4.6, 1.3) * bell(y, 7.2, 1.7)
        bumps += 0.45 * bell(ax, 0.0, 2.6) * bell(y, _MOUTH_Y, 1.6)  # muzzle
        bumps += 0.32 * s.lips * bell(ax, 0.0, 1.5) * bell(y, 6.5, 0.4)
        bumps += 0.38 * s.lips * bell(ax, 0.0, 1.4) * bell(y, 7.6, 0.42)
        bumps -= 0.12 * bell(ax, 0.0, 0.28) * bell(y, 5.6, 0.5)  # philtrum
        bumps -= 0.3 * bell(ax, 2.7 * s.mouth, 0.6) * bell(y, _MOUTH_Y, 0.6)  # corners
        bumps -= 0.35 * bell(ax, 0.0, 1.6) * bell(y, 8.75, 0.55)
        bumps += 0.55 * bell(ax, 0.0, 1.5) * bell(y, 10.3 + s.chin, 1.0)  # chin
        return np.asarray(bumps)

    def _expression(self, points: Array, jaw: Array) -> Array:
        """(6, N, 3) displacements of soft tissue at ``points``; ``jaw`` (N,) follows the jaw."""
        x, y, _ = points.T
        ax, sign = np.abs(x), np.sign(x)
        moves = np.zeros((len(AMOUNTS), len(points), 3), np.float32)
        moves[0] = np.stack([-0.05 * x * bell(y, 7, 2), 2.3 * jaw, -0.7 * jaw], axis=1)
        corner = bell(ax, 2.7 * self.shape.mouth, 1.25) * bell(y, _MOUTH_Y, 1.3)
        cheek = bell(ax, 4.1, 1.5) * bell(y, 3.9, 1.4)
        moves[1] = np.stack(
            [
                sign * (0.62 * corner + 0.1 * cheek),
                -0.75 * corner - 0.45 * cheek,
                -0.25 * corner + 0.45 * cheek,
            ],
            axis=1,
        )
        round_mouth = bell(ax, 0, 2.7) * bell(y, _MOUTH_Y, 1.9)
        moves[2] = np.stack([-0.26 * x * round_mouth, 0 * x, 0.55 * round_mouth], axis=1)
        brow = bell(ax, 3.2, 2.4) * bell(y, -2.5, 1.5)
        moves[3] = np.stack([0 * x, -0.85 * brow, 0 * x], axis=1)
        return moves

    def _add_skin(self) -> None:
        """The face from ear to ear and crown to throat, finest at the features."""
        side = np.linspace(-1, 1, COLUMNS)
        angle = np.radians(122) * np.sign(side) * (0.62 * np.abs(side) + 0.38 * np.abs(side) ** 3)
        down = np.interp(np.linspace(0, 1, ROWS), [0, 0.13, 0.24, 0.86, 1], [0, 40, 80, 216, 255])
        height, width, depth = (np.interp(down, np.arange(256), line) for line in self._profile)
        x = width[:, None] * np.sin(angle)
        z = depth[:, None] * np.cos(angle)
        y = np.repeat(height[:, None], COLUMNS, axis=1)
        z = z + self._bumps(x, y) * step(0.0, 3.0, z)
        # The jaw line rises to the ear.
        y = y - (y - 4.5) * 0.42 * step(50, 100, np.degrees(np.abs(angle))) * step(4.5, 7, y)
        self.texture_points = np.stack([x, y, z], axis=-1).astype(np.float32)
        """(ROWS, COLUMNS, 3) the neutral skin, before a beard."""
        out = self.beard_mask(self.texture_points, 2.5) * self.shape.beard
        z, y = z + 0.6 * out, y + 0.5 * out * step(9.5, 12, y)
        points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
        wide = step(1.3, 3.6, np.abs(x))
        jaw = step(0, 1, (y - (_MOUTH_Y - 0.2 - 1.6 * wide)) / (0.9 + 2.6 * wide))
        jaw = jaw * (1 - 0.8 * step(4.0, 7.2, np.abs(x)))
        self._add("skin", points, self._expression(points, jaw.ravel()))

    @staticmethod
    def beard_mask(points: Array, rise: float = 0.6) -> Array:
        """0..1 where a full beard grows, for points (..., 3); ``rise``: cm to its full length."""
        x, y = np.abs(points[..., 0]), points[..., 1]
        cheek_line = 5.3 + 1.9 * bell(x, 3.3, 1.1) - 3.2 * step(4.5, 7, x)
        mask = step(-0.25, rise, y - cheek_line)
        lips = bell(x, 0, 2.1) * step(6.0, 6.3, y) * (1 - step(7.9, 8.3, y))
        return np.asarray(mask * np.clip(1 - 1.6 * lips, 0, 1))

    def _add_ear(self, side: str, sign: int) -> None:
        """A dish with a raised rim, 6 rings of 17 points."""
        ring = np.array([0.0, 0.4, 0.62, 0.8, 0.93, 1.0])[:, None]
        lift = np.array([-0.25, -0.2, 0.1, 0.42, 0.4, 0.05])[:, None]
        turn = np.linspace(0, 2 * np.pi, 17)[None]
        up, back = np.cos(turn), -sign * np.sin(turn)
        tall = np.where(up > 0, 2.9, 3.2)
        broad = 1.75 - 0.45 * step(0.1, 1.0, -up)
        y = 1.9 - ring * tall * up
        back = ring * broad * back
        outward = 0.75 * (back + 1.6) * 0.55 + lift
        x = sign * (7.35 * self.shape.width + outward)
        z = -0.6 - back - 0.12 * (y - 1.9)
        points = np.stack([x + 0 * z, y, z], axis=-1).reshape(-1, 3)
        self._add(f"ear_{side}", points, np.zeros((len(AMOUNTS), len(points), 3)))

    def _add_eye(self, side: str, sign: int) -> None:
        s = self.shape
        across = np.linspace(0, 1, 17)
        bulge = 4 * across * (1 - across)
        centre = self.eye_centre(sign)
        x = centre[0] + sign * (1.42 - 2.8 * across) * s.eyes**0.6
        base = -0.08 - s.eye_tilt + (0.22 + s.eye_tilt) * across
        opened = {
            "lid_upper": base - 0.6 * s.eyes**0.8 * bulge ** (0.62 + 0.1 * (across - 0.4)),
            "lid_lower": base + 0.38 * s.eyes**0.8 * bulge**0.8,
            "crease": base - (0.9 * s.eyes + 0.06) * bulge**0.5 - 0.08,
        }
        closed = {
            "lid_upper": base + 0.24 * s.eyes * bulge**0.85,
            "lid_lower": base + 0.24 * s.eyes * bulge**0.85,
            "crease": base - 0.55 * s.eyes * bulge**0.5 - 0.08,
        }
        amount = AMOUNTS.index(f"eye_{side}")
        for name, y in opened.items():
            wide = self._on_eyeball(x, y, centre)
            shut = self._on_eyeball(x, closed[name], centre)
            moves = np.zeros((len(AMOUNTS), 17, 3), np.float32)
            moves[amount] = wide - shut
            # A smile pushes the lower lid up.
            if name == "lid_lower":
                moves[AMOUNTS.index("smile"), :, 1] = -0.12 * bulge
            self._add(f"{name}_{side}", shut, moves)

    @staticmethod
    def _on_eyeball(x: Array, y: Array, centre: Array) -> Array:
        reach = (_EYE_RADIUS + 0.1) ** 2 - (x - centre[0]) ** 2 - (y - centre[1]) ** 2
        return np.stack([x, y, centre[2] + np.sqrt(np.maximum(reach, 0.12))], axis=1)

    def _add_brow(self, side: str, sign: int) -> None:
        s = self.shape
        along = np.linspace(0, 1, 9)
        x = sign * (5.65 - 4.3 * along) * s.width
        upper = -1.75 - 0.7 * along**0.7 - (0.35 + s.brow_arch) * np.sin(np.pi * along**0.8)
        upper = upper + 0.25 * along**2 + s.brow_y
        lower = upper + (0.16 + 0.62 * along**0.6) * s.brow_thickness * (1 - 0.15 * along**4)
        for name, y in (("brow", upper), ("under_brow", lower)):
            points = np.stack([x, y, self.surface(x, y) + 0.1], axis=1).astype(np.float32)
            moves = self._expression(points, np.zeros(9))
            # The inner ends sink and meet more in a frown, and rise less.
            moves[3, :, 1] = -0.9 + 0.15 * along
            moves[3, :, 0] = sign * 0.12 * along
            self._add(f"{name}_{side}", points, moves)

    def _add_mouth(self) -> None:
        s = self.shape
        at = np.linspace(-1, 1, 21)
        a = np.abs(at)
        x = 2.5 * s.mouth * at
        line = _MOUTH_Y + 0.1 * a**2 - 0.06 * (1 - a)
        bow = 0.86 * (1 - a**1.7) - 0.16 * bell(at, 0, 0.13)
        upper = line - s.lips * bow
        lower = line + 1.12 * s.lips * np.maximum(1 - a**2.2, 0) ** 0.85
        gap = np.maximum(1 - a**2, 0) ** 0.7
        follow = {"lip_upper": -0.1 * gap, "inner_upper": -0.13 * gap}
        follow |= {"inner_lower": 0.42 + 0.58 * gap, "lip_lower": 0.42 + 0.6 * gap}
        for name, y in zip(follow, (upper, line, line, lower), strict=True):
            z = self.surface(x, y) - (0.12 * (1 - a) if "inner" in name else 0)
            points = np.stack([x, y, z], axis=1).astype(np.float32)
            jaw = follow[name] if "lower" in name else follow[name] + 0.42 * a**6
            moves = self._expression(points, jaw)
            moves[0, :, 0] = -0.1 * x
            if "inner" not in name:  # pursed lips swell
                moves[2, :, 1] += (0.18 if "lower" in name else -0.18) * (1 - a**2)
            self._add(name, points, moves)
        arc = np.linspace(-1, 1, 15)
        for name, root, length, drop in (("upper", 6.55, 0.95, 0.0), ("lower", 8.0, -0.75, 2.3)):
            for end, reach in (("root", 0.0), ("edge", length)):
                down = root + reach - 0.12 * arc**2
                points = np.stack([2.15 * arc, down, 7.3 - 1.5 * arc**2], axis=1)
                moves = np.zeros((len(AMOUNTS), 15, 3), np.float32)
                moves[0, :, 1] = drop
                self._add(f"teeth_{name}_{end}", points, moves)
        turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        tongue = np.stack([1.45 * np.cos(turn), 8.0 + 0.75 * np.sin(turn), 6.6 + 0 * turn], axis=1)
        moves = np.zeros((len(AMOUNTS), 20, 3), np.float32)
        moves[0, :, 1] = 1.9
        self._add("tongue", tongue.astype(np.float32), moves)

    def _add_fixed(self) -> None:
        """Landmarks on the plain skin, and the points that strokes start from."""
        s = self.shape
        spots = {
            "nose_tip": (0.0, 3.85), "nose_bridge": (0.0, 0.15),
            "right_nostril": (-1.4 * s.nose_width, 4.4),
            "left_nostril": (1.4 * s.nose_width, 4.4),
            "forehead": (0.0, -5.35),
        }  # fmt: skip
        x, y = np.array(list(spots.values())).T
        array = np.stack([x, y, self.surface(x, y)], axis=1)
        self._fixed = tuple(spots)
        self._add("fixed", array, self._expression(array, np.zeros(len(array))))

    def _landmarks(self) -> NDArray[np.intp]:
        middle = self.neutral[COLUMNS // 2 : ROWS * COLUMNS : COLUMNS, 1]
        places = {
            "chin": ("skin", COLUMNS // 2 + COLUMNS * (int(middle.argmax()) - 1)),
            "lip_upper": ("lip_upper", 10),
            "lip_lower": ("lip_lower", 10),
            "inner_lip_upper": ("inner_upper", 10),
            "inner_lip_lower": ("inner_lower", 10),
        }
        places |= {name: ("fixed", number) for number, name in enumerate(self._fixed)}
        x, y, _ = self.neutral[self.parts["skin"]].T
        for side, sign in _SIDES:
            for name, height in (("jaw", 8.9), ("temple", 2.0)):
                outmost = np.where(np.abs(y - height) < 0.35, sign * x, -np.inf).argmax()
                places[f"{name}_{side}"] = ("skin", int(outmost))
            for edge in ("upper", "lower"):
                lid = f"lid_{edge}_{side}"
                places[f"{side}_lid_{edge}_outer"] = (lid, 5)
                places[f"{side}_lid_{edge}"] = (lid, 7)
                places[f"{side}_lid_{edge}_inner"] = (lid, 10)
                places[f"inner_lip_{edge}_{side}"] = (f"inner_{edge}", 10 + 2 * sign)
            places[f"{side}_eye_outer"] = (f"lid_upper_{side}", 0)
            places[f"{side}_eye_inner"] = (f"lid_upper_{side}", 16)
            places[f"{side}_brow_outer"] = (f"brow_{side}", 0)
            places[f"{side}_brow"] = (f"brow_{side}", 3)
            places[f"{side}_brow_inner"] = (f"brow_{side}", 8)
            places[f"mouth_{side}"] = ("lip_upper", 10 + 10 * sign)
            places[f"lip_upper_{side}"] = ("lip_upper", 10 + 6 * sign)
            places[f"lip_lower_{side}"] = ("lip_lower", 10 + 5 * sign)
        numbers = []
        for name in NAMES:
            if name.endswith("_iris"):
                numbers.append(-1)
            else:
                part, number = places[name]
                numbers.append(self.parts[part].start + number)
        return np.array(numbers)
