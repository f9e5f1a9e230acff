import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from performed import write_avatar
from puppet import AVATARS, SIDE, Puppet

from config.errors import ActionError, AvatarError, EngineError, NeedsRestartError, SettingsError
from config.schema import CameraSettings, OutputSettings, Settings
from control.actions import ACTIONS, KEYS, Actions
from control.settings import LIVE, setting_values
from realtime.assembly import assemble
from realtime.avatar import Avatar
from realtime.crop import Crop
from realtime.face import open_tracker
from realtime.frame import Frame
from realtime.metrics import Metrics
from realtime.performer import perform
from realtime.pipeline import Pipeline
from realtime.puppeteer import Status, Step, View
from realtime.sinks import MemorySink


def no_finder() -> Any:
    raise AssertionError("no picture is read here")


def make(find: Callable[[], Any] = no_finder) -> tuple[Actions, Puppet]:
    puppet = Puppet()
    post: Any = lambda action: action(puppet)  # noqa: E731
    return Actions(post, Metrics(), AVATARS, Settings(), puppet.prepare, find, SIDE), puppet


def test_avatars_are_chosen_by_number_by_name_and_in_a_ring() -> None:
    actions, puppet = make()
    for name, value in [
        ("avatar", "2"),
        ("next", None),
        ("next", None),  # from the last to the first
        ("previous", None),  # and back
        ("avatar", "bob"),
        ("avatar", "bob"),  # shown already: not encoded again
    ]:
        actions.do(name, value).result(10)
    assert [told[1] for told in puppet.told] == ["bob", "cy", "ann", "cy", "bob"]
    assert actions.avatar.name == "bob"
    assert actions.status()["avatar"] == {"number": 2, "name": "bob"}


def test_switches_toggle_or_do_as_told() -> None:
    actions, puppet = make()
    for value in (None, "on", "off", None):
        actions.do("panic", value)
    assert puppet.told == [("panic", on) for on in (True, True, False, True)]
    actions.do("mirror-output")
    actions.do("mirror-camera", "ON")
    assert (puppet.settings.output.mirror, puppet.settings.camera.mirror) == (True, True)
    actions.do("mirror-output", "off")
    assert not puppet.settings.output.mirror


def test_zoom_goes_in_steps_or_to_a_number_and_stops_at_its_ends() -> None:
    actions, puppet = make()
    actions.do("zoom", "in")
    assert puppet.settings.tracking.zoom == pytest.approx(1 / 1.05)
    actions.do("zoom", "1.96")
    actions.do("zoom", "out")
    assert puppet.settings.tracking.zoom == 2.0
    actions.do("zoom", "0.51")
    actions.do("zoom", "in")
    assert puppet.settings.tracking.zoom == 0.5


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dance", None, "there is no action 'dance'; there are avatar, next"),
        ("avatar", None, "avatar needs a value: avatar NUMBER|NAME"),
        ("avatar", "4", "there is no avatar '4'; there are 1 ann, 2 bob, 3 cy"),
        ("avatar", "0", "there is no avatar '0'"),
        ("avatar", "-1", "there is no avatar '-1'"),
        ("avatar", "9" * 9999, "there is no avatar '9"),
        ("avatar", "²", "there is no avatar '²'"),
        ("recentre", "now", "recentre takes no value, found 'now'"),
        ("panic", "maybe", "panic takes on, off or nothing (toggles), found 'maybe'"),
        ("zoom", "nan", "zoom takes in, out or a number from 0.5 to 2.0, found 'nan'"),
        ("zoom", "3", "zoom takes in, out or a number"),
    ],
)
def test_what_cannot_be_asked_is_one_line(name: str, value: str | None, message: str) -> None:
    actions, puppet = make()
    with pytest.raises(ActionError) as caught:
        actions.do(name, value)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 200
    assert puppet.told == []


