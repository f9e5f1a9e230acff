"""Sweeps: which configurations, what they are judged by, and what is drawn of them."""

import argparse
import csv
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from performed import write_avatar

from bench.command import add_arguments
from bench.pareto import WIDTH, Plot, Point, as_html, as_png, front
from bench.sweep import Trial, configurations, plots, run_sweep, table, worst_psnr, write_all
from config.errors import SettingsError
from puppetcam.cli import main


def test_each_combination_is_measured_once() -> None:
    found = configurations(["engine.threads=1,2", "engine.precision=fp32,int8"])
    assert found == [
        ("engine.threads=1", "engine.precision=fp32"),
        ("engine.threads=1", "engine.precision=int8"),
        ("engine.threads=2", "engine.precision=fp32"),
        ("engine.threads=2", "engine.precision=int8"),
    ]
    for text in ("engine.threads", "threads=1,2", "engine.threads=1,,2", "engine.threads="):
        with pytest.raises(SettingsError, match="give a setting and its values"):
            configurations([text])
    with pytest.raises(SettingsError, match="asks for 81 configurations, at most 64"):
        configurations(["a.b=1,2,3"] * 4)


def test_the_front_is_what_nothing_beats() -> None:
    points = (
        Point("slow and good", 40, 60),
        Point("fast and worse", 10, 35),
        Point("middle", 20, 45),
        Point("slower than middle and no better", 25, 45),
        Point("beaten", 30, 30),
    )
    best = front(Plot("", "", "", points, more_is_better=True))
    assert [point.label for point in best] == ["fast and worse", "middle", "slow and good"]
    least = front(Plot("", "", "", points, more_is_better=False))
    assert [point.label for point in least] == ["fast and worse", "beaten"]


def test_psnr_is_of_the_worst_picture() -> None:
    grey = np.full((64, 64, 3), 100, np.uint8)
    # A difference of 10 everywhere: 20 log10(255 / 10).
    assert worst_psnr([grey, grey], [grey, grey + 10]) == pytest.approx(28.13, abs=0.01)
    assert worst_psnr([grey], [grey]) == 60
    smaller = np.full((32, 32, 3), 110, np.uint8)
    assert worst_psnr([grey], [smaller]) == pytest.approx(28.13, abs=0.01)


def trials() -> list[Trial]:
    return [
        Trial("engine.threads=1 <x>", None, 41.0, 22.0, 60.0, 50.0, 240.0, 60.0, "cpu", "fp32"),
        Trial("engine.threads=2", None, 27.0, 29.0, 40.0, 55.0, 241.0, 60.0, "cpu", "fp32"),
        Trial("engine.threads=9", "no such bundle"),
    ]


def test_png_and_page_show_the_same_points(tmp_path: Path) -> None:
    write_all(trials(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "sweep.json", "sweep.csv", "pareto.png", "pareto.html",
    }  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "sweep.csv").read_text().splitlines()))
    assert [row["label"] for row in rows] == [trial.label for trial in trials()]
    assert float(rows[1]["step_ms"]) == 27.0
    assert json.loads((tmp_path / "sweep.json").read_text())[2]["error"] == "no such bundle"
    picture = cv2.imread(str(tmp_path / "pareto.png"))
    assert picture is not None
    assert picture.shape[1] == WIDTH
    assert np.array_equal(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), as_png(plots(trials())))
    page = (tmp_path / "pareto.html").read_text()
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "<x>" not in page
    found = re.findall(r"<svg.*?</svg>", page, re.S)
    drawings = [ElementTree.fromstring(one) for one in found]  # noqa: S314 - our own page
    assert len(drawings) == 2
    for drawing in drawings:
        tag = "{http://www.w3.org/2000/svg}"
        dots = drawing.findall(f"{tag}circle")
        assert len(dots) == 4  # two in the plot, two in the legend
        left, right = (float(dot.attrib["cx"]) for dot in (dots[0], dots[2]))
        assert left > right  # 41 ms stands right of 27 ms
    assert as_html("a & b", []).count("a &amp; b") == 2


def test_one_point_alone_can_be_drawn() -> None:
    plot = Plot("alone", "x", "y", (Point("only", 0.0, 0.0),), more_is_better=True)
    assert as_png([plot]).shape[2] == 3
    assert "not measured: no such bundle" in table(trials())


def test_a_sweep_goes_on_where_one_configuration_cannot_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    avatar, none = write_avatar(tmp_path / "anna.png"), tmp_path / "none"
    arguments = parser.parse_args(
        [
            "--seconds", "0.2", "--avatar", str(avatar), "--output", str(tmp_path / "out"),
            "--sweep", f"engine.bundle={none},default", "engine.threads=1",
        ]
    )  # fmt: skip
    assert run_sweep(arguments) == 0
    found = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert "no bundle at" in found[0]["error"]
    assert found[1]["error"] is None
    assert found[1]["psnr_db"] == 60
    assert found[1]["step_ms"] > 0
    assert found[1]["memory_mb"] > 50
    assert "written to" in capsys.readouterr().out


def test_mistakes_are_told_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for arguments, part in [
        (["--sweep", "engine.threads=1,many"], "'engine.threads'"),
        (["--sweep", "engine.thread=1"], "engine.thread"),
        (["--sweep", "engine.threads=1", "--output", str(tmp_path / "file")], "name a folder"),
    ]:
        assert main(["bench", *arguments]) == 2
        found = capsys.readouterr().err
        assert part in found
        assert found.count("\n") == 1
