"""Skin, hair, cloth and the room behind, painted once per appearance."""

import cv2
import numpy as np

from drawing.appearance import Appearance
from drawing.curves import Array, Image, bell, smooth_line, step
from drawing.head import Head

SIZE = 512
"""Side of a texture, pixels."""

HAIRLINES = {
    # Degrees from the front -> height of the hair's edge; below it no hair grows.
    "short": ((0, -6.4), (30, -6.3), (46, -5.4), (58, -3.6), (70, -2.6), (78, -0.4), (86, -0.4),
              (91, -1.8), (114, -1.4), (126, 5.5), (180, 7.5)),
    "crop": ((0, -6.6), (34, -6.5), (47, -5.4), (58, -3.4), (70, -2.4), (78, -0.6), (86, -0.6),
             (91, -1.8), (114, -1.4), (126, 5.0), (180, 6.5)),
    "side": ((0, -6.2), (28, -6.0), (46, -5.0), (58, -3.2), (70, -2.0), (78, 0.2), (86, 0.2),
             (91, -1.6), (114, -1.2), (126, 6.0), (180, 8.0)),
    "fringe": ((0, -3.5), (26, -3.3), (44, -2.6), (53, 0.0), (59, 8.0), (64, 12.5), (180, 13.0)),
    "bob": ((0, -6.4), (20, -6.0), (38, -4.6), (52, -1.0), (59, 6.0), (64, 10.5), (180, 11.0)),
    "long": ((0, -6.5), (18, -6.1), (36, -4.8), (52, -1.0), (60, 5.0), (66, 18.0), (180, 19.0)),
    "curly": ((0, -6.0), (30, -5.6), (48, -4.2), (60, -1.6), (68, 3.0), (74, 7.0), (180, 10.0)),
    "receding": ((0, -9.0), (20, -9.2), (40, -8.0), (54, -4.6), (68, -2.4), (78, -0.6), (86, -0.6),
                 (91, -1.8), (114, -1.4), (126, 5.5), (180, 7.0)),
    "beanie": ((0, -4.9), (60, -4.5), (90, -3.2), (180, 2.0)),
}  # fmt: skip


def hairline(style: str, degrees: Array, seed: int) -> Array:
    """Height of the hair's edge at angles from the front, -180..180."""
    angle = np.abs(degrees)
    if style == "side":
        angle = np.abs(degrees + 14 * (1 if seed % 2 else -1) * bell(degrees, 0, 50))
    return smooth_line(HAIRLINES[style], angle, 2.0)


def noise(rng: np.random.Generator, blur_x: float, blur_y: float, size: int = SIZE) -> Array:
    """(size, size) float32 of mean 0 and deviation 1, smooth over the given pixels."""
    field: Array = rng.standard_normal((size, size)).astype(np.float32)
    field = cv2.GaussianBlur(
        field, (0, 0), max(blur_x, 0.01), sigmaY=max(blur_y, 0.01), borderType=cv2.BORDER_REFLECT
    )
    return np.asarray((field - field.mean()) / (field.std() + 1e-6), np.float32)


