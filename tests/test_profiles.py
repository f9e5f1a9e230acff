import os
import stat
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from drawn_face import face, keypoints_of
from performed import faces, write_avatar, write_video

from config.errors import SettingsError
from config.schema import ApiSettings, LabelSettings, Settings, TrackingSettings
from control import profiles
from control.profiles import (
    Autosave,
    Profile,
    delete_profile,
    from_neutral,
    load_profile,
    profile_file,
    profile_names,
    save_profile,
    to_neutral,
)
from puppetcam.cli import main
from realtime.crop import Crop
from realtime.motion import Calibration

CALIBRATION = Calibration(
    Crop.around(face()).keypoints_from_frame(keypoints_of(face())),
    Crop.around(face()).from_frame(face()),
    zoom=1.25,
    closed=0.31,
)
PROFILE = Profile(
    avatars=("/pictures/Änne.png",),
    loaded=("/pictures/bob.jpg",),
    avatar="bob",
    source="camera:046d_HD_Webcam_9C2B",
    sinks=("virtualcam", "window"),
    settings=Settings(tracking=TrackingSettings(zoom=1.25), label=LabelSettings(size=0.1)),
    calibration=to_neutral(CALIBRATION, "landmarks 0123456789abcdef", mirror=True),
)


@pytest.fixture(autouse=True)
def own_folder(state_folder: Path) -> Path:
    return state_folder


def test_a_profile_comes_back_as_it_was_kept() -> None:
    assert load_profile("anna") is None
    save_profile("anna", PROFILE)
    assert load_profile("anna") == PROFILE
    save_profile("anna", Profile())
    assert load_profile("anna") == Profile()


def test_calibration_comes_back_to_the_fifth_decimal() -> None:
    save_profile("anna", PROFILE)
    kept = load_profile("anna")
    assert kept is not None
    assert kept.calibration is not None
    found = from_neutral(kept.calibration)
    assert (found.zoom, found.closed) == (1.25, 0.31)
    for one, other in (
        (found.landmarks, CALIBRATION.landmarks),
        (found.initial.value, CALIBRATION.initial.value),
        (found.initial.jacobian, CALIBRATION.initial.jacobian),
    ):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, atol=6e-6)


def test_file_is_small_plain_text_and_the_users_alone() -> None:
    save_profile("anna", replace(PROFILE, settings=Settings(api=ApiSettings(token="x" * 16))))
    path = profile_file("anna")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# A profile of puppetcam: puppetcam run --profile 'anna'\n")
    assert "xxxx" not in text
    assert len(text) < 16_000
    assert set(yaml.safe_load(text)) == {
        "avatars", "loaded", "avatar", "source", "sinks", "calibration",
    }  # fmt: skip
    assert [one.name for one in path.parent.iterdir()] == ["anna.yaml"]
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["", ".", "../x", "a/b", "a\\b", ".hidden", "a.", "a\n", "x" * 61])
def test_what_is_no_name_is_refused(name: str) -> None:
    for do in (profile_file, load_profile, delete_profile):
        with pytest.raises(SettingsError, match="is no name for a profile"):
            do(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("avatr: x", "unknown setting 'avatr'; nearest is 'avatar'"),
        ("avatars: x", "'avatars' must be a list, found 'x'"),
        ("[", "is not valid YAML"),
        ("settings: {label: {size: 9}}", "'settings.label.size' must be from 0.03 to 0.3"),
        ("calibration: {}", "missing setting 'calibration.read_by'"),
        ("\0", "is not valid YAML"),
    ],
)
def test_damaged_file_is_one_line_with_the_way_out(text: str, message: str) -> None:
    path = profile_file("anna")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_profile("anna")
    found = str(caught.value)
    assert message in found
    assert found.startswith(str(path))
    assert found.endswith("or begin anew: puppetcam profiles delete anna")
    assert found.count(str(path)) == 1
    assert "\n" not in found


@pytest.mark.parametrize(
    "broken",
    [
        {"landmarks": ((0.0, 0.0),)},
        {"value": ((0.0,),) * 48},
        {"jacobian": ()},
        {"zoom": 0.0},
        {"closed": -1.0},
    ],
)
def test_numbers_that_are_no_face_are_refused(broken: dict[str, object]) -> None:
    assert PROFILE.calibration is not None
    neutral = replace(PROFILE.calibration, **broken)  # type: ignore[arg-type]
    save_profile("anna", replace(PROFILE, calibration=neutral))
    with pytest.raises(SettingsError, match="'calibration"):
        load_profile("anna")


def test_write_that_fails_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch) -> None:
    save_profile("anna", PROFILE)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        save_profile("anna", Profile())
    assert load_profile("anna") == PROFILE
    assert len(list(profile_file("anna").parent.iterdir())) == 1


