"""Pairs of avatar and driving picture of one person, from clips and from warped portraits.

A clip gives true pairs, but of some twenty people; blinks and open mouths are rare in it, so they
are drawn on purpose. A portrait gives a pair by warping it: thousands of people, but no warp can
open a mouth. So the warped picture is always the one with the mouth more closed, and where the
portrait shows teeth it is mostly the avatar: the network must paint what it cannot see.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.head import around_face
from models.landmarks import INDEX
from training.data import SIZE, Clip, Portraits, flipped
from training.expression import (
    BELOW_MOUTH,
    BROWS,
    EYE_CORNERS,
    GAZE_READ,
    INNER_LOWER,
    INNER_UPPER,
    IRISES,
    LOWER_LIDS,
    UPPER_LIDS,
    as_read,
    blinks,
    eye_opening,
    mouth_opening,
)
from training.gaze import turn_gaze
from training.lids import shut_eyes
from training.lips import shut_mouth
from training.warp import thin_plate_warp

Rng = np.random.Generator
Points = NDArray[np.float32]
Picture = NDArray[np.uint8]

CLIP_SHARE = 0.6
"""Share of pairs that come from clips."""
CUT_OUT_SHARE = 0.65
"""Share of the portraits that are set before another background."""
OPEN_SHARE = 0.5
"""Share of open mouths among the portraits; in those the warped one is mostly the avatar."""
OPEN = 0.06
"""Opening from which a mouth shows what is inside, in distances of the outer eye corners."""
WIDE_SHARE = 0.4
"""Of the portraits whose eyes are to shut, how many open them wider before."""
WARP_CELLS = 32
GAZE_SHARE = {"clip": 0.2, "portrait": 0.6}
"""Share of pairs in which the gaze is turned."""

DRAWN_SHARE = 0.22
"""Share of drawn faces among those."""


@dataclass(frozen=True, slots=True)
class Moving:
    """A clip with the frames that are worth drawing more often."""

    clip: Clip
    blinks: NDArray[np.intp]
    open_mouths: NDArray[np.intp]
    far: NDArray[np.intp]
    """Frames whose pose is far from the clip's mean."""


@dataclass(frozen=True, slots=True)
class Material:
    """What pairs are made of."""

    clips: list[Moving]
    weights: NDArray[np.float64]
    portraits: Portraits
    mattes: NDArray[np.uint8]
    """Of the portraits, as ``training.matte`` makes them."""
    open_mouths: NDArray[np.intp]
    """Portraits that show the inside of the mouth."""


def gather(
    portraits: Portraits, mattes: NDArray[np.uint8], clips: list[Clip], drawn: list[Clip]
) -> Material:
    """Sort the material; people with more frames weigh more, but only by the square root."""
    weights: list[NDArray[np.float64]] = []
    for share, group in ((1 - DRAWN_SHARE, clips), (DRAWN_SHARE, drawn)):
        people = Counter[str]()
        for clip in group:
            people[clip.identity] += len(clip.images)
        weight = np.array([len(c.images) / people[c.identity] ** 0.5 for c in group])
        weights.append(share * weight / max(float(weight.sum()), 1e-9))
    total = np.concatenate(weights)
    moving = [_moving(clip) for clip in [*clips, *drawn]]
    open_mouths = np.flatnonzero(mouth_opening(portraits.landmarks) > OPEN)
    return Material(moving, total / total.sum(), portraits, mattes, open_mouths)


def _moving(clip: Clip) -> Moving:
    points = clip.landmarks
    mouth = mouth_opening(points)
    away = np.linalg.norm(points - points.mean(0), axis=-1).mean(-1)
    return Moving(
        clip,
        blinks(points),
        np.flatnonzero(mouth > max(0.06, float(np.percentile(mouth, 80)))),
        np.flatnonzero(away > np.percentile(away, 80)),
    )


