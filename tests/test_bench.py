"""The latency benchmark: exact figures on a clock of the test, and the command on the real one."""

import csv
import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from performed import NTSC, faces, write_avatar, write_video

import models.bundle
from bench.latency import LONGEST_CHANGE_S, WARM_UP, ChangeWatcher, measure_model
from bench.machine import cpu_model, this_machine
from config.schema import load_settings
from models.bundle import open_bundle
from models.keypoints import Keypoints
from puppetcam.cli import main
from realtime.avatar import Avatar
from realtime.scene import Scene

ROOT = Path(__file__).parent.parent
AMARA = ROOT / "realtime" / "avatars" / "amara.png"
STAGES = ("face", "keypoints", "motion", "generate", "compose", "send")


class Clock:
    """Time that passes only where an engine works."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class TimedEngine:
    """An engine whose work takes known times: the first steps are slower."""

    bundle = SimpleNamespace(keypoint_size=128)
    provider = "test"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.steps = 0

    def set_avatar(self, image: np.ndarray) -> Keypoints:
        self._clock.now += 0.2
        return Keypoints(np.zeros((1, 2)), np.zeros((1, 2, 2)))

    def keypoints(self, image: np.ndarray) -> tuple[Keypoints, float]:
        assert image.shape == (128, 128, 3)
        self._clock.now += 0.010
        return Keypoints(np.zeros((1, 2)), np.zeros((1, 2, 2))), 1.0

    def generate(self, keypoints: Keypoints) -> np.ndarray:
        self.steps += 1
        self._clock.now += 0.5 if self.steps <= WARM_UP else 0.030
        return np.zeros((256, 256, 3), np.uint8)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_avatar(tmp_path_factory.mktemp("avatar") / "anna.png")


def test_networks_alone_are_measured_without_their_first_steps() -> None:
    clock = Clock()
    engine = TimedEngine(clock)
    times = measure_model(engine, np.zeros((256, 256, 3), np.uint8), 2.53, clock)  # type: ignore[arg-type]
    assert times.avatar_ms == pytest.approx(200)
    assert times.first_ms == pytest.approx(510)
    assert times.warm_up_ms == pytest.approx(3 * 510)
    # Three steps of 510 ms, then 40 ms each until 2.53 s are over: at 1.53 + 25 * 0.04.
    assert times.step.count == 25
    for found, wanted in ((times.keypoints, 10), (times.generate, 30), (times.step, 40)):
        assert (found.p50_ms, found.p95_ms, found.p99_ms) == pytest.approx((wanted,) * 3)


def test_another_avatar_is_seen_by_its_pixels() -> None:
    red, blue = (np.full((512, 512, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))
    settings = load_settings()
    change = ChangeWatcher(Avatar("red", red), Avatar("blue", blue), settings)
    change.ask(5.0)
    still_red = Scene(Avatar("", red // 2 + 60), settings.output, carries=False).compose(
        red // 2 + 60
    )[0]  # moved, lit otherwise: still nearer to red
    change.see(still_red, 5.02)
    assert not change.over(5.10)
    assert change.outcome(33.0) is None
    still_blue = Scene(Avatar("", blue), settings.output, carries=False).compose(blue)[0]
    change.see(still_blue, 5.21)
    change.see(still_blue, 5.24)
    assert not change.over(5.70)
    assert change.over(5.72)
    found = change.outcome(33.0)
    assert found is not None
    assert (found.shown_ms, found.gap_ms) == (pytest.approx(210), pytest.approx(190))
    never = ChangeWatcher(Avatar("red", red), Avatar("blue", blue), settings)
    never.ask(5.0)
    never.see(still_red, 14.9)
    assert never.over(5.0 + LONGEST_CHANGE_S)


def test_the_process_knows_its_age_and_its_largest_memory() -> None:
    code = (
        "import time; t = time.perf_counter(); "
        "from bench.machine import process_age_s, peak_memory_mb; "
        "a = process_age_s(); i = time.perf_counter() - t; "
        "b = bytearray(60_000_000); c = peak_memory_mb(); del b; print(a, i, c, peak_memory_mb())"
    )
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    outside = time.perf_counter() - began
    age, inside, peak, after = map(float, done.stdout.split())
    assert inside - 0.02 <= age <= outside + 0.02
    # The kernel adds up its threads now and then: the same to a megabyte or two.
    assert after == pytest.approx(peak, abs=3)
    assert 70 < peak < 200


def test_the_processor_has_its_name(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Fast CPU 9000 @ 3 GHz\nflags\t: a b\n")
    if sys.platform == "linux":
        assert cpu_model(cpuinfo) == "Fast CPU 9000 @ 3 GHz"
        cpuinfo.write_text("processor: 0\nmodel name:\n")
        assert cpu_model(cpuinfo)
    machine = this_machine()
    assert machine.cpu
    assert 1 <= machine.usable_threads <= (os.cpu_count() or 1)
    assert machine.memory_gb > 0.1
    assert machine.python == ".".join(map(str, sys.version_info[:3]))


def test_json_tells_what_was_measured_on_what(
    avatar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driving = write_video(tmp_path / "driving.mp4", faces(6), NTSC)
    arguments = ["bench", "--source", str(driving), "--avatar", str(avatar), "--seconds", "5"]
    arguments += ["--receiver", "memory", "engine.precision=fp32", "engine.runtime=onnxruntime"]
    assert main([*arguments, "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    bundle = open_bundle(None)
    assert found["bundle"]["name"] == bundle.name
    assert found["bundle"]["files"] == dict(bundle.files)
    assert found["provider"].startswith("onnxruntime ")
    assert found["machine"]["cpu"] == this_machine().cpu
    assert found["source"] == {
        "name": "driving.mp4", "width": 640, "height": 480, "fps": pytest.approx(29.97, abs=0.01),
        "live": False,
    }  # fmt: skip
    assert datetime.fromisoformat(found["date"]).tzinfo is not None
    assert found["versions"]["numpy"] == np.__version__
    model, whole = found["model"], found["pipeline"]
    pipeline = whole["summary"]
    assert 0 < model["keypoints"]["p50_ms"] < model["step"]["p50_ms"]
    assert 0 < model["generate"]["p50_ms"] < model["step"]["p50_ms"]
    assert pipeline["captured"] == 6
    assert 1 <= pipeline["delivered"] <= 6
    assert pipeline["delivered"] + pipeline["dropped"] == 6
    assert set(pipeline["stages"]) == set(STAGES)
    for one in (pipeline["age"], *pipeline["stages"].values(), model["step"]):
        assert 0 <= one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"]
    longest = pipeline["stages"]["generate"]["p50_ms"]
    assert 0 < longest < pipeline["age"]["p50_ms"]
    assert pipeline["cpu_s"] > 0
    assert 20 < pipeline["memory_mb"] <= whole["memory_mb"]
    assert 0 < whole["first_frame_ms"] < whole["process_ms"]
    assert whole["energy"]["note"]
    assert whole["avatar_change"] is None  # there is one avatar only
    assert len(found["glass"]) == 1
    glass = found["glass"][0]
    assert glass["receiver"] == "memory"
    assert 1 <= glass["new"] <= 6
    assert glass["new"] + glass["missed"] <= 6
    assert glass["unreadable"] == 0
    assert longest < glass["age"]["p50_ms"]


def test_a_table_for_people_and_a_file_for_later(
    avatar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "figures.json"
    target.write_text("old")
    sheet = tmp_path / "figures.csv"
    arguments = ["bench", "--avatar", str(avatar), "--avatar", str(AMARA), "--seconds", "1"]
    arguments += ["--json", str(target), "--csv", str(sheet), "--receiver", "memory"]
    bundle = str(models.bundle.DEFAULT)
    assert main([*arguments, "--bundle", bundle, "engine.threads=1"]) == 0
    table = capsys.readouterr().out
    parts = ("networks alone", "frame age", "p99 ms", "memory", "avatar anna", "glass to glass")
    for part in (*STAGES, *parts, "another avatar after", "first step", "resident"):
        assert part in table
    found = json.loads(target.read_text())
    assert found["threads"] == 1
    assert found["source"]["name"] == "performer:loop"
    change = found["pipeline"]["avatar_change"]
    assert 0 < change["shown_ms"] <= 1000 * LONGEST_CHANGE_S
    assert change["gap_ms"] > 0
    lines = dict(csv.reader(sheet.read_text().splitlines()))
    assert lines["figure"] == "value"
    assert (
        float(lines["pipeline.summary.age.p50_ms"]) == found["pipeline"]["summary"]["age"]["p50_ms"]
    )
    assert lines["glass.0.receiver"] == "memory"
    assert {path.name for path in tmp_path.iterdir()} == {"figures.json", "figures.csv"}


def test_only_what_is_asked_for_is_measured(
    avatar: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["bench", "--avatar", str(avatar), "--seconds", "0.1", "--json", "-"]
    assert main([*arguments, "--measure", "model", "engine.threads=1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"]["step"]["count"] >= 5
    assert (found["pipeline"], found["source"], found["glass"]) == (None, None, [])


def test_mistakes_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, part in [
        (["--seconds", "0"], "--seconds must be above 0"),
        (["--seconds", "nan"], "--seconds must be above 0"),
        (["--json", str(tmp_path)], "is a folder"),
        (["--json", str(tmp_path / "none" / "figures.json")], "there is no folder"),
        (["--csv", str(tmp_path / "none" / "figures.csv")], "there is no folder"),
        (["--bundle", str(tmp_path)], "is no bundle"),
        (["--measure", "glass", "--receiver", "telescope"], "telescope is unknown"),
        (["--measure", "glass", "--receiver", "/dev/nothing"], "virtualcam:/dev/nothing cannot"),
    ]:
        assert main(["bench", *arguments]) == 2
        found = capsys.readouterr().err
        assert found.startswith("puppetcam: ")
        assert part in found
        assert found.count("\n") == 1


def test_it_runs_on_its_own() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "bench", "--seconds", "0"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert found.returncode == 2
    assert found.stderr == "bench: --seconds must be above 0, at most 3600; found 0\n"
