"""``puppetcam doctor``: one line a finding, one fix a problem, and never a traceback."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import models.bundle
from config.schema import CredentialsSettings, load_settings
from provenance.identity import open_identity, own_folder
from puppetcam import doctor
from puppetcam.cli import main
from puppetcam.doctor import examine
from puppetcam.finding import Finding
from realtime.choice import remember
from realtime.devices import CameraInfo, Mode, User

PARTS = ("machine", "Python", "OpenCV", "PyAV", "runtime", "bundle", "networks", "weights", "disk")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PUPPETCAM_CACHE", str(tmp_path / "cache"))


def one(findings: list[Finding], name: str) -> Finding:
    return next(finding for finding in findings if finding.name == name)


def test_everything_essential_works_and_each_line_has_its_state(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    states = {}
    for before, line in zip(["", *lines], lines, strict=False):
        if line.lstrip().startswith("fix: "):
            assert before.split()[0] in ("problem", "broken")
        else:
            state, _, rest = line.partition(" ")
            assert state in ("ok", "problem", "broken")
            states[rest.strip().partition(":")[0]] = state
    assert {name: states[name] for name in PARTS if name != "networks"} == {
        name: "ok" for name in PARTS if name != "networks"
    }
    assert states["networks"] in ("ok", "problem")  # a slow machine is no broken one


def test_json_is_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert {entry["name"] for entry in found["findings"]} >= set(PARTS)
    provider = next(e["detail"] for e in found["findings"] if e["name"] == "networks")
    assert re.match("run in (fp32|int8) on (onnxruntime|openvino) CPU, ", provider)
    details = {entry["name"]: entry["detail"] for entry in found["findings"]}
    assert "engine.runtime=" in details["fastest"]
    assert "on CPU" in details["placement"]
    assert all(entry["fix"] for entry in found["findings"] if entry["state"] != "ok")


def test_a_changed_bundle_is_broken_and_the_rest_is_still_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(models.bundle.DEFAULT, bundle)
    graph = bundle / "keypoints.onnx"
    content = bytearray(graph.read_bytes())
    content[1000] ^= 1
    graph.write_bytes(content)
    assert main(["doctor", f"engine.bundle={bundle}"]) == 1
    said = capsys.readouterr()
    assert "broken   bundle: " in said.out
    assert "keypoints.onnx was changed" in said.out
    assert "fix: fetch or export the bundle again" in said.out
    assert "networks" not in said.out
    assert "disk" in said.out
    assert said.err == ""


def test_two_opencvs_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "_version", lambda name: "4.14.0" if name.startswith("opencv-python") else None
    )
    found = list(doctor._opencv())
    assert [finding.state for finding in found] == ["problem"]
    assert "opencv-python 4.14.0, opencv-python-headless 4.14.0" in found[0].detail
    assert found[0].fix.startswith("pip uninstall -y")


def test_a_check_that_fails_unforeseen_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Finding]:
        raise OSError(5, "input/output error")
        yield

    for name in ("_disk", "_pyav"):
        monkeypatch.setattr(doctor, name, broken)
    found = list(examine(load_settings()))
    assert one(found, "disk").state == "problem"
    assert one(found, "PyAV").state == "broken"
    assert "input/output error" in one(found, "disk").detail
    assert not [finding for finding in found if finding.name == "networks"]


def test_downloaded_weights_that_changed_are_told(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "vox-adv-cpk.pth.tar").write_bytes(b"not the weights")
    found = one(list(doctor._weights()), "weights")
    assert found.state == "problem"
    assert found.fix.startswith("puppetcam models pull vox-adv")


def test_settings_that_are_wrong_are_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "engine.provder=cpu"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def cameras(monkeypatch: pytest.MonkeyPatch, *found: CameraInfo) -> list[tuple[str, str, str]]:
    """What is said of these cameras on Linux: (state, detail, fix)."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("realtime.devices.list_cameras", lambda detailed=False: list(found))
    return [(one.state, one.detail, one.fix) for one in doctor._cameras()]


def test_each_camera_that_would_not_work_has_its_fix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PUPPETCAM_STATE", str(tmp_path))
    mjpg, yuyv = (Mode(text, 640, 480, 640, 480, (30.0,)) for text in ("MJPG", "YUYV"))
    good = CameraInfo(0, "Good", "/dev/video0", modes=(yuyv, mjpg))
    assert cameras(
        monkeypatch,
        good,
        CameraInfo(1, "Raw", "/dev/video1", modes=(yuyv,)),
        CameraInfo(2, "Locked", "/dev/video2", allowed=False),
        CameraInfo(3, "Busy", "/dev/video3", modes=(mjpg,), users=(User(7, "obs"),)),
        CameraInfo(9, "puppetcam", "/dev/video9", virtual=True),
    ) == [
        ("ok", "camera:0 is Good (/dev/video0), MJPG up to 640x480", ""),
        (
            "problem",
            "camera:1 is Raw (/dev/video1), gives no MJPG",
            "stay at 640x480: uncompressed pictures come slowly at large sizes",
        ),
        (
            "problem",
            "camera:2 is Locked (/dev/video2), not allowed to this user",
            "run 'sudo usermod -aG video $USER', then log out and in again",
        ),
        (
            "problem",
            "camera:3 is Busy (/dev/video3), in use by obs (7)",
            "close it there before puppetcam starts",
        ),
    ]
    remember(good)
    assert cameras(monkeypatch) == [
        (
            "problem",
            "Good, chosen last, is not connected",
            "plug it in, or choose another: puppetcam run --source camera:NAME",
        ),
        ("problem", "none is connected", doctor.NO_CAMERA_FIX),
    ]


def test_the_signing_key_is_looked_at_and_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("c2pa", reason="c2pa-python has no wheel for this system")

    def credentials(*overrides: str) -> Finding:
        (found,) = doctor._findings(
            "credentials", lambda: doctor._credentials(load_settings(None, overrides))
        )
        return found

    monkeypatch.setenv("PUPPETCAM_CONFIG", str(tmp_path / "new"))
    assert credentials().detail == "films are signed; the first one makes the key"
    assert not (tmp_path / "new").exists()
    open_identity(CredentialsSettings())
    assert credentials().detail.endswith("certificate.pem")
    key = own_folder() / "key.pem"
    key.write_text("no key")
    found = credentials()
    assert found.state == "problem"
    assert "is no private key in PEM" in found.detail
