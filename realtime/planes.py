"""Pictures as the live path has them, and as the networks take them.

A picture is (S, S, 3) uint8 RGB. Planes are (1, 3, S, S) float32 RGB 0..1.
"""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import EngineError
from models.bundle import Bundle
from models.keypoints import Keypoints
from realtime.carry import Carry
from realtime.crop import READ_RATIO, Crop
from realtime.frame import Image

Planes = NDArray[np.float32]


def empty_planes(side: int) -> Planes:
    """Planes to write into, kept from frame to frame."""
    return np.empty((1, 3, side, side), np.float32)


def fill_planes(planes: Planes, picture: Image) -> None:
    """Write ``picture`` into ``planes``. Raises EngineError where size or type do not fit."""
    check_picture(picture, planes.shape[-1])
    np.divide(picture.transpose(2, 0, 1), np.float32(255), out=planes[0], dtype=np.float32)


def check_picture(picture: Image, side: int) -> None:
    """Raises EngineError where ``picture`` is not (side, side, 3) uint8."""
    if picture.shape != (side, side, 3) or picture.dtype != np.uint8:
        raise EngineError(
            f"the network takes ({side}, {side}, 3) uint8 pictures, "
            f"found {picture.shape} {picture.dtype}"
        )


def resized(picture: Image, side: int) -> Image:
    """``picture`` as (side, side, 3), averaged where it gets smaller."""
    if picture.shape[0] == side:
        return picture
    how = cv2.INTER_AREA if side < picture.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (side, side), interpolation=how), np.uint8)


def still_keypoints(
    read: Callable[[Image], tuple[Keypoints, float]], picture: Image, bundle: Bundle
) -> Keypoints:
    """Keypoints of a whole picture (S, S, 3), in -1..1 of it, by an engine's ``keypoints``.

    Landmarks are read a second time, as near as a driver's.
    """
    found, _ = read(resized(picture, bundle.keypoint_size))
    if not bundle.landmarks:
        return found
    whole = Crop.whole(picture)
    near = Crop.around(whole.to_frame(found.value), READ_RATIO)
    found, _ = read(near.cut(picture, bundle.keypoint_size))
    return whole.keypoints_from_frame(near.keypoints_to_frame(found))


def to_keypoints(
    results: Mapping[str, NDArray[np.float32]], bundle: Bundle
) -> tuple[Keypoints, float]:
    """A keypoint graph's results, copied, and its confidence (1.0 where it does not tell). Raises
    EngineError where they are no numbers."""
    # Copies: the next run may write into the same memory.
    value, jacobian = (results[name][0].copy() for name in ("value", "jacobian"))
    if not (np.isfinite(value).all() and np.isfinite(jacobian).all()):
        raise EngineError(
            f"bundle {bundle.path}: the keypoints are no numbers; export the bundle again"
        )
    presence = results.get("presence")
    return Keypoints(value, jacobian), 1.0 if presence is None else float(presence[0])


def finish(
    results: Mapping[str, NDArray[np.float32]],
    carrier: Carry,
    keypoints: Keypoints | None = None,
) -> Image:
    """The picture of a frame graph's results, by the names of ``models.bundle``. ``keypoints``:
    those that it was given, for a carrier that knows the avatar's."""
    if "image" in results:
        return to_picture(results["image"])
    if "rgba" not in results:
        raise EngineError("this bundle is of an older puppetcam; export its checkpoint again")
    rgba = results["rgba"][0]
    value = None if keypoints is None else keypoints.value
    return carrier(results["displacement"][0], rgba[:3], rgba[3:], value)


def to_picture(planes: Planes) -> Image:
    """A fresh picture of ``planes``, clipped to 0..1 and rounded. ``planes`` is used up."""
    with np.errstate(over="ignore", invalid="ignore"):  # networks that are no good
        np.multiply(planes, 255, out=planes)
        np.rint(planes, out=planes)
        np.clip(planes, 0, 255, out=planes)
        levels = planes[0].astype(np.uint8)
    return np.asarray(cv2.merge(tuple(levels)), np.uint8)
