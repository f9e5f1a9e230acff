"""Hair and torso of a performer as surfaces; the face itself is in ``drawing.head``."""

import cv2
import numpy as np

from drawing import texture
from drawing.appearance import Appearance
from drawing.curves import Array, bell, smooth_line, step
from drawing.surface import Surface, grid_places

_HAIR_GRID = (52, 73)
_TORSO_GRID = (26, 37)

# Thickness over the crown and at the sides, centimetres.
_THICKNESS = {
    "short": (1.7, 0.4), "crop": (0.6, 0.25), "side": (2.1, 0.5), "fringe": (1.9, 1.1),
    "bob": (1.9, 1.3), "long": (1.8, 1.0), "curly": (2.5, 2.2), "receding": (0.6, 0.5),
    "beanie": (1.3, 0.6),
}  # fmt: skip


def hair(look: Appearance) -> tuple[Array, Surface] | None:
    """Points (N, 3) of the hair's or hat's shell around the head and its surface; None: bald."""
    if look.hair == "bald":
        return None
    rows, columns = _HAIR_GRID
    degrees = np.linspace(-180, 180, columns)
    edge = texture.hairline(look.hair, degrees, look.seed)[None]
    bottom = float(edge.max()) + 1
    down = np.linspace(0, 1, rows)
    height = -11.75 + (bottom + 11.75) * down**1.5
    half = np.interp(
        height,
        [-11.75, -11.6, -11.1, -10, -8.5, -6.5, -4.5, -2, 2, 6, 9, 13, 19],
        [0, 1.9, 3.75, 5.35, 6.5, 7.25, 7.6, 7.7, 7.6, 7.0, 6.6, 7.2, 8.4],
    )
    front = np.interp(
        height,
        [-11.75, -11.6, -11.1, -10, -8.5, -6.5, -4.5, -2, 2, 6, 19],
        [0, 1.9, 3.75, 5.4, 6.85, 7.8, 8.25, 8.4, 8, 7, 5],
    )
    back = np.interp(
        height,
        [-11.75, -11.6, -11.1, -10, -8.5, -4, 2, 8, 19],
        [0, 2.4, 4.8, 7.0, 8.8, 10.6, 9.5, 6.5, 6],
    )
    angle = np.radians(degrees)[None]
    x = half[:, None] * 1.035 * look.shape.width * np.sin(angle)
    y = np.repeat(height[:, None], columns, 1)
    z = np.where(np.cos(angle) > 0, front[:, None], back[:, None]) * np.cos(angle)

    top, sides = _THICKNESS[look.hair]
    thick = sides + (top - sides) * step(-4, -10, y)
    away = step(-11.7, -9.5, y)  # at the crown all columns meet in one point
    rng = np.random.default_rng(look.seed + 5)
    match look.hair:
        case "curly":
            thick = thick + 0.3 * _lumps(rng, 1.5, 1.5) * away
        case "beanie":
            thick = thick + 0.25 * step(0.0, 0.3, y - edge + 2.2)
        case "side":  # swept up from the parting
            swept = 1 if look.seed % 2 else -1
            thick = thick + 0.7 * bell(degrees * swept, 25, 30)[None] * step(-3, -7, y) * away
            thick = thick + 0.16 * _lumps(rng, 1.4, 5) * away
        case _:
            thick = thick + 0.12 * top * _lumps(rng, 1.6, 5) * away
    # Hair hugs the head where it ends, forehead, cheeks and nape alike.
    grown = np.pad((y < edge + 0.6).astype(np.uint8), 1, constant_values=1)
    inward = cv2.distanceTransform(grown, cv2.DIST_L2, 5)[1:-1, 1:-1]
    hug = 0.2 + 0.8 * step(0.0, 6.0, inward)
    thick = 0.12 + (thick - 0.12) * hug
    rise = np.minimum(y + 2.5, 0)
    length = np.sqrt(x**2 + rise**2 + z**2)
    thick = thick / np.maximum(length, 1e-3)
    points = np.stack([x + x * thick, y + rise * thick, z + z * thick], axis=-1)
    texels = np.linspace(0, 1, texture.SIZE)
    grid = np.meshgrid(np.linspace(-180, 180, texture.SIZE), np.interp(texels, down, height))
    surface = Surface(
        grids=(_HAIR_GRID,),
        places=grid_places(rows, columns, texture.SIZE),
        paint=texture.hair_texture(look, *grid),
        gloss=0.03 if look.hair in ("beanie", "curly") else 0.14,
        hidden=(y - edge > 1.6).ravel(),
    )
    return points.reshape(-1, 3).astype(np.float32), surface


def torso(look: Appearance) -> tuple[Array, Surface]:
    """Points (N, 3) of neck and shoulders, and their surface."""
    rows, columns = _TORSO_GRID
    degrees = np.linspace(-100, 100, columns)
    height = 7 + 27 * np.linspace(0, 1, rows) ** 1.3
    wide = [(7, 5.3), (12, 5.2), (14.6, 5.6), (16, 7.4), (17.2, 11.5), (18.4, 15.5), (20.2, 18.4),
            (23, 20), (34, 21.5)]  # fmt: skip
    deep = [(7, 4.6), (13, 4.8), (15.5, 5.2), (17.5, 6.0), (21, 7.5), (27, 9), (34, 9)]
    half = smooth_line(wide, height, 1.0) * (0.72 + 0.28 * look.shape.jaw)
    depth = smooth_line(deep, height, 1.0)
    angle = np.radians(degrees)[None]
    x = half[:, None] * np.sin(angle)
    y = np.repeat(height[:, None], columns, 1)
    z = depth[:, None] * np.cos(angle) - 1.2
    texels = np.linspace(0, 1, texture.SIZE)
    heights = np.interp(texels, np.linspace(0, 1, rows), height)
    across = np.interp(heights, height, half)[:, None] * np.sin(
        np.radians(np.linspace(-100, 100, texture.SIZE))
    )
    surface = Surface(
        grids=(_TORSO_GRID,),
        places=grid_places(rows, columns, texture.SIZE),
        paint=texture.torso_texture(look, across, heights[:, None] + 0 * across),
        gloss=0.02,
    )
    return np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float32), surface


def _lumps(rng: np.random.Generator, across: float, down: float) -> Array:
    """(R, C) noise over the hair's grid, the same at both ends of a row."""
    rows, columns = _HAIR_GRID
    lumps = texture.noise(rng, across, down, max(rows, columns))[:rows, :columns]
    join = np.linspace(-1, 1, columns) ** 8
    return np.asarray(lumps * (1 - join) + 0.5 * (lumps[:, :1] + lumps[:, -1:]) * join)
