"""Two reports beside each other."""

import copy
import json
from pathlib import Path

import pytest

from bench.comparison import compared, differences, ratios, read_report
from config.errors import SettingsError
from puppetcam.cli import main

A = {
    "machine": {"cpu": "Fast CPU", "cores": 2},
    "provider": "onnxruntime CPU",
    "threads": 2,
    "bundle": {"path": "/a", "precision": "fp32", "files": {"frame.onnx": "aa"}},
    "model": {"step": {"p50_ms": 40.0, "count": 50}},
    "pipeline": {"summary": {"fps": 20.0, "dropped": 0, "stages": {"face": {"p50_ms": 5.0}}}},
    "glass": [{"receiver": "memory", "age": {"p50_ms": 60.0}}],
}


def changed() -> dict:
    other = copy.deepcopy(A)
    other["bundle"]["path"] = "/b"
    other["model"]["step"] = {"p50_ms": 20.0, "count": 99}
    other["pipeline"]["summary"] = {"fps": 30.0, "dropped": 4, "stages": {}}
    return other


def test_ratios_are_of_what_both_have() -> None:
    assert ratios(A, changed()) == [
        ("model.step.p50_ms", 40.0, 20.0),
        ("pipeline.summary.fps", 20.0, 30.0),
        ("pipeline.summary.dropped", 0.0, 4.0),
        ("glass.0.age.p50_ms", 60.0, 60.0),
    ]
    lines = compared(A, changed()).splitlines()
    assert lines[1].split() == ["model.step.p50_ms", "40.00", "20.00", "0.50"]
    assert lines[3].split() == ["pipeline.summary.dropped", "0.00", "4.00"]  # no ratio to nothing


def test_other_circumstances_are_warned_of() -> None:
    other = changed()
    assert differences(A, other) == []
    other["machine"] = {"cpu": "Slow CPU", "cores": 2}
    other["provider"] = "openvino CPU"
    other["bundle"]["files"] = {"frame.onnx": "bb"}
    assert differences(A, other) == [
        "machine.cpu differs: Fast CPU in A, Slow CPU in B",
        "provider differs: onnxruntime CPU in A, openvino CPU in B",
        "bundle.files.frame.onnx differs: aa in A, bb in B",
    ]
    assert compared(A, other).startswith("warning: machine.cpu differs")


def test_reports_of_different_parts_have_nothing_in_common() -> None:
    one = A | {"pipeline": None, "glass": []}
    two = A | {"model": None, "glass": []}
    assert compared(one, two) == "the two reports have no figure in common"


def test_files_are_read_and_mistakes_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file, report in zip(files, (A, changed()), strict=True):
        file.write_text(json.dumps(report))
    assert main(["bench", "--compare", *map(str, files)]) == 0
    assert "model.step.p50_ms" in capsys.readouterr().out
    for text, part in [
        ("{", "is no JSON"),
        ("[]", "is no report"),
        ('{"machine": 1}', "no report"),
    ]:
        files[1].write_text(text)
        with pytest.raises(SettingsError, match=part):
            read_report(files[1])
    assert main(["bench", "--compare", str(files[0]), str(tmp_path / "none")]) == 2
    found = capsys.readouterr().err
    assert "No such file" in found
    assert found.count("\n") == 1
