"""The figures of docs/performance.md: how they get there, on made-up and on small ones."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import gpu
from bench.crowd import in_a_process
from bench.figures import NETWORK, PARTS, SECONDS, again, main
from bench.scaling import thread_counts, time_network
from bench.synthetic import published_model
from bench.tables import refreshed, tables
from config.errors import EngineError, SettingsError
from config.network import load_network

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "performance.md"


def row(network: str, precision: str, provider: str, ms: float, psnr: float | None) -> dict:
    return {
        "name": "puppetcam" if psnr else "reference loop", "network": network, "ms": ms,
        "precision": precision, "provider": provider, "ratio": 800 / ms, "steps": 9,
        "max_abs": None if psnr is None else 1e-5, "psnr_db": psnr,
    }  # fmt: skip


def made_up() -> dict:
    times = {"p50_ms": 20.0, "p95_ms": 30.0, "p99_ms": 40.0, "count": 9}
    report = {
        "provider": "onnxruntime CPU",
        "bundle": {"precision": "int8"},
        "model": {"step": times},
        "pipeline": {
            "summary": {
                "fps": 29.9, "age": times, "dropped": 1, "cpu_percent": 77.0, "delivered": 300,
            },
            "avatar_change": {"shown_ms": 200.0, "gap_ms": 90.0, "usual_gap_ms": 33.0},
            "energy": {"joules": None},
            "jitter_ms": 2.0, "process_ms": 1800.0, "memory_mb": 250.0,
        },
        "glass": [
            {
                "receiver": "memory", "age": times, "jitter_ms": 2.0, "new": 300, "missed": 1,
                "unreadable": 0, "first_ms": 90.0,
            }
        ],
    }  # fmt: skip
    graphs = {"avatar_ms": 1.0, "keypoints_ms": 2.0, "frame_ms": 3.0, "threads": 2}
    network = graphs | {"size": 256, "num_keypoints": 10}
    stage = {"graph": "frame", "stage": "painter", "gmac": 1.7, "megabytes": 30.0}
    return {
        "date": "2026-11-20T18:00+00:00", "command": "python -m bench.figures",
        "machine": "some machine", "versions": {"numpy": "2.0"},
        "reference": {
            "rows": [
                row("vox-256", "fp32", "torch eager", 800.0, None),
                row("vox-256", "fp32", "onnxruntime CPU", 400.0, 99.0),
                row("vox-256", "int8", "onnxruntime CPU", 200.0, 39.0),
                row("default", "int8", "onnxruntime CPU", 16.0, 60.0),
            ],
            "golden_max_abs": 2e-6,
        },
        "pipeline": {"as it ships": report},
        "peaks": [{"threads": 2, "fp32_gmacs": 100.0, "int8_gmacs": 400.0, "copy_gb_s": 20.0}],
        "stages": {"default": [stage | {"ms": 10.0, "limit_ms": 5.0, "share": 0.5}]},
        "growth": {
            "size": [network], "keypoints": [network],
            "threads": [network | {"precision": "int8"}],
            "avatars": [
                {"avatars": 4, "start_s": 1.0, "memory_mb": 200, "change_ms": 20.0, "step_ms": 9.0}
            ],
            "streams": [
                {"streams": 2, "threads_each": 1, "fps_each": 29.0, "age_p50_ms": 33.0,
                 "memory_mb": 300.0}
            ],
        },
    }  # fmt: skip


def test_the_document_has_a_place_for_every_table() -> None:
    text = refreshed(DOCUMENT.read_text(encoding="utf-8"), made_up())
    for part in (
        "some machine", "| puppetcam: vox-256 int8, onnxruntime CPU | 200.0 | 5.0 | 4.00 |",
        "| as it ships, memory | 20 / 30 / 40 | 2.0 | 300 | 1 | 0 | 90 |",
        "| default: frame, painter | 1.70 | 30.0 | 5.0 | 10.0 | 50 % |", "| 2 | 100 | 400 | 20 |",
        "| 2 | 1 | 29.0 | 33 | 300 |", "not told",
    ):  # fmt: skip
        assert part in text
    assert refreshed(text, made_up()) == text


def test_the_bar_says_what_holds_and_what_does_not() -> None:
    figures = made_up()
    lines = {line.split("|")[1].strip(): line for line in tables(figures)["bar"][2:]}
    assert lines["vox-256 fp32, x reference"].endswith("| 2 | >= 1.6 | yes |")
    assert lines["vox-256 int8, OpenVINO, x reference"].endswith("| not measured | 4.5 |  |")
    assert lines["default int8, whole step, x reference"].endswith("| 50 | >= 35 | yes |")
    assert lines["default int8, whole step, fps"].endswith("| 62.5 | >= 55 | yes |")
    assert lines["frame age p99, ms"].endswith("| 40 | <= 45 | yes |")
    assert lines["longest gap then, in usual gaps"].endswith("| 2.727 | <= 2 | **no** |")
    figures["pipeline"]["as it ships"]["pipeline"]["avatar_change"] = None
    assert any("other avatar shown, ms | not measured" in one for one in tables(figures)["bar"])


def test_what_was_not_measured_stays_as_it_was() -> None:
    text = refreshed(DOCUMENT.read_text(encoding="utf-8"), made_up())
    later = copy.deepcopy(made_up())
    del later["reference"]
    later["pipeline"]["as it ships"]["pipeline"]["summary"]["fps"] = 11.1
    again = refreshed(text, later)
    assert "| 11.1 |" in again
    assert "| 200.0 | 5.0 | 4.00 |" in again
    with pytest.raises(SettingsError, match="has no marks <!-- run --> and"):
        refreshed("nothing", later)


def test_figures_are_read_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures, document = tmp_path / "figures.json", tmp_path / "performance.md"
    figures.write_text(json.dumps(made_up()))
    document.write_text(DOCUMENT.read_text(encoding="utf-8"))
    arguments = ["--read", str(figures), "--note", "Made up."]
    assert main([*arguments, "--output", str(document)]) == 0
    assert "**Made up.**" in document.read_text()
    assert main(arguments) == 0
    assert "Made up." in capsys.readouterr().out
    for wrong, part in [
        (["--read", str(tmp_path / "none")], "No such file"),
        (["--output", str(tmp_path / "none")], "No such file"),
        (["--seconds", "0"], "--seconds must be above 0"),
    ]:
        assert main(wrong) == 2
        found = capsys.readouterr().err
        assert part in found
        assert found.count("\n") == 1


def test_the_command_says_what_was_measured_and_not_where_it_was_written() -> None:
    assert again(PARTS, SECONDS, NETWORK) == "python -m bench.figures"
    told = again(("reference", "growth"), 2.5, "my net.yaml")
    parts = "--part reference --part growth --seconds 2.5 --network 'my net.yaml'"
    assert told == f"python -m bench.figures {parts}"


def test_threads_double_up_to_what_there_is() -> None:
    assert [list(thread_counts(count)) for count in (1, 2, 6, 8)] == [
        [1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8],
    ]  # fmt: skip


def test_networks_of_any_size_are_timed() -> None:
    config = load_network(ROOT / "tests" / "data" / "tiny-64.yaml")
    found = time_network(published_model, config, threads=1, seconds=0.01)
    assert (found.size, found.num_keypoints, found.threads) == (64, 3, 1)
    assert min(found.avatar_ms, found.keypoints_ms, found.frame_ms) > 0


def test_avatars_and_streams_are_measured_in_processes_of_their_own() -> None:
    avatars = in_a_process("avatars", 1, 0.1)
    assert avatars["avatars"] == 1
    assert min(avatars["start_s"], avatars["change_ms"], avatars["step_ms"]) > 0
    streams = in_a_process("streams", 1, 0.3)
    assert streams["streams"] == 1
    assert streams["threads_each"] >= 1
    assert streams["age_p50_ms"] > 0
    assert min(avatars["memory_mb"], streams["memory_mb"]) > 50
    with pytest.raises(EngineError, match="0 avatars could not be measured: python -m bench"):
        in_a_process("avatars", 0, 1)


def test_the_figures_of_a_card_are_made_without_one_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "gpu.json"
    network = str(ROOT / "tests" / "data" / "tiny-64.yaml")
    arguments = ["--device", "cpu", "--network", network, "--seconds", "0.01"]
    assert gpu.main([*arguments, "--json", str(target)]) == 0
    rows = json.loads(target.read_text())["rows"]
    measured = {f"{row['network']} {row['way']}" for row in rows if row["step"]}
    assert measured >= {
        "tiny-64 reference loop, torch eager fp32",
        "tiny-64 onnxruntime cpu fp32",
        "tiny-64 torchscript cpu fp32",
        "default onnxruntime cpu fp32",
        "default torchscript cpu fp32",
    }
    for row in rows:  # a way that is not there is told and does not end the rest
        assert (row["step"] is None) == bool(row["error"])
        assert row["step"] is None or row["step"]["p50_ms"] > 0
    said = capsys.readouterr().out
    assert "aim below 4 ms: no" in said
    assert "tiny-64: torchscript cpu fp32" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_no_card_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([]) == 1
    found = capsys.readouterr().err
    assert "reaches no NVIDIA card" in found
    assert found.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_the_gpu_script_says_what_is_missing() -> None:
    done = subprocess.run(
        ["bash", str(ROOT / "bench" / "gpu.sh")],
        capture_output=True, text=True, check=False, timeout=120,
        env={"PATH": "/nowhere", "PYTHON": "/nowhere/python"},
        executable="/bin/bash",
    )  # fmt: skip
    assert done.returncode == 2
    assert "nvidia-smi" in done.stderr
    assert "/nowhere/python" in done.stderr
