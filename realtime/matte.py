"""Which pixels of an avatar's picture are the person: a matte, made once, when it is needed.

No network: GrabCut (Rother et al. 2004) seeded by the face's landmarks, its edge drawn onto the
picture's own by a guided filter (He et al. 2010). It knows colours, not people: hair or clothes of
the background's colour may be lost, things beside the person may stay. A picture that brings a
transparency of its own is taken at its word instead.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.landmarks import INDEX
from realtime.crop import Points
from realtime.frame import Image

Matte = NDArray[np.uint8]
"""(H, W) uint8: 255 person, 0 background."""

_FACE = 128
"""Height of the face, forehead to chin, in the copy that is cut out, pixels."""
_SIDE = 384
"""Longer side of that copy at most."""
_FINER = 2.0
"""The edge is fitted at this many times that size at most: hairs are thin."""


def person_matte(picture: Image, landmarks: Points) -> Matte:
    """The person in (H, W, 3) uint8 RGB whose face has these (48, 2) landmarks, in pixels."""
    matte = np.zeros(picture.shape[:2], np.uint8)
    part = _surroundings(picture, landmarks)
    picture = picture[part]
    landmarks = landmarks - np.array([part[1].start, part[0].start], np.float32)
    height, width = picture.shape[:2]
    scale = min(_FACE / float(_tall(landmarks)), _SIDE / max(height, width), 1.0)
    size = max(round(width * scale), 8), max(round(height * scale), 8)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    person = _cut_out(_hues(small), landmarks * np.float32(scale))
    finer = min(_FINER, 1 / scale)
    fine = round(size[0] * finer), round(size[1] * finer)
    guide = np.asarray(cv2.resize(picture, fine, interpolation=cv2.INTER_AREA), np.uint8)
    rough = np.asarray(cv2.resize(person.astype(np.float32), fine), np.float32)
    found = guided(picture, guide, rough, max(2, round(1.5 * finer)))
    found = np.clip((found - 0.1) / 0.8, 0, 1)
    matte[part] = np.asarray(found * 255 + 0.5, np.uint8)
    return matte


def _surroundings(picture: Image, landmarks: Points) -> tuple[slice, slice]:
    """The part of the picture in which a person with such a face has room."""
    forehead, chin = landmarks[INDEX["forehead"]], landmarks[INDEX["chin"]]
    tall, wide = float(_tall(landmarks)), float(_wide(landmarks))
    top = max(0, int(min(forehead[1], chin[1]) - 1.2 * tall))
    left, right = int(chin[0] - 3 * wide), int(chin[0] + 3 * wide)
    return slice(top, picture.shape[0]), slice(max(0, left), max(8, right))


def _hues(picture: cv2.typing.MatLike) -> Image:
    """A calm copy in CIE L*a*b*, hue counting more than light: hair is shaded, and so are walls."""
    calm = cv2.GaussianBlur(picture, (0, 0), 0.7)
    colours = cv2.cvtColor(calm, cv2.COLOR_RGB2LAB).astype(np.float32)
    colours[..., 1:] = (colours[..., 1:] - 128) * 2.5 + 128
    return np.clip(colours, 0, 255).astype(np.uint8)


def _cut_out(picture: Image, landmarks: Points) -> Matte:
    """1 for the person, hard-edged. ``picture``: of any three colours."""
    seeds = _seeds(picture.shape[:2], landmarks)
    chin, tall = landmarks[INDEX["chin"]], _tall(landmarks)
    top = int(np.clip(chin[1] - 0.1 * tall, 0, picture.shape[0] - 4))
    # Clothes share few colours with the head: known to be the person's while hair is looked for,
    # they make a dark background his as well. So the body is cut out by itself.
    beside, below = _beside(seeds.shape, landmarks)
    body = seeds.copy()
    shoulders = np.interp(below, (-0.1, 0.1, 0.3, 0.5, 1.0, 3.0), (0.4, 0.55, 1.2, 2.2, 3.0, 3.5))
    body[beside > shoulders] = cv2.GC_BGD
    body[top:] = _grab(np.ascontiguousarray(picture[top:]), body[top:], 3)
    body[:top] = cv2.GC_BGD
    seeds[top:][((beside > 0.24) & (seeds == cv2.GC_FGD))[top:]] = cv2.GC_PR_FGD
    person = (_grab(picture, seeds, 6) & 1) | (body & 1)
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    return _largest(np.asarray(cv2.morphologyEx(person, cv2.MORPH_OPEN, brush), np.uint8))


def _grab(picture: Image, seeds: Matte, rounds: int) -> Matte:
    """GrabCut's answer to these seeds; the seeds where they leave nothing to ask."""
    if len(np.unique(seeds & 1)) < 2:
        return seeds
    mask = seeds.copy()
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # it begins with a k-means: the same picture, the same matte
    cv2.grabCut(picture, mask, (0, 0, 1, 1), *models, rounds, cv2.GC_INIT_WITH_MASK)
    return mask


