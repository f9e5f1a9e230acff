"""Eyes, brows, mouth and glasses, drawn sharply on the shaded face."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from drawing.appearance import Appearance
from drawing.curves import Array, Image
from drawing.surface import Light, blend

_SHIFT = 4
"""Fractional bits of cv2's drawing: a sixteenth of a pixel."""
Parts = Mapping[str, Array]
"""Curve name of ``drawing.head.Head`` -> its (n, 2) pixels."""
Paint = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Pen:
    """What every feature is drawn with."""

    canvas: Image
    scale: float
    """Pixels per centimetre."""
    light: Light

    def tone(self, colour: Sequence[float] | Array, factor: float = 1.0) -> Paint:
        """The colour in this light."""
        r, g, b = (
            min(max(float(c) * float(t) * factor, 0), 255)
            for c, t in zip(colour, self.light.tint, strict=True)
        )
        return r, g, b

    def window(self, outline: Array, margin: float) -> tuple[Image, Array]:
        """The canvas around an outline (empty outside the picture) and its corner (2,)."""
        height, width = self.canvas.shape[:2]
        low = np.clip(np.floor(outline.min(axis=0) - margin), 0, (width, height)).astype(int)
        high = np.clip(np.ceil(outline.max(axis=0) + margin) + 1, 0, (width, height)).astype(int)
        return self.canvas[low[1] : high[1], low[0] : high[0]], low.astype(np.float32)

    def stroke(self, line: Array, colour: Paint, width: float, opacity: float) -> None:
        """A soft line, ``width`` in centimetres."""
        width *= self.scale
        patch, corner = self.window(line, width + 3)
        if not patch.size:
            return
        # cv2 draws smooth edges on 8-bit pictures alone.
        mask = np.zeros(patch.shape[:2], np.uint8)
        whole = max(round(width), 1)
        cv2.polylines(mask, [_fixed(line - corner)], False, 255.0, whole, cv2.LINE_AA, _SHIFT)
        strength = np.float32(min(opacity * max(width, 0.4) / whole, 1.0) / 255)
        cover = cv2.GaussianBlur(mask, (0, 0), max(0.3 * width, 0.45)) * strength
        blend(patch, np.full_like(patch, colour), cover)


def draw_eye(
    pen: Pen, look: Appearance, parts: Parts, side: str, centre: Array, rim: Array, pupil: Array
) -> None:
    """One eye: ball, iris, lids and lashes; a closed eye is a line of lashes on skin."""
    upper, lower = parts[f"lid_upper_{side}"], parts[f"lid_lower_{side}"]
    skin, scale = np.array(look.skin, np.float32), pen.scale
    pen.stroke(parts[f"crease_{side}"][2:-1], pen.tone(skin, 0.6), 0.15, 0.6)
    patch, corner = pen.window(np.concatenate([upper, lower]), 3)
    if patch.size and np.linalg.norm(lower - upper, axis=1).max() > 0.35:
        eye: Array = np.full_like(patch, pen.tone((236, 230, 224), 0.93))
        up, low = upper - corner, lower - corner
        middle, ring, hole = centre - corner, rim - corner, pupil - corner
        nose_end = np.concatenate([up[13:], low[13:][::-1]])
        _fill(eye, nose_end, pen.tone((214, 150, 140), 0.9))
        colour = np.array(look.eyes, np.float32)
        _fill(eye, ring, pen.tone(colour, 0.42))
        _fill(eye, middle + (ring - middle) * 0.86, pen.tone(colour))
        glow = middle + (ring - middle) * 0.58 + np.array([0, 0.17 * scale])
        _fill(eye, glow, pen.tone(colour * 0.75 + 60))
        _fill(eye, hole, (16.0, 13.0, 13.0))
        # The upper lid throws its shadow on the ball.
        dim: Array = np.ones(patch.shape[:2], np.float32)
        shadow = np.concatenate([up, up[::-1] + np.array([0, 0.3 * scale])])
        _fill(dim, shadow, 0.6)
        dim = cv2.GaussianBlur(dim, (0, 0), max(0.1 * scale, 0.4))
        eye = np.asarray(eye * dim[..., None], np.uint8)
        x, y = middle + np.array([0.2 * scale * np.sign(pen.light.direction[0]), -0.2 * scale])
        spark = (round(float(x) * 16), round(float(y) * 16))
        radius = max(round(2.0 * scale), 6)
        cv2.circle(eye, spark, radius, (255.0, 255.0, 255.0), cv2.FILLED, cv2.LINE_AA, _SHIFT)
        blend(patch, eye, _cover(patch, np.concatenate([up, low[::-1]])))
    rose = pen.tone(skin * np.array([0.6, 0.47, 0.45]))
    pen.stroke(lower[1:-1], rose, 0.09, 0.45 + 0.4 * look.lashes)
    # Lashes: a band on the upper lid, thickest outside.
    thick = (0.1 + 0.12 * look.lashes) * scale
    taper = thick * np.interp(np.arange(17), [0, 4, 13, 16], [1.0, 1.1, 0.8, 0.4])
    band = upper - np.stack([np.zeros(17), taper], axis=1)
    if look.lashes > 0.6:
        band[0] += (upper[0] - upper[3]) * 0.4 + np.array([0, -0.1 * scale])
    lash = np.minimum(np.array(look.hair_colour) * 0.3, 40)
    below = upper[::-1] + np.array([0, 0.03 * scale])
    _fill(pen.canvas, np.concatenate([band, below]), pen.tone(lash))


