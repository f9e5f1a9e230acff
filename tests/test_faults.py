"""What the viewer sees when something fails: one table, each row done to a real ``puppetcam run``
whose camera shows marks that are known again. Never the driver's picture, never a traceback, and
recordings play as far as they came. (The same for people: docs/faults.md.)
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import psutil
import pytest
from faulty import FPS, Camera, Run, acting, encoded, never_raw, until
from marks import driving, shows_driving
from performed import read_video, write_avatar

from config.errors import ControlError, SettingsError
from control.profiles import load_profile, profile_file
from control.running import find_running
from provenance.credentials import read_credentials

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and small disks are POSIX here")

STALL_S = 1.0
"""As ``faulty.Run`` sets it."""


@dataclass
class Stage:
    """All that a row may break."""

    camera: Camera
    run: Run
    folder: Path
    disk: Path | None
    """A small disk of its own; None where none can be made."""
    left_open: list[socket.socket]

    def file(self, name: str) -> Path:
        """Of the run: "anna.png", "settings.yaml", ..."""
        return self.folder / name


@dataclass(frozen=True)
class Row:
    """One fault."""

    name: str
    fault: Callable[[Stage], object]
    shows: str
    """What the output shows then, a pattern of ``puppeteer.Status``."""
    mend: Callable[[Stage], object] = lambda stage: None
    says: str = ""
    """What the terminal says, a pattern."""
    needs_disk: bool = False
    linux: bool = False
    """It can be done on Linux alone."""


# --- what is done ---


def look_at(*pictures: bytes) -> Callable[[Stage], None]:
    return lambda stage: stage.camera.show(pictures)


def usual(stage: Stage) -> None:
    stage.camera.show(stage.camera.usual)


def write_garbage(*names: str) -> Callable[[Stage], None]:
    def write(stage: Stage) -> None:
        for name in names:
            stage.file(name).write_bytes(b"\x00] no such thing: {")

    return write


def change_the_avatar(stage: Stage) -> None:
    path = stage.file("anna.png")
    write_garbage("anna.png")(stage)
    code, answer = stage.run.ask("POST", "/actions/load", {"value": str(path)})
    assert (code, str(path) in answer["error"]) == (400, True)
    path.unlink()
    code, answer = stage.run.ask("POST", "/actions/load", {"value": str(path)})
    assert (code, "there is no such file" in answer["error"]) == (400, True)


def break_the_settings(stage: Stage) -> None:
    write_garbage("settings.yaml")(stage)
    profile_file("anna").write_text("garbage: [", encoding="utf-8")
    with pytest.raises(SettingsError):
        load_profile("anna")
    code, _ = stage.run.ask("POST", "/actions/set", {"value": "label.size=0.09"})
    assert code == 200

    def whole() -> bool:
        with suppress(SettingsError):
            profile = load_profile("anna")
            return profile is not None and profile.settings.label.size == 0.09
        return False

    until(whole, "the profile is written anew")


def viewers_come_and_go(stage: Stage) -> None:
    assert stage.run.viewer is not None
    for _ in range(12):
        answer = urllib.request.urlopen(f"{stage.run.viewer.url}stream.mjpg", timeout=20)
        answer.read(100)
        answer.close()


def a_viewer_takes_nothing(stage: Stage) -> None:
    assert stage.run.viewer is not None
    parts = urlsplit(stage.run.viewer.url)
    slow = socket.create_connection((parts.hostname, parts.port))
    slow.sendall(b"GET %sstream.mjpg HTTP/1.1\r\n\r\n" % parts.path.encode())
    stage.left_open.append(slow)
    time.sleep(1)


def fill_the_disk(stage: Stage) -> None:
    assert stage.disk is not None
    with suppress(OSError), (stage.disk / "filler").open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()


def empty_the_disk(stage: Stage) -> None:
    assert stage.disk is not None
    pictures, _ = read_video(stage.disk / "small.mp4")  # raises where its end is cut
    assert len(pictures) >= FPS / 2
    (stage.disk / "filler").unlink()


def leave_no_memory(stage: Stage) -> None:
    """What there is and 30 MB: enough to go on, too little for a picture of 50 megapixels, however
    much the program has kept for itself."""
    import resource

    large = stage.run.folder / "large.png"
    cv2.imwrite(str(large), np.zeros((6000, 8400, 3), np.uint8))
    _, hard = resource.prlimit(stage.run.process.pid, resource.RLIMIT_AS)
    held = psutil.Process(stage.run.process.pid).memory_info().vms
    resource.prlimit(stage.run.process.pid, resource.RLIMIT_AS, (held + 30_000_000, hard))
    code, told = stage.run.ask("POST", "/actions/set", {"value": f"output.background={large}"})
    assert code == 400
    assert "Failed to allocate" in told["error"]


def give_memory_back(stage: Stage) -> None:
    import resource

    _, hard = resource.prlimit(stage.run.process.pid, resource.RLIMIT_AS)
    resource.prlimit(stage.run.process.pid, resource.RLIMIT_AS, (hard, hard))
    for background in ("alpha", "green", "avatar"):
        change = {"value": f"output.background={background}"}
        code, _ = stage.run.ask("POST", "/actions/set", change)
        assert code == 200


BLACK = encoded(np.zeros((480, 640, 3), np.uint8))
ROWS = (
    Row("camera unplugged", lambda s: s.camera.pull_out(), "no camera",
        lambda s: s.camera.plug_in(), r"camera lost: http://.*(broke off|has ended|opened)"),
    Row("camera stalled", lambda s: s.camera.talks.clear(), "no camera",
        lambda s: s.camera.talks.set(), r"camera lost: .* gave no picture for 1\.\d s"),
    Row("camera black", look_at(BLACK), "lost", usual),
    Row("nobody before the camera", look_at(encoded(driving())), "lost", usual),
    Row("camera of another size", look_at(*map(encoded, acting(1280, 720, 4))), "live", usual),
    Row("camera turned, tiny, odd",
        look_at(*(encoded(one) for one in (driving(480, 640), driving(64, 48), driving(333, 251)))),
        "lost|holding", usual),
    Row("camera sends garbage", look_at(b"\xff\xd8 nothing of a picture \xff\xd9"), "no camera",
        usual, "camera lost: .* gave no picture"),
    Row("viewers come and go", viewers_come_and_go, "live"),
    Row("a viewer takes nothing", a_viewer_takes_nothing, "live"),
    Row("virtual camera gone", lambda s: s.file("camera").touch(), "live",
        says=r"/dev/video77\) took no picture: No such device; the other outputs go on"),
    Row("disk full while recording", fill_the_disk, "live", empty_the_disk,
        r"small\.mp4 stopped at .* No space left on device; free some space; what was written "
        "until then plays; the other outputs go on", needs_disk=True),
    Row("avatar's file changed and deleted", change_the_avatar, "live"),
    Row("settings and profile overwritten", break_the_settings, "live"),
    Row("no memory for another background", leave_no_memory, "live", give_memory_back, linux=True),
)  # fmt: skip


# --- it is done ---


@pytest.fixture(scope="module")
def camera() -> Iterator[Camera]:
    found = Camera()
    yield found
    found.talks.set()
    found.pull_out()


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """A disk of 24 MB."""
    path = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path)]
    made = False
    with suppress(OSError):
        made = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    yield path if made else None
    if made:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture(scope="module")
def stage(
    camera: Camera, disk: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """One run for all of the table."""
    folder = tmp_path_factory.mktemp("run")
    avatar = write_avatar(folder / "anna.png")
    settings = folder / "settings.yaml"
    settings.write_text("smoothing: {beta: 0.9}\n", encoding="utf-8")
    more = ["--sink", "virtualcam", "--sink", f"file:{folder / 'film.mp4'}"]
    more += ["--sink", f"file:{disk / 'small.mp4'}"] if disk else []
    more += ["--avatar", str(avatar), "--config", str(settings), "--profile", "anna"]
    with Run(folder, camera.address, *more, faults=folder) as run:
        run.look().more(3)
        found = Stage(camera, run, folder, disk, [])
        yield found
        for one in found.left_open:
            one.close()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_output_goes_on(stage: Stage, row: Row) -> None:
    if row.needs_disk and stage.disk is None:
        pytest.skip("a small disk can only be made by root")
    if row.linux and sys.platform != "linux":
        pytest.skip("memory is taken away from a program on Linux only")
    run, viewer = stage.run, stage.run.viewer
    assert viewer is not None
    run.until_status("live")
    lines, seen = len(run.errors), len(viewer.pictures)
    row.fault(stage)
    run.until_status(row.shows)
    if row.says:
        run.until_said(row.says, lines)
    viewer.more(4)
    row.mend(stage)
    run.until_status("live")
    viewer.more(2)
    assert never_raw(viewer.since(seen)) >= 6
    assert run.tracebacks() == []


def test_sigterm_ends_it_with_whole_signed_recordings(stage: Stage) -> None:
    """The run of the table."""
    stage.run.until_status("live")
    assert stage.run.end(signal.SIGTERM) == 0, stage.run.errors
    assert stage.run.tracebacks() == []
    films = [stage.file("film.mp4"), *([stage.disk / "small.mp4"] if stage.disk else [])]
    for film in films:
        pictures, _ = read_video(film)
        assert never_raw(iter(pictures[:: max(1, len(pictures) // 10)])) >= 3
        assert read_credentials(film).state == "valid"
    with pytest.raises(ControlError, match="nothing runs"):
        find_running()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("failed", "puppetcam: ONNX Runtime failed: the node Conv_3 gave no result"),
        ("memory", "puppetcam: there is no memory left; close other programs"),
        ("mistake", r"puppetcam: a mistake of puppetcam's own \(ValueError: shapes"),
    ],
    ids=["it failed", "out of memory", "a mistake"],
)
def test_an_error_of_the_networks_ends_the_run_in_one_line(
    camera: Camera, tmp_path: Path, error: str, told: str
) -> None:
    film = tmp_path / "film.mp4"
    with Run(tmp_path, camera.address, "--sink", f"file:{film}", faults=tmp_path) as run:
        viewer = run.look()
        viewer.more(5)
        (tmp_path / "engine").write_text(error, encoding="utf-8")
        assert run.wait() == 1
        assert run.said(told)
        assert run.tracebacks() == []
        assert sum(line.startswith("puppetcam: ") for line in run.errors) == 1
        assert never_raw(viewer.since(0)) >= 5
    assert len(read_video(film)[0]) >= 3
    assert read_credentials(film).state == "valid"


def test_sigkill_leaves_what_plays_and_the_next_run_begins_as_ever(
    camera: Camera, tmp_path: Path
) -> None:
    film, port = tmp_path / "film.mp4", free_port()
    more = ["--sink", f"mjpeg:{port}", "--profile", "killed", "--sink"]
    with Run(tmp_path, camera.address, *more, f"file:{film}") as run:
        viewer = run.look()
        viewer.more(1)
        began = time.perf_counter()
        run.until_status("live")
        until(lambda: time.perf_counter() > began + 4, "four seconds of film")
        lasted = time.perf_counter() - began
        assert run.end(signal.SIGKILL) == -signal.SIGKILL
    pictures, times = read_video(film)
    assert times[-1] > lasted - 1.5  # whole seconds are written
    assert never_raw(iter(pictures[:: len(pictures) // 5])) >= 5
    assert film.exists()
    told = subprocess.run(
        [sys.executable, "-m", "puppetcam", "ctl", "status"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (told.returncode, told.stderr.count("\n")) == (2, 1)
    assert "the last run has ended without a word" in told.stderr
    second = tmp_path / "second.mp4"
    with Run(tmp_path, camera.address, *more, f"file:{second}") as run:
        run.until_status("live")
        assert run.said("profile killed: calibrated")
        assert run.end(signal.SIGHUP) == 0  # the terminal is closed
        assert run.tracebacks() == []
    assert read_credentials(second).state == "valid"


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as one:
        return int(one.getsockname()[1])


def test_the_marks_of_the_camera_would_be_found() -> None:
    """Else nothing above could fail."""
    whole = acting(count=1)[0]
    assert shows_driving(cv2.resize(whole, (320, 240), interpolation=cv2.INTER_AREA))
    with pytest.raises(AssertionError, match="picture 0 shows the camera"):
        never_raw(iter([whole]))
