"""The driver's face never goes out: every state of a run, every sink, a camera picture full of
marks that are known again, and the proof that they would be found."""

import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from drawn_face import face
from marks import driving, likeness, shows_driving
from performed import write_avatar

from config.errors import AvatarError, SinkError, SourceError
from config.schema import CameraSettings, OutputSettings, Settings
from control.actions import Actions
from control.keys import Keys
from realtime.assembly import SHIPPED
from realtime.avatar import load_avatar
from realtime.crop import Crop
from realtime.cutout import cut_out
from realtime.delivery import Delivery, Output
from realtime.engine import Engine, open_engine
from realtime.face import Face, open_tracker
from realtime.frame import Frame, Image
from realtime.metrics import Metrics
from realtime.mjpeg import MjpegServer
from realtime.pipeline import Capture, Inference
from realtime.puppeteer import Puppeteer, Status, Step
from realtime.scene import Scene
from realtime.sinks import MemorySink, Sink, open_sink
from realtime.window import Window

WIDTH, HEIGHT, FPS = 320, 240, 10
RAW = driving()
SETTINGS = Settings(
    camera=CameraSettings(stall_s=0.5, retry_s=0.2),
    output=OutputSettings(width=WIDTH, height=HEIGHT, fps=FPS),
)


# --- the marks are known again ---


def avatars_look(name: str = "henrik") -> Image:
    picture = cv2.cvtColor(cv2.imread(str(SHIPPED / f"{name}.png")), cv2.COLOR_BGR2RGB)
    return np.asarray(cv2.resize(picture, (WIDTH, HEIGHT)), np.uint8)


@pytest.mark.parametrize(
    "leak",
    [
        lambda out: cv2.resize(RAW, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA),
        lambda out: cv2.resize(RAW[:, ::-1], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA),
        lambda out: RAW[37:277, 101:421].copy(),
        lambda out: cv2.GaussianBlur(RAW[:240, :320], (0, 0), 4),
        lambda out: pasted(
            out, cv2.resize(RAW, (144, 108), interpolation=cv2.INTER_AREA), 170, 120
        ),
        lambda out: pasted(out, cv2.resize(RAW[50:230, 300:480], (90, 90)), 7, 141),
        lambda out: cv2.addWeighted(RAW[:240, :320], 0.3, out, 0.7, 0),
        lambda out: cv2.resize(RAW[100:250, 100:250], (WIDTH, HEIGHT + 60))[:HEIGHT],
        lambda out: cv2.imdecode(cv2.imencode(".jpg", RAW[:240, :320], [1, 30])[1], 1),
    ],
    ids=["whole", "mirrored", "cut", "blurred", "small", "part", "faint", "stretched", "jpeg"],
)
def test_a_leak_is_seen_however_it_looks(leak: Callable[[Image], Image]) -> None:
    assert shows_driving(np.asarray(leak(avatars_look()), np.uint8))


def pasted(out: Image, part: Any, x: int, y: int) -> Image:
    out[y : y + part.shape[0], x : x + part.shape[1]] = part
    return out


@pytest.mark.parametrize("name", ["amara", "henrik", "isolde", "mio"])
def test_an_avatar_is_no_leak(name: str) -> None:
    assert likeness(avatars_look(name)) < 0.63


# --- a run ---


class Looking:
    """A tracker that sees a face in the marks, wherever the script has one, and no landmarks: the
    engine reads the raw picture itself."""

    def __init__(self) -> None:
        self.there = True
        self.turn = 0.0

    def track(self, image: Image, now: float) -> Face | None:
        self.turn += 3.0
        height, width = image.shape[:2]
        landmarks = face(
            (width / 2, height / 2), width / 4, yaw=15 * np.sin(self.turn / 5), mouth=0.08
        )
        return Face(landmarks, 1.0, Crop.around(landmarks)) if self.there else None

    def find_all(self, image: Image) -> list[Face]:
        found = self.track(image, 0.0)
        return [found] if found else []

    def reset(self) -> None:
        pass


