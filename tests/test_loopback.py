from dataclasses import replace
from pathlib import Path

import pytest

from realtime.devices import CameraInfo, User
from realtime.loopback import INSTALL, MODPROBE, RELOAD, Loopback, Places, look, trouble

FREE = CameraInfo(index=4, name="puppetcam", path="/dev/video4", virtual=True, fed=False)
LOADED = Loopback(installed=True, loaded=True, exclusive=True, devices=(FREE,))


def test_free_device_has_no_trouble() -> None:
    assert trouble(LOADED) is None
    assert trouble(LOADED, "/dev/video4") is None


def test_one_free_device_of_two_is_enough() -> None:
    busy = replace(FREE, path="/dev/video3", fed=True, users=(User(7, "obs"),))
    assert trouble(replace(LOADED, devices=(busy, FREE))) is None
    assert trouble(replace(LOADED, devices=(busy, FREE)), "/dev/video3") is not None


def test_without_exclusive_caps_a_device_takes_writers_again_and_again() -> None:
    always = replace(FREE, fed=True)  # it says that it captures, whoever writes
    assert trouble(replace(LOADED, exclusive=False, devices=(always,))) is None


@pytest.mark.parametrize(
    ("found", "device", "cause", "cure"),
    [
        (Loopback(), None, "v4l2loopback is not installed", INSTALL),
        (Loopback(installed=True), None, "v4l2loopback is not loaded", MODPROBE),
        (replace(LOADED, devices=()), None, "one that was written to before takes none", RELOAD),
        (LOADED, "/dev/video9", "/dev/video9 is no device of", "give virtualcam:/dev/video4"),
        (
            replace(LOADED, devices=(replace(FREE, allowed=False),)),
            None,
            "/dev/video4 may not be opened by this user",
            "usermod -aG video",
        ),
        (
            replace(LOADED, devices=(replace(FREE, fed=True, users=(User(42, "obs"),)),)),
            None,
            "/dev/video4 is in use by obs (42)",
            "close it there",
        ),
        (
            replace(LOADED, devices=(replace(FREE, fed=True),)),
            "/dev/video4",
            "was written to before, and exclusive_caps=1 allows that once",
            RELOAD,
        ),
    ],
)  # fmt: skip
def test_each_trouble_has_its_cause_and_its_cure(
    found: Loopback, device: str | None, cause: str, cure: str
) -> None:
    told = trouble(found, device)
    assert told is not None
    assert cause in told[0]
    assert cure in told[1]


def test_secure_boot_is_told_only_where_the_module_is_not_loaded() -> None:
    key = "/var/lib/dkms/mok.pub"
    told = trouble(Loopback(installed=True, secure_boot=True, mok=key))
    assert told is not None
    assert "Secure Boot is on" in told[0]
    assert f"sudo mokutil --import {key}" in told[1]
    assert "Enroll MOK" in told[1]
    assert trouble(replace(LOADED, secure_boot=True)) is None


def test_the_state_is_read_where_linux_keeps_it(tmp_path: Path) -> None:
    places = Places(
        tmp_path / "v4l2loopback", tmp_path / "6.1", tmp_path / "efi", (tmp_path / "k",)
    )
    assert look(places, ()) == Loopback()
    (tmp_path / "6.1" / "updates" / "dkms").mkdir(parents=True)
    (tmp_path / "6.1" / "updates" / "dkms" / "v4l2loopback.ko.xz").write_bytes(b"")
    (tmp_path / "k").write_bytes(b"")
    (tmp_path / "efi").mkdir()
    variable = tmp_path / "efi" / "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    variable.write_bytes(b"\x06\x00\x00\x00\x00")
    assert look(places, ()) == Loopback(installed=True, mok=str(tmp_path / "k"))
    variable.write_bytes(b"\x06\x00\x00\x00\x01")
    assert look(places, ()).secure_boot
    (tmp_path / "v4l2loopback" / "parameters").mkdir(parents=True)
    caps = tmp_path / "v4l2loopback" / "parameters" / "exclusive_caps"
    caps.write_text("N,N,N\n")
    assert look(places, (FREE,)).loaded
    assert not look(places, (FREE,)).exclusive
    caps.write_text("Y,N,N\n")
    assert look(places, (FREE,)).exclusive
