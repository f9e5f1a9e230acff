"""A picture of a face made ready to be animated: read, checked, cropped."""

import hashlib
import stat
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import AvatarError
from models.landmarks import indices
from provenance.consent import Consent, Whose, find_consent, keep_consent
from realtime.crop import Crop, Points
from realtime.face import Face, Tracker
from realtime.frame import Image
from realtime.matte import Matte

LEAST_FACE_PX = 64
"""Faces lower than this (forehead to chin) are refused."""
SMALL_FACE_PX = 128
"""Faces lower than this are used, with a note: the picture will look soft."""
NEUTRAL_GREY = 128
"""Behind the transparent parts of a picture."""
LARGEST_PIXELS = 100_000_000
"""Larger pictures are refused: they would not fit into memory several times."""

LARGEST_BYTES = 200_000_000
"""Larger files are refused unread."""

LARGEST_SQUARE = 1440.0
"""Largest side of the face's square in the whole picture, pixels; larger ones are scaled down."""

TIGHTEST = 0.8
"""Part of the usual crop that an avatar is cut to where the picture ends close to the face."""

_PNG = b"\x89PNG\r\n\x1a\n"
_TEMPLES = indices("temple_right", "temple_left")
_NOSE = indices("nose_bridge")[0]


@dataclass(frozen=True, slots=True)
class Avatar:
    """The still picture that is animated."""

    name: str
    image: Image
    """(S, S, 3) uint8 RGB, the face framed like the driver's."""
    notes: tuple[str, ...] = ()
    """What the user should know before starting, one line each."""
    path: Path | None = None
    """The picture's file; None where there is none."""
    sha256: str = ""
    """Of the picture's file, lower-case hexadecimal."""
    consent: Consent | None = None
    """Whose face it is; None where nobody has said so."""
    full: Image | None = None
    """(H, W, 3) uint8 RGB: the whole picture; None where ``image`` is all there is."""
    crop: Crop | None = None
    """Where ``image`` was cut from ``full``."""
    landmarks: Points | None = None
    """(48, 2) float32: of the face, pixels of ``full``."""
    matte: Matte | None = None
    """(H, W) uint8: the transparency that the picture brought, 255 opaque; None without any."""


def load_avatar(path: Path, tracker: Tracker, size: int) -> Avatar:
    """The picture at ``path`` as (size, size, 3), framed around its largest face.

    Any format that OpenCV reads; turned as its EXIF data say; grey, 16 bit and transparent ones
    too. Raises AvatarError: unreadable, no face, face too small; ConsentError: an answer beside it
    that cannot be understood.
    """
    data = _read(path)
    image, matte = _decode(data, path)
    faces = tracker.find_all(image)
    if not faces:
        raise AvatarError(
            f"{path}: no face found; an avatar needs one face, seen from the front, well lit"
        )
    face = faces[0]
    height = _height(face)
    if height < LEAST_FACE_PX:
        raise AvatarError(
            f"{path}: the face is {height:.0f} pixels high, {LEAST_FACE_PX} are needed; "
            "take a larger picture or one from nearer"
        )
    notes = []
    if len(faces) > 1:
        notes.append(f"{len(faces)} faces found; the largest is used, {_place(face, image)}")
    if height < SMALL_FACE_PX:
        notes.append(f"the face is only {height:.0f} pixels high; the result will look soft")
    if _turn(face) > 0.3:
        notes.append("the face is turned to the side; one that looks ahead moves better")
    crop = Crop.around(face.landmarks).within(image, TIGHTEST)
    digest = hashlib.sha256(data).hexdigest()
    consent = find_consent(path, digest)
    cut, landmarks = crop.cut(image, size), face.landmarks
    if crop.side > LARGEST_SQUARE:  # more than any output shows
        scale = np.float32(LARGEST_SQUARE / crop.side)
        image = _scaled(image, scale)
        matte = None if matte is None else _scaled(matte, scale)
        cx, cy = (np.array([crop.cx, crop.cy]) + 0.5) * scale - 0.5
        crop = Crop(float(cx), float(cy), LARGEST_SQUARE)
        landmarks = np.asarray((landmarks + 0.5) * scale - 0.5, np.float32)
    return Avatar(
        path.stem, cut, tuple(notes), path, digest, consent, image, crop, landmarks, matte
    )


def with_consent(avatar: Avatar, face: Whose, day: date) -> Avatar:
    """The avatar with this answer to whose face it is, given on ``day`` and kept beside the
    picture; the same answer as before keeps its day. Raises ConsentError."""
    if avatar.path is None or (avatar.consent is not None and avatar.consent.face == face):
        return avatar
    consent = Consent(face, day.isoformat(), avatar.sha256)
    keep_consent(avatar.path, consent)
    return replace(avatar, consent=consent)


