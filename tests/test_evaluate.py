"""evaluate: clips and avatars found, the landmarker behind its pipe, all measures end to end."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from bundle_landmarker import BundleLandmarker
from performed import faces, write_avatar, write_video

from config.errors import DownloadError, EngineError, MissingPackageError, SourceError
from config.schema import Settings
from drawing.appearance import Appearance
from drawing.moment import Moment
from models.bundle import DEFAULT
from models.landmarks import MIRROR, NAMES
from puppetcam.cli import main
from realtime.engine import Engine, open_engine
from realtime.performer import draw, perform
from training import face_mesh, landmarker
from training.data import identities_of
from training.driver import (
    Driver,
    Sampling,
    find_clips,
    load_pictures,
    look_through,
    other_person,
)
from training.evaluate import ClipMeasures, measure, medians
from training.landmarker import Landmarker, Segmenter
from training.measures import MOVEMENTS, follow, movements

INSTALLED = landmarker.is_installed()
CACHE = os.environ.get("PUPPETCAM_CACHE")
needs_landmarker = pytest.mark.skipif(
    not INSTALLED,
    reason=f"{landmarker.NAME} is not installed: puppetcam evaluate --install-landmarker",
)
needs_bundle = pytest.mark.skipif(not DEFAULT.is_dir(), reason="no default bundle")
posix = pytest.mark.skipif(os.name == "nt", reason="shell scripts")


@pytest.fixture(autouse=True)
def the_landmarker_is_where_the_user_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    if INSTALLED:
        monkeypatch.delenv("PUPPETCAM_CACHE", raising=False)
        if CACHE is not None:
            monkeypatch.setenv("PUPPETCAM_CACHE", CACHE)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = open_engine(Settings().engine)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    (folder / "wide").mkdir()
    write_video(folder / "wide" / "video.mp4", faces(10))
    square = [image[:, 80:560] for image in faces(10, start_s=8.4)]
    write_video(folder / "square.mp4", square)
    return folder


@pytest.fixture(scope="module")
def found(engine: Engine, clips: Path) -> list[ClipMeasures]:
    settings, sampling = Settings(), Sampling(max_frames=9, every=2)
    drivers = [
        one
        for one in look_through(find_clips(clips), engine, settings, sampling)
        if isinstance(one, Driver)
    ]
    assert [driver.name for driver in drivers] == ["square", "wide"]
    write_avatar(clips / "avatar.png")
    (avatar,) = load_pictures(clips, engine, settings)
    assert not isinstance(avatar, str)
    outsider: Any = BundleLandmarker(engine)
    return [measure(one, avatar, engine, settings, outsider, sampling) for one in drivers]


@needs_bundle
def test_a_clip_is_copied_and_drives(found: list[ClipMeasures]) -> None:
    for clip in found:
        assert clip.frames == 5  # 0, 2, 4, 6, 8
        assert clip.avatar == "avatar"
        assert 0 < clip.own.l1 < 0.2
        assert clip.own.l1_of_unchanged == pytest.approx(clip.own.l1 / clip.own.l1_unchanged)
        assert clip.own.akd_warped < clip.own.akd_unchanged
        assert clip.own.missed == clip.cross.missed == 0
        assert list(clip.cross.correlation) == list(clip.cross.gain) == list(MOVEMENTS)
        assert 0.3 < clip.cross.detail < 1.5
        assert 0 <= clip.cross.background < 0.1
        assert clip.cross.flicker > 0


@needs_bundle
def test_the_moments_begin_with_the_avatars(found: list[ClipMeasures]) -> None:
    for clip in found:
        assert clip.moments[0].caption == "avatar"
        assert {picture.shape for one in clip.moments for picture in one[1:]} == {(256, 256, 3)}
        assert clip.moments[0].driven.mean() != pytest.approx(clip.moments[0].copied.mean())


@needs_bundle
def test_medians_have_the_nesting_of_the_values(found: list[ClipMeasures]) -> None:
    middle = medians(found)
    values = [clip.values() for clip in found]
    assert middle["self"]["akd"] == pytest.approx(np.mean([one["self"]["akd"] for one in values]))
    assert middle["cross"]["gain"].keys() == values[0]["cross"]["gain"].keys()


@needs_bundle
def test_a_clip_without_a_face_is_told(engine: Engine, tmp_path: Path) -> None:
    write_video(tmp_path / "grey.mp4", [np.full((120, 160, 3), 96, np.uint8)] * 3)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    looks = list(look_through(find_clips(tmp_path), engine, Settings(), Sampling()))
    assert "broken.mp4 is not a readable video" in str(looks[0])
    assert "no face in its first 300 frames" in str(looks[1])


def test_videos_are_found_in_a_folder_and_one_below(tmp_path: Path) -> None:
    for name in ("b.mp4", "a/video.mp4", "a/deeper/c.mp4", "a/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert find_clips(tmp_path) == [tmp_path / "a" / "video.mp4", tmp_path / "b.mp4"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no video in it"):
        find_clips(tmp_path / "empty")
    with pytest.raises(SourceError, match="no such folder"):
        find_clips(tmp_path / "nowhere")


def test_another_person_is_driven_where_there_is_one(tmp_path: Path) -> None:
    manifest = "name,identity\na1,anna\na2,anna\nb1,ben\n"
    (tmp_path / "manifest.csv").write_text(manifest, encoding="utf-8")
    assert identities_of(tmp_path) == {"a1": "anna", "a2": "anna", "b1": "ben"}
    drivers: list[Any] = [
        SimpleNamespace(name=name, person=person)
        for name, person in identities_of(tmp_path).items()
    ]
    assert [other_person(drivers, n).name for n in range(3)] == ["b1", "b1", "a1"]
    assert other_person(drivers[:2], 0).name == "a1"


def test_mesh_pixels_are_counted_from_pixel_centres() -> None:
    points = [SimpleNamespace(x=0.5, y=1.0, z=-0.25)] * face_mesh.POINTS
    answer = SimpleNamespace(multi_face_landmarks=[SimpleNamespace(landmark=points)])
    assert face_mesh.landmarks(answer, 100, 200)[7].tolist() == [99.5, 99.5, -50]
    nobody = SimpleNamespace(multi_face_landmarks=None)
    assert np.isnan(face_mesh.landmarks(nobody, 100, 200)).all()


@pytest.mark.parametrize("number", range(face_mesh.READINGS))
def test_each_reading_brings_back_what_it_shows(number: int) -> None:
    reading = face_mesh.Reading(number, 90, 120)
    picture = np.zeros((90, 120, 3), np.uint8)
    picture[30:35, 70:75] = 255
    shown = reading.show(picture)
    assert shown.shape == picture.shape
    assert (number == 0) == bool((shown == picture).all())
    weight = shown[..., 0] / shown[..., 0].sum(dtype=np.float64)
    rows, columns = np.indices(weight.shape)
    seen = np.zeros((face_mesh.POINTS, 3))
    seen[:, :2] = (weight * columns).sum(), (weight * rows).sum()
    assert reading.bring_back(seen)[5] == pytest.approx([72, 32, 0], abs=0.1)


def test_a_mirrored_reading_gives_each_point_its_own_side() -> None:
    points = np.zeros((face_mesh.POINTS, 3))
    points[:, 0] = np.arange(face_mesh.POINTS)
    back = face_mesh.Reading(1, 500, 500).bring_back(points)
    assert (499 - back[:, 0]).astype(int).tolist() == face_mesh.MIRROR
    names = list(NAMES.values())
    assert [face_mesh.MIRROR[point] for point in names] == [names[other] for other in MIRROR]


def test_readings_without_a_face_do_not_count() -> None:
    one, other = np.zeros((face_mesh.POINTS, 3)), np.ones((face_mesh.POINTS, 3))
    nobody = np.full((face_mesh.POINTS, 3), np.nan)
    assert (face_mesh.mean_of([one, other]) == 0.5).all()
    assert (face_mesh.mean_of([nobody, other, nobody]) == 1).all()
    assert np.isnan(face_mesh.mean_of([nobody, nobody])).all()


def test_without_the_landmarker_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUPPETCAM_CACHE", str(tmp_path))
    with pytest.raises(MissingPackageError, match="--install-landmarker"):
        Landmarker()


def _stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment that claims to be complete; returns where its Python belongs."""
    monkeypatch.setenv("PUPPETCAM_CACHE", str(folder))
    python = landmarker.environment() / "bin" / "python"
    python.parent.mkdir(parents=True)
    (landmarker.environment() / "complete").touch()
    return python


