import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_face import SKIN, SkinNetwork, draw_face, face

from config.errors import AvatarError
from config.schema import TrackingSettings
from realtime.avatar import load_avatar, read_picture
from realtime.crop import CROP_RATIO, Crop
from realtime.face import Face, LandmarkTracker


def tracker() -> LandmarkTracker:
    return LandmarkTracker(SkinNetwork(), TrackingSettings())


def picture(*faces: tuple[float, float, float], size: tuple[int, int] = (480, 640)) -> np.ndarray:
    image = np.full((*size, 3), 120, np.uint8)
    for x, y, height in faces:
        draw_face(image, (x, y), height)
    return image


def saved(path: Path, image: np.ndarray) -> Path:
    """``image`` RGB(A) or grey, written as OpenCV does."""
    order = {2: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    code = order[image.ndim if image.ndim == 2 else image.shape[2]]
    assert cv2.imwrite(str(path), image if code is None else cv2.cvtColor(image, code))
    return path


def skin_box(image: np.ndarray) -> tuple[float, float, float]:
    """Centre and height of the skin in a picture, parts of its side."""
    ys, xs = np.nonzero(np.abs(image.astype(int) - SKIN).max(axis=2) < 25)
    size = image.shape[0]
    return (
        (xs.min() + xs.max()) / 2 / size,
        (ys.min() + ys.max()) / 2 / size,
        (np.ptp(ys) + 1) / size,
    )


def test_the_face_is_framed_like_the_drivers(tmp_path: Path) -> None:
    avatar = load_avatar(saved(tmp_path / "anna.png", picture((400, 200, 220))), tracker(), 256)
    assert avatar.name == "anna"
    assert avatar.notes == ()
    assert avatar.image.shape == (256, 256, 3)
    assert avatar.image.dtype == np.uint8
    x, y, height = skin_box(avatar.image)
    assert (x, y) == pytest.approx((0.5, 0.5), abs=0.03)
    assert height == pytest.approx(1 / CROP_RATIO, abs=0.04)


def test_a_crop_beyond_the_picture_repeats_its_edge(tmp_path: Path) -> None:
    image = picture((150, 110, 190), size=(230, 300))
    avatar = load_avatar(saved(tmp_path / "tight.png", image), tracker(), 128)
    assert (np.abs(avatar.image[:2].astype(int) - 120) <= 1).all()
    assert skin_box(avatar.image)[:2] == pytest.approx((0.5, 0.5), abs=0.03)


def test_colours_are_kept_and_red_is_not_blue(tmp_path: Path) -> None:
    image = picture((320, 240, 300))
    image[:40] = (250, 10, 20)
    np.testing.assert_array_equal(read_picture(saved(tmp_path / "a.png", image)), image)


def test_grey_16_bit_and_transparent_pictures_are_read(tmp_path: Path) -> None:
    image = picture((320, 240, 300))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    np.testing.assert_array_equal(
        read_picture(saved(tmp_path / "grey.png", grey)), np.stack([grey] * 3, -1)
    )
    deep = read_picture(saved(tmp_path / "deep.png", image.astype(np.uint16) * 257))
    assert np.abs(deep.astype(int) - image).max() <= 1
    for depth in (np.uint8, np.uint16):
        top = np.iinfo(depth).max
        cover = np.zeros((480, 640, 1), depth)
        cover[:, 320:] = top
        clear = np.concatenate([image.astype(depth) * (top // 255), cover], axis=2)
        found = read_picture(saved(tmp_path / "clear.png", clear))
        np.testing.assert_array_equal(found[:, :320], 128)
        assert np.abs(found[:, 320:].astype(int) - image[:, 320:]).max() <= 1


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF block that has one entry, the orientation (tag 0x0112)."""
    tiff = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1)
    tiff += struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0) + struct.pack("<I", 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def test_a_picture_from_a_phone_stands_upright(tmp_path: Path) -> None:
    upright = picture((320, 240, 300))
    lying = cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(lying, cv2.COLOR_RGB2BGR))
    path = tmp_path / "phone.jpg"
    path.write_bytes(with_orientation(jpeg.tobytes(), 6))
    found = read_picture(path)
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 3


def test_no_face_is_told(tmp_path: Path) -> None:
    with pytest.raises(AvatarError, match=r"empty\.png: no face found"):
        load_avatar(saved(tmp_path / "empty.png", picture()), tracker(), 256)


class Sees(LandmarkTracker):
    """A tracker that sees one face of a given height."""

    def __init__(self, height: float, **look: float) -> None:
        landmarks = face((320, 240), height / 1.15, **look)
        self.face = Face(landmarks, 1.0, Crop.around(landmarks))

    def find_all(self, image: np.ndarray) -> list[Face]:
        return [self.face]


def test_a_face_that_is_too_small_is_refused_and_a_small_one_noted(tmp_path: Path) -> None:
    path = saved(tmp_path / "far.png", picture())
    with pytest.raises(AvatarError, match=r"the face is 5\d pixels high, 64 are needed"):
        load_avatar(path, Sees(55), 256)
    (note,) = load_avatar(path, Sees(100), 256).notes
    assert "soft" in note
    assert load_avatar(path, Sees(200), 256).notes == ()


def test_a_face_in_half_profile_is_noted(tmp_path: Path) -> None:
    path = saved(tmp_path / "side.png", picture())
    (note,) = load_avatar(path, Sees(200, yaw=35), 256).notes
    assert "turned to the side" in note
    assert load_avatar(path, Sees(200, yaw=10), 256).notes == ()


def test_of_several_faces_the_largest_is_used_and_said(tmp_path: Path) -> None:
    image = picture((90, 120, 120), (410, 250, 240), (90, 380, 120))
    avatar = load_avatar(saved(tmp_path / "family.png", image), tracker(), 256)
    assert avatar.notes == ("3 faces found; the largest is used, in the middle",)
    assert skin_box(avatar.image)[2] == pytest.approx(1 / CROP_RATIO, abs=0.05)


def test_files_that_are_no_pictures_are_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello", encoding="utf-8")
    whole = saved(tmp_path / "whole.png", picture((320, 240, 300))).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:40])
    (tmp_path / "folder").mkdir()
    for name, message in {
        "empty.jpg": "the file is empty",
        "text.jpg": "not a picture",
        "cut.png": "a damaged PNG",
        "folder": "this is a folder",
        "missing.jpg": "no such file",
    }.items():
        with pytest.raises(AvatarError, match=message) as told:
            load_avatar(tmp_path / name, tracker(), 256)
        assert "\n" not in str(told.value)
        assert name in str(told.value)
