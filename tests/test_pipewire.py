"""The PipeWire camera, read by GStreamer, in a session of the test's own."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from config.errors import SinkError
from config.schema import OutputSettings
from realtime.frame import Frame
from realtime.pipewire import PipeWireCamera, _Daemon, check_session, command

SETTINGS = OutputSettings(width=320, height=240, fps=30)
PROGRAMS = ("pipewire", "wireplumber", "dbus-daemon", "gst-launch-1.0", "gst-inspect-1.0")


def test_the_pipeline_is_the_one_that_works() -> None:
    words = command(SETTINGS)
    assert words[:4] == ["gst-launch-1.0", "fdsrc", "fd=0", f"blocksize={320 * 240 * 3}"]
    stages = " ".join(words).split(" ! ")
    assert [stage.split()[0].partition(",")[0] for stage in stages[1:]] == [
        "rawvideoparse", "queue", "videoconvert", "video/x-raw", "identity", "pipewiresink",
    ]  # fmt: skip
    assert "format=rgb width=320 height=240 framerate=30000/1000" in stages[1]
    assert "drop-allocation=true" in stages[5]
    assert "media.class=Video/Source,media.role=Camera,node.name=puppetcam" in stages[6]


def test_a_session_without_pipewire_is_told_with_its_cure(tmp_path: Path) -> None:
    for environment, platform, message in (
        ({}, "win32", "a part of Linux, this is win32"),
        ({}, "linux", "XDG_RUNTIME_DIR is not set; start puppetcam from the desktop session"),
        (
            {"XDG_RUNTIME_DIR": str(tmp_path)},
            "linux",
            r"does not run \(no .*pipewire-0\); sudo apt",
        ),
    ):
        with pytest.raises(SinkError, match=message):
            check_session(environment, platform)
    (tmp_path / "mine").touch()
    here = {"PIPEWIRE_RUNTIME_DIR": str(tmp_path), "PIPEWIRE_REMOTE": "mine"}
    assert check_session(here, "linux") == tmp_path / "mine"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="sockets with a path are POSIX")
def test_the_end_of_pipewire_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with pytest.raises(SinkError, match="pipewire-0 does not answer"):
        _Daemon(Path("pipewire-0"))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("pipewire-0")
        listening.listen()
        with closing(_Daemon(Path("pipewire-0"))) as daemon:
            connection, _ = listening.accept()
            assert daemon.runs
            connection.close()
            assert not daemon.runs


def why_not() -> str:
    if sys.platform != "linux":
        return "PipeWire is a part of Linux"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    found = subprocess.run(["gst-inspect-1.0", "pipewiresink"], capture_output=True, check=False)
    return "" if found.returncode == 0 else "GStreamer has no pipewiresink"


@pytest.fixture
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("run")
    folder.chmod(0o700)
    own = {
        "XDG_RUNTIME_DIR": str(folder),
        "HOME": str(folder),
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={folder}/bus",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        patch.delenv("PIPEWIRE_RUNTIME_DIR", raising=False)
        programs = []
        try:
            for words in (
                ["dbus-daemon", "--session", "--nofork", f"--address=unix:path={folder}/bus"],
                ["pipewire"],
                ["wireplumber"],
            ):
                log = (folder / f"{words[0]}.log").open("wb")
                programs.append(subprocess.Popen(words, stdout=log, stderr=log))
                log.close()
                waits_for = folder / ("bus" if words[0] == "dbus-daemon" else "pipewire-0")
                ends_at = time.perf_counter() + 10
                while not waits_for.exists() and time.perf_counter() < ends_at:
                    time.sleep(0.02)
            yield
        finally:
            for program in reversed(programs):
                program.terminate()
                program.wait(10)


def picture(index: int) -> Frame:
    image = np.full((240, 320, 3), (200, 120, 40), np.uint8)
    image[:, 40 * (index % 8) : 40 * (index % 8) + 40] = (20, 40, 220)
    return Frame(image, 0.0, index)


@pytest.mark.usefixtures("session")
def test_two_programs_see_the_pictures_and_the_camera_goes_with_its_sink() -> None:
    names = subprocess.run(["pw-cli", "ls", "Node"], capture_output=True, text=True, check=True)
    assert "puppetcam" not in names.stdout
    with closing(PipeWireCamera(SETTINGS)) as camera:
        assert camera.name == "pipewire (puppetcam)"
        assert camera.repeat_fps == 30
        source = "pipewiresrc target-object=puppetcam num-buffers=12"
        caps = "video/x-raw,format=RGB,width=320,height=240"
        pipeline = f"{source} ! videoconvert ! {caps} ! fdsink fd=1 sync=false"
        words = ["gst-launch-1.0", "-q", *pipeline.split()]
        readers = [subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range(2)]
        ends_at = time.perf_counter() + 30
        index, slowest = 0, 0.0
        for reader in readers:  # a few pictures fit into the pipe, so that none is read meanwhile
            assert reader.stdout is not None
            os.set_blocking(reader.stdout.fileno(), False)
        data = [b"", b""]
        while min(map(len, data)) < 8 * 240 * 320 * 3 and time.perf_counter() < ends_at:
            started = time.perf_counter()
            camera.send(picture(index))
            slowest = max(slowest, time.perf_counter() - started)
            index += 1
            time.sleep(1 / 30)
            for number, reader in enumerate(readers):
                data[number] += reader.stdout.read() or b""  # type: ignore[union-attr]
        for reader in readers:
            reader.kill()
            reader.wait()
            reader.stdout.close()  # type: ignore[union-attr]
    assert slowest < 0.2
    for seen in data:
        images = np.frombuffer(seen[: 8 * 240 * 320 * 3], np.uint8).reshape(8, 240, 320, 3)
        for image in images[2:]:
            blue = [c for c in range(8) if image[120, 40 * c + 20, 2] > 150]
            assert len(blue) == 1
            other = image[120, 40 * ((blue[0] + 4) % 8) + 20]
            np.testing.assert_allclose(other, (200, 120, 40), atol=12)
    names = subprocess.run(["pw-cli", "ls", "Node"], capture_output=True, text=True, check=True)
    assert "puppetcam" not in names.stdout
