"""One drawn person: head, hair, clothes and features, from a moment to pixels."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime import texture
from realtime.appearance import Appearance, Colour
from realtime.frame import Image
from realtime.head import FACE_HEIGHT, Array, Head, Moment, bell, smooth_line, step, turned
from realtime.raster import grid_triangles, rasterise

_CAMERA = 62.0
"""Centimetres from the eye of the camera to the ears: how strong perspective is."""
_HAIR_GRID = (52, 73)
_TORSO_GRID = (30, 41)
_SHIFT = 4
_FINE = 1 << _SHIFT


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
    brow: float
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
    """A prepared person; ``draw`` costs a few milliseconds, making one some hundred."""

    def __init__(self, look: Appearance) -> None:
        self.look = look
        self.head = Head(look.shape)
        self._skin = texture.skin_texture(look, self.head)
        self._face_triangles = self._make_face()
        self._face_uv = self._make_face_uv()
        self._hair, self._hair_uv, degrees, heights = self._make_hair()
        self._hair_paint = texture.hair_texture(look, degrees, heights)
        self._torso, self._torso_uv, degrees, heights = self._make_torso()
        self._torso_paint = texture.torso_texture(look, degrees, heights)
        side = np.radians(look.light_side)
        light = np.array([np.sin(side) * 0.8, -0.55, np.cos(side) * 0.8], np.float32)
        self._light = light / np.linalg.norm(light)
        warm = look.warmth * 0.05
        self._tint = np.array([1 + warm, 1.0, 1 - 1.4 * warm], np.float32) * look.light_strength

    def draw(self, canvas: Image, moment: Moment, view: View, detail: float = 0.5) -> Truth:
        """Draw the person onto ``canvas`` (H, W, 3) uint8 RGB, in place.

        ``detail``: pixels of the shaded surfaces per pixel of the canvas; lids, lips and brows are
        always sharp.
        """
        pose = (moment.yaw, moment.pitch, moment.roll)
        view = view.at(moment)
        loose = turned(self._torso, 0.15 * moment.yaw, 0, 0.1 * moment.roll)
        follow = step(15.5, 10.5, self._torso[..., 1:2])
        torso = (1 - follow) * loose + follow * turned(self._torso, *pose)
        hair = None
        if self._hair is not None:
            hanging = step(7.0, 17.0, self._hair[..., 1:2])
            still = turned(self._hair, 0.35 * moment.yaw, 0, 0.3 * moment.roll)
            hair = (1 - hanging) * turned(self._hair, *pose) + hanging * still
            if self._hair[..., 1].max() > 9:
                self._surface(canvas, view, hair, self._hair_uv, self._hair_paint, detail, -1)
        self._surface(canvas, view, torso, self._torso_uv, self._torso_paint, detail)

        placed, pixels, irises = self._place(moment, view)
        scale = view.scale
        self._draw_face(canvas, pixels, placed, detail)
        for side, iris in zip(("right", "left"), irises, strict=True):
            self._draw_eye(canvas, pixels, side, iris, scale)
        self._draw_brows(canvas, pixels, scale)
        self._draw_mouth(canvas, pixels, scale)
        if self.look.glasses != "none":
            self._draw_glasses(canvas, lambda p: view.project(turned(p, *pose)), scale)
        if hair is not None:
            self._surface(canvas, view, hair, self._hair_uv, self._hair_paint, detail)
        return _truth(moment, view, self._landmarks(pixels, irises))

    def truth(self, moment: Moment, view: View) -> Truth:
        """What ``draw`` would show, without drawing."""
        view = view.at(moment)
        _, pixels, irises = self._place(moment, view)
        return _truth(moment, view, self._landmarks(pixels, irises))

    def _place(self, moment: Moment, view: View) -> tuple[Array, Array, list[list[Array]]]:
        """All points in space and in pixels; of each eye the iris' centre, its rim, the pupil's."""
        pose = (moment.yaw, moment.pitch, moment.roll)
        placed = turned(self.head.points(moment), *pose)
        irises = []
        for sign in (-1, 1):
            centre, rim = self.head.iris(sign, moment, 0.6)
            _, pupil = self.head.iris(sign, moment, 0.26)
            irises.append([view.project(turned(p, *pose)) for p in (centre, rim, pupil)])
        return placed, view.project(placed), irises

    def _landmarks(self, pixels: Array, irises: list[list[Array]]) -> Array:
        landmarks = pixels[self.head.landmarks]
        landmarks[self.head.landmarks < 0] = [iris[0] for iris in irises]
        return landmarks

    # -- surfaces ----------------------------------------------------------------------------

    def _make_face(self) -> NDArray[np.intp]:
        rows, columns = self.head.texture_points.shape[:2]
        meshes = [grid_triangles(rows, columns)]
        for side in ("right", "left"):
            meshes.append(grid_triangles(6, 17, self.head.parts[f"ear_{side}"].start))
        self._face_points = self.head.parts["ear_left"].stop
        return np.concatenate(meshes)

    def _make_face_uv(self) -> Array:
        rows, columns = self.head.texture_points.shape[:2]
        uv = np.zeros((self._face_points, 2), np.float32)
        uv[: rows * columns] = _grid_uv(rows, columns)
        for side, column in (("right", 0.16), ("left", 0.84)):
            uv[self.head.parts[f"ear_{side}"]] = np.array([column, 0.5]) * texture.SIZE
        return uv

    def _make_hair(self) -> tuple[Array | None, Array, Array, Array]:
        """Points (R, C, 3) of the hair's shell, its texture places, texel angles and heights."""
        look, shape = self.look, self.look.shape
        rows, columns = _HAIR_GRID
        degrees = np.linspace(-180, 180, columns)
        texel = np.linspace(-180, 180, texture.SIZE)
        if look.hair == "bald":
            empty = np.zeros((texture.SIZE, texture.SIZE))
            return None, np.zeros((0, 2), np.float32), empty, empty
        bottom = (
            float(texture.hairline(look.hair, np.linspace(-180, 180, 181), look.seed).max()) + 1
        )
        top = {"curly": 2.6, "bob": 1.1, "long": 1.0, "fringe": 1.1, "beanie": 1.2, "crop": 0.55,
               "receding": 0.6}.get(look.hair, 1.35)  # fmt: skip
        sides = {"curly": 2.3, "bob": 1.2, "long": 1.0, "fringe": 1.1, "beanie": 0.7}.get(
            look.hair, 0.4
        )
        down = np.linspace(0, 1, rows)
        height = -11.75 + (bottom + 11.75) * down**1.5
        knots = [(-11.75, 0.0), (-11.6, 1.9), (-11.1, 3.75), (-10, 5.35), (-8.5, 6.5), (-6.5, 7.25),
                 (-4.5, 7.6), (-2, 7.7), (2, 7.6), (6, 7.0), (9, 6.6), (13, 7.2), (19, 8.4)]  # fmt: skip
        half = np.interp(height, *np.array(knots).T) * shape.width
        depth = np.interp(
            height, [-11.75, -11.1, -8.5, -4.5, -2, 2, 6, 19], [0, 3.7, 6.8, 8.25, 8.4, 8, 7, 5]
        )
        back = np.interp(
            height, [-11.75, -11.1, -8.5, -4, 2, 8, 19], [0, 4.5, 8.8, 10.6, 9.5, 6.5, 6]
        )
        angle = np.radians(degrees)[None]
        edge = texture.hairline(look.hair, degrees, look.seed)[None]
        y = np.repeat(height[:, None], columns, 1)
        inside = step(0.0, 3.0, edge - y + 0.9)
        thick = sides + (top - sides) * step(-4, -10, y)
        thick = 0.12 + (thick - 0.12) * (0.25 + 0.75 * inside)
        if look.hair == "curly":
            rng = np.random.default_rng(look.seed + 5)
            lumps = cv2.resize(texture.noise(rng, 1.6, 1.6, 64), (columns, rows))
            lumps[:, -1] = lumps[:, 0]
            thick = thick + 0.24 * lumps * inside
        if look.hair == "beanie":
            thick = thick + 0.25 * step(0.0, 0.3, y - edge + 2.2)
        if look.hair == "side":  # a quiff swept from the parting
            swept = 1 if look.seed % 2 else -1
            thick = thick + 0.55 * bell(degrees * swept, 25, 30)[None] * step(-4.0, -8.0, y)
        push = thick / np.maximum(half, 2.5)[:, None] + 1
        x = half[:, None] * np.sin(angle) * push
        z = np.where(np.cos(angle) > 0, depth[:, None], back[:, None]) * np.cos(angle) * push
        y = y - thick * step(-7, -11.5, y)
        points = np.stack([x, y, z], axis=-1).astype(np.float32)
        texel_heights = np.interp(np.linspace(0, 1, texture.SIZE), down, height)
        grid = np.meshgrid(texel, texel_heights)
        return points, _grid_uv(rows, columns), grid[0], grid[1]

    def _make_torso(self) -> tuple[Array, Array, Array, Array]:
        rows, columns = _TORSO_GRID
        degrees = np.linspace(-100, 100, columns)
        height = np.linspace(7.0, 34.0, rows) if False else 7 + 27 * np.linspace(0, 1, rows) ** 1.3
        wide = [(7, 5.3), (12, 5.2), (14.6, 5.6), (16, 7.4), (17.2, 11.5), (18.4, 15.5), (20.2, 18.4),
                (23, 20), (34, 21.5)]  # fmt: skip
        deep = [(7, 4.6), (13, 4.8), (15.5, 5.2), (17.5, 6.0), (21, 7.5), (27, 9), (34, 9)]
        strong = 0.75 + 0.25 * self.look.shape.jaw
        half = smooth_line(wide, height, 1.0) * strong
        depth = smooth_line(deep, height, 1.0)
        angle = np.radians(degrees)[None]
        x = half[:, None] * np.sign(angle) * np.abs(np.sin(angle))
        z = depth[:, None] * np.cos(angle) - 1.2
        y = np.repeat(height[:, None], columns, 1)
        points = np.stack([x, y, z], axis=-1).astype(np.float32)
        texels = np.linspace(-100, 100, texture.SIZE)
        heights = np.interp(np.linspace(0, 1, texture.SIZE), np.linspace(0, 1, rows), height)
        grid = np.meshgrid(texels, heights)
        return points, _grid_uv(rows, columns), grid[0], grid[1]

    def _draw_face(self, canvas: Image, pixels: Array, placed: Array, detail: float) -> None:
        rows, columns = self.head.texture_points.shape[:2]
        count = rows * columns
        normals = np.zeros((self._face_points, 3), np.float32)
        normals[:count] = _normals(placed[:count].reshape(rows, columns, 3)).reshape(-1, 3)
        for side in ("right", "left"):
            part = self.head.parts[f"ear_{side}"]
            normals[part] = _normals(placed[part].reshape(6, 17, 3)).reshape(-1, 3)
        self._shade(
            canvas, pixels[: self._face_points], placed[: self._face_points], normals,
            self._face_uv, self._face_triangles, self._skin, detail, 1, 0.16,
        )  # fmt: skip

    def _surface(
        self, canvas: Image, view: View, placed: Array, uv: Array, paint: Image, detail: float,
        facing: int = 1,
    ) -> None:  # fmt: skip
        rows, columns = placed.shape[:2]
        normals = _normals(placed).reshape(-1, 3)
        hair = paint.shape[2] == 4
        if facing < 0:
            normals = normals * np.float32(0.25)
        self._shade(
            canvas, view.project(placed).reshape(-1, 2), placed.reshape(-1, 3), normals, uv,
            grid_triangles(rows, columns), paint, detail, facing, 0.2 if hair else 0.02,
        )  # fmt: skip

    def _shade(
        self, canvas: Image, pixels: Array, placed: Array, normals: Array, uv: Array,
        triangles: NDArray[np.intp], paint: Image, detail: float, facing: int, gloss: float,
    ) -> None:  # fmt: skip
        """Light a surface and lay it over the canvas with a soft edge."""
        height, width = canvas.shape[:2]
        low = np.maximum(np.floor(pixels.min(axis=0)) - 4, 0).astype(int)
        high = np.minimum(np.ceil(pixels.max(axis=0)) + 5, (width, height)).astype(int)
        if (high - low < 2).any():
            return
        size = high - low
        small = np.maximum(np.ceil(size * detail), 2).astype(int)
        ratio = (small / size).astype(np.float32)
        # cv2.resize maps pixel centres: (x + 0.5) * ratio - 0.5.
        local = (pixels - low.astype(np.float32) + np.float32(0.5)) * ratio - np.float32(0.5)
        lit = normals @ self._light
        half_way = self._light + (0, 0, 1)
        half_way = (half_way / np.linalg.norm(half_way)).astype(np.float32)
        shine = np.clip(normals @ half_way, 0, 1) ** 18 * gloss
        bright = (
            0.42 + 0.62 * np.clip((lit + 0.25) / 1.25, 0, 1) + 0.1 * np.clip(normals[:, 2], 0, 1)
        )
        bright -= 0.1 * np.clip(normals[:, 1], 0, 1)
        drawn = rasterise(
            local, placed[:, 2], np.column_stack([uv, bright, shine]), triangles,
            int(small[0]), int(small[1]), facing,
        )  # fmt: skip
        if not drawn.covered.any():
            return
        u, v, bright, shine = (np.ascontiguousarray(drawn.values[..., i]) for i in range(4))
        texel = cv2.remap(paint, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        cover = drawn.covered.astype(np.float32)
        if texel.shape[2] == 4:
            cover *= texel[..., 3] * np.float32(1 / 255)
        # Shadows are warmer than lights: the blue channel falls faster.
        tone = bright[..., None] ** np.array([0.88, 1.0, 1.08], np.float32) * self._tint
        colour = texel[..., :3] * tone + 255 * shine[..., None]
        # Past the edge, the colour of the nearest pixels.
        known = cover[..., None] + np.float32(1e-3)
        spread = (
            cv2.GaussianBlur(colour * known, (5, 5), 1.2)
            / cv2.GaussianBlur(known, (5, 5), 1.2)[..., None]
        )
        colour = np.where(drawn.covered[..., None], colour, spread)
        target = (int(size[0]), int(size[1]))
        cover = cv2.GaussianBlur(cover, (3, 3), 0.7)
        cover = cv2.resize(cover, target, interpolation=cv2.INTER_CUBIC)
        cover = np.clip((cover - 0.5) * 1.6 + 0.5, 0, 1)
        layer = cv2.resize(
            np.clip(colour, 0, 255).astype(np.uint8), target, interpolation=cv2.INTER_LINEAR
        )
        patch = canvas[low[1] : high[1], low[0] : high[0]]
        patch[:] = cv2.blendLinear(layer, np.ascontiguousarray(patch), cover, 1 - cover)

    # -- features ----------------------------------------------------------------------------

    def _tone(self, colour: Colour | Array, factor: float = 1.0) -> tuple[float, float, float]:
        r, g, b = np.clip(np.array(colour) * self._tint * factor, 0, 255)
        return float(r), float(g), float(b)

    def _draw_eye(
        self, canvas: Image, pixels: Array, side: str, iris: list[Array], scale: float
    ) -> None:
        part = self.head.parts
        upper, lower = pixels[part[f"lid_upper_{side}"]], pixels[part[f"lid_lower_{side}"]]
        crease = pixels[part[f"crease_{side}"]]
        skin = np.array(self.look.skin, np.float32)
        _stroke(canvas, crease[2:-1], self._tone(skin, 0.62), 0.13 * scale, 0.7)
        outline = np.concatenate([upper, lower[::-1]])
        gap = float(np.abs(lower[4:12, 1] - upper[4:12, 1]).max())
        if gap > 0.35:
            patch, origin, mask = _window(canvas, outline, 3)
            if patch is not None and mask is not None:
                eye = np.empty_like(patch)
                eye[:] = self._tone((238, 232, 226), 0.93)
                centre, rim, pupil = (points - origin for points in iris)
                colour = np.array(self.look.eyes, np.float32)
                _fill(eye, rim, self._tone(colour, 0.45))
                _fill(eye, centre + (rim - centre) * 0.86, self._tone(colour, 1.0))
                glow = centre + (rim - centre) * 0.6 + (0, 0.16 * scale)
                _fill(eye, glow, self._tone(colour * 0.75 + 62, 1.0))
                _fill(eye, pupil, (16.0, 13.0, 13.0))
                # The upper lid throws its shadow on the ball.
                shadow = np.concatenate([upper, upper[::-1] + (0, 0.34 * scale)]) - origin
                dim = np.full(patch.shape[:2], 1.0, np.float32)
                cv2.fillPoly(dim, [_fixed(shadow)], 0.62, cv2.LINE_AA, _SHIFT)
                dim = cv2.GaussianBlur(dim, (0, 0), max(0.1 * scale, 0.4))
                eye = (eye * dim[..., None]).astype(np.uint8)
                spark = centre + (0.2 * scale * np.sign(self._light[0]), -0.2 * scale)
                _dot(eye, spark, 0.13 * scale, (255.0, 255.0, 255.0))
                patch[:] = cv2.blendLinear(eye, np.ascontiguousarray(patch), mask, 1 - mask)
        _stroke(canvas, lower[1:-1], self._tone(skin * [0.62, 0.5, 0.48], 0.9), 0.09 * scale, 0.6)
        if self.look.lashes > 0.3:
            _stroke(
                canvas, lower[1:9], self._tone((50, 36, 32)), 0.06 * scale, self.look.lashes * 0.6
            )
        lash = np.array(self.look.hair_colour) * 0.3
        thick = (0.1 + 0.12 * self.look.lashes) * scale
        taper = thick * np.interp(np.linspace(0, 1, 17), [0, 0.25, 0.8, 1], [1.0, 1.1, 0.8, 0.4])
        rise = upper - np.stack([np.zeros(17), taper], axis=1)
        if self.look.lashes > 0.6:
            rise[0] += (upper[0] - upper[3]) * 0.45 + (0, -0.1 * scale)
        _fill(canvas, np.concatenate([rise, upper[::-1] + (0, 0.03 * scale)]), self._tone(lash))

    def _draw_brows(self, canvas: Image, pixels: Array, scale: float) -> None:
        rng = np.random.default_rng(self.look.seed + 9)
        hair = np.array(self.look.hair_colour, np.float32)
        if self.look.hair == "bald" or self.look.age < 0.75:
            hair = np.minimum(hair, 120)
        for side in ("right", "left"):
            upper = pixels[self.head.parts[f"brow_{side}"]]
            lower = pixels[self.head.parts[f"under_brow_{side}"]]
            patch, origin, mask = _window(canvas, np.concatenate([upper, lower[::-1]]), 4)
            if patch is not None and mask is not None:
                soft = cv2.GaussianBlur(mask, (0, 0), max(0.09 * scale, 0.4)) * np.float32(0.62)
                tone = np.empty_like(patch)
                tone[:] = self._tone(hair, 0.72)
                patch[:] = cv2.blendLinear(tone, np.ascontiguousarray(patch), soft, 1 - soft)
            count = 46
            along = np.sort(rng.uniform(0.02, 1, count)) * 8
            start = rng.uniform(0.1, 1, count)
            lean = rng.uniform(0.5, 1.0, count)
            at = np.minimum(along.astype(int), 7)
            part = (along - at)[:, None]
            top = upper[at] + part * (upper[at + 1] - upper[at])
            low = lower[at] + part * (lower[at + 1] - lower[at])
            outward = (upper[0] - upper[8]) / np.linalg.norm(upper[0] - upper[8])
            root = low + start[:, None] * (top - low)
            rise = 0.5 * (1 - start[:, None]) * (top - low)
            tip = root + rise + lean[:, None] * outward * 0.42 * scale
            lines = _fixed(np.stack([root, tip], axis=1))
            width = max(1, round(0.075 * scale))
            shades = rng.uniform(0.45, 0.95, count)
            for group in range(3):
                cv2.polylines(
                    canvas, list(lines[group::3]), False, self._tone(hair, float(shades[group])),
                    width, cv2.LINE_AA, _SHIFT,
                )  # fmt: skip

    def _draw_mouth(self, canvas: Image, pixels: Array, scale: float) -> None:
        part = self.head.parts
        top, bottom = pixels[part["lip_upper"]], pixels[part["lip_lower"]]
        in_top, in_bottom = pixels[part["inner_upper"]], pixels[part["inner_lower"]]
        outline = np.concatenate([top, bottom[::-1]])
        patch, origin, mask = _window(canvas, outline, 6)
        if patch is None or mask is None:
            return
        lips = np.array(self.look.lips, np.float32)
        picture = np.empty_like(patch)
        picture[:] = self._tone(lips, 0.98)
        _fill(picture, np.concatenate([top, in_top[::-1]]) - origin, self._tone(lips, 0.8))
        edge = (bottom + 2 * in_bottom) / 3 - origin
        shine = np.concatenate([edge[6:15], ((bottom + in_bottom) / 2 - origin)[14:5:-1]])
        _fill(picture, shine, self._tone(np.minimum(lips * 1.0 + 38, 255), 1.0))
        picture = cv2.GaussianBlur(picture, (0, 0), max(0.13 * scale, 0.5))
        hole = np.concatenate([in_top, in_bottom[::-1]]) - origin
        gap = float((in_bottom[10] - in_top[10]) @ (bottom[10] - top[10])) / max(
            float(np.linalg.norm(bottom[10] - top[10])), 1e-6
        )
        if gap > 0.25:
            inside = np.empty_like(patch)
            inside[:] = (52.0, 18.0, 20.0)
            _fill(inside, pixels[part["tongue"]] - origin, (150.0, 66.0, 66.0))
            for name, shade in (("teeth_lower", 0.74), ("teeth_upper", 0.93)):
                root, tip = pixels[part[f"{name}_root"]], pixels[part[f"{name}_edge"]]
                _fill(
                    inside,
                    np.concatenate([root, tip[::-1]]) - origin,
                    self._tone((236, 228, 214), shade),
                )
                between = np.stack([root, tip], axis=1)[2:-2] - origin
                cv2.polylines(
                    inside, list(_fixed(between)), False, self._tone((176, 162, 150), shade), 1,
                    cv2.LINE_AA, _SHIFT,
                )  # fmt: skip
            dim = np.full(patch.shape[:2], 1.0, np.float32)
            fall = np.concatenate([in_top - (0, scale), in_top[::-1] + (0, 0.3 * scale)]) - origin
            cv2.fillPoly(dim, [_fixed(fall)], 0.62, cv2.LINE_AA, _SHIFT)
            for ends in (slice(0, 5), slice(16, 21)):
                corner = np.concatenate([in_top[ends], in_bottom[ends][::-1]]) - origin
                cv2.fillPoly(dim, [_fixed(corner)], 0.35, cv2.LINE_AA, _SHIFT)
            dim = cv2.GaussianBlur(dim, (0, 0), max(0.22 * scale, 0.5))
            inside = (inside * dim[..., None]).astype(np.uint8)
            opening = np.zeros(patch.shape[:2], np.float32)
            cv2.fillPoly(opening, [_fixed(hole)], 1.0, cv2.LINE_AA, _SHIFT)
            picture = cv2.blendLinear(inside, picture, opening, 1 - opening)
        soft = cv2.GaussianBlur(mask, (0, 0), max(0.07 * scale, 0.35))
        soft = np.maximum(soft, 0) * np.float32(0.94)
        patch[:] = cv2.blendLinear(picture, np.ascontiguousarray(patch), soft, 1 - soft)
        line = self._tone(lips * [0.5, 0.36, 0.36])
        _stroke(canvas, in_top, line, 0.11 * scale, 0.9 if gap < 1 else 0.5)

    def _draw_glasses(self, canvas: Image, project: object, scale: float) -> None:
        look = self.look
        wide, tall, power = {"round": (2.35, 2.15, 2.0), "square": (2.65, 1.95, 3.6)}.get(
            look.glasses, (2.5, 1.75, 2.8)
        )
        turn = np.linspace(0, 2 * np.pi, 40)
        colour = self._tone(look.glasses_colour)
        thick = max(1, round((0.2 if look.glasses == "square" else 0.14) * scale))
        for sign in (-1, 1):
            across = wide * np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** (2 / power)
            down = tall * np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** (2 / power)
            x = sign * 3.35 * look.shape.width + across
            rim = np.stack([x, down + 0.45, 8.9 - 0.05 * x**2], axis=1).astype(np.float32)
            frame = project(rim)  # type: ignore[operator]
            patch, _, mask = _window(canvas, frame, 2)
            if patch is not None and mask is not None:
                glass = np.full_like(patch, 235)
                mask = mask * np.float32(0.06)
                patch[:] = cv2.blendLinear(glass, np.ascontiguousarray(patch), mask, 1 - mask)
            drawn = frame if look.glasses != "half" else frame[20:]
            cv2.polylines(canvas, [_fixed(drawn)], False, colour, thick, cv2.LINE_AA, _SHIFT)
            outer = sign * (3.35 * look.shape.width + wide)
            bars = [
                [(outer, -0.5, 8.9 - 0.05 * outer**2), (sign * 7.75 * look.shape.width, -0.3, 0.5)],
                [(sign * (3.35 * look.shape.width - wide), 0.1, 8.8), (0, -0.25, 9.2)],
            ]
            for bar in bars:
                line = project(np.array(bar, np.float32))  # type: ignore[operator]
                cv2.polylines(canvas, [_fixed(line)], False, colour, thick, cv2.LINE_AA, _SHIFT)


def _truth(moment: Moment, view: View, landmarks: Array) -> Truth:
    inside = (landmarks >= 0) & (landmarks <= (view.width - 1, view.height - 1))
    return Truth(
        landmarks, moment.yaw, moment.pitch, moment.roll, moment.eye_right, moment.eye_left,
        (moment.gaze_x, moment.gaze_y), moment.mouth_open, moment.smile, moment.brow,
        bool(inside.all(axis=1).mean() >= 0.5),
    )  # fmt: skip


def _grid_uv(rows: int, columns: int) -> Array:
    """(R * C, 2) texture places of a grid's vertices, as cv2.resize spreads them."""
    u = (np.arange(columns) + 0.5) * texture.SIZE / columns - 0.5
    v = (np.arange(rows) + 0.5) * texture.SIZE / rows - 0.5
    return np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2).astype(np.float32)


