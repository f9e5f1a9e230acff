"""``puppetcam run``, through the command line, with the shipped networks."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pyvirtualcam
from performed import NTSC, faces, read_video, write_avatar, write_video

from config.errors import SinkError
from config.schema import OutputSettings, Settings
from models.published import file_hash
from provenance.credentials import read_credentials
from puppetcam.cli import main
from puppetcam.run import _Shown

ROOT = Path(__file__).parent.parent
FRAMES = 6


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_avatar(tmp_path_factory.mktemp("avatar") / "anna.png")


@pytest.fixture(scope="module")
def driving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("driving") / "driving.mp4", faces(FRAMES), NTSC)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a virtual camera and without a display."""

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("'obs' backend: not installed")

    monkeypatch.setattr(pyvirtualcam, "Camera", refuse)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.delenv("PIPEWIRE_RUNTIME_DIR", raising=False)


def test_a_video_drives_the_avatar_into_a_file(
    avatar: Path, driving: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = tmp_path / "film.mp4"
    arguments = ["--avatar", str(avatar), "--source", str(driving), "--sink", f"file:{film}"]
    settings = ["output.width=320", "engine.runtime=onnxruntime"]
    # Settings may stand anywhere.
    code = main(["run", *settings, *arguments, "output.height=240", "--sink", "memory"])
    said = capsys.readouterr()
    assert code == 0
    images, _ = read_video(film)
    assert len(images) >= 1
    assert images[0].shape == (240, 320, 3)
    corner = images[0][215:, 270:].max(axis=2)  # where the label is
    assert corner.max() > 190
    assert corner.min() < 70
    for part in (
        "avatar 1: anna",
        "on onnxruntime CPU",
        'AI label on: "AI", bottom-right',
        "source: driving.mp4, 640x480 at 29.97 fps",
        f"output: file:{film}, memory",
    ):
        assert part in said.err
    for part in ("frame age", "generate", f"of {FRAMES} frames delivered"):
        assert part in said.out
    credentials = read_credentials(film)
    assert credentials.state == "valid"
    assert credentials.source_types == ("trainedAlgorithmicMedia",)
    assert credentials.statement is not None
    (told,) = credentials.statement["avatars"]
    assert (told["sha256"], told["face"]) == (file_hash(avatar), "drawn")


def test_credentials_tell_of_all_that_was_shown_not_of_the_start_or_the_end_alone() -> None:
    shown = _Shown()
    for picture, networks, compose in (("a", "x", "fit"), ("b", "y", "place"), ("a", "x", "fit")):
        parts: Any = SimpleNamespace(
            puppeteer=SimpleNamespace(avatar=SimpleNamespace(sha256=picture)),
            engine=SimpleNamespace(bundle=SimpleNamespace(path=Path(networks))),
        )
        shown.see(parts, Settings(output=OutputSettings(compose=compose)))  # type: ignore[arg-type]
    assert list(shown.avatars) == ["a", "b"]
    assert list(shown.networks) == [Path("x"), Path("y")]
    assert shown.composite


def test_the_time_is_up_and_the_label_can_be_turned_off_aloud(
    avatar: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--avatar", str(avatar), "--source", "performer", "--sink", "memory"]
    assert main(["run", *arguments, "--seconds", "2", "label.enabled=false"]) == 0
    said = capsys.readouterr().err
    assert "AI label off" in said
    assert "source: performer, 640x480 at 30 fps" in said


def test_a_folder_of_avatars_says_what_it_leaves_out(
    driving: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_avatar(tmp_path / "b.png")
    write_avatar(tmp_path / "c.jpg")
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("no picture either")
    arguments = ["--avatar", str(tmp_path), "--source", str(driving), "--sink", "memory"]
    assert main(["run", *arguments]) == 0
    said = capsys.readouterr().err
    assert "puppetcam: left out: " in said
    assert "a.png" in said
    assert "avatar 1: b\navatar 2: c\n" in said
    assert "notes" not in said


def test_nowhere_to_show_the_avatar_is_one_line_with_the_fix(
    avatar: Path, bare: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(_: str) -> None:
        raise SinkError("mjpeg: 127.0.0.1:8081 cannot be listened on")

    monkeypatch.setattr("realtime.sinks.MjpegServer", taken)
    assert main(["run", "--avatar", str(avatar), "--source", "performer"]) == 2
    found = capsys.readouterr().err.splitlines()[-1]
    assert found.startswith("puppetcam: nowhere to show the avatar: virtualcam cannot be opened")
    for part in (
        "v4l2loopback",
        "pipewire: XDG_RUNTIME_DIR is not set",
        "mjpeg: 127.0.0.1:8081",
        "window needs a display",
        "--sink file:me.mp4",
    ):
        assert part in found


def test_without_a_virtual_camera_the_next_best_is_taken_and_the_reasons_told(
    avatar: Path,
    driving: Path,
    bare: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PUPPETCAM_CONFIG", str(tmp_path))
    monkeypatch.setattr("realtime.mjpeg.PORT", 0)
    arguments = ["--avatar", str(avatar), "--source", str(driving), "--sink", "auto"]
    assert main(["run", *arguments]) == 0
    said = capsys.readouterr().err
    notes = [line for line in said.splitlines() if line.startswith("note: ")]
    assert notes[0].startswith("note: virtualcam cannot be opened: ")
    assert notes[1].startswith("note: pipewire: XDG_RUNTIME_DIR is not set")
    assert "output: mjpeg (http://127.0.0.1:" in said


def test_a_virtual_camera_asked_for_must_be_there(
    avatar: Path, bare: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = tmp_path / "film.mp4"
    sinks = ["--sink", f"file:{film}", "--sink", "virtualcam"]
    assert main(["run", "--avatar", str(avatar), "--source", "performer", *sinks]) == 2
    assert "puppetcam: virtualcam cannot be opened" in capsys.readouterr().err
    assert not film.exists()


def test_a_missing_camera_is_told_before_any_output_is_opened(
    avatar: Path, bare: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--avatar", str(avatar), "--source", "camera:97"]) == 2
    found = capsys.readouterr().err.splitlines()[-1]
    assert found.startswith("puppetcam: there is no camera 97")
    assert "virtualcam" not in found


def test_mistakes_are_told_in_one_line(
    avatar: Path, driving: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nothing").mkdir()
    for arguments, part in [
        (["--sink", "memory", "--sink", "memory"], "is given twice"),
        (["--sink", f"file:{driving}", "--source", str(driving)], "is the source itself"),
        (["--seconds", "0"], "--seconds must be above 0"),
        (["--seconds", "nan"], "--seconds must be above 0"),
        (["motion.limt=0.3"], "'motion.limit'"),
        (["nonsense"], "not of the form key=value"),
        (["--config", str(tmp_path / "none.yaml")], "none.yaml does not exist"),
        (["engine.bundle=/nowhere"], "no bundle at"),
        (["--avatar", str(tmp_path / "none.png")], "there is no such file"),
        (["--avatar", str(tmp_path / "nothing")], "has no picture"),
    ]:
        assert main(["run", "--source", "performer", *arguments]) == 2
        found = capsys.readouterr().err
        assert found.startswith("puppetcam: ")
        assert part in found
        assert found.count("\n") == 1
    with pytest.raises(SystemExit) as caught:
        main(["run", "--sauce", "performer"])
    assert caught.value.code == 2
