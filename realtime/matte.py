"""Which pixels of an avatar's picture are the person: a matte, made once for an avatar.

A network of our own tells it around the face, run by OpenCV whatever engine animates the avatar;
its edge is drawn onto the picture's own by a guided filter (He et al. 2010). Where a picture shows
more than the network is given, GrabCut (Rother et al. 2004) goes on from there by colour. A picture
that brings a transparency of its own is taken at its word instead.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.landmarks import INDEX
from realtime.crop import Crop, Points
from realtime.frame import Image
from realtime.shipped import open_network

WEIGHTS = Path(__file__).parent.parent / "models" / "weights" / "matte" / "matte.onnx"
SIDE = 256
"""As in ``models.matte``, which needs torch."""
WINDOW = 1.5
"""Side of what the network is given, against an avatar's square: what moves lies within it."""

Matte = NDArray[np.uint8]
"""(H, W) uint8: 255 person, 0 background."""

_FACE = 128
"""Height of the face, forehead to chin, in the copy that is cut out, pixels."""
_SIDE = 384
"""Longer side of that copy at most."""
_REACH = 2
"""Pixels of that copy, each way, over which its edge is fitted to the picture's."""
_SURE = 0.9
"""What the network believes of pixels that GrabCut does not ask about again."""
_ENDS = 0.06
"""Of the window's side: so softly the network's word ends."""


def person_matte(picture: Image, landmarks: Points) -> Matte:
    """The person in (H, W, 3) uint8 RGB whose face has these (48, 2) landmarks, in pixels. Raises
    BundleError where the shipped network is missing or changed."""
    matte = np.zeros(picture.shape[:2], np.uint8)
    window = Crop.around(landmarks).scaled(WINDOW)
    belief = _believed(window.cut(picture, SIDE))
    part = _surroundings(picture, landmarks)
    picture = picture[part]
    corner = np.array([part[1].start, part[0].start], np.float32)
    height, width = picture.shape[:2]
    scale = min(_FACE / float(_tall(landmarks)), _SIDE / max(height, width), 1.0)
    size = max(round(width * scale), 8), max(round(height * scale), 8)
    # From pixels of the small copy to those of the window.
    step = (SIDE - 1) / window.side
    left, top = (corner - (window.cx, window.cy)) * step + (SIDE - 1) / 2
    xs, ys = ((np.arange(n) + 0.5) / scale - 0.5 for n in size)
    xs, ys = (xs * step + left).astype(np.float32), (ys * step + top).astype(np.float32)
    across, down = np.meshgrid(xs, ys)
    edge = cv2.BORDER_REPLICATE
    found = cv2.remap(belief, across, down, cv2.INTER_LINEAR, borderMode=edge)
    person = np.asarray(found, np.float32)
    told = np.minimum.outer(_depth(ys), _depth(xs))
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    if told.min() < 1:
        seeds = _seeds(person, told, (landmarks - corner) * np.float32(scale))
        beyond = (_grab(_hues(small), seeds) & 1).astype(np.float32)
        person = person * told + beyond * (1 - told)
    fitted = np.clip((guided(picture, small, person, _REACH) - 0.1) / 0.8, 0, 1)
    matte[part] = np.asarray(fitted * 255 + 0.5, np.uint8)
    return matte


def _believed(window: Image) -> NDArray[np.float32]:
    """(256, 256) 0..1: how surely each pixel is the person."""
    network = open_network(WEIGHTS, "matte network")
    network.setInput(cv2.dnn.blobFromImage(window, 1 / 255), "image")
    logits = np.asarray(network.forward("logits"), np.float32)[0, 0]
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def _depth(places: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far the network's word holds at these places of its window: 1, falling to 0 at its
    border."""
    return np.clip(np.minimum(places, SIDE - 1 - places) / (_ENDS * SIDE), 0, 1)


def _surroundings(picture: Image, landmarks: Points) -> tuple[slice, slice]:
    """The part of the picture in which a person with such a face has room."""
    forehead, chin = landmarks[INDEX["forehead"]], landmarks[INDEX["chin"]]
    tall, wide = float(_tall(landmarks)), float(_wide(landmarks))
    top = max(0, int(min(forehead[1], chin[1]) - 1.2 * tall))
    left, right = int(chin[0] - 3 * wide), int(chin[0] + 3 * wide)
    return slice(top, picture.shape[0]), slice(max(0, left), max(8, right))


def _hues(picture: cv2.typing.MatLike) -> Image:
    """A calm copy in CIE L*a*b*, hue counting more than light: clothes are shaded, and so are
    walls."""
    calm = cv2.GaussianBlur(picture, (0, 0), 0.7)
    colours = cv2.cvtColor(calm, cv2.COLOR_RGB2LAB).astype(np.float32)
    colours[..., 1:] = (colours[..., 1:] - 128) * 2.5 + 128
    return np.clip(colours, 0, 255).astype(np.uint8)


def _grab(picture: Image, seeds: Matte) -> Matte:
    """GrabCut's answer to these seeds; the seeds where they leave nothing to ask."""
    if len(np.unique(seeds & 1)) < 2:
        return seeds
    mask = seeds.copy()
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # it begins with a k-means: the same picture, the same matte
    cv2.grabCut(picture, mask, (0, 0, 1, 1), *models, 4, cv2.GC_INIT_WITH_MASK)
    return mask


def _seeds(person: NDArray[np.float32], told: NDArray[np.float32], landmarks: Points) -> Matte:
    """What is surely or likely the person: as the network believes where it was asked, elsewhere as
    bodies below a face with such landmarks are.

    Lengths are in face widths (between the temples) and face heights (forehead to chin).
    """
    chin = landmarks[INDEX["chin"]]
    ys, xs = np.mgrid[: person.shape[0], : person.shape[1]].astype(np.float32)
    beside = np.abs(xs - chin[0]) / _wide(landmarks)
    below = (ys - chin[1]) / _tall(landmarks)
    likely = np.interp(below, (0.0, 0.3, 0.6, 1.0, 2.0), (0.0, 0.8, 1.25, 1.5, 1.7), left=-1)
    furthest = np.interp(below, (0.0, 0.3, 0.5, 1.0, 3.0), (1.1, 1.9, 2.6, 3.0, 3.5), left=-1)
    mask = np.full(person.shape, cv2.GC_PR_BGD, np.uint8)
    mask[beside < likely] = cv2.GC_PR_FGD
    mask[beside > furthest] = cv2.GC_BGD
    inside = told > 0
    mask[inside] = np.where(person[inside] > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    mask[inside & (person > _SURE)] = cv2.GC_FGD
    mask[inside & (person < 1 - _SURE)] = cv2.GC_BGD
    return mask


def _tall(landmarks: Points) -> np.float32:
    chin, forehead = landmarks[INDEX["chin"]], landmarks[INDEX["forehead"]]
    return np.float32(max(float(np.hypot(*(chin - forehead))), 1.0))


def _wide(landmarks: Points) -> np.float32:
    """Of a face that is turned too: its width is then foreshortened."""
    right, left = landmarks[INDEX["temple_right"]], landmarks[INDEX["temple_left"]]
    return np.float32(max(float(np.hypot(*(left - right))), 0.65 * float(_tall(landmarks))))


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