def draw_brows(pen: Pen, look: Appearance, parts: Parts) -> None:
    """Brows as strokes of hair from inside to outside."""
    rng = np.random.default_rng(look.seed + 9)
    hair = np.array(look.hair_colour, np.float32)
    if look.age < 0.75:
        hair = hair * min(1.0, 130 / float(hair.max()))  # fair people's brows are darker
    count = 46
    along, start = np.sort(rng.uniform(0.02, 7.99, count)), rng.uniform(0.1, 1, (count, 1))
    lean = rng.uniform(0.2, 0.42, (count, 1)) * pen.scale
    at, part = along.astype(int), (along % 1)[:, None]
    for side in ("right", "left"):
        upper, lower = parts[f"brow_{side}"], parts[f"under_brow_{side}"]
        patch, corner = pen.window(np.concatenate([upper, lower]), 4)
        if patch.size:
            mask: Array = _cover(patch, np.concatenate([upper, lower[::-1]]) - corner) * 0.62
            mask = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(0.09 * pen.scale, 0.4))
            blend(patch, np.full_like(patch, pen.tone(hair, 0.72)), mask)
        top = upper[at] + part * (upper[at + 1] - upper[at])
        low = lower[at] + part * (lower[at + 1] - lower[at])
        outward = (upper[0] - upper[8]) / max(float(np.linalg.norm(upper[0] - upper[8])), 1e-6)
        root = low + start * (top - low)
        tip = root + 0.5 * (1 - start) * (top - low) + lean * outward
        lines = _fixed(np.stack([root, tip], axis=1))
        width = max(1, round(0.075 * pen.scale))
        for group, shade in enumerate((0.5, 0.7, 0.9)):
            cv2.polylines(
                pen.canvas, list(lines[group::3]), False, pen.tone(hair, shade), width,
                cv2.LINE_AA, _SHIFT,
            )  # fmt: skip


