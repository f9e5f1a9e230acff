"""``puppetcam animate``, through the command line, with the shipped networks."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from performed import NTSC, blank, faces, read_video, write_avatar, write_sound, write_video

from puppetcam.cli import main

FRAMES = 8


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_avatar(tmp_path_factory.mktemp("avatar") / "avatar.png")


@pytest.fixture(scope="module")
def driving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("driving") / "driving.mp4"
    return write_video(path, faces(FRAMES), NTSC, sound="aac")


def animate(avatar: Path, driving: Path, output: Path, *more: str) -> int:
    paths = ["--avatar", str(avatar), "--driving", str(driving), "--output", str(output)]
    return main(["animate", *paths, *more])


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).mean())


def test_film_has_every_frame_the_rate_the_sound_and_the_label(
    avatar: Path, driving: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = tmp_path / "film.mp4"
    assert animate(avatar, driving, film, "--side-by-side", "--size", "256") == 0
    images, _ = read_video(film)
    assert len(images) == FRAMES
    assert images[0].shape == (256, 768, 3)
    with av.open(str(film)) as container:
        assert container.streams.video[0].average_rate == NTSC
        assert container.streams.audio[0].codec_context.name.startswith("aac")
    still = [image[:, 256:512] for image in images]
    assert difference(still[0], still[-1]) < 2  # the avatar stands still
    assert difference(images[0][:, :256], still[0]) > 15  # the driver is somebody else
    corner = (slice(220, 256), slice(200, 256))
    labelled = [image[:, 512:][corner].max(axis=2) for image in images]
    assert all(part.max() > 190 and part.min() < 70 for part in labelled)
    said = capsys.readouterr()
    assert "best frame: " in said.err
    assert str(film) in said.out
    assert "with the sound" in said.out
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_result_alone_in_the_size_asked_for_and_without_label(
    avatar: Path, driving: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, labelled = tmp_path / "plain.mp4", tmp_path / "labelled.mp4"
    more = ["--size", "512", "--absolute", "--best-frame", "0"]
    assert animate(avatar, driving, labelled, *more) == 0
    assert "AI label off" not in capsys.readouterr().err
    assert animate(avatar, driving, plain, *more, "label.enabled=false") == 0
    assert "AI label off" in capsys.readouterr().err
    one, other = read_video(plain)[0], read_video(labelled)[0]
    assert one[0].shape == (512, 512, 3)
    assert difference(one[3][440:, 400:], other[3][440:, 400:]) > 8
    assert difference(one[3][:400], other[3][:400]) < 2


def test_size_composition_and_background_are_those_asked_for(
    avatar: Path, driving: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--best-frame", "0", "--size", "640x360", "--compose", "place"]
    assert animate(avatar, driving, tmp_path / "placed.mp4", *more) == 0
    placed = read_video(tmp_path / "placed.mp4")[0]
    assert placed[0].shape == (360, 640, 3)
    # The avatar's picture is 640x480: the output shows it over nearly its whole width.
    picture = cv2.cvtColor(cv2.imread(str(avatar)), cv2.COLOR_BGR2RGB)
    corner = placed[0][8:68, 20:80]
    assert cv2.matchTemplate(picture, corner, cv2.TM_CCOEFF_NORMED).max() > 0.9
    assert animate(avatar, driving, tmp_path / "green.mp4", *more, "--background", "green") == 0
    green = read_video(tmp_path / "green.mp4")[0]
    assert difference(green[3][:40, :40], np.full((40, 40, 3), (0, 255, 0))) < 12
    face = green[3][150:200, 300:340].astype(int)
    assert (face[..., 0] > face[..., 1] + 10).mean() > 0.9  # skin
    capsys.readouterr()
    assert animate(avatar, driving, tmp_path / "alpha.mp4", *more, "--background", "alpha") == 0
    assert "only .mov keeps transparency" in capsys.readouterr().err
    film = tmp_path / "alpha.mov"
    assert animate(avatar, driving, film, *more, "--background", "alpha") == 0
    with av.open(str(film)) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgba")
    assert shown[:40, :40, 3].max() < 10
    assert shown[150:200, 300:340, 3].min() > 245


def test_the_face_may_come_later(avatar: Path, tmp_path: Path) -> None:
    driving = write_video(tmp_path / "driving.mp4", blank(4) + faces(FRAMES))
    assert animate(avatar, driving, tmp_path / "film.mp4") == 0
    assert len(read_video(tmp_path / "film.mp4")[0]) == FRAMES + 4


def test_without_any_face_nothing_is_left(
    avatar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driving = write_video(tmp_path / "driving.mp4", blank(5))
    film = tmp_path / "film.mp4"
    film.write_bytes(b"what was there before")
    for more, part in ([], "no face in any frame of"), (["--best-frame", "2"], "no face"):
        assert animate(avatar, driving, film, *more) == 2
        assert part in capsys.readouterr().err.splitlines()[-1]
    assert film.read_bytes() == b"what was there before"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_best_frame_beyond_the_end_is_told(
    avatar: Path, driving: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert animate(avatar, driving, tmp_path / "film.mp4", "--best-frame", "8") == 2
    assert capsys.readouterr().err.endswith("has 8 frames, 0 to 7\n")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_driving_video_is_told_in_one_line(
    avatar: Path, driving: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(driving.read_bytes()[:2000])
    text = tmp_path / "text.mp4"
    text.write_text("<html>not found</html>")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    sound = write_sound(tmp_path / "sound.m4a")
    for path, part in [
        (cut, "is not a readable video"),
        (text, "is not a readable video"),
        (empty, "is empty (0 bytes)"),
        (sound, "has no pictures"),
        (tmp_path / "nowhere.mp4", "does not exist"),
        (tmp_path, "is a folder"),
    ]:
        assert animate(avatar, path, tmp_path / "film.mp4") == 2
        found = capsys.readouterr().err
        assert found.startswith("puppetcam: ")
        assert part in found
        assert found.count("\n") == 1
    assert not (tmp_path / "film.mp4").exists()


def test_arguments_that_cannot_be_meant_are_told_in_one_line(
    avatar: Path, driving: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for paths, more, part in [
        ((avatar, driving, driving), [], "is the file of --driving"),
        ((avatar, driving, tmp_path / "film.gif"), [], "must end in .mp4"),
        ((tmp_path, driving, tmp_path / "film.mp4"), [], "is a folder"),
        ((avatar, driving, tmp_path / "film.mp4"), ["--best-frame", "soon"], "auto or a frame"),
        ((avatar, driving, tmp_path / "film.mp4"), ["label.sise=0.1"], "'label.size'"),
        ((driving, driving, tmp_path / "film.mp4"), [], "not a picture"),
        ((avatar, driving, tmp_path / "film.mp4"), ["--size", "wide"], "--size must be like 1280x"),
        ((avatar, driving, tmp_path / "film.mp4"), ["--size", "641x360"], "must be even"),
        (
            (avatar, driving, tmp_path / "film.mp4"),
            ["--background", "gren"],
            "there is no picture 'gren'; give",
        ),
        ((avatar, driving, tmp_path / "f.mp4"), ["--size", "640x360", "--side-by-side"], "squares"),
    ]:
        assert animate(*paths, *more) == 2
        found = capsys.readouterr().err
        assert found.startswith("puppetcam: ")
        assert part in found
        assert found.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