def test_autosave_writes_changes_alone_and_the_last_one_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(profiles, "SAVE_EVERY_S", 0.01)
    now = Profile(avatar="ann")
    asked = threading.Semaphore(0)

    def gather() -> Profile:
        asked.release()
        return now

    with Autosave("anna", gather):
        for _ in range(3):
            assert asked.acquire(timeout=10)
        assert load_profile("anna") == now
        profile_file("anna").unlink()
        for _ in range(3):
            assert asked.acquire(timeout=10)
        assert load_profile("anna") is None  # nothing has changed
        now = Profile(avatar="bob")
        deadline = time.monotonic() + 10
        while load_profile("anna") != now and time.monotonic() < deadline:
            asked.acquire(timeout=1)
        assert load_profile("anna") == now
        now = Profile(avatar="cy")
    assert load_profile("anna") == Profile(avatar="cy")


def test_disk_that_takes_nothing_is_told_once_and_does_not_end_the_run(
    own_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own_folder.write_text("a file where the folder should be")
    autosave = Autosave("anna", lambda: PROFILE)
    autosave.save()
    autosave.save()
    (message,) = caplog.messages
    assert message.startswith("profile anna cannot be kept: ")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["profiles", *arguments])
    found = capsys.readouterr()
    return code, found.out, found.err


def test_profiles_are_listed_shown_and_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "list")[1] == "no profiles yet; make one: puppetcam run --profile NAME\n"
    save_profile("anna", PROFILE)
    save_profile("at work", Profile(avatar="mio", source="performer"))
    profile_file("broken").write_text("[")
    lines = said(capsys, "list")[1].splitlines()
    assert profile_names() == ["anna", "at work", "broken"]
    assert lines[0].startswith("anna     20")
    assert lines[0].endswith("avatar bob, source camera:046d_HD_Webcam_9C2B, calibrated")
    assert lines[1].endswith("avatar mio, source performer, not calibrated")
    assert lines[2].endswith("cannot be read; see puppetcam profiles show broken")
    shown = said(capsys, "show", "anna")[1]
    assert yaml.safe_load(shown)["settings"] == {"tracking": {"zoom": 1.25}, "label": {"size": 0.1}}
    assert str(profile_file("anna")) in shown
    assert "calibration: the driver's neutral face, 48 points" in shown
    assert said(capsys, "delete", "anna") == (0, "deleted: anna\n", "")
    for action in ("show", "delete"):
        code, _, err = said(capsys, action, "anna")
        assert code == 2
        assert err == "puppetcam: there is no profile 'anna'; there are at work, broken\n"


def test_a_run_keeps_its_profile_and_the_next_one_begins_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real networks on a film: the first run calibrates, the second needs not."""
    pictures = [write_avatar(tmp_path / f"{name}.png", seed) for name, seed in (("a", 3), ("b", 8))]
    # Slow enough that a busy machine reads several of its frames.
    film = write_video(tmp_path / "film.mp4", faces(8, start_s=0.5), rate=2)  # type: ignore[arg-type]
    given = ["--avatar", str(pictures[0]), "--avatar", str(pictures[1]), "--source", str(film)]
    more = ["--sink", "memory", "--sink", f"file:{tmp_path / 'out.mp4'}"]
    first = ["tracking.zoom=1.1", "motion.recentre_s=0.2", "api.enabled=false"]
    assert main(["run", "--profile", "anna", *given, *more, *first]) == 0
    assert "profile anna: not calibrated yet" in capsys.readouterr().err
    kept = load_profile("anna")
    assert kept is not None
    assert kept.avatars == tuple(str(path) for path in pictures)
    assert (kept.avatar, kept.source, kept.sinks) == ("a", str(film), ("memory",))
    assert kept.settings.tracking.zoom == 1.1
    assert kept.settings.api == ApiSettings()
    assert kept.calibration is not None
    save_profile("anna", replace(kept, avatar="b", loaded=(str(tmp_path / "gone.png"),)))

    assert main(["run", "--profile", "anna", "label.size=0.2", "api.enabled=false"]) == 0
    err = capsys.readouterr().err
    assert "avatar 2: b" in err
    assert "profile anna: calibrated; X recentres" in err
    assert "calibrating" not in err.replace("calibrated", "")
    again = load_profile("anna")
    assert again is not None
    assert (again.avatar, again.loaded) == ("b", ())
    assert (again.settings.label.size, again.settings.tracking.zoom) == (0.2, 1.1)
    assert again.calibration == kept.calibration

    assert main(["run", "--profile", "anna", "camera.mirror=true", "api.enabled=false"]) == 0
    assert "calibrated anew: the camera is mirrored otherwise now" in capsys.readouterr().err


def test_broken_profile_ends_the_run_before_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    save_profile("anna", PROFILE)
    assert main(["run", "--profile", "anna", "--source", "performer"]) == 2
    assert "/pictures/" in capsys.readouterr().err
    assert main(["run", "--profile", "../anna"]) == 2
    assert "is no name for a profile" in capsys.readouterr().err