@posix
def test_a_landmarker_that_dies_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(tmp_path, monkeypatch).symlink_to(sys.executable)
    with (
        Landmarker() as outsider,
        pytest.raises(EngineError, match=r"ended: ModuleNotFoundError: .*'(numpy|cv2|mediapipe)'"),
    ):
        outsider.film([np.zeros((8, 8, 3), np.uint8)])


@posix
def test_the_pipe_keeps_pictures_and_answers_in_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Answers with the brightness of each picture, and with 0 where a film begins.
    program = (
        f"#!{sys.executable}\n"
        "import struct, sys\n"
        "while len(header := sys.stdin.buffer.read(8)) == 8:\n"
        "    height, width = struct.unpack('<ii', header)\n"
        "    pixels = sys.stdin.buffer.read(height * width * 3)\n"
        "    level = float(pixels[-1]) if pixels else 0.0\n"
        "    sys.stdout.buffer.write(struct.pack('<f', level) * 478 * 3)\n"
        "    sys.stdout.buffer.flush()\n"
    )
    python = _stand_in(tmp_path, monkeypatch)
    python.write_text(program, encoding="utf-8")
    python.chmod(0o755)
    with Landmarker() as outsider:
        film = [np.full((6 + level, 9, 3), level, np.uint8) for level in (3, 200, 77)]
        assert outsider.film(film)[:, 5, 2].tolist() == [3, 200, 77]
        assert outsider.film(film[::-1])[:, 0, 0].tolist() == [77, 200, 3]
        assert outsider.film([]).shape == (0, 478, 3)
    outsider.close()


