"""Material and pairs of training: read right, cut out, moved as said."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from config.errors import SettingsError  # noqa: E402
from models.landmarks import COUNT, NAMES  # noqa: E402
from training import pairs  # noqa: E402
from training.data import SIZE, Portraits, load_clips, load_portraits  # noqa: E402
from training.matte import SMALL, mattes  # noqa: E402


def test_drawn_landmarks_lie_on_the_drawn_eyes(drawn: list) -> None:
    irises = [list(NAMES).index("right_iris"), list(NAMES).index("left_iris")]
    for clip in drawn:
        assert clip.images.shape == (4, SIZE, SIZE, 3)
        opening = pairs.eye_opening(clip.landmarks)
        for image, points, opened in zip(clip.images, clip.landmarks, opening, strict=True):
            if opened < 0.25:
                continue
            for x, y in points[irises].astype(int):
                pupil = image[y - 3 : y + 4, x - 3 : x + 4].mean(-1).min()
                cheek = image[y + 18 : y + 26, x - 4 : x + 5].mean()
                assert pupil < 70
                assert pupil < cheek


def test_portraits_and_clips_are_read_with_their_landmarks(tmp_path: Path, drawn: list) -> None:
    folder = tmp_path / "portraits"
    folder.mkdir()
    mesh = np.full((1, 478, 3), -1, np.float16)
    # Files count from the picture's corner, landmarks from the first pixel's centre.
    mesh[0, list(NAMES.values()), :2] = drawn[0].landmarks[0] + 0.5
    np.savez(folder / "landmarks.npz", names=np.array(["one"]), lm=mesh)
    bgr = cv2.cvtColor(drawn[0].images[0], cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / "one.jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, 98])
    read = load_portraits(folder)
    assert np.abs(read.landmarks[0] - drawn[0].landmarks[0]).max() < 0.2  # float16
    assert np.abs(read.images[0].astype(int) - drawn[0].images[0]).mean() < 3

    clips = tmp_path / "clips"
    (clips / "talk").mkdir(parents=True)
    _write_video(clips / "talk" / "video.mp4", drawn[0].images)
    quantized = np.zeros((4, 478, 3), np.int16)
    quantized[:, list(NAMES.values()), :2] = np.round((drawn[0].landmarks + 0.5) * 16)
    valid = np.array([1, 0, 1, 1])
    np.savez(clips / "talk" / "landmarks.npz", lm_q=quantized, scale=1 / 16, valid=valid)
    with (clips / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["name", "identity"])
        writer.writeheader()
        writer.writerow({"name": "talk", "identity": "somebody"})
    (clip,) = load_clips(clips)
    assert clip.identity == "somebody"
    assert len(clip.images) == 3
    assert np.abs(clip.landmarks - drawn[0].landmarks[[0, 2, 3]]).max() <= 1 / 32 + 1e-6
    assert np.abs(clip.images[1].astype(int) - drawn[0].images[2]).mean() < 6


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"landmarks\.npz"):
        load_portraits(tmp_path)
    with pytest.raises(SettingsError, match="no clips in"):
        load_clips(tmp_path)


def test_mattes_have_the_face_and_are_made_once(tmp_path: Path, portraits: Portraits) -> None:
    made = mattes(portraits, tmp_path / "run" / "mattes.npy")
    for cut, points in zip(made, portraits.landmarks, strict=True):
        x, y = (points * SMALL / SIZE).astype(int).T
        assert (cut[y, x] > 127).mean() > 0.95
        assert (cut[:6, :6] < 128).all()
    np.save(tmp_path / "run" / "mattes.npy", made[:1])
    assert len(mattes(portraits, tmp_path / "run" / "mattes.npy")) == 1


def test_warped_portraits_never_open_a_mouth(portraits: Portraits, drawn: list) -> None:
    material = pairs.gather(portraits, mattes(portraits), drawn, [])
    rng = np.random.default_rng(0)
    for _ in range(30):
        chosen = int(rng.integers(len(portraits.images)))
        points = portraits.landmarks[chosen]
        motion = (drawn[0].landmarks[0], drawn[0].landmarks[1])
        target = pairs._moved(points, portraits.depth[chosen], motion, rng)
        assert pairs.mouth_opening(target) <= pairs.mouth_opening(points) + 0.01
    assert list(material.open_mouths)
    assert (pairs.mouth_opening(portraits.landmarks)[material.open_mouths] > pairs.OPEN).all()
    avatar, driving, start, end, true = pairs.batch(material, rng, 3)
    assert avatar.shape == driving.shape == (3, 3, SIZE, SIZE)
    assert start.shape == end.shape == (3, COUNT, 2)
    assert true.shape == (3, 1, SIZE, SIZE)
    assert float(avatar.min()) >= 0
    assert float(avatar.max()) <= 1


def test_a_moved_portrait_often_has_its_mouth_shut(portraits: Portraits, drawn: list) -> None:
    rng = np.random.default_rng(0)
    chosen = int(np.argmax(pairs.mouth_opening(portraits.landmarks)))
    image, points = portraits.images[chosen], portraits.landmarks[chosen]
    motion = (drawn[0].landmarks[0], drawn[0].landmarks[1])
    kept = []
    for _ in range(30):
        _, target = pairs.moved_portrait(image, points, portraits.depth[chosen], motion, rng)
        kept.append(pairs.mouth_opening(target) / pairs.mouth_opening(points))
    assert max(kept) < 1.3
    assert 5 < np.sum(np.array(kept) < 0.1) < 20
    assert 5 < np.sum(np.array(kept) > 0.7) < 20


def test_portraits_that_show_teeth_are_mostly_what_a_shut_mouth_opens_to(
    portraits: Portraits, drawn: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.pairs.CLIP_SHARE", 0.0)
    monkeypatch.setattr("training.pairs.OPEN_SHARE", 1.0)
    material = pairs.gather(portraits, mattes(portraits), drawn, [])
    rng = np.random.default_rng(0)
    opened = []
    for _ in range(40):
        _, _, start, end, _ = pairs.pair(material, rng)
        openings = pairs.mouth_opening(np.stack([start, end]))
        assert openings.max() > pairs.OPEN
        opened.append(openings[1] > 2 * openings[0])
    assert 0.4 < np.mean(opened) < 0.9


def _write_video(path: Path, images: np.ndarray) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 25)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "10"}
        for image in images:
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