def pair(
    material: Material, rng: Rng
) -> tuple[Picture, Picture, Points, Points, NDArray[np.float32]]:
    """avatar, driving (256, 256, 3), their landmarks in pixels, and where they are true."""
    if rng.random() < CLIP_SHARE:
        moving = material.clips[rng.choice(len(material.clips), p=material.weights)]
        clip = moving.clip
        first = int(rng.integers(len(clip.images)))
        groups = [moving.blinks, moving.open_mouths, moving.far]
        group = groups[rng.choice(3, p=[0.3, 0.4, 0.3])] if rng.random() < 0.75 else groups[0][:0]
        second = int(rng.choice(group)) if len(group) else int(rng.integers(len(clip.images)))
        if len(group) and rng.random() < 0.25:
            first, second = second, first
        image, points = clip.images[second], clip.landmarks[second]
        if rng.random() < GAZE_SHARE["clip"]:
            image, turned = turn_gaze(image, points, *_gaze(rng))
            points = as_read(points, turned, GAZE_READ)
        true = np.ones((SIZE, SIZE), np.float32)
        return clip.images[first], image, clip.landmarks[first], points, true
    return _portrait_pair(material, rng)


def _portrait_pair(
    material: Material, rng: Rng
) -> tuple[Picture, Picture, Points, Points, NDArray[np.float32]]:
    open_mouth = len(material.open_mouths) > 0 and rng.random() < OPEN_SHARE
    chosen = int(
        rng.choice(material.open_mouths)
        if open_mouth
        else rng.integers(len(material.portraits.images))
    )
    image, points = material.portraits.images[chosen], material.portraits.landmarks[chosen]
    motion = _some_motion(material, rng)
    before, after = eye_opening(motion[0]), eye_opening(motion[1])
    opening = float(np.clip(after / max(float(before), 0.05), 0, 1))
    if rng.random() < 0.3:
        opening = float(rng.uniform(0, 0.4))
    other, looking = image, points
    if rng.random() < GAZE_SHARE["portrait"]:
        other, looking = turn_gaze(image, points, *_gaze(rng))
    other, lidded = shut_eyes(other, looking, opening)
    lidded = as_read(points, looking, GAZE_READ) + (lidded - looking)
    kept = float(rng.choice([0.0, rng.uniform(), 1.0], p=[0.6, 0.3, 0.1]))
    depth = material.portraits.depth[chosen]
    other, shut, target = _shut_and_moved(other, lidded, depth, kept, motion, rng)
    start, end = _knots(points, shut, target, depth)
    swap = rng.random() < (0.8 if open_mouth else 0.5)
    if not swap and opening < 0.5 and rng.random() < WIDE_SHARE:
        image, points = shut_eyes(image, points, float(rng.uniform(1, 1.4)))
    if rng.random() < CUT_OUT_SHARE:
        alpha = _soft(material.mattes[chosen])
        behind = _background(material, rng)
        both = np.dstack([other, (255 * alpha).astype(np.uint8)])
        # Hair goes along with the head, to the picture's edge; shoulders do in part.
        shift = (end - start)[len(points) :].mean(0)
        edges = np.stack([shift, shift * rng.uniform(0.1, 0.7)])
        bent = thin_plate_warp(both, start, end, WARP_CELLS, edges)
        warped = _over(bent[..., :3], bent[..., 3] / 255, behind)
        image, true_outside = _over(image, alpha, behind), 0.6
    else:
        # The background that a warp drags along is not to be learnt.
        warped, true_outside = thin_plate_warp(other, start, end, WARP_CELLS), 0.1
    final = points if swap else target
    return (
        warped if swap else image,
        image if swap else warped,
        target if swap else points,
        final,
        _face_mask(final, true_outside),
    )


def moved_portrait(
    image: Picture, points: Points, depth: Points, motion: tuple[Points, Points], rng: Rng
) -> tuple[Picture, Points]:
    """A portrait (256, 256, 3), its landmarks (48, 2) and their depth (48,) in pixels, turned and
    moved as between two faces of a film, its mouth often shut in part or altogether."""
    kept = float(rng.choice([0.0, rng.uniform(), 1.0]))
    image, shut, target = _shut_and_moved(image, points, depth, kept, motion, rng)
    start, end = _knots(points, shut, target, depth)
    return thin_plate_warp(image, start, end, WARP_CELLS), target


def _shut_and_moved(
    image: Picture,
    points: Points,
    depth: Points,
    kept: float,
    motion: tuple[Points, Points],
    rng: Rng,
) -> tuple[Picture, Points, Points]:
    """The picture with ``kept`` (0..1) of its mouth's opening, its landmarks, and where they go."""
    image, shut = shut_mouth(image, points, kept)
    target = _moved(shut, depth, motion, rng)
    # Lips close by the jaw, or without it.
    target[INDEX["chin"]] -= (points - shut)[INNER_LOWER].mean(0) * rng.uniform(0, 1)
    return image, shut, target