def test_settings_change_one_by_one_or_all_together() -> None:
    actions, puppet = make()
    actions.do("set", "label.position=top-left").result(10)
    actions.change({"label.size": 0.1, "motion": {"limit": 1, "relative": False}}).result(10)
    found = puppet.settings
    assert (found.label.position, found.label.size) == ("top-left", 0.1)
    assert (found.motion.limit, found.motion.relative) == (1.0, False)
    assert actions.settings == found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label.sise": 0.1}, "unknown setting 'label.sise'; nearest is 'label.size'"),
        ({"label": 3}, "'label' is a group of settings, found 3"),
        ({"label.size": "big"}, "'label.size' must be a number, found 'big'"),
        ({"label.size": 0.9}, "setting 'label.size' must be from 0.03 to 0.3, found 0.9"),
        ({"": 1}, "unknown setting ''"),
        ({"label.size.x": 1}, "unknown setting 'label.size.x'"),
        ({"motion.limit": 0.2, "tracking.zoom": 99}, "setting 'tracking.zoom' must be from"),
    ],
)
def test_a_wrong_setting_changes_nothing(changes: dict[str, Any], message: str) -> None:
    actions, puppet = make()
    with pytest.raises(SettingsError, match="^" + message.replace("'", ".")):
        actions.change(changes)
    assert puppet.settings == actions.settings == Settings()


def test_a_setting_that_needs_a_restart_says_so() -> None:
    actions, puppet = make()
    with pytest.raises(NeedsRestartError, match=r"puppetcam run camera\.width=1280"):
        actions.change({"camera.width": 1280, "label.size": 0.1})
    for text in ("output.width=320", "engine.threads=2", "api.port=4000", "camera.fps=15"):
        with pytest.raises(NeedsRestartError):
            actions.do("set", text)
    assert puppet.settings == Settings()
    actions.change({"camera.width": 640, "label.size": 0.1})  # as it is: nothing to restart for
    assert puppet.settings.label.size == 0.1


def test_every_live_setting_exists_and_the_token_is_nobodys_to_read() -> None:
    values = setting_values(Settings())
    names = {f"{group}.{key}" for group, keys in values.items() for key in keys}
    assert names >= LIVE
    assert "api.port" in names
    assert "api.token" not in names


def test_every_key_asks_for_something_that_can_be_done() -> None:
    actions, _ = make()
    for name, value in KEYS.values():
        assert name in ACTIONS
        if value is None or value <= "3" or not value.isdecimal():
            actions.do(name, value).result(10)


def test_error_of_the_puppeteer_is_the_askers_and_the_old_avatar_stays() -> None:
    actions, puppet = make()
    puppet.refuses = EngineError("out of memory")
    with pytest.raises(EngineError, match="out of memory"):
        actions.do("avatar", "3").result(10)
    assert actions.avatar.name == "ann"
    puppet.refuses = None
    actions.do("avatar", "3").result(10)
    assert actions.avatar.name == "cy"


def test_of_avatars_asked_for_at_once_the_last_one_is_prepared_and_shown() -> None:
    actions, puppet = make()
    first, go = threading.Event(), threading.Event()

    def prepare(avatar: Avatar) -> None:
        puppet.prepared.append(avatar.name)
        first.set()
        assert go.wait(10)

    actions._prepare = prepare
    answers = [actions.do("avatar", "2")]
    assert first.wait(10)
    answers += [actions.do("avatar", "3"), actions.do("avatar", "1"), actions.do("avatar", "3")]
    assert actions.do("panic", "on").done()  # waits for no avatar
    go.set()
    for answer in answers:
        answer.result(10)
    assert actions.avatar.name == "cy"
    assert puppet.told == [("panic", True), ("avatar", "cy")]
    assert puppet.prepared == ["bob", "cy"]


def test_background_that_cannot_be_read_is_the_askers_mistake(tmp_path: Path) -> None:
    actions, puppet = make()
    with pytest.raises(AvatarError, match=r"none\.png: there is no such file"):
        actions.do("set", f"output.background={tmp_path / 'none.png'}")
    assert puppet.settings == Settings()
    actions.do("set", "output.background=green").result(10)
    assert puppet.settings.output.background == "green"


def test_label_switched_off_is_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    actions, _ = make()
    actions.do("set", "label.size=0.1")
    assert caplog.messages == []
    actions.do("set", "label.enabled=false")
    assert caplog.messages[0].startswith("AI label off: you owe those who watch a clear notice")


def test_quit_ends_the_run() -> None:
    actions, _ = make()
    assert not actions.ended
    actions.do("quit").result(10)
    assert actions.ended