@posix
def test_an_installation_that_fails_says_why_and_is_not_taken_for_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'ERROR: no route to the index' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(landmarker, "_python", lambda: str(program))
    monkeypatch.setenv("PUPPETCAM_CACHE", str(tmp_path))
    with pytest.raises(DownloadError, match=r"virtual environment: ERROR: no route"):
        landmarker.install(print)
    assert not landmarker.is_installed()


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, part in (
        (["--clips", str(tmp_path / "nowhere")], "no such folder"),
        (["--clips", str(tmp_path)], "no video in it"),
        (["--clips", str(tmp_path), "smoothing.bta=1"], "smoothing.bta"),
    ):
        assert main(["evaluate", *more]) == 2
        said = capsys.readouterr().err
        assert part in said
        assert len(said.splitlines()) == 1
    (tmp_path / "a.mp4").touch()
    assert main(["evaluate", "--clips", str(tmp_path), "--sheet", "sheet.gif"]) == 2
    assert "must be a .png or .jpg" in capsys.readouterr().err


@needs_landmarker
def test_the_landmarker_reads_the_performer_like_a_person() -> None:
    times = [3 + 0.5 * number for number in range(24)]
    frames, truths = zip(*(perform(time) for time in times), strict=True)
    with Landmarker() as outsider:
        film = outsider.film(frames)
        nobody = outsider.film([np.full((64, 64, 3), 90, np.uint8)])
    assert np.isnan(nobody).all()
    seen = np.isfinite(film).all((1, 2))
    assert seen.mean() > 0.9
    true = np.array([truth.landmarks for truth in truths])
    apart = np.linalg.norm(film[:, list(NAMES.values()), :2] - true, axis=-1)
    height = np.ptp(true[..., 1], axis=1).mean()
    assert np.nanmean(apart) < 0.06 * height
    turns = movements(film, film[0])
    for name in ("yaw", "pitch", "roll"):
        told = follow(
            np.array([getattr(truth, name) for truth in truths]),
            turns[:, MOVEMENTS.index(name)],
        )
        assert told.correlation > 0.8  # it guesses depth, which a drawn face has less of
        assert 0.6 < told.gain < 1.4


@needs_landmarker
def test_a_face_and_its_mirror_image_are_read_alike() -> None:
    picture, truth = perform(3.0)
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    with Landmarker(readings=1) as outsider:
        one, other = (outsider.film([image] * 3)[-1] for image in (picture, mirrored))
    back = face_mesh.Reading(1, *picture.shape[:2]).bring_back(other)
    height = np.ptp(truth.landmarks[:, 1])
    apart = np.linalg.norm(one - back, axis=1)[:, None] / height
    assert apart[:468].mean() < 0.03
    assert apart.max() < 0.12  # every point, that is, has its own counterpart


@needs_landmarker
def test_several_readings_are_nearer_to_the_truth_than_one() -> None:
    # A head that hardly turns: what it does is as small as what a reading errs by.
    turns = 3 * np.sin(0.7 * np.arange(40)) * np.sin(0.19 * np.arange(40))
    film = [draw(Appearance(), Moment(yaw=float(yaw)), 320, 240)[0] for yaw in turns]
    unexplained = []
    for readings in (1, face_mesh.READINGS):
        with Landmarker(readings) as outsider:
            meshes = outsider.film(film)
        told = movements(meshes, meshes[0])[:, MOVEMENTS.index("yaw")]
        unexplained.append(1 - follow(turns, told).correlation ** 2)
    assert unexplained[1] < 0.7 * unexplained[0]


@needs_landmarker
@needs_bundle
def test_the_command_measures_and_draws_a_sheet(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    few = ["--clips", str(clips), "--max-frames", "5", "--every", "2", "--sheet", str(sheet)]
    assert main(["evaluate", *few, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [clip["name"] for clip in values["clips"]] == ["square", "wide"]
    assert [clip["avatar"] for clip in values["clips"]] == ["wide", "square"]
    assert values["median"]["self"]["akd"] > 0
    assert values["readings"] == face_mesh.READINGS
    # Captions over the first of three rows a clip, seven moments.
    picture = cv2.imread(str(sheet))
    assert picture is not None
    assert picture.shape == (2 * (3 * 192 + 16), 7 * 192, 3)


@needs_landmarker
def test_the_segmenter_tells_the_performer_from_his_room() -> None:
    picture, truth = perform(3.0)
    with Segmenter() as teacher:
        matte = teacher.matte(picture)
        mirrored = teacher.matte(np.ascontiguousarray(picture[:, ::-1]))
    assert matte.shape == picture.shape[:2]
    x, y = truth.landmarks.mean(0).astype(int)
    assert matte[y - 20 : y + 20, x - 20 : x + 20].min() > 200
    assert matte[:20, :20].max() < 100
    assert np.abs(matte[:, ::-1].astype(int) - mirrored).max() <= 1  # it looks both ways