class Camera:
    """A camera of marks that can be pulled out."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.name, self.width, self.height, self.fps, self.live = "marks", 640, 480, FPS, True
        self._clock = clock
        self.image = RAW
        self.out = False
        self._next = 0

    def read(self) -> Frame | None:
        if self.out:
            raise SourceError("the camera is gone")
        self._next += 1
        return Frame(self.image, self._clock(), self._next - 1)

    def close(self) -> None:
        pass


class Seen:
    """What other programs see of a virtual camera."""

    def __init__(self, width: int, height: int, fps: float, device: str | None = None) -> None:
        self.width, self.height, self.device = width, height, "/dev/video77"
        self.pictures: list[Image] = []

    def send(self, image: Image) -> None:
        self.pictures.append(image.copy())

    def close(self) -> None:
        pass


class Receiver:
    """Another machine that keeps all that ``udp://`` sends."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.5)
        self.path, self.address = path, f"udp://127.0.0.1:{self._socket.getsockname()[1]}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep)
        self._thread.start()

    def _keep(self) -> None:
        with self.path.open("wb") as file:
            while True:
                try:
                    file.write(self._socket.recv(65536))
                except TimeoutError:
                    if self._over.is_set():
                        return

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()


class Breaks(MemorySink):
    """A sink that fails when it has had enough."""

    def send(self, frame: Frame) -> None:
        super().send(frame)
        if self.count > 6:
            raise SinkError("the cable is out")


class Run:
    """The parts of the live path as ``Pipeline`` has them, on a clock of the test's."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, puppeteer: Puppeteer, tracker: Looking
    ) -> None:
        self.now = 100.0
        self.folder, self.tracker = folder, tracker
        self.windows: dict[str, list[Image]] = {Window.OUTPUT: [], Window.PREVIEW: []}
        virtual: list[Seen] = []

        def camera(*size: Any, **more: Any) -> Seen:
            virtual.append(Seen(*size, **more))
            return virtual[-1]

        def show(title: str, bgr: Any) -> None:
            self.windows[title].append(np.ascontiguousarray(bgr[..., ::-1]))

        monkeypatch.setattr("pyvirtualcam.Camera", camera)
        monkeypatch.setattr("realtime.window._check_display", lambda: None)
        for name in ("namedWindow", "destroyWindow"):
            monkeypatch.setattr(cv2, name, lambda *_: None)
        monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 1.0)
        monkeypatch.setattr(cv2, "pollKey", lambda: -1)
        monkeypatch.setattr(cv2, "imshow", show)
        output = SETTINGS.output
        self.memory, self.breaks = MemorySink(keep=1000, repeat_fps=FPS), Breaks()
        self.mjpeg = MjpegServer("127.0.0.1:0", token="test")  # noqa: S106
        window = open_sink("window", output)
        assert isinstance(window, Window)
        self.files = [folder / "out.mp4", folder / "out.webm"]
        self.stream = Receiver(folder / "stream.ts")
        self.sinks: list[Sink] = [
            self.memory,
            open_sink("virtualcam", output),
            window,
            self.breaks,
            self.mjpeg,
            *(open_sink(f"file:{path}", output) for path in self.files),
            open_sink(self.stream.address, output),
        ]
        self.virtual = virtual[0]
        metrics = Metrics(lambda: self.now)
        self.camera = Camera(lambda: self.now)
        self.capture = Capture(lambda: self.camera, SETTINGS.camera, lambda: self.now)
        self.inference = Inference(puppeteer, SETTINGS.camera.stall_s)
        self.delivery = Delivery(self.sinks, metrics, lambda: self.now)
        self.puppeteer = puppeteer
        avatars = [puppeteer.avatar] if puppeteer.avatar else []
        bundle = puppeteer._engine.bundle
        avatars += [load_avatar(SHIPPED / "mio.png", open_tracker(SETTINGS.tracking), 512)]
        self.actions = Actions(
            self.inference.post, metrics, avatars, SETTINGS,
            prepare=puppeteer.prepare,
            open_finder=lambda: open_tracker(SETTINGS.tracking),
            avatar_size=bundle.output_size,
        )  # fmt: skip
        self.keys = Keys(self.actions, window)
        self.statuses: set[Status] = set()

    def go(self, steps: int, *, silent: bool = False) -> None:
        """So many beats of the camera, or of the clock alone."""
        for _ in range(steps):
            self.now += 1 / FPS
            frame = None if silent else self.capture.read()
            output = self.inference.step(frame, self.now, True, self.capture.lost)
            if output is not None:
                self.deliver(output)
            self.delivery.repeat(self.now + 0.05)

    def deliver(self, output: Output) -> None:
        self.delivery.send(output)
        self.statuses.add(output.step.status)
        self.actions.see(output.step)
        self.keys.show(output.step)

    def ask(self, name: str, value: str | None = None) -> None:
        """An action as a key or the API has it, until a step has followed it."""
        done = self.actions.do(name, value)
        for _ in range(200):
            self.go(1)
            if done.done():
                break
            time.sleep(0.01)  # an avatar is prepared in a thread of its own
        done.result(0)

    def settle(self) -> None:
        """Until changed settings are composed."""
        for thread in threading.enumerate():
            if thread.name == "compose":
                thread.join(30)

    def pictures(self) -> Iterator[tuple[str, Image]]:
        """Everything that has left puppetcam since the last call."""
        for frame in self.memory.frames:
            yield "memory", frame.image
            if frame.alpha is not None:
                yield "cut out", np.ascontiguousarray(cut_out(frame)[..., :3])
        self.memory.frames.clear()
        yield from (("breaking sink", frame.image) for frame in self.breaks.frames)
        self.breaks.frames.clear()
        yield from (("virtual camera", image) for image in self.virtual.pictures)
        self.virtual.pictures.clear()
        shown = self.windows[Window.OUTPUT]
        yield from (("window", image) for image in shown)
        shown.clear()
        with urllib.request.urlopen(f"{self.mjpeg.url}picture.jpg", timeout=10) as answer:
            jpeg = np.frombuffer(answer.read(), np.uint8)
        yield "mjpeg", np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1].copy())
        snapshot = self.actions.snapshot()
        assert snapshot is not None
        yield "snapshot", snapshot.image

    def close(self) -> None:
        for sink in self.sinks:
            sink.close()
        self.stream.close()


class Looks:
    """Looks at pictures, at each only once."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self.count = 0
        """Pictures given, those that were looked at before among them."""

    def check(self, state: str, pictures: Iterator[tuple[str, Image]]) -> None:
        for sink, image in pictures:
            self.count += 1
            # Marks and labels aside: what differs by a few levels was looked at already.
            small = cv2.resize(image, (32, 24), interpolation=cv2.INTER_AREA) // 8
            key = hash((image.shape, small.tobytes()))
            if key not in self._known:
                self._known.add(key)
                found = likeness(image)
                assert found < 0.66, f"{state}: {sink} shows the camera ({found:.2f})"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    found = open_engine(SETTINGS.engine)
    yield found
    found.close()