def draw_mouth(pen: Pen, look: Appearance, parts: Parts) -> None:
    """Lips, and between them teeth and tongue in the dark."""
    outline = np.concatenate([parts["lip_upper"], parts["lip_lower"][::-1]])
    patch, corner = pen.window(outline, 6)
    if not patch.size:
        return
    scale, lips = pen.scale, np.array(look.lips, np.float32)
    top, bottom = parts["lip_upper"] - corner, parts["lip_lower"] - corner
    in_top, in_bottom = parts["inner_upper"] - corner, parts["inner_lower"] - corner
    picture: Array = np.full_like(patch, pen.tone(lips, 0.98))
    _fill(picture, np.concatenate([top, in_top[::-1]]), pen.tone(lips, 0.8))
    bright = np.concatenate([(bottom + 2 * in_bottom)[6:15] / 3, (bottom + in_bottom)[14:5:-1] / 2])
    _fill(picture, bright, pen.tone(lips + 34))
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), max(0.13 * scale, 0.5)), np.uint8)
    gap = float(np.linalg.norm(in_bottom[10] - in_top[10]))
    if gap > 0.25:
        inside: Array = np.full_like(patch, (52.0, 18.0, 20.0))
        _fill(inside, parts["tongue"] - corner, (150.0, 66.0, 66.0))
        for name, shade in (("teeth_lower", 0.72), ("teeth_upper", 0.92)):
            root, edge = parts[f"{name}_root"] - corner, parts[f"{name}_edge"] - corner
            _fill(inside, np.concatenate([root, edge[::-1]]), pen.tone((236, 228, 214), shade))
            between = list(_fixed(np.stack([root, edge], axis=1)[2:-2]))
            line = pen.tone((196, 184, 170), shade)
            cv2.polylines(inside, between, False, line, 1, cv2.LINE_AA, _SHIFT)
        dim: Array = np.ones(patch.shape[:2], np.float32)
        lift = np.array([0, scale])
        _fill(dim, np.concatenate([in_top - lift, in_top[::-1] + 0.3 * lift]), 0.62)
        for ends in (slice(0, 5), slice(16, 21)):
            _fill(dim, np.concatenate([in_top[ends], in_bottom[ends][::-1]]), 0.35)
        dim = cv2.GaussianBlur(dim, (0, 0), max(0.22 * scale, 0.5))
        inside = np.asarray(inside * dim[..., None], np.uint8)
        blend(picture, inside, _cover(patch, np.concatenate([in_top, in_bottom[::-1]])))
    soft = _cover(patch, outline - corner) * np.float32(0.94)
    blend(patch, picture, cv2.GaussianBlur(soft, (0, 0), max(0.07 * scale, 0.35)))
    line = pen.tone(lips * np.array([0.5, 0.36, 0.36]))
    pen.stroke(parts["inner_upper"], line, 0.11, 0.9 if gap < 1 else 0.5)


def glasses(look: Appearance) -> list[Array]:
    """Lines (n, 3) in the head's space: two rims of 40 points, two temples, the bridge."""
    wide, tall, power = {"round": (2.3, 2.1, 2.0), "square": (2.6, 1.9, 3.6)}.get(
        look.glasses, (2.5, 1.75, 2.8)
    )
    turn = np.linspace(0, 2 * np.pi, 40)
    middle, ear = 3.35 * look.shape.width, 8.05 * look.shape.width
    rims, temples = [], []
    for sign in (-1, 1):
        across = wide * np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** (2 / power)
        down = tall * np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** (2 / power)
        x = sign * middle + across
        rims.append(np.stack([x, down + 0.45, 8.9 - 0.05 * x**2], axis=1))
        outer = middle + wide
        hinge = (sign * outer, -0.5, 8.9 - 0.05 * outer**2)
        temples.append(np.array([hinge, (sign * ear, -0.3, 0.5)]))
    inner = middle - wide
    bridge = np.array([(-inner, 0.1, 8.85), (0, -0.3, 9.3), (inner, 0.1, 8.85)])
    return [line.astype(np.float32) for line in (*rims, *temples, bridge)]


def draw_glasses(pen: Pen, look: Appearance, lines: Sequence[Array]) -> None:
    """``lines`` (n, 2) pixels of what ``glasses`` gives."""
    drawn = list(lines)
    if look.glasses == "half":  # the frame's upper part alone
        drawn[:2] = [rim[19:] for rim in lines[:2]]
    for rim in drawn[:2]:
        patch, corner = pen.window(rim, 2)
        if patch.size:
            blend(patch, np.full_like(patch, 235), _cover(patch, rim - corner) * np.float32(0.05))
    width = max(1, round((0.2 if look.glasses == "square" else 0.14) * pen.scale))
    colour = pen.tone(look.glasses_colour)
    cv2.polylines(
        pen.canvas, [_fixed(line) for line in drawn], False, colour, width, cv2.LINE_AA, _SHIFT
    )


def _fixed(points: Array) -> NDArray[np.int32]:
    """Pixels to the fixed-point numbers that cv2's drawing takes."""
    return np.round(points * (1 << _SHIFT)).astype(np.int32)


def _fill(image: Image | Array, outline: Array, colour: Paint | float) -> None:
    cv2.fillPoly(image, [_fixed(outline)], colour, cv2.LINE_AA, _SHIFT)


def _cover(patch: Image, outline: Array) -> Array:
    """(H, W) float32: how much of each of the patch's pixels lies in the outline."""
    mask = np.zeros(patch.shape[:2], np.uint8)
    _fill(mask, outline, 255.0)
    return mask.astype(np.float32) * np.float32(1 / 255)
