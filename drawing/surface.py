"""Curved surfaces with a painted texture, lit and laid over a picture."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from drawing.curves import Array, Image
from drawing.raster import grid_triangles, rasterise


@dataclass(frozen=True, slots=True)
class Light:
    """A lamp far away and the room's own light."""

    direction: Array
    """(3,) unit vector to the lamp, axes as in ``drawing.head``."""
    tint: Array
    """(3,) factors for red, green, blue."""

    @classmethod
    def from_side(cls, degrees: float, strength: float, warmth: float) -> "Light":
        """A lamp above the camera, ``degrees`` to the picture's right."""
        side = np.radians(degrees)
        direction = np.array([np.sin(side) * 0.8, -0.55, np.cos(side) * 0.8], np.float32)
        tint = np.array([1 + 0.05 * warmth, 1, 1 - 0.07 * warmth], np.float32) * strength
        return cls(direction / np.linalg.norm(direction), tint)

    def on(self, normals: Array, gloss: float) -> Array:
        """(N, 4) float32 for unit ``normals`` (N, 3): factors for red, green, blue, and shine."""
        between = self.direction + np.array([0, 0, 1], np.float32)
        between = between / np.linalg.norm(between)
        lamp = np.clip((normals @ self.direction + 0.25) / 1.25, 0, 1)
        room = 0.42 + 0.1 * np.clip(normals[:, 2], 0, 1) - 0.1 * np.clip(normals[:, 1], 0, 1)
        shine = 255 * gloss * np.clip(normals @ between, 0, 1) ** 18
        # Shadows are warmer than lights: blue falls faster.
        bright = (room + 0.62 * lamp)[:, None] ** np.array([0.88, 1.0, 1.08], np.float32)
        return np.column_stack([bright * self.tint, shine]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Surface:
    """Meshes of one texture: what ``draw`` needs besides the points of the moment."""

    grids: tuple[tuple[int, int], ...]
    """Rows and columns of each mesh; their points follow one another."""
    places: Array
    """(N, 2) texture pixel of each point."""
    paint: Image
    """(T, T, 3) uint8 RGB, or (T, T, 4) with cover."""
    gloss: float
    hidden: NDArray[np.bool_] | None = None
    """(N,) points that something else always covers."""
    triangles: NDArray[np.intp] = field(init=False)

    def __post_init__(self) -> None:
        start, meshes = 0, []
        for rows, columns in self.grids:
            meshes.append(grid_triangles(rows, columns, start))
            start += rows * columns
        triangles = np.concatenate(meshes)
        if self.hidden is not None:
            triangles = triangles[~self.hidden[triangles].all(axis=1)]
        object.__setattr__(self, "triangles", triangles)

    def draw(
        self,
        canvas: Image,
        pixels: Array,
        points: Array,
        light: Light,
        detail: float,
        inside: bool = False,
    ) -> None:
        """Lay the surface over ``canvas`` (H, W, 3) uint8 RGB in place, its edge soft.

        ``pixels`` (N, 2) where the ``points`` (N, 3) appear; ``detail``: shaded pixels per pixel
        of the canvas; ``inside``: the faces turned away instead, in the shade.
        """
        height, width = canvas.shape[:2]
        low = np.maximum(np.floor(pixels.min(axis=0)) - 4, 0).astype(int)
        high = np.minimum(np.ceil(pixels.max(axis=0)) + 5, (width, height)).astype(int)
        size = high - low
        if (size < 2).any():
            return
        small = np.maximum(np.ceil(size * detail), 2).astype(int)
        # cv2.resize keeps corners, not pixel centres, in place.
        local = (pixels - low + 0.5) * (small / size) - 0.5
        start, normals = 0, np.empty((len(points), 3), np.float32)
        for rows, columns in self.grids:
            part = slice(start, start + rows * columns)
            normals[part] = _normals(points[part].reshape(rows, columns, 3)).reshape(-1, 3)
            start = part.stop
        shades = light.on(normals * 0.25 if inside else normals, self.gloss)
        drawn = rasterise(
            local,
            points[:, 2],
            np.column_stack([self.places, shades]),
            self.triangles,
            int(small[0]),
            int(small[1]),
            -1 if inside else 1,
        )
        if not drawn.covered.any():
            return
        u, v = (np.ascontiguousarray(drawn.values[..., i]) for i in (0, 1))
        texel = cv2.remap(self.paint, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        cover: Array = drawn.covered.astype(np.float32)
        if texel.shape[2] == 4:
            cover *= texel[..., 3] * np.float32(1 / 255)
        colour: Array = texel[..., :3] * drawn.values[..., 2:5] + drawn.values[..., 5:]
        # Past the edge, the colour of the nearest pixels.
        around = cv2.GaussianBlur(cover, (5, 5), 1.2)
        spread: Array = cv2.GaussianBlur(colour * cover[..., None], (5, 5), 1.2)
        spread /= np.maximum(around, 1e-3)[..., None]
        np.copyto(colour, spread, where=~drawn.covered[..., None])
        shown: Image = np.clip(colour, 0, 255).astype(np.uint8)
        target = (int(size[0]), int(size[1]))
        cover = cv2.resize(
            cv2.GaussianBlur(cover, (5, 5), 0.9), target, interpolation=cv2.INTER_LINEAR
        )
        cover = np.clip(cover * 2 - 0.5, 0, 1)
        blend(
            canvas[low[1] : high[1], low[0] : high[0]],
            cv2.resize(shown, target, interpolation=cv2.INTER_LINEAR),
            cover,
        )


def blend(patch: Image, over: Array, cover: Array) -> None:
    """Lay ``over`` (H, W, 3) onto ``patch`` in place as far as ``cover`` (H, W) float32 0..1."""
    patch[:] = cv2.blendLinear(over, np.ascontiguousarray(patch), cover, 1 - cover)


def grid_places(rows: int, columns: int, size: int) -> Array:
    """(R * C, 2) float32 texture pixels of a grid's points, as cv2.resize spreads them."""
    u = (np.arange(columns) + 0.5) * size / columns - 0.5
    v = (np.arange(rows) + 0.5) * size / rows - 0.5
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
    length = np.sqrt((normal * normal).sum(axis=-1))
    return np.asarray(normal / np.maximum(length, 1e-6)[..., None], np.float32)
