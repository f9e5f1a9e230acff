"""The checks of what calls need, on imagined machines."""

import plistlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from test_loopback import LOADED

from puppetcam.calls import (
    OBS_EXTENSION,
    Ask,
    confined,
    kernel_camera,
    obs_on_linux,
    obs_on_macos,
    obs_on_windows,
    pipewire_camera,
)
from realtime.loopback import Loopback

EXTENSION = f"*\t*\t2MMRE5MTB8\t{OBS_EXTENSION} (30.0.0/61)\tOBS Virtual Camera\t"


def answers(said: Mapping[str, str]) -> Ask:
    return lambda *command: said.get(" ".join(command))


def test_the_kernel_camera_is_judged_without_opening_it() -> None:
    good = kernel_camera(LOADED)
    assert (good.state, good.fix) == ("ok", "")
    assert good.detail == "v4l2loopback, /dev/video4, exclusive_caps on"
    unlisted = kernel_camera(replace(LOADED, exclusive=False))
    assert unlisted.state == "problem"
    assert "browsers do not list it" in unlisted.detail
    assert "exclusive_caps=1" in unlisted.fix
    absent = kernel_camera(Loopback())
    assert (absent.state, absent.detail) == ("problem", "v4l2loopback is not installed")


GSTREAMER = {"gst-launch-1.0 --version": "1.22"} | {
    f"gst-inspect-1.0 {element}": "ok"
    for element in ("fdsrc", "rawvideoparse", "videoconvert", "pipewiresink")
}


def test_each_part_of_a_pipewire_camera_is_told_when_missing(tmp_path: Path) -> None:
    def found(said: Mapping[str, str]) -> tuple[str, str]:
        one = pipewire_camera({"XDG_RUNTIME_DIR": str(tmp_path)}, answers(said), tmp_path)
        assert one.name == "PipeWire camera"
        assert bool(one.fix) == (one.state != "ok")
        return one.detail, one.fix

    assert pipewire_camera({}, answers({})).detail == "XDG_RUNTIME_DIR is not set"
    assert found({})[0].startswith("PipeWire does not run")
    (tmp_path / "pipewire-0").touch()
    assert found({}) == (
        "PipeWire runs, GStreamer is not installed",
        "sudo apt install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-pipewire",
    )
    without = {key: text for key, text in GSTREAMER.items() if "pipewiresink" not in key}
    assert found(without)[0] == "PipeWire runs, GStreamer has no pipewiresink"
    assert "WirePlumber does not run" in found(GSTREAMER)[0]
    (tmp_path / "proc" / "812").mkdir(parents=True)
    (tmp_path / "proc" / "812" / "comm").write_text("wireplumber\n")
    assert "portal" in found(GSTREAMER)[0]
    (tmp_path / "usr" / "libexec").mkdir(parents=True)
    (tmp_path / "usr" / "libexec" / "xdg-desktop-portal").touch()
    assert found(GSTREAMER) == ("--sink pipewire makes one, for browsers and OBS", "")


def test_snaps_and_flatpaks_without_the_right_to_cameras_are_told(tmp_path: Path) -> None:
    for place in ("snap/firefox", "snap/chromium", "snap/hello"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "var/lib/flatpak/app/us.zoom.Zoom").mkdir(parents=True)
    home = tmp_path / "home"
    (home / ".local/share/flatpak/app/com.google.Chrome").mkdir(parents=True)
    head = "Interface  Plug  Slot  Notes\naudio-playback  x:audio-playback  :audio-playback  -\n"
    ask = answers(
        {
            "snap connections firefox": f"{head}camera  firefox:camera  :camera  -\n",
            "snap connections chromium": f"{head}camera  chromium:camera  -  -\n",
            "flatpak info --show-permissions us.zoom.Zoom": "[Context]\ndevices=dri;\n",
            "flatpak info --show-permissions com.google.Chrome": "[Context]\ndevices=all;\n",
        }
    )
    found = confined(tmp_path, home, ask)
    assert [(one.name, one.state, one.detail, one.fix) for one in found] == [
        ("Snap", "ok", "firefox may see cameras", ""),
        (
            "Snap", "problem", "chromium may not see cameras",
            "sudo snap connect chromium:camera, and start it again",
        ),
        ("Flatpak", "ok", "com.google.Chrome may see /dev/video*", ""),
        (
            "Flatpak", "problem", "us.zoom.Zoom may not see /dev/video*",
            "flatpak override --user --device=all us.zoom.Zoom, and start it again",
        ),
    ]  # fmt: skip


def test_nothing_confined_is_nothing_to_tell(tmp_path: Path) -> None:
    assert list(confined(tmp_path, tmp_path, answers({}))) == []


def test_obs_on_linux_is_no_necessity(tmp_path: Path) -> None:
    assert obs_on_linux(tmp_path, tmp_path, answers({})).detail.startswith("not installed")
    said = {"obs --version": "OBS Studio - 29.0.2.1-1+b1 (linux)\n"}
    assert obs_on_linux(tmp_path, tmp_path, answers(said)).detail.startswith("29.0.2.1")
    (tmp_path / "var/lib/flatpak/app/com.obsproject.Studio").mkdir(parents=True)
    assert obs_on_linux(tmp_path, tmp_path, answers({})).detail.startswith("as Flatpak")


def test_obs_on_windows_must_have_registered_its_camera() -> None:
    assert obs_on_windows(True).state == "ok"
    assert obs_on_windows(False).state == "problem"
    assert "install OBS Studio" in obs_on_windows(False).fix


@pytest.mark.parametrize(
    ("version", "system", "said", "detail", "fix"),
    [
        ("30.2.3", "13.6.1", EXTENSION + "[activated enabled]", "extension is on", ""),
        (
            "30.2.3", "15.1", EXTENSION + "[activated waiting for user]",
            "waits for your consent", "Camera Extensions: switch OBS on",
        ),
        ("31.0.0", "14.2", "0 extension(s)", "is not installed", "press Start Virtual Camera"),
        ("29.1.3", "14.2", "", "29.1.3 has no camera extension", "OBS Studio 30 or newer"),
        ("30.0.0", "12.7", "", "macOS 12.7 has no camera extensions", "macOS 13 or newer"),
    ],
)  # fmt: skip
def test_obs_on_macos_needs_its_version_and_its_extension(
    tmp_path: Path, version: str, system: str, said: str, detail: str, fix: str
) -> None:
    app = tmp_path / "OBS.app"
    (app / "Contents").mkdir(parents=True)
    (app / "Contents" / "Info.plist").write_bytes(
        plistlib.dumps({"CFBundleShortVersionString": version})
    )
    found = obs_on_macos(app, system, answers({"systemextensionsctl list": said}))
    assert found.state == ("problem" if fix else "ok")
    assert detail in found.detail
    assert fix in found.fix


def test_obs_on_macos_may_be_absent_or_broken(tmp_path: Path) -> None:
    app = tmp_path / "OBS.app"
    assert "is not in" in obs_on_macos(app, "14.0", answers({})).detail
    (app / "Contents").mkdir(parents=True)
    (app / "Contents" / "Info.plist").write_bytes(b"<nonsense")
    assert obs_on_macos(app, "14.0", answers({})).state == "problem"