def _seeds(shape: tuple[int, ...], landmarks: Points) -> Matte:
    """What is surely or likely the person, as a face with such landmarks has it.

    Lengths are in face widths (between the temples) and face heights (forehead to chin).
    """
    forehead, chin = landmarks[INDEX["forehead"]], landmarks[INDEX["chin"]]
    tall, wide = _tall(landmarks), _wide(landmarks)
    beside, below = _beside(shape, landmarks)
    ys, xs = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    # Upright in the face: u to its left and right, v from -0.5 (forehead) to 0.5 (chin).
    down = (chin - forehead) / tall
    x, y = xs - (forehead + chin)[0] / 2, ys - (forehead + chin)[1] / 2
    u, v = (x * down[1] - y * down[0]) / wide, (x * down[0] + y * down[1]) / tall

    def body(*outline: tuple[float, float]) -> NDArray[np.bool_]:
        """Within these half widths at these depths below the chin; nothing above the first."""
        depths, halves = zip(*outline, strict=True)
        return np.asarray(beside < np.interp(below, depths, halves, left=-1), np.bool_)

    mask = np.full(shape, cv2.GC_PR_BGD, np.uint8)
    mask[np.hypot(u / 0.72, (v + 0.14) / 0.82) < 1] = cv2.GC_PR_FGD
    mask[body((-0.1, 0.3), (0.1, 0.38), (0.3, 0.8), (0.6, 1.25), (1.0, 1.5), (2.0, 1.7))] = (
        cv2.GC_PR_FGD
    )
    rim = max(2, round(0.015 * shape[1]))
    edge = (xs < rim) | (xs >= shape[1] - rim) | (ys < rim)
    mask[(below < 0) & (edge | (np.abs(u) > 1.5) | (v < -1.3))] = cv2.GC_BGD
    near = body((-0.1, 0.9), (0.1, 1.3), (0.3, 1.9), (0.5, 2.6), (1.0, 3.0), (3.0, 3.5))
    mask[(below >= 0) & ~near] = cv2.GC_BGD
    # The top of a skull lies a quarter of the face's height above the forehead's landmark.
    # Heads are squarer than ellipses.
    mask[(np.abs(u) / 0.48) ** 2.6 + (np.abs(v + 0.12) / 0.62) ** 2.6 < 1] = cv2.GC_FGD
    mask[body((-0.1, 0.2), (0.12, 0.24), (0.5, 0.6), (0.9, 0.85), (1.5, 0.95))] = cv2.GC_FGD
    return mask


def _beside(
    shape: tuple[int, ...], landmarks: Points
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How far each pixel lies beside the chin, in face widths, and below it, in face heights."""
    chin = landmarks[INDEX["chin"]]
    ys, xs = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return np.abs(xs - chin[0]) / _wide(landmarks), (ys - chin[1]) / _tall(landmarks)


def _tall(landmarks: Points) -> np.float32:
    chin, forehead = landmarks[INDEX["chin"]], landmarks[INDEX["forehead"]]
    return np.float32(max(float(np.hypot(*(chin - forehead))), 1.0))


def _wide(landmarks: Points) -> np.float32:
    """Of a face that is turned too: its width is then foreshortened."""
    right, left = landmarks[INDEX["temple_right"]], landmarks[INDEX["temple_left"]]
    return np.float32(max(float(np.hypot(*(left - right))), 0.65 * float(_tall(landmarks))))


def _largest(mask: Matte) -> Matte:
    """The largest piece, its holes filled."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return mask
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    person: Matte = np.asarray(labels == largest, np.uint8)
    outline, _ = cv2.findContours(person, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(person, outline, -1, 1, cv2.FILLED)
    return person


def guided(
    picture: Image, guide: Image, rough: NDArray[np.float32], radius: int
) -> NDArray[np.float32]:
    """``rough`` (h, w) with the edges of ``picture`` (H, W, 3) uint8 RGB: in each window it is
    fitted as a linear function of the colour (He et al. 2010, section 3.5), on ``guide``, the
    picture at (h, w); the functions are enlarged, not what they give (He and Sun 2015)."""
    window = (2 * radius + 1, 2 * radius + 1)

    def mean(plane: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(cv2.blur(plane, window), np.float32)

    colour = guide.astype(np.float32) / 255
    mean_colour, mean_rough = mean(colour), mean(rough)
    covariance = mean(colour * rough[..., None]) - mean_colour * mean_rough[..., None]
    products = [mean(colour[..., i] * colour[..., j]) for i in range(3) for j in range(3)]
    spread = np.stack(products, -1).reshape(*rough.shape, 3, 3)
    spread -= mean_colour[..., :, None] * mean_colour[..., None, :]
    spread += 1e-4 * np.eye(3, dtype=np.float32)
    slope = np.linalg.solve(spread, covariance[..., None])[..., 0]
    offset = mean_rough - (slope * mean_colour).sum(-1)
    size = picture.shape[1], picture.shape[0]
    slopes, offsets = cv2.resize(mean(slope), size), cv2.resize(mean(offset), size)
    levels = (slopes * picture).sum(-1) / 255 + offsets
    return np.asarray(levels, np.float32)


def foreground(picture: Image, matte: Matte) -> Image:
    """``picture`` (H, W, 3) uint8 RGB with the person's own colours in the matte's soft edge and
    beyond it, so that no rim of the old background comes along."""
    size = matte.shape[1], matte.shape[0]
    scale = min(400 / max(size), 1.0)
    small = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    solid = cv2.resize((matte > 250).astype(np.float32), small, interpolation=cv2.INTER_AREA)
    inside = np.where((matte > 250)[..., None], picture, 0).astype(np.float32)
    colours = cv2.resize(inside, small, interpolation=cv2.INTER_AREA)
    near = np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.float32)
    for reach in (8.0, 3.0, 1.0):  # the nearest person's pixels count
        weight = cv2.GaussianBlur(solid, (0, 0), reach)[..., None]
        found = cv2.GaussianBlur(colours, (0, 0), reach) / np.maximum(weight, 1e-6)
        near += (found - near) * np.clip(weight * 20, 0, 1)
    cover = (matte.astype(np.float32) / 255)[..., None]
    return np.asarray(picture * cover + cv2.resize(near, size) * (1 - cover) + 0.5).astype(np.uint8)