def _normals(points: Array) -> Array:
    """(R, C, 3) unit normals of a grid (R, C, 3), towards the viewer for a front surface."""
    down, across = np.empty_like(points), np.empty_like(points)
    down[1:-1] = points[2:] - points[:-2]
    down[0], down[-1] = points[1] - points[0], points[-1] - points[-2]
    across[:, 1:-1] = points[:, 2:] - points[:, :-2]
    across[:, 0], across[:, -1] = points[:, 1] - points[:, 0], points[:, -1] - points[:, -2]
    ax, ay, az = across[..., 0], across[..., 1], across[..., 2]
    dx, dy, dz = down[..., 0], down[..., 1], down[..., 2]
    normal = np.stack([ay * dz - az * dy, az * dx - ax * dz, ax * dy - ay * dx], axis=-1)
    length = np.sqrt(np.einsum("rci,rci->rc", normal, normal))
    return np.asarray(normal / np.maximum(length, 1e-6)[..., None], np.float32)


def _fixed(points: Array) -> NDArray[np.int32]:
    """Pixels to the fixed-point numbers that cv2's drawing takes."""
    return np.round(points * _FINE).astype(np.int32)


def _fill(image: Image, outline: Array, colour: tuple[float, float, float]) -> None:
    cv2.fillPoly(image, [_fixed(outline)], colour, cv2.LINE_AA, _SHIFT)


