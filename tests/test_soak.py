"""The soak: what it complains of, and a few seconds of it with everything real."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import soak
from bench.ledger import Ledger, Row, Soak
from bench.soak import Cable
from config.errors import SourceError
from realtime.crop import Crop
from realtime.frame import Frame
from realtime.puppeteer import Status, Step, View

FIRST = Row(60, 300.0, 11, 12, 30.0, 60.0, 1750, 60, 1800)
PICTURE = np.zeros((4, 4, 3), np.uint8)


def ran(last: Row, **changes: object) -> Soak:
    warming = replace(FIRST, memory_mb=200.0, threads=5, files=5, age_p50_ms=5.0)
    found = Soak((warming, FIRST, last), changes=8, recentres=2, losses=2, returns=2, failed=())
    return replace(found, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("last", "complaint"),
    [
        (replace(FIRST, memory_mb=319.9, age_p50_ms=32.9), None),
        (replace(FIRST, memory_mb=320.1), "memory grew by 20.1 MB, 20 at most"),
        (replace(FIRST, threads=12), "threads grew from 11 to 12"),
        (replace(FIRST, files=13), "open files grew from 12 to 13"),
        (replace(FIRST, age_p50_ms=33.1), "frame age grew from 30.0 to 33.1 ms"),
    ],
)
def test_growth_is_complained_of(last: Row, complaint: str | None) -> None:
    assert ran(last).complaints() == ([complaint] if complaint else [])


def test_what_was_not_done_is_complained_of() -> None:
    assert ran(FIRST, returns=1).complaints() == ["the camera was lost 2 times and came back 1"]
    assert ran(FIRST, losses=0).complaints() == ["the camera was lost 0 times and came back 2"]
    assert ran(FIRST, failed=("load: no such file",)).complaints() == ["load: no such file"]


def test_age_and_losses_are_those_of_the_steps() -> None:
    ledger = Ledger()
    seen = View(PICTURE, Crop.whole(PICTURE), 4)
    for number, view in enumerate((seen, seen, None, None, seen, None)):
        at_s = number / 30
        step = Step(Frame(PICTURE, at_s, number), PICTURE, view, Status.LIVE, {})
        ledger.see(step, at_s + 0.01 * number)
    ledger.sample()
    row = ledger.row(2.0, 0.05, 7)
    assert (ledger.losses, ledger.returns) == (2, 1)
    assert (row.delivered, row.viewed) == (3, 7)  # idle pictures are no frames
    assert (row.age_p50_ms, row.gap_ms) == pytest.approx((10, 50))
    assert row.threads == pytest.approx(threading.active_count(), abs=64)  # of the system: more
    ledger.sample()
    assert ledger.row(4.0, 0, 0).delivered == 0


def test_the_camera_is_lost_by_its_plug_and_by_its_driver() -> None:
    cable = Cable()
    source = cable.open()
    assert source.read() is not None
    cable.unplugged = True
    with pytest.raises(SourceError, match="was unplugged"):
        source.read()
    with pytest.raises(SourceError, match="is unplugged"):
        cable.open()
    cable.unplugged = False
    cable.answers.clear()
    reading = threading.Thread(target=source.read)
    reading.start()
    reading.join(0.2)
    assert reading.is_alive()
    cable.answers.set()
    reading.join(5)
    assert not reading.is_alive()


def test_seconds_of_it_do_everything_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = threading.active_count()
    target = tmp_path / "soak.json"
    arguments = ["--minutes", "0.1", "--every", "6", "--json", str(target)]
    # Growth is not asked of the first seconds.
    assert soak.main([*arguments, "camera.stall_s=0.3", "camera.retry_s=0.1"]) in (0, 1)
    found = json.loads(target.read_text(encoding="utf-8"))
    assert found["failed"] == []
    assert (found["changes"], found["recentres"]) == (4, 1)
    assert found["losses"] >= 1  # a step may take longer than the stall where tests run
    (row,) = found["rows"]
    assert row["delivered"] > 10
    assert row["viewed"] > 10
    assert 50 < row["memory_mb"] < 5000
    assert 0 < row["age_p50_ms"] <= row["age_p95_ms"] < 5000
    assert "4 avatars shown, 1 recentres" in capsys.readouterr().out
    assert threading.active_count() == before


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, part in (
        (["--minutes", "0"], "--every must be from 1 s to the whole time"),
        (["--every", "nan"], "found nan s of 60 minutes"),
        (["--json", str(tmp_path / "none" / "x.json")], "there is no folder"),
        (["camera.stal_s=1"], "'camera.stall_s'"),
    ):
        assert soak.main(arguments) == 2
        told = capsys.readouterr().err
        assert told.startswith("bench.soak: ")
        assert part in told
        assert told.count("\n") == 1
