"""Own pictures and films become what training reads: cut out, with landmarks on the face."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bundle_landmarker import BundleLandmarker
from performed import blank, faces, write_avatar, write_video

torch = pytest.importorskip("torch")

from config.errors import SettingsError, SinkError  # noqa: E402
from config.schema import Settings  # noqa: E402
from drawing.moment import Moment  # noqa: E402
from models.bundle import DEFAULT  # noqa: E402
from models.landmarks import NAMES  # noqa: E402
from realtime.engine import open_engine  # noqa: E402
from realtime.face import Tracker, open_tracker  # noqa: E402
from realtime.performer import draw, perform, random_appearance  # noqa: E402
from realtime.video import VideoFile  # noqa: E402
from training.data import SIZE, load_clips, load_portraits  # noqa: E402
from training.label import label  # noqa: E402

pytestmark = pytest.mark.skipif(not DEFAULT.is_dir(), reason="no default bundle")


@pytest.fixture(scope="module")
def tools() -> Iterator[tuple[Tracker, Any]]:
    settings = Settings()
    engine = open_engine(settings.engine)
    yield open_tracker(settings.tracking, engine), BundleLandmarker(engine)
    engine.close()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of one's own."""
    folder = tmp_path / "own"
    folder.mkdir()
    return folder


def test_pictures_and_films_are_cut_out_and_labelled(
    tmp_path: Path, own: Path, tools: tuple[Tracker, Any]
) -> None:
    run, said = tmp_path / "run", list[str]()
    write_avatar(own / "anna.png")
    write_video(own / "talk.mp4", faces(6))
    (own / "notes.txt").write_text("not a picture", encoding="utf-8")
    label(own, run, *tools, said.append)
    assert said == []
    portraits, (clip,) = load_portraits(run / "portraits"), load_clips(run / "clips")
    assert portraits.images.shape == (1, SIZE, SIZE, 3)
    assert clip.identity == "talk"
    assert clip.images.shape == (6, SIZE, SIZE, 3)
    # The performer says himself where his landmarks are: beside them, and as far from one to the
    # other, the same pixels are seen.
    _, truth = perform(0.0, random_appearance(3))
    assert _is_around(portraits.landmarks[0], truth.landmarks)
    for number, landmarks in enumerate(clip.landmarks):
        _, truth = perform(3.0 + number * 1001 / 30000)
        assert _is_around(landmarks, truth.landmarks)


def _is_around(found: np.ndarray, true: np.ndarray) -> bool:
    """Whether landmarks of a cut picture are the true ones, scaled and shifted, in its middle."""
    true = true - true.mean(0)
    place = found.mean(0)
    scale = ((found - place) * true).sum() / np.square(true).sum()
    apart = np.linalg.norm(found - place - scale * true, axis=1).mean()
    height = np.ptp(found[:, 1])
    middle = np.abs(place - (SIZE - 1) / 2).max()
    return bool(apart < 0.03 * height and middle < 0.12 * SIZE and 0.4 < height / SIZE < 0.7)


def test_landmarks_lie_on_the_pixels_of_the_cut_picture(
    tmp_path: Path, own: Path, tools: tuple[Tracker, Any]
) -> None:
    # Of the right size already, so taken as it is: what is written must be what was read.
    run = tmp_path / "run"
    picture, _ = perform(0.0)
    picture = np.ascontiguousarray(cv2.resize(picture[40:424, 128:512], (SIZE, SIZE)))
    cv2.imwrite(str(own / "one.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    write_video(own / "film.mp4", [picture] * 3)
    label(own, run, *tools, print)
    portraits, (clip,) = load_portraits(run / "portraits"), load_clips(run / "clips")
    assert np.abs(portraits.images[0].astype(int) - picture).mean() < 3
    read = tools[1].film([picture])[0, list(NAMES.values()), :2]
    assert np.abs(portraits.landmarks[0] - read).max() < 1e-4
    assert np.abs(clip.landmarks[0] - read).mean() < 0.5  # the film is compressed


def test_what_cannot_be_used_is_told_and_left_out(
    tmp_path: Path, own: Path, tools: tuple[Tracker, Any]
) -> None:
    run, said = tmp_path / "run", list[str]()
    write_avatar(own / "anna.png")
    shutil.copy(own / "anna.png", own / "anna.webp")
    (own / "broken.png").write_bytes(b"\x89PNG")
    cv2.imwrite(str(own / "nobody.png"), blank(1)[0])
    write_video(own / "nobody.mp4", blank(3))
    (own / "empty.mp4").touch()
    tiny, _ = draw(random_appearance(3), Moment(), 120, 90)
    cv2.imwrite(str(own / "tiny.png"), cv2.cvtColor(tiny, cv2.COLOR_RGB2BGR))
    label(own, run, *tools, said.append)
    assert list(load_portraits(run / "portraits").images.shape) == [1, SIZE, SIZE, 3]
    assert not list(run.glob("clips/*/video.mp4"))
    parts = ("anna.webp: another", "broken.png", "nobody.png: no face", "tiny.png: its face is too")
    parts += ("empty.mp4 is empty", "nobody.mp4: no face")
    assert len(said) == len(parts)
    for part in parts:
        assert any(part in line for line in said), part


def test_nothing_usable_is_one_line(tmp_path: Path, tools: tuple[Tracker, Any]) -> None:
    with pytest.raises(SettingsError, match="no such folder"):
        label(tmp_path / "nowhere", tmp_path / "run", *tools, print)
    with pytest.raises(SettingsError, match="none of its 0 pictures and 0 films"):
        label(tmp_path, tmp_path / "run", *tools, print)


def test_a_film_that_is_done_is_not_done_again(
    tmp_path: Path, own: Path, tools: tuple[Tracker, Any]
) -> None:
    run = tmp_path / "run"
    write_video(own / "talk.mp4", faces(3))
    label(own, run, *tools, print)
    done = run / "clips" / "talk" / "video.mp4"
    before = done.stat().st_mtime_ns
    # Killed in the middle of another: only a part of it is there.
    write_video(own / "later.mp4", faces(3, start_s=8.0))
    (run / "clips" / "later").mkdir()
    (run / "clips" / "later" / "partial.mp4").write_bytes(b"cut off")
    label(own, run, *tools, print)
    assert done.stat().st_mtime_ns == before
    assert sorted(clip.identity for clip in load_clips(run / "clips")) == ["later", "talk"]
    assert VideoFile(run / "clips" / "later" / "video.mp4").fps == 30


def test_a_folder_that_cannot_be_written_is_one_line(
    tmp_path: Path, own: Path, tools: tuple[Tracker, Any]
) -> None:
    write_avatar(own / "anna.png")
    (tmp_path / "run").write_text("a file", encoding="utf-8")
    with pytest.raises(SinkError, match="cannot be written"):
        label(own, tmp_path / "run", *tools, print)
