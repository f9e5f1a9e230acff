"""Which camera is meant, and the listings of the three systems."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from config.errors import SourceError
from realtime import avfoundation, directshow, v4l2
from realtime.devices import (
    CameraInfo,
    Mode,
    User,
    choose,
    find_again,
    first_of,
    linux_cameras,
    list_cameras,
)

A1, B2 = "usb-046d_HD_Pro_A1-video-index0", "usb-046d_HD_Pro_B2-video-index0"
CAMERAS = [
    CameraInfo(0, "Integrated Camera", "/dev/video0", port="pci-0000:00:14.0-usb-0:8:1.0"),
    CameraInfo(2, "HD Pro Webcam C920", "/dev/video2", A1, "pci-0000:00:14.0-usb-0:1:1.0"),
    CameraInfo(4, "HD Pro Webcam C920", "/dev/video4", B2, "pci-0000:00:14.0-usb-0:2:1.0"),
    CameraInfo(9, "puppetcam", "/dev/video9", virtual=True),
]


@pytest.mark.parametrize(
    ("which", "index"),
    [
        ("0", 0),
        ("/dev/video2", 2),
        (f"/dev/v4l/by-id/{B2}", 4),
        ("/dev/v4l/by-path/pci-0000:00:14.0-usb-0:8:1.0", 0),
        ('"Integrated Camera"', 0),
        ("integrated", 0),
        ("Pro_B2", 4),
        (A1, 2),
        ("PCI-0000:00:14.0-usb-0:8:1.0", 0),
        ("puppetcam", 9),
    ],
)
def test_camera_is_found_by_index_path_name_and_serial(which: str, index: int) -> None:
    assert choose(which, CAMERAS).index == index


@pytest.mark.skipif(os.name == "nt", reason="symbolic links as Linux makes them")
def test_camera_is_found_by_a_link_to_its_node(tmp_path: Path) -> None:
    node, link = tmp_path / "video7", tmp_path / "by-id"
    node.touch()
    link.symlink_to(node)
    assert choose(str(link), [CameraInfo(7, "Cam", str(node))]).index == 7


@pytest.mark.parametrize(
    ("which", "cameras", "message"),
    [
        ("C920", CAMERAS, r"fits several cameras; found camera:2 .*camera:4"),
        ("Kinect", CAMERAS, r"there is no camera 'Kinect'; found camera:0 \(Integrated"),
        ("Kinect", [], "no camera is connected"),
        ("7", CAMERAS, r"there is no camera 7; found camera:0"),
        ("/dev/video7", CAMERAS, r"there is no camera '/dev/video7'; found"),
        ("/dev/v4l/by-id/usb-gone", CAMERAS, "there is no camera '/dev/v4l/by-id/usb-gone'"),
        ('""', CAMERAS, "needs an index or a name"),
        ("9" * 20, [], "there is no camera '9"),
        ("-1", CAMERAS, "there is no camera '-1'"),
    ],
)
def test_camera_that_is_not_found_or_not_clear(
    which: str, cameras: list[CameraInfo], message: str
) -> None:
    with pytest.raises(SourceError, match=message) as error:
        choose(which, cameras)
    assert "\n" not in str(error.value)


def test_where_nothing_is_listed_a_number_is_taken_as_it_is() -> None:
    assert choose("3", [], listed=False) == CameraInfo(3, "")
    with pytest.raises(SourceError, match="does not tell the names of its cameras; use an index"):
        choose("Integrated", [], listed=False)


# --- found again ---


def test_a_camera_is_found_again_under_another_number() -> None:
    moved = [replace(CAMERAS[0], index=5, path="/dev/video5", port="elsewhere"), CAMERAS[3]]
    assert find_again(CAMERAS[0], moved) == moved[0]
    assert find_again(CAMERAS[0], CAMERAS[1:]) is None


def test_of_two_alike_the_serial_decides() -> None:
    swapped = [replace(CAMERAS[2], index=2), replace(CAMERAS[1], index=4)]
    assert find_again(CAMERAS[1], swapped) == swapped[1]
    assert find_again(CAMERAS[1], swapped[:1]) is None  # the other one is not it


def test_of_two_alike_without_serials_the_port_decides() -> None:
    # Without serials udev gives the only link to one of the two, today this one, tomorrow that.
    first = CameraInfo(0, "Cheap", serial="usb-Cheap-video-index0", port="usb-1")
    second = CameraInfo(2, "Cheap", port="usb-2")
    tomorrow = [replace(first, serial=""), replace(second, serial="usb-Cheap-video-index0")]
    assert find_again(first, tomorrow) == tomorrow[0]
    assert find_again(second, tomorrow) == tomorrow[1]
    assert find_again(second, tomorrow[:1]) == tomorrow[0]  # better one alike than none


def test_the_first_camera_is_a_real_one_and_a_virtual_one_only_if_fed() -> None:
    loop = CameraInfo(0, "puppetcam", virtual=True, fed=False)
    droid = CameraInfo(1, "Droidcam", virtual=True)
    assert first_of([loop, droid, CAMERAS[1]]) == CAMERAS[1]
    assert first_of([loop, droid]) == droid
    with pytest.raises(SourceError, match="no camera is connected"):
        first_of([loop])


# --- Linux ---


@pytest.mark.skipif(os.name == "nt", reason="symbolic links as Linux makes them")
def test_cameras_are_listed_without_metadata_encoders_and_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, dev, links = tmp_path / "class", tmp_path / "dev", tmp_path / "v4l"
    mode = Mode("MJPG", 640, 480, 640, 480, (30.0,))
    caps = {
        "video0": v4l2.Capability("uvcvideo", "Cam", "usb-1", 0x04200001),
        "video1": v4l2.Capability("uvcvideo", "Cam", "usb-1", 0x04A00000),  # metadata
        "video2": v4l2.Capability("uvcvideo", "Infrared", "usb-1", 0x04200001),
        "video4": v4l2.Capability("v4l2 loopback", "puppetcam", "platform", 0x05000002),
        "video5": v4l2.Capability("v4l2 loopback", "Droidcam", "platform", 0x05000003),
        "video6": v4l2.Capability("bcm2835-codec", "encoder", "platform", 0x04004000),
        "video7": v4l2.Capability("vivid", "output", "platform", 0x05200002),
    }
    index = {"video1": "1", "video2": "2", "video11": "1"}
    dev.mkdir()
    for node in (*caps, "video10", "video11"):  # the last two are not to be asked
        virtual = "virtual/" if node in ("video4", "video5") else ""
        real = tmp_path / f"devices/{virtual}video4linux/{node}"
        real.mkdir(parents=True)
        (real / "name").write_text((caps[node].name if node in caps else "Locked") + "\n")
        (real / "index").write_text(index.get(node, "0") + "\n")
        root.mkdir(exist_ok=True)
        (root / node).symlink_to(real)
        (dev / node).touch()
    for folder, name in (("by-id", "usb-Cam_1-video-index0"), ("by-path", "pci-1-video-index0")):
        (links / folder).mkdir(parents=True)
        (links / folder / name).symlink_to(dev / "video0")

    def query(node: Path) -> tuple[v4l2.Capability, tuple[Mode, ...]]:
        if node.name not in caps:
            raise PermissionError(13, "Permission denied")
        found = caps[node.name]
        return found, (mode,) if found.caps & v4l2.CAPTURE else ()

    monkeypatch.setattr(v4l2, "query", query)
    path = {node: str(dev / node) for node in (*caps, "video10")}
    uvc, loop = "uvcvideo", "v4l2 loopback"
    assert linux_cameras(False, root, links, dev) == [
        CameraInfo(0, "Cam", path["video0"], "usb-Cam_1-video-index0", "pci-1-video-index0",
                   driver=uvc, modes=(mode,)),
        CameraInfo(2, "Infrared", path["video2"], driver=uvc, modes=(mode,)),
        CameraInfo(4, "puppetcam", path["video4"], virtual=True, fed=False, driver=loop),
        CameraInfo(5, "Droidcam", path["video5"], virtual=True, driver=loop, modes=(mode,)),
        CameraInfo(10, "Locked", path["video10"]),
    ]  # fmt: skip


def test_without_cameras_the_list_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert linux_cameras(True, tmp_path / "none", tmp_path / "none", tmp_path) == []
    monkeypatch.setattr(sys, "platform", "freebsd14")
    assert list_cameras() == []


# --- Windows ---


@dataclass
class Device:
    name: str
    description: str
    media_types: list[str]


PNP = r"@device_pnp_\\?\usb#vid_{}#{{65e8773d-8f56-11d0-a3b9-00a0c9223196}}\global"
SOFTWARE = (
    r"@device_sw_{860BB310-5D01-11D0-BD3B-00A0C911CE86}\{A3FCE0F5-3493-419F-958A-ABA1250EC20B}"
)
SOUND = r"@device_cm_{33D9A762-90C8-11D0-BD43-00A0C911CE86}\wave_{4A1C7B2D-2}"
WINDOWS = [
    Device(PNP.format("04f2&pid_b50f&mi_00#6&bbc4ae1&0&0000"), "Integrated Camera", ["video"]),
    Device(SOFTWARE, "OBS Virtual Camera", []),
    Device(PNP.format("046d&pid_082d&mi_00#7&1b7d1a9b"), "HD Pro Webcam C920", ["video"]),
    Device(SOUND, "Microphone Array (Realtek(R) Audio)", ["audio"]),
    Device(SOUND.lower(), "Line In", []),
]
OPTIONS = """\
[dshow @ 02942b40] DirectShow video device options (from video devices)
[dshow @ 02942b40]  Pin "Capturer" (alternative pin name "0")
[dshow @ 02942b40]   pixel_format=yuyv422  min s=1280x720 fps=5 max s=1280x720 fps=10
[dshow @ 02942b40]   pixel_format=yuyv422  min s=1280x720 fps=5 max s=1280x720 fps=10 (tv, topleft)
[dshow @ 02942b40]   unknown compression type 0x30313050  min s=2560x1440 fps=5 max s=1x1 fps=9
[dshow @ 02942b40]   vcodec=mjpeg  min s=640x480 fps=30 max s=640x480 fps=30
[dshow @ 02942b40]   pixel_format=bgr24  min s=160x120 fps=59.9402 max s=3840x2160 fps=60.0002
"""


def test_directshow_cameras_are_numbered_without_the_microphones() -> None:
    found = directshow.cameras_of(WINDOWS)
    assert [(c.index, c.name, c.virtual) for c in found] == [
        (0, "Integrated Camera", False),
        (1, "OBS Virtual Camera", True),
        (2, "HD Pro Webcam C920", False),
    ]
    assert found[2].serial.startswith(r"@device_pnp_\\?\usb#vid_046d")
    assert choose("C920", found).index == 2
    assert find_again(replace(found[2], index=0), found) == found[2]


def test_directshow_modes_are_read_from_ffmpegs_list() -> None:
    assert directshow.parse_modes(OPTIONS) == (
        Mode("YUYV", 1280, 720, 1280, 720, (10.0, 5.0)),
        Mode("MJPG", 640, 480, 640, 480, (30.0,)),
        Mode("bgr24", 160, 120, 3840, 2160, (60.0002, 59.9402)),
    )


def test_windows_record_tells_who_is_denied_and_who_uses_a_camera() -> None:
    zoom: dict[str, Any] = {"LastUsedTimeStart": 133_000_000, "LastUsedTimeStop": 0}
    chrome = {"LastUsedTimeStart": 133_000_000, "LastUsedTimeStop": 133_000_001}
    record = {
        "Value": "Allow",
        "Microsoft.WindowsCamera_8wekyb3d8bbwe": {"Value": "Deny", **chrome},
        "NonPackaged": {
            "Value": "Allow",
            "C:#Program Files#Zoom#bin#Zoom.exe": zoom,
            "C:#Program Files#Google#Chrome#chrome.exe": chrome,
            "C:#never.exe": {},
        },
    }
    assert not directshow.denied(record)
    assert directshow.using(record) == (User(0, "Zoom.exe"),)
    assert directshow.denied({**record, "NonPackaged": {"Value": "Deny"}})
    assert directshow.denied({"Value": "Deny"})
    assert not directshow.denied({})
    assert directshow.using({}) == ()


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows there is something to list")
def test_elsewhere_than_on_windows_directshow_lists_nothing() -> None:
    assert directshow.cameras_here(True) == []
    assert directshow.consent() == {}


# --- macOS ---

MACOS = """{"SPCameraDataType": [
 {"_name": "Logi C310 HD WebCam", "spcamera_unique-id": "0x110000046d081b",
  "spcamera_model-id": "UVC Camera VendorID_1133 ProductID_2075"},
 {"_name": "OBS Virtual Camera", "spcamera_unique-id": "7626645E-4425-469E-9D8B-97E0FA59AC75"},
 {"_name": "FaceTime HD Camera", "spcamera_unique-id": "3F45E80A-0176-46F7-B185-BB9E2C0E82E3"}]}"""


def test_avfoundation_cameras_are_numbered_by_unique_id() -> None:
    assert [(c.index, c.name, c.virtual) for c in avfoundation.cameras_of(MACOS)] == [
        (0, "Logi C310 HD WebCam", False),
        (1, "FaceTime HD Camera", False),
        (2, "OBS Virtual Camera", True),
    ]
    assert avfoundation.cameras_of('{"SPCameraDataType": []}') == []
    assert avfoundation.cameras_of("[]") == []


@pytest.mark.skipif(sys.platform == "darwin", reason="on macOS there is something to list")
def test_elsewhere_than_on_macos_avfoundation_lists_nothing() -> None:
    assert avfoundation.cameras_here() == []
