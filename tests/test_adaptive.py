"""Stepping down and up, on a virtual clock."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from small_network import picture, small_model

from config.errors import BundleError
from config.schema import EngineSettings
from export.bundle import export_bundle
from export.quantize import quantize_bundle
from models.bundle import BUNDLES, Bundle
from realtime.adaptive import LONGEST_WAIT_S, ROOM_S, Adaptive, ladder

FPS = 25


class Run:
    """Frames at a steady rate; their age hangs on the rung."""

    def __init__(self, age_ms: Callable[[int, float], float], rungs: int = 4) -> None:
        self.adaptive = Adaptive(rungs, budget_s=0.08)
        self.age_ms = age_ms
        self.now = 100.0
        self.steps: list[tuple[float, int]] = []

    def go(self, seconds: float) -> list[tuple[float, int]]:
        """The changes of these seconds: (seconds since the start, rung)."""
        before = len(self.steps)
        for _ in range(round(seconds * FPS)):
            self.now += 1 / FPS
            age = self.age_ms(self.adaptive.rung, self.now - 100) / 1000
            if self.adaptive.observe(self.now, age):
                self.steps.append((round(self.now - 100, 1), self.adaptive.rung))
        return self.steps[before:]


def test_a_run_within_the_budget_stays_as_it_is() -> None:
    assert Run(lambda rung, t: 79).go(120) == []


def test_two_late_seconds_step_down_and_a_hiccup_does_not() -> None:
    run = Run(lambda rung, t: 300 if 5 <= t < 5.9 else 40)
    assert run.go(30) == []
    run = Run(lambda rung, t: 95 if rung == 0 else 70)
    assert run.go(60) == [(2.0, 1)]


def test_it_goes_down_as_far_as_needed_and_no_further() -> None:
    run = Run(lambda rung, t: (200, 120, 75, 60)[rung])
    assert [rung for _, rung in run.go(60)] == [1, 2]
    run = Run(lambda rung, t: 500)
    assert [rung for _, rung in run.go(60)] == [1, 2, 3]


def test_it_comes_up_again_when_the_load_is_gone() -> None:
    run = Run(lambda rung, t: 150 if t < 20 else 40)
    assert [rung for _, rung in run.go(20)] == [1, 2, 3]
    found = run.go(60)
    assert [rung for _, rung in found] == [2, 1, 0]
    times = [20.0, *(at for at, _ in found)]
    assert all(later - earlier >= 0.89 * ROOM_S for earlier, later in itertools.pairwise(times))


def test_between_room_and_lateness_nothing_moves() -> None:
    run = Run(lambda rung, t: 150 if rung == 0 else 55)
    run.go(300)
    assert run.steps == [(2.0, 1)]


def test_a_rung_that_does_not_hold_is_tried_ever_more_seldom() -> None:
    # With a camera at half its rate all is well, at the whole rate never.
    run = Run(lambda rung, t: 150 if rung == 0 else 30)
    run.go(1500)
    ups = [at for at, rung in run.steps if rung == 0]
    waits = [later - earlier for earlier, later in itertools.pairwise(ups)]
    assert waits[0] > ROOM_S
    assert all(later > 1.5 * earlier for earlier, later in itertools.pairwise(waits[:4]))
    assert max(waits) <= LONGEST_WAIT_S + 5
    assert len(ups) < 10


def test_few_frames_tell_nothing() -> None:
    adaptive = Adaptive(3, 0.08)
    assert not any(adaptive.observe(float(second), 1.0) for second in range(60))


def test_nothing_to_step_down_to() -> None:
    adaptive = Adaptive(1, 0.08)
    assert not any(adaptive.observe(n / FPS, 1.0) for n in range(500))


# --- what the rungs are ---


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """With its int8 beside it."""
    folder = tmp_path_factory.mktemp("adaptive") / "small"
    fp32 = export_bundle(small_model(), folder, report=len)
    people = [[picture(3 * n + k) for k in range(3)] for n in range(4)]
    quantize_bundle(fp32, folder.with_name("small-int8"), people, report=len)
    return fp32


def test_the_ladder_ends_with_a_slower_camera(bundle: Bundle) -> None:
    asked = EngineSettings(bundle=str(bundle.path), provider="cpu")
    chosen = replace(asked, runtime="onnxruntime", precision="fp32", threads=2)
    int8 = replace(chosen, precision="int8")
    rungs = ladder(asked, chosen)
    assert [(one.engine, one.every) for one in rungs] == [
        (chosen, 1), (int8, 1), (int8, 2), (int8, 3),
    ]  # fmt: skip
    assert rungs[2].name == "networks in int8 and the camera at 1/2 of its rate"
    # The user's word on precision holds; int8 that runs already is no step.
    said = replace(asked, precision="fp32")
    assert [(one.engine, one.every) for one in ladder(said, chosen)] == [
        (chosen, 1), (chosen, 2), (chosen, 3),
    ]  # fmt: skip
    assert [one.every for one in ladder(asked, int8)] == [1, 2, 3]
    smaller = replace(asked, smaller=str(bundle.path))
    assert [one.engine.bundle for one in ladder(smaller, int8)] == [str(bundle.path)] * 4
    with pytest.raises(BundleError, match="no such folder"):
        ladder(replace(asked, smaller="/nowhere/at/all"), chosen)


def test_a_smaller_bundle_keeps_the_rest_of_the_choice(bundle: Bundle, tmp_path: Path) -> None:
    asked = EngineSettings(bundle=str(bundle.path), smaller=str(bundle.path), threads=3)
    chosen = replace(asked, runtime="onnxruntime", precision="int8")
    engine = ladder(asked, chosen)[1].engine
    assert (engine.runtime, engine.threads, engine.precision) == ("onnxruntime", 3, "int8")


@pytest.mark.skipif(not all(map(Path.is_dir, BUNDLES.values())), reason="nothing is shipped")
def test_the_shipped_bundle_steps_down_to_the_shipped_small_one(bundle: Bundle) -> None:
    asked = EngineSettings()
    engines = [one.engine for one in ladder(asked, replace(asked, precision="fp32"))]
    assert [(one.bundle, one.precision) for one in engines[:3]] == [
        ("default", "fp32"), ("default", "int8"), ("small", "int8"),
    ]  # fmt: skip
    own = replace(asked, bundle=str(bundle.path))
    assert {one.engine.bundle for one in ladder(own, own)} == {str(bundle.path)}
    none = replace(asked, smaller="none")
    assert {one.engine.bundle for one in ladder(none, none)} == {"default"}