def start(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch, cls: type[Puppeteer] = Puppeteer
) -> Run:
    tracker = Looking()
    puppeteer = cls(engine, tracker, SETTINGS)
    # A large picture, for "place".
    path = write_avatar(folder / "avatar.png", seed=8)
    puppeteer.set_avatar(load_avatar(path, open_tracker(SETTINGS.tracking), 512))
    return Run(folder, monkeypatch, puppeteer, tracker)


def states(run: Run) -> Iterator[str]:
    """Every state that a run can be in."""
    run.tracker.there = False
    run.go(1)
    yield "start, without a face"
    run.tracker.there = True
    run.go(3)
    yield "calibrating"
    run.puppeteer.take_reference(Frame(RAW, run.now, 0))
    run.go(4)
    yield "live"
    run.tracker.there = False
    run.go(1)
    yield "the face just lost: held"
    run.go(5)
    yield "no face: eased to neutral"
    run.tracker.there = True
    run.go(3)
    yield "the face is back"
    run.go(8, silent=True)
    yield "the camera is stalled"
    run.go(2)
    yield "the camera goes on"
    run.camera.out = True
    run.go(4)
    yield "the camera is lost"
    run.camera.out = False
    run.go(5)
    yield "the camera is back"
    for image in (driving(1280, 720), driving(160, 120), RAW // 8, np.rot90(RAW).copy()):
        run.camera.image = image
        run.go(1)
    yield "the camera's picture is large, small, dark, turned"
    run.camera.image = RAW
    run.ask("panic", "on")
    run.go(1)
    run.go(1, silent=True)
    yield "panic"
    run.camera.out = True
    run.go(2)
    yield "panic, and the camera is lost"
    run.camera.out = False
    run.go(4)
    run.ask("panic", "off")
    yield "panic is over"
    run.ask("next")
    yield "another avatar"
    run.ask("load", f"drawn:{run.folder / 'avatar.png'}")
    yield "a new picture is loaded"
    with pytest.raises(AvatarError):
        run.ask("load", str(run.files[0]))
    run.go(1)
    yield "a picture that is none"
    for action, value in (
        ("recentre", None), ("zoom", "1.5"), ("zoom", "0.7"), ("mirror-camera", "on"),
        ("mirror-output", "on"), ("mirror-camera", "off"),
        ("set", "label.enabled=false"), ("set", "smoothing.enabled=false"),
        ("set", "motion.relative=false"), ("set", "camera.denoise=on"),
    ):  # fmt: skip
        run.ask(action, value)
        yield f"{action} {value}"
    yield from compositions(run)
    assert run.breaks.count == 7
    yield "one sink has failed"
    for key in "rori":
        run.keys._press(ord(key))
        run.go(1)
    yield "the preview's keys"


def compositions(run: Run) -> Iterator[str]:
    """Every way in which the output is composed."""
    wall = run.folder / "wall.png"
    cv2.imwrite(str(wall), np.full((90, 160, 3), (120, 60, 30), np.uint8))
    for compose in ("crop", "place", "fit"):
        for background in ("avatar", "green", "alpha", str(wall)):
            run.actions.change({"output.compose": compose, "output.background": background})
            run.go(1)  # the old scene still
            run.settle()
            run.go(1)
            yield f"compose {compose}, background {Path(background).name}"
    output = replace(run.puppeteer.settings.output, background=str(run.folder / "none.png"))
    run.puppeteer.settings = replace(run.puppeteer.settings, output=output)
    run.settle()
    run.go(1)
    yield "a background that is not there"


def walk(run: Run, looks: Looks, ways: Callable[[Run], Iterator[str]] = states) -> None:
    for state in ways(run):
        looks.check(state, run.pictures())


def test_no_state_shows_the_camera_in_any_sink(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, looks = start(engine, tmp_path, monkeypatch), Looks()
    try:
        walk(run, looks)
    finally:
        run.close()
    assert run.statuses == set(Status)  # the walk came through all of them
    # The preview is for the driver: he sees himself there, and nobody else does.
    preview = run.windows[Window.PREVIEW]
    assert shows_driving(cv2.resize(preview[6], (WIDTH, WIDTH)))
    for path in (*run.files, run.stream.path):
        before = looks.count
        looks.check(f"after the end, {path.name}", every_tenth(path))
        assert looks.count > before
    assert looks.count > 200


def every_tenth(path: Path) -> Iterator[tuple[str, Image]]:
    with av.open(str(path)) as container:
        for number, picture in enumerate(container.decode(video=0)):
            if number % 10 == 0:
                yield path.name, picture.to_ndarray(format="rgb24")


class Leaks(Puppeteer):
    """Where there is no face, this one shows the camera: what the walk is there to find."""

    def step(self, frame: Frame) -> Step:
        step = super().step(frame)
        if step.status is not Status.LOST:
            return step
        raw = cv2.resize(frame.image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        return replace(step, frame=replace(step.frame, image=np.asarray(raw, np.uint8)))


def test_the_walk_finds_a_puppeteer_that_leaks(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, looks = start(engine, tmp_path, monkeypatch, Leaks), Looks()
    with pytest.raises(AssertionError, match=r"without a face: memory shows the camera"):
        walk(run, looks)
    run.close()


def test_the_walk_finds_a_scene_that_leaks(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compose = Scene.compose

    def leaking(scene: Scene, result: Image) -> Any:
        picture, alpha = compose(scene, result)
        if scene.settings.compose == "place" and scene.settings.background == "green":
            picture[20:140, 180:300] = RAW[:120, :120]  # a corner of it, in one composition alone
        return picture, alpha

    run, looks = start(engine, tmp_path, monkeypatch), Looks()
    monkeypatch.setattr(Scene, "compose", leaking)
    with pytest.raises(AssertionError, match=r"compose place, background green: memory shows"):
        walk(run, looks, compositions)
    run.close()