def test_snapshot_is_what_went_out() -> None:
    actions, _ = make()
    assert actions.snapshot() is None
    out, camera = (np.full((8, 8, 3), value, np.uint8) for value in (200, 77))
    frame = Frame(out, 0.0, 5)
    actions.see(Step(frame, out, View(camera, Crop.whole(camera), 8), Status.LIVE, {}))
    assert actions.snapshot() is frame
    assert actions.status()["frame"] == 5


def test_two_threads_that_zoom_count_both() -> None:
    actions, puppet = make()

    def zoom() -> None:
        for _ in range(6):
            actions.do("zoom", "in")

    threads = [threading.Thread(target=zoom) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert puppet.settings.tracking.zoom == pytest.approx(1.05**-12)


# --- real parts ---


class Patient:
    """The performer, who waits until each frame was delivered: nothing is dropped for slowness, on
    however busy a machine, so a frame that is missing was lost by a change."""

    def __init__(self, delivered: threading.Semaphore) -> None:
        self.name, self.width, self.height, self.fps, self.live = "patient", 640, 480, 30.0, True
        self._delivered = delivered
        self._next = 0
        self._closed = False

    def read(self) -> Frame | None:
        while not self._delivered.acquire(timeout=0.05):
            if self._closed:
                return None
        image, _ = perform(self._next / 30)
        self._next += 1
        return Frame(image, time.perf_counter(), self._next - 1)

    def close(self) -> None:
        self._closed = True


def test_changes_on_a_real_run_lose_no_frame(tmp_path: Path) -> None:
    """Real networks and threads: settings, avatars, a new picture, one that cannot be used."""
    # A step may take long where tests run: that is no stalled camera.
    settings = Settings(
        camera=CameraSettings(stall_s=60), output=OutputSettings(width=320, height=240)
    )
    sink = MemorySink()
    new = write_avatar(tmp_path / "new.png", seed=8)
    (tmp_path / "cut.jpg").write_bytes(new.read_bytes()[:2000])
    shown: list[str] = []
    answers: list[Future[None]] = []
    ends_after: list[int] = []
    delivered = threading.Semaphore(1)

    with assemble(settings) as assembly:
        metrics = Metrics()
        pipeline = Pipeline(
            lambda: Patient(delivered), assembly.puppeteer, [sink], metrics, settings.camera
        )
        actions = Actions(
            pipeline.post, metrics, assembly.avatars, settings, assembly.puppeteer.prepare,
            lambda: open_tracker(settings.tracking), assembly.engine.bundle.output_size,
        )  # fmt: skip

        def ask() -> None:
            try:
                for change in (
                    lambda: actions.do("set", "label.position=top-left"),
                    lambda: actions.do("next"),
                    lambda: actions.do("set", "output.compose=crop"),
                    lambda: actions.do("set", "output.background=green"),
                    lambda: actions.change({"smoothing.beta": 1.0, "output.mirror": True}),
                    lambda: actions.do("load", str(new)),
                    lambda: actions.do("zoom", "1.2"),
                    lambda: actions.do("recentre"),
                ):
                    answers.append(change())
                    answers[-1].result(60)
                with pytest.raises(AvatarError, match=r"cut\.jpg"):
                    actions.do("load", str(tmp_path / "cut.jpg"))
            finally:
                ends_after.append(len(shown) + 2)

        asking = threading.Thread(target=ask)

        def watch(step: Step) -> None:
            if not shown:
                asking.start()
            actions.see(step)
            assert assembly.puppeteer.avatar is not None
            shown.append(assembly.puppeteer.avatar.name)
            delivered.release()

        pipeline.run(until=lambda: bool(ends_after) and len(shown) >= ends_after[0], watch=watch)
        asking.join()

    assert len(answers) == 8
    assert [frame.index for frame in sink.frames] == list(range(sink.count))
    assert sink.count >= 4
    assert (shown[0], shown[-1]) == (assembly.avatars[0].name, "new")
    assert actions.status()["avatar"] == {"number": len(assembly.avatars) + 1, "name": "new"}
    # The label has moved from the bottom right to the top left.
    first, last = sink.frames[0].image, sink.frames[-1].image
    first, last = first.min(axis=2), last.min(axis=2)  # white letters
    assert first[-17:, -30:].max() > 190
    assert last[:17, :30].max() > 190
    assert last[-17:, -30:].max() < 190