def _gaze(rng: Rng) -> tuple[float, float]:
    right, down = rng.normal(0, (0.14, 0.04))
    return float(right), float(down)


def _knots(points: Points, start: Points, target: Points, depth: Points) -> tuple[Points, Points]:
    """What a warp takes where: landmarks from ``start`` to ``target``, and hair and ears, which lie
    around the landmarks ``points`` as they were, along with the head."""
    around = around_face(points).astype(np.float32)
    # From ``start``: what shut lids or lips is no movement of the head.
    there = _with_head(start, target, depth, around)
    return np.vstack([start, around]), np.vstack([target, there])


def _with_head(points: Points, target: Points, depth: Points, around: Points) -> Points:
    """Where ``around`` goes if it lies half-way back to the temples and moves as the head does."""
    rows = np.column_stack([np.ones(len(points)), points, depth])
    moves = np.linalg.lstsq(rows, target.astype(np.float64), rcond=None)[0]
    temples = depth[[INDEX["temple_right"], INDEX["temple_left"]]].mean()
    back = np.full(len(around), (temples + depth[INDEX["forehead"]]) / 2)
    return np.asarray(np.column_stack([np.ones(len(around)), around, back]) @ moves, np.float32)


def _soft(matte: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A matte at full size, 0..1, a little inside of its edge, where no background shines in."""
    large = cv2.resize(matte, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    smooth = cv2.GaussianBlur(large, (0, 0), 2.0).astype(np.float32) / 255
    return np.asarray(np.clip((smooth - 0.45) / 0.4, 0, 1), np.float32)


def _over(image: Picture, alpha: NDArray[Any], behind: Picture) -> Picture:
    return np.asarray(behind + (image.astype(np.float32) - behind) * alpha[..., None], np.uint8)


def _background(material: Material, rng: Rng) -> Picture:
    """A corner of somebody's portrait, enlarged, often with straight things in it."""
    images = material.portraits.images
    image, side = images[int(rng.integers(len(images)))], int(rng.integers(40, 90))
    corner = image[:side, :side] if rng.random() < 0.5 else image[:side, -side:]
    behind = cv2.resize(corner, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    for _ in range(int(rng.integers(0, 7)) if rng.random() < 0.6 else 0):
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        one, two = rng.integers(-40, SIZE + 40, (2, 2))
        if rng.random() < 0.5:
            cv2.rectangle(behind, one.tolist(), two.tolist(), colour, int(rng.choice([-1, 2, 5])))
        else:
            cv2.line(behind, one.tolist(), two.tolist(), colour, int(rng.integers(1, 7)))
    if rng.random() < 0.6:
        behind = cv2.GaussianBlur(behind, (0, 0), float(rng.uniform(0.5, 4)))
    return np.asarray(behind, np.uint8)


def _some_motion(material: Material, rng: Rng) -> tuple[Points, Points]:
    clip = material.clips[rng.choice(len(material.clips), p=material.weights)].clip
    first, second = rng.integers(0, len(clip.images), 2)
    return clip.landmarks[first], clip.landmarks[second]


def _moved(points: Points, depth: Points, motion: tuple[Points, Points], rng: Rng) -> Points:
    """Where a portrait's landmarks go: a turn in 3-D, a real change of expression, the mouth."""
    before, after = motion
    centre = points.mean(0)
    yaw, pitch = np.deg2rad(np.clip(rng.normal(0, (6, 4.5)) * rng.choice([1, 1.8]), -22, 22))
    solid = np.concatenate([points - centre, (depth - depth.mean())[:, None]], 1)
    turn_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    turn_x = np.array(
        [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    )
    turned = solid @ turn_y.T @ turn_x.T
    scale = np.ptp(points, 0).mean() / max(1.0, float(np.ptp(before, 0).mean()))
    expression = (after - before) - _rigid_part(before, after)
    moved = turned[:, :2] + expression * scale * rng.uniform(0.4, 1.0)
    # Lids are shut already where they should be: here they only go along.
    moved[UPPER_LIDS] = moved[LOWER_LIDS] + points[UPPER_LIDS] - points[LOWER_LIDS]
    # The gaze is turned already too.
    eyes = np.array(EYE_CORNERS).reshape(2, 2)
    moved[IRISES] = moved[eyes].mean(1) + points[IRISES] - points[eyes].mean(1)
    # Brows are raised and drawn down, either a little by itself: people who talk seldom do.
    lift = rng.normal(0, 0.02) + np.repeat(rng.normal(0, 0.008, 2), 3)
    moved[BROWS] += lift[:, None] * (points[INDEX["forehead"]] - points[INDEX["chin"]])
    # The mouth is shut as far as it should be.
    shift = (points[INNER_LOWER] - points[INNER_UPPER]) - (moved[INNER_LOWER] - moved[INNER_UPPER])
    moved[INNER_LOWER] += shift
    moved[BELOW_MOUTH] += shift.mean(0)
    angle, zoom = np.deg2rad(rng.normal(0, 7)), rng.uniform(0.92, 1.08)
    roll = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(moved @ roll.T + centre + rng.normal(0, 7, 2), np.float32)


def _rigid_part(before: Points, after: Points) -> Points:
    """The affine part of a motion, least squares: what a turn of the head does."""
    homogeneous = np.concatenate([before, np.ones((len(before), 1), np.float32)], 1)
    affine = np.linalg.lstsq(homogeneous, after, rcond=None)[0]
    return np.asarray(homogeneous @ affine - before, np.float32)


def _face_mask(points: Points, outside: float) -> NDArray[np.float32]:
    """1 on the face, ``outside`` elsewhere."""
    hull = cv2.convexHull(points).reshape(-1, 2)
    hull = (hull - hull.mean(0)) * 1.12 + hull.mean(0)
    mask = np.zeros((SIZE, SIZE), np.float32)
    cv2.fillConvexPoly(mask, hull.astype(np.int32), 1.0)
    return np.asarray(outside + (1 - outside) * cv2.GaussianBlur(mask, (0, 0), 5), np.float32)


def batch(material: Material, rng: Rng, size: int) -> tuple[Tensor, ...]:
    """avatar, driving (B, 3, H, W), landmarks of both in -1..1, their truth (B, 1, H, W)."""
    columns: list[list[NDArray[np.float32]]] = [[], [], [], [], []]
    for _ in range(size):
        for column, value in zip(columns, _augmented(*pair(material, rng), rng), strict=True):
            column.append(value)
    return tuple(torch.from_numpy(np.stack(column)) for column in columns)


def _augmented(
    avatar: Picture,
    driving: Picture,
    start: Points,
    end: Points,
    true: NDArray[np.float32],
    rng: Rng,
) -> tuple[NDArray[np.float32], ...]:
    """The same flip, crop and colours for both pictures of a pair."""
    flip = rng.random() < 0.5
    angle, zoom = float(rng.uniform(-8, 8)), float(rng.uniform(0.88, 1.2))
    matrix = np.array(cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), angle, zoom))
    matrix[:, 2] = matrix[:, 2] + rng.uniform(-14, 14, 2)
    gain, lift = rng.uniform(0.7, 1.3), rng.uniform(-0.12, 0.12)
    tint = rng.uniform(0.85, 1.15, 3).astype(np.float32)

    def picture(image: NDArray[Any], border: int) -> NDArray[np.float32]:
        image = np.ascontiguousarray(image[:, ::-1]) if flip else image
        out = cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=border)
        return np.asarray(out, np.float32)

    def colours(image: NDArray[np.float32]) -> NDArray[np.float32]:
        x = ((image / 255 - 0.5) * gain + 0.5 + lift) * tint
        return np.clip(x, 0, 1).transpose(2, 0, 1).astype(np.float32)

    def points(value: Points) -> NDArray[np.float32]:
        if flip:
            value = flipped(value, SIZE)
        return np.asarray((value @ matrix[:, :2].T + matrix[:, 2]) / (SIZE - 1) * 2 - 1, np.float32)

    return (
        colours(picture(avatar, cv2.BORDER_REFLECT_101)),
        colours(picture(driving, cv2.BORDER_REFLECT_101)),
        points(start),
        points(end),
        picture(true, cv2.BORDER_REPLICATE)[None],
    )