def skin_texture(look: Appearance, head: Head) -> Image:
    """(SIZE, SIZE, 3) uint8 RGB over the skin mesh, columns ear to ear, rows crown to throat."""
    rng = np.random.default_rng(look.seed)
    place = cv2.resize(head.texture_points, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    x, y, z = place[..., 0], place[..., 1], place[..., 2]
    ax = np.abs(x)
    skin = np.array(look.skin, np.float32)
    shape = look.shape
    dark = 1 - float(skin.mean()) / 255
    paint = np.empty((SIZE, SIZE, 3), np.float32)
    paint[:] = skin

    def tint(amount: Array, factors: tuple[float, float, float]) -> None:
        """Multiply towards ``factors`` where ``amount`` (SIZE, SIZE) is 1."""
        for channel in range(3):
            paint[..., channel] *= 1 + amount * (factors[channel] - 1)

    tint(0.5 + 0.5 * np.tanh(noise(rng, 22, 22)), (1.02, 0.985, 0.975))
    tint(0.5 + 0.5 * np.tanh(noise(rng, 1.2, 1.2)), (1.015, 1.01, 1.01))
    red = look.blush * (1 - 0.6 * dark)
    tint(red * bell(ax, 4.5, 1.9) * bell(y, 3.7, 1.7), (1.0, 0.8, 0.8))
    tint(red * 0.7 * bell(ax, 0, 1.2) * bell(y, 4.0, 1.0), (1.0, 0.84, 0.82))
    tint(red * 0.5 * bell(ax, 0, 1.4) * bell(y, 10.6, 1.2), (1.0, 0.88, 0.87))
    # Shade that light from a room leaves in hollows.
    shade = (0.82, 0.72, 0.68)
    tint(0.75 * bell(ax, 3.0, 1.5) * bell(y, -0.75, 0.62), shade)
    tint(0.7 * bell(ax, 1.75, 0.55) * bell(y, -0.3, 1.0), shade)
    tint((0.35 + 0.5 * look.age) * bell(ax, 2.9, 1.2) * bell(y, 1.25, 0.45), (0.86, 0.78, 0.78))
    tint(0.55 * bell(ax, 1.75 * shape.nose_width, 0.45) * bell(y, 3.2, 1.4), shade)
    tint(0.9 * bell(ax, 1.95 * shape.nose_width, 0.2) * bell(y, 4.35, 0.6), shade)
    tint(0.9 * bell(ax, 0, 1.3) * bell(y, 5.25, 0.32), (0.76, 0.66, 0.63))
    tint(
        bell(ax, 0.78 * shape.nose_width, 0.36) ** 2 * bell(y, 4.82, 0.25) ** 2, (0.25, 0.12, 0.11)
    )
    tint(0.5 * bell(ax, 0, 1.6) * bell(y, 8.75, 0.4), shade)
    tint(0.55 * bell(ax, 2.8 * shape.mouth, 0.35) * bell(y, 7.05, 0.4), shade)
    fold = bell(ax, np.interp(y, [4.0, 7.5, 9.5], [2.1, 3.4, 3.6]), 0.22)
    tint((0.12 + 0.6 * look.age) * fold * step(3.9, 4.8, y) * (1 - step(7.0, 8.6, y)), shade)
    if look.age > 0.3:
        strength = (look.age - 0.3) * 1.1
        for line in (-5.1, -4.3, -3.5):
            wave = line + 0.12 * np.cos(1.3 * x + line) + 0.02 * x**2
            tint(strength * bell(y, wave, 0.1) * (1 - step(2.5, 4.2, ax)), (0.86, 0.78, 0.75))
        for slope in (-0.5, 0.1, 0.6):
            crow = bell(y - 0.1 - slope * (ax - 4.9), 0, 0.09) * bell(ax, 5.5, 0.45)
            tint(strength * crow, (0.86, 0.78, 0.75))
        tint(strength * bell(ax, 0.45, 0.1) * bell(y, -2.0, 0.5), (0.86, 0.78, 0.75))
    tint(step(0.88, 0.97, np.linspace(0, 1, SIZE))[:, None] + 0 * x, (0.72, 0.62, 0.58))
    tint(0.5 * (1 - step(-2.5, 2.5, z)), (0.85, 0.76, 0.73))
    if look.freckles:
        spots = np.clip(noise(rng, 1.6, 1.6) - 1.1, 0, 1)
        where = bell(ax, 2.2, 2.8) * bell(y, 2.8, 1.7)
        tint(np.clip(2.2 * spots * where * look.freckles, 0, 1), (0.72, 0.6, 0.52))

    hair = np.array(look.hair_colour, np.float32)
    strands = 0.5 + 0.5 * np.tanh(noise(rng, 0.7, 2.6))
    # Brows are strokes; below them a soft shadow of the same colour.
    brow = head.neutral[head.parts["brow_left"]], head.neutral[head.parts["under_brow_left"]]
    order = np.argsort(brow[0][:, 0])
    top, bottom = (np.interp(ax, line[order, 0], line[order, 1]) for line in brow)
    inside = step(-0.12, 0.1, y - top) * step(-0.12, 0.1, bottom - y)
    inside = inside * step(1.1, 1.5, ax) * (1 - step(5.3, 5.7, ax))
    _mix(paint, inside * 0.55, hair * 0.8)
    if look.hair not in ("bald", "beanie"):
        edge = hairline(look.hair, np.degrees(np.arctan2(x, z)), look.seed)
        tint(0.5 * step(-1.3, 0.0, edge - y), shade)
        _mix(paint, step(-0.5, 0.9, edge - y + 0.25 * strands) * 0.85, hair * 0.6)
    if look.beard != "none":
        mask: Array = _beard(look, head, place) * (0.75 + 0.25 * strands)
        colour: Array = hair * (0.5 + 0.6 * strands[..., None])
        if look.beard == "stubble":
            mask, colour = 0.42 * mask * (0.6 + 0.4 * strands), hair * 0.7
        _mix(paint, np.clip(mask, 0, 1), colour)
    return np.clip(paint, 0, 255).astype(np.uint8)


def _beard(look: Appearance, head: Head, place: Array) -> Array:
    x, y = np.abs(place[..., 0]), place[..., 1]
    full = head.beard_mask(place)
    upper = step(5.25, 5.6, y - 0.25 * x**0.7) * (1 - step(6.5, 7.3, y)) * (1 - step(2.6, 3.3, x))
    match look.beard:
        case "moustache":
            return np.asarray(upper * full)
        case "goatee":
            chin = (1 - step(2.0, 2.9, x - 0.1 * y)) * step(6.6, 7.6, y)
            return np.asarray(np.maximum(upper * full, chin * full))
        case _:
            return full


def hair_texture(look: Appearance, degrees: Array, heights: Array) -> Array:
    """(SIZE, SIZE, 4) uint8 RGB and cover over the hair mesh of the given angles and heights."""
    rng = np.random.default_rng(look.seed + 1)
    hair = np.array(look.hair_colour, np.float32)
    if look.hair == "beanie":
        knit = 0.86 + 0.14 * np.cos(np.arange(SIZE) * 2 * np.pi / 9)[None, :]
        knit = knit * (0.93 + 0.07 * np.cos(np.arange(SIZE) * 2 * np.pi / 7)[:, None])
        colour = np.array(look.clothes_colour, np.float32) * 0.85 + 25
        edge = hairline("beanie", degrees, look.seed)
        band = 1 - 0.18 * step(-0.15, 0.15, heights - edge + 2.2)
        paint = colour * (knit * band)[..., None]
        cover = step(-0.1, 0.1, edge - heights)
    else:
        curly = look.hair == "curly"
        fine = noise(rng, 2.2, 2.2) if curly else noise(rng, 0.7, 40)
        locks = noise(rng, 6, 6) if curly else noise(rng, 4.5, 90)
        column, row = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
        wave = noise(rng, 34, 40) * (3 if curly else 6)
        if look.hair == "side":  # combed away from the parting
            wave = wave + (0.55 if look.seed % 2 else -0.55) * np.minimum(row, 200)
        fine, locks = (
            cv2.remap(
                field, (column + wave).astype(np.float32), row.astype(np.float32),
                cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP,
            )
            for field in (fine, locks)
        )  # fmt: skip
        light = 1 + 0.15 * np.tanh(fine) + 0.17 * np.tanh(1.3 * locks)
        ends = {"long": 2.5, "bob": 0.7, "fringe": 0.8}.get(look.hair, 0.45)
        edge = hairline(look.hair, degrees, look.seed)
        fuzz = 0.2 * fine + 0.3 * locks * (ends if not curly else 0.7)
        if look.hair not in ("long", "bob", "fringe", "curly"):
            fuzz = fuzz * (1 - 0.7 * step(45, 68, np.abs(degrees)))
        cover = step(-0.3, 0.3, edge - heights + fuzz)
        # Hair thins out to its roots in the forehead, and is darker underneath.
        light = light * (0.8 + 0.2 * step(-0.2, 1.6, edge - heights + fuzz))
        paint = hair * light[..., None]
    picture = np.concatenate([np.clip(paint, 0, 255), 255 * cover[..., None]], axis=-1)
    return np.asarray(picture.astype(np.uint8))


def torso_texture(look: Appearance, across: Array, heights: Array) -> Image:
    """(SIZE, SIZE, 3) uint8 RGB over the torso mesh of the given places, cm: neck, clothes."""
    rng = np.random.default_rng(look.seed + 2)
    paint = np.empty((SIZE, SIZE, 3), np.float32)
    paint[:] = np.array(look.skin, np.float32) * [0.93, 0.9, 0.88]
    x = np.abs(across)
    # The chin's shadow, and the two cords of the neck.
    shadow = 0.55 * (1 - step(12.3, 15.8, heights + 0.05 * x**2))
    shadow = shadow + 0.16 * bell(x, 0.4 + 0.55 * (17.6 - heights), 0.5) * step(13, 15, heights)
    paint *= 1 - shadow[..., None] * [0.55, 0.72, 0.76]
    match look.clothes:
        case "crew":
            edge = 15.6 + 1.3 * bell(x, 0, 5)
        case "v-neck":
            edge = 15.2 + 5.0 * np.maximum(1 - x / 5.6, 0)
        case "shirt":
            edge = 14.2 + 3.8 * np.maximum(1 - x / 4.4, 0)
        case "jacket":
            edge = 14.2 + 2.6 * np.maximum(1 - x / 4.4, 0)
    folds = 1 + 0.06 * np.tanh(noise(rng, 34, 12)) + 0.03 * np.tanh(noise(rng, 0.8, 0.8))
    dressed = np.array(look.clothes_colour, np.float32) * folds[..., None]
    if look.clothes in ("crew", "v-neck"):
        dressed *= 1 - 0.2 * bell(heights, edge + 0.8, 0.14)[..., None]
    else:
        collar = 1 - step(1.9, 2.1, heights - edge)
        dressed *= 1 + (0.12 if look.clothes == "shirt" else -0.16) * collar[..., None]
        dressed *= 1 - 0.3 * bell(heights, edge + 2.1, 0.14)[..., None]
        dressed *= 1 - 0.35 * (bell(across, 0, 0.12) * step(18.0, 18.3, heights))[..., None]
    if look.clothes == "jacket":
        inner = step(-0.1, 0.1, 5.2 - 0.42 * (heights - 14.2) - x)
        _mix(dressed, inner, np.array([228, 228, 224.0]) * (0.96 + 0.04 * folds[..., None]))
    _mix(paint, step(-0.1, 0.1, heights - edge), dressed)
    paint *= 1 - 0.35 * bell(heights, edge - 0.2, 0.3)[..., None]
    return np.clip(paint, 0, 255).astype(np.uint8)


def backdrop(look: Appearance, width: int, height: int) -> Image:
    """(height, width, 3) uint8 RGB: what stands still behind the performer."""
    rng = np.random.default_rng(look.seed + 3)
    wall: Array = np.array(look.backdrop_colour, np.float32)
    if look.backdrop == "night":
        wall = wall * [0.2, 0.22, 0.3]
    across = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    lit = across if look.light_side > 0 else 1 - across
    paint: Array = wall * (0.78 + 0.3 * lit - 0.18 * down)
    unit = height / 480

    def box(x: float, y: float, w: float, h: float, colour: Array) -> None:
        corner = [round(x * width), round(y * height)]
        far = [round((x + w) * width), round((y + h) * height)]
        cv2.rectangle(paint, corner, far, [float(c) for c in colour], cv2.FILLED)

    paint = np.ascontiguousarray(paint, np.float32)
    if look.backdrop in ("room", "night"):
        left = bool(rng.random() < 0.5)
        at = 0.04 if left else 0.66
        wood = np.array([122, 88, 60.0]) * (0.45 if look.backdrop == "night" else 1)
        for shelf in range(4):
            top = 0.06 + 0.235 * shelf
            box(at, top, 0.3, 0.215, wall * 0.62)
            x = at + 0.008
            while x < at + 0.27:
                thick, tall = rng.uniform(0.012, 0.03), rng.uniform(0.1, 0.18)
                if rng.random() < 0.82:
                    book = np.clip(rng.uniform(40, 205, 3) * 0.6 + wall * 0.3, 0, 255)
                    box(x, top + 0.215 - tall, thick, tall, book)
                x += thick + 0.002
            box(at - 0.008, top + 0.212, 0.316, 0.022, wood)
        at = 0.68 if left else 0.05
        glass = np.array([206, 222, 236.0]) if look.backdrop == "room" else np.array([34, 42, 70.0])
        box(at - 0.015, 0.05, 0.27, 0.54, np.clip(wall * 1.15 + 12, 0, 255))
        for pane in range(4):
            x, y = at + 0.125 * (pane % 2), 0.075 + 0.25 * (pane // 2)
            box(x, y, 0.115, 0.235, glass * (1 - 0.06 * (pane // 2)))
        if look.backdrop == "night":
            for _ in range(26):
                spot = (
                    int((at + 0.24 * rng.random()) * width),
                    int((0.1 + 0.4 * rng.random()) * height),
                )
                warm = (230.0, rng.uniform(150, 220), rng.uniform(80, 170))
                cv2.circle(paint, spot, round(rng.uniform(2, 7) * unit), warm, cv2.FILLED)
    elif look.backdrop == "wall":
        for _ in range(int(rng.integers(1, 4))):
            x, y, w, h = rng.uniform((0.0, 0.02, 0.1, 0.14), (0.85, 0.45, 0.25, 0.34))
            box(x, y, w, h, wall * 0.45)
            box(x + 0.008, y + 0.01, w - 0.016, h - 0.02, np.clip(rng.uniform(90, 240, 3), 0, 255))
            box(
                x + 0.3 * w, y + 0.4 * h, 0.4 * w, 0.3 * h, np.clip(rng.uniform(40, 200, 3), 0, 255)
            )
        box(0, 0.8, 1, 0.014, wall * 0.7)
        for line in np.arange(0.05, 1, 0.11):
            box(line, 0.815, 0.003, 0.2, wall * 0.75)
    paint = cv2.GaussianBlur(paint, (0, 0), 2.4 * unit)
    grain = noise(rng, 0.8, 0.8, max(width, height))[:height, :width]
    return np.clip(paint + 1.4 * grain[..., None], 0, 255).astype(np.uint8)


def _mix(paint: Array, amount: Array, colour: Array) -> None:
    """Blend ``paint`` towards ``colour`` in place."""
    paint += amount[..., None] * (colour - paint)