def _dot(image: Image, centre: Array, radius: float, colour: tuple[float, float, float]) -> None:
    x, y = (int(v) for v in _fixed(centre))
    cv2.circle(
        image, (x, y), max(round(radius * _FINE), 6), colour, cv2.FILLED, cv2.LINE_AA, _SHIFT
    )


def _window(canvas: Image, outline: Array, margin: int) -> tuple[Image | None, Array, Array | None]:
    """The canvas around an outline, the window's corner, and the outline's (h, w) cover 0..1."""
    height, width = canvas.shape[:2]
    low = np.maximum(np.floor(outline.min(axis=0)).astype(int) - margin, 0)
    high = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + margin + 1, (width, height))
    if (high - low < 2).any():
        return None, low.astype(np.float32), None
    patch = canvas[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(patch.shape[:2], np.uint8)
    cv2.fillPoly(mask, [_fixed(outline - low)], 255, cv2.LINE_AA, _SHIFT)
    return patch, low.astype(np.float32), mask.astype(np.float32) * np.float32(1 / 255)


def _stroke(
    canvas: Image, line: Array, colour: tuple[float, float, float], width: float, opacity: float
) -> None:
    """A soft line of ``width`` pixels."""
    patch, origin, _ = _window(canvas, line, int(width) + 4)
    if patch is None:
        return
    mask = np.zeros(patch.shape[:2], np.uint8)
    strong = min(opacity * max(width, 0.4) / max(round(width), 1), 1.0)
    cv2.polylines(
        mask,
        [_fixed(line - origin)],
        False,
        round(255 * strong),
        max(round(width), 1),
        cv2.LINE_AA,
        _SHIFT,
    )
    cover = cv2.GaussianBlur(mask, (0, 0), max(0.3 * width, 0.45)).astype(np.float32) / np.float32(
        255
    )
    tone = np.empty_like(patch)
    tone[:] = colour
    patch[:] = cv2.blendLinear(tone, np.ascontiguousarray(patch), cover, 1 - cover)