def read_picture(path: Path) -> Image:
    """A picture file as (H, W, 3) uint8 RGB, grey behind what is transparent. Raises
    AvatarError."""
    return _decode(_read(path), path)[0]


def _read(path: Path) -> bytes:
    try:
        info = path.stat()
        if stat.S_ISREG(info.st_mode) and info.st_size > LARGEST_BYTES:
            raise AvatarError(f"{path}: {info.st_size // 10**6} MB are too many; make it smaller")
        if not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
            raise AvatarError(f"{path}: this is no file but a device; name a picture of a face")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise AvatarError(f"{path}: there is no such file; name a picture of a face") from error
    except IsADirectoryError as error:
        raise AvatarError(f"{path}: this is a folder; name a picture in it") from error
    except OSError as error:
        raise AvatarError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a name with a zero byte
        raise AvatarError(f"{str(path)!r} is no name of a file; name a picture") from error
    if not data:
        raise AvatarError(f"{path}: the file is empty; copy or download the picture again")
    return data


def _decode(data: bytes, path: Path) -> tuple[Image, Matte | None]:
    """The picture, and its transparency where it has any."""
    buffer = np.frombuffer(data, np.uint8)
    if data[:8] == _PNG and not _is_whole_png(data):
        raise AvatarError(f"{path}: a damaged PNG; copy or download the picture again")
    try:
        # UNCHANGED keeps transparency and 16 bit, but does not turn by EXIF; COLOR does.
        raw = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
        if raw is not None and (raw.ndim == 2 or raw.shape[2] != 4):
            raw = cv2.imdecode(buffer, cv2.IMREAD_COLOR)
    except cv2.error as error:  # e.g. a header that promises more pixels than OpenCV allows
        raise AvatarError(f"{path} cannot be decoded: {error.err or 'too large'}") from error
    if raw is None:
        raise AvatarError(
            f"{path}: not a picture that can be read, or damaged; JPEG, PNG, WebP, BMP and TIFF are"
        )
    if raw.shape[0] * raw.shape[1] > LARGEST_PIXELS:
        raise AvatarError(
            f"{path}: {raw.shape[1]} x {raw.shape[0]} pixels are too many; make it smaller"
        )
    return _rgb(np.asarray(raw))


def _is_whole_png(data: bytes) -> bool:
    """Whether each chunk ends within the file: OpenCV takes memory for what a length says, up to
    4 GB, before it looks."""
    at = len(_PNG)
    while at + 12 <= len(data):
        kind = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"IEND":
            return at <= len(data)
    return False


def _scaled(image: NDArray[np.uint8], scale: np.float32) -> NDArray[np.uint8]:
    size = [max(1, round(side * float(scale))) for side in reversed(image.shape[:2])]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _rgb(raw: NDArray[Any]) -> tuple[Image, Matte | None]:
    """(H, W, 3) BGR or (H, W, 4) BGRA of any depth -> (H, W, 3) uint8 RGB, and its transparency."""
    if raw.dtype == np.uint16:
        raw = np.asarray(cv2.convertScaleAbs(raw, alpha=255 / 65535))
    elif raw.dtype != np.uint8:
        top = np.iinfo(raw.dtype).max if np.issubdtype(raw.dtype, np.integer) else 1.0
        levels = raw.astype(np.float32)
        levels *= 255 / top
        np.nan_to_num(levels, copy=False)
        np.clip(levels, 0, 255, out=levels)
        raw = np.rint(levels, out=levels).astype(np.uint8)
    if raw.shape[2] == 3:
        return np.asarray(cv2.cvtColor(raw, cv2.COLOR_BGR2RGB), np.uint8), None
    matte = np.ascontiguousarray(raw[..., 3], np.uint8)
    cover = cv2.merge((matte, matte, matte))
    front = cv2.multiply(cv2.cvtColor(raw, cv2.COLOR_BGRA2RGB), cover, scale=1 / 255)
    back = cv2.convertScaleAbs(cv2.bitwise_not(cover), alpha=NEUTRAL_GREY / 255)
    return np.asarray(cv2.add(front, back), np.uint8), matte if matte.min() < 255 else None


def _height(face: Face) -> float:
    return Crop.around(face.landmarks, 1.0).side


def _place(face: Face, image: Image) -> str:
    third = int(np.clip(3 * Crop.around(face.landmarks).cx / image.shape[1], 0, 2))
    return ("on the left", "in the middle", "on the right")[third]


def _turn(face: Face) -> float:
    """How far the nose bridge stands from the middle of the temples, in halves of their distance:
    0 ahead, 1 in profile."""
    right, left = face.landmarks[_TEMPLES]
    across = left - right
    middle = face.landmarks[_NOSE] - (right + left) / 2
    return float(abs(middle @ across) / max(float(across @ across), 1e-6) * 2)
