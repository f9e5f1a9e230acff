"""The choice of runtime, precision and threads: made once, remembered, and never obeyed blindly."""

import json
import math
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from small_network import picture, small_model

import realtime.tuning
from config.errors import EngineError
from config.schema import EngineSettings
from export.bundle import export_bundle
from export.quantize import quantize_bundle
from models.bundle import Bundle
from realtime.engine import open_engine
from realtime.tuning import BUSY, FILE, Trial, others_s

# Whatever else runs where the tests do.
choose = partial(realtime.tuning.choose, others=lambda: 0.0, budget_s=math.inf)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """With its int8 beside it."""
    folder = tmp_path_factory.mktemp("tuning") / "small"
    fp32 = export_bundle(small_model(), folder, report=len)
    people = [[picture(3 * n + k) for k in range(3)] for n in range(4)]
    quantize_bundle(fp32, folder.with_name("small-int8"), people, report=len)
    return fp32


def settings(bundle: Bundle, **changes: Any) -> EngineSettings:
    return EngineSettings(bundle=str(bundle.path), provider="cpu", **changes)


class Stopwatch:
    """Trials with times that are written down, and what was tried."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, ms: dict[tuple[str, str, int], float]
    ) -> None:
        self.ms = ms
        self.tried: list[tuple[str, str, int]] = []
        monkeypatch.setattr(realtime.tuning, "_trial", self.trial)
        monkeypatch.setattr(realtime.tuning, "find_spec", lambda name: object())
        monkeypatch.setattr(realtime.tuning.psutil, "cpu_count", lambda logical=True: 4)
        monkeypatch.setattr(realtime.tuning, "runtime_threads", lambda way: way.threads or 4)

    def trial(self, way: EngineSettings, bundle: Bundle, clock: object) -> Trial:
        what = way.runtime, way.precision, way.threads or 4
        self.tried.append(what)
        if what not in self.ms:
            raise EngineError("does not run here")
        return Trial(*what, self.ms[what])


def test_it_really_measures_and_the_engine_opens(bundle: Bundle, tmp_path: Path) -> None:
    choice = choose(settings(bundle, runtime="onnxruntime", threads=1), tmp_path)
    assert {trial.precision for trial in choice.trials} == {"fp32", "int8"}
    assert all(0 < trial.ms < 5000 for trial in choice.trials)
    assert not choice.remembered
    with closing(open_engine(choice.settings)) as engine:
        assert engine.bundle.precision == choice.trials[0].precision == choice.settings.precision
        assert engine.settings == choice.settings
    again = choose(settings(bundle, runtime="onnxruntime", threads=1), tmp_path)
    assert again == replace(choice, remembered=True)


def test_precision_first_then_the_other_runtime_then_threads(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Stopwatch(
        monkeypatch,
        {
            ("onnxruntime", "int8", 4): 20,
            ("onnxruntime", "fp32", 4): 40,
            ("openvino", "int8", 4): 15,
            ("openvino", "int8", 2): 12,
        },
    )
    choice = choose(settings(bundle), tmp_path)
    assert watch.tried == [*watch.ms]
    assert choice.settings == settings(bundle, runtime="openvino", precision="int8", threads=2)
    assert [trial.ms for trial in choice.trials] == [12, 20, 40, 15]


def test_a_gain_that_is_noise_changes_nothing(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Stopwatch(
        monkeypatch,
        {
            ("onnxruntime", "int8", 4): 20,
            ("onnxruntime", "fp32", 4): 19.5,
            ("openvino", "int8", 4): 19.2,
            ("onnxruntime", "int8", 2): 19.1,
        },
    )
    found = choose(settings(bundle), tmp_path).settings
    assert (found.runtime, found.precision, found.threads) == ("onnxruntime", "int8", 4)


def test_what_does_not_run_is_left_out_and_nothing_that_runs_is_an_error(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Stopwatch(monkeypatch, {("onnxruntime", "fp32", 4): 40})
    assert choose(settings(bundle), tmp_path).settings.precision == "fp32"
    watch.ms = {}
    with pytest.raises(EngineError, match="does not run here"):
        choose(settings(bundle, precision="int8"), tmp_path)


def test_what_the_user_says_is_not_tried_otherwise(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Stopwatch(monkeypatch, {("openvino", "fp32", 3): 30, ("openvino", "int8", 3): 10})
    asked = settings(bundle, runtime="openvino", threads=3)
    assert choose(asked, tmp_path).settings == replace(asked, precision="int8")
    watch.tried.clear()
    whole = settings(bundle, runtime="openvino", precision="fp32", threads=2)
    assert choose(whole, tmp_path).settings == whole
    assert watch.tried == []


def test_another_bundle_version_or_setting_is_measured_anew(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Stopwatch(monkeypatch, {("onnxruntime", one, 4): 9 for one in ("fp32", "int8")})
    assert not choose(settings(bundle), tmp_path).remembered
    assert choose(settings(bundle), tmp_path).remembered
    watch.tried.clear()
    assert not choose(settings(bundle, threads=4), tmp_path).remembered
    monkeypatch.setattr(realtime.tuning, "version", lambda name: "99")
    assert not choose(settings(bundle), tmp_path).remembered
    assert watch.tried


@pytest.mark.parametrize("text", ["no json", "[]", '{"KEY": 1}', '{"KEY": [{"runtime": "x"}]}',
                                  '{"KEY": [{"runtime": "x", "precision": "fp32", "threads": 1, '
                                  '"ms": 1}]}',
                                  '{"KEY": {"trials": [], "complete": true}}',
                                  '{"KEY": {"trials": [{"runtime": "x", "precision": "fp32", '
                                  '"threads": 1, "ms": 1}], "complete": true}}'])  # fmt: skip
def test_a_damaged_memory_is_measured_anew(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    Stopwatch(monkeypatch, {("onnxruntime", one, 4): 9 for one in ("fp32", "int8")})
    choose(settings(bundle), tmp_path)
    (key,) = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    (tmp_path / FILE).write_text(text.replace("KEY", key), encoding="utf-8")
    assert not choose(settings(bundle), tmp_path).remembered
    assert choose(settings(bundle), tmp_path).remembered


def test_a_folder_that_cannot_be_written_costs_no_more_than_the_memory(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Stopwatch(monkeypatch, {("onnxruntime", one, 4): 9 for one in ("fp32", "int8")})
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert choose(settings(bundle), tmp_path / "file").settings.precision == "int8"


def test_a_start_spends_its_budget_and_the_next_one_goes_on(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ms = {("onnxruntime", "int8", 4): 20, ("onnxruntime", "fp32", 4): 40}
    ms |= {("openvino", "int8", 4): 15, ("openvino", "int8", 2): 12}
    watch = Stopwatch(monkeypatch, ms)
    found = []
    for _ in range(4):
        now = iter(0.4 * number for number in range(99))  # what is looked at the clock for takes
        choice = choose(settings(bundle), tmp_path, clock=now.__next__, budget_s=0.7)
        found.append((len(watch.tried), choice.settings.runtime, choice.complete))
        assert not choice.remembered or choice.complete
    # Nothing is tried twice, and what is best so far runs meanwhile.
    assert watch.tried == [*ms]
    assert found[0][1:] == ("onnxruntime", False)
    assert found[-1] == (4, "openvino", True)
    assert found[0][0] < found[1][0] <= found[2][0]


def test_a_choice_made_beside_other_programs_is_not_remembered(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Stopwatch(monkeypatch, {("onnxruntime", one, 4): 9 for one in ("fp32", "int8")})
    for used, kept in ((4 * BUSY + 0.1, False), (4 * BUSY - 0.1, True)):
        now, others = chain([10.0], repeat(11.0)), iter((50.0, 50.0 + used))  # in one second
        found = choose(settings(bundle), tmp_path, clock=now.__next__, others=others.__next__)
        assert found.settings.precision == "int8"
        assert found.busy == pytest.approx(used / 4)
        assert (tmp_path / FILE).exists() == kept


def test_what_others_use_grows_by_what_another_process_takes() -> None:
    spin = "import time\nwhile time.process_time() < 0.5: pass"
    before = others_s()
    subprocess.run([sys.executable, "-c", spin], check=True)
    assert others_s() - before >= 0.4
