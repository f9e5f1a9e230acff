"""The delay of the picture told, and the microphone that is as late."""

import os
import shutil
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest

from config.errors import SettingsError, SinkError
from puppetcam import microphone
from puppetcam.microphone import DelayedMicrophone, advice, asked, loopback_command, measured
from realtime.metrics import Metrics


def metrics(ages_s: list[float]) -> Metrics:
    found = Metrics(lambda: 0.0)
    for number, age_s in enumerate(ages_s):
        found.record(number / 30, number / 30 + age_s, {})
    return found


def test_the_exact_milliseconds_are_told() -> None:
    lines = advice(87.4)
    assert lines[0] == "the picture is 87 ms late; so that voice and lips agree:"
    assert "Sync Offset of the microphone: 87 ms" in lines[1]
    assert "--delay-mic 87" in lines[2]
    assert "nobody notices" in advice(31)[0]
    assert "31 ms" in advice(31)[1]


def test_the_delay_is_measured_once_there_are_enough_pictures() -> None:
    assert measured(metrics([0.08] * 89)) is None
    assert measured(metrics([0.5] * 60 + [0.08] * 90)) == pytest.approx(80)


@pytest.mark.parametrize("text", ["0", "-3", "x", "nan", "6000", ""])
def test_delay_that_cannot_be_is_told(text: str) -> None:
    with pytest.raises(SettingsError, match="must be auto, or milliseconds"):
        asked(text)


def test_delay_is_a_number_or_measured() -> None:
    assert asked("120") == 120
    assert asked("auto") is None


def test_pipewire_is_asked_for_the_delay_in_seconds() -> None:
    words = loopback_command(87.5, "alsa_input.usb")
    assert words[words.index("--delay") + 1] == "0.0875"
    assert words[words.index("--capture") + 1] == "alsa_input.usb"
    assert "--capture" not in loopback_command(87.5, "")
    assert "media.class=Audio/Source node.name=puppetcam-mic" in words[-1]


def test_without_sound_system_it_says_how_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SinkError, match=r"found neither; in OBS set the Sync Offset") as told:
        DelayedMicrophone(None)
    assert "\n" not in str(told.value)


@pytest.mark.skipif(sys.platform == "win32", reason="a program by a script is POSIX")
def test_pulseaudios_modules_are_loaded_once_and_unloaded_in_reverse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    script = tmp_path / "pactl"
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {log}\n'
        f'test "$1" = load-module && grep -c load-module {log}\n'
        'test "$1" = get-default-source && echo usb\nexit 0\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(microphone, "_pipewire_runs", lambda: False)
    with closing(DelayedMicrophone(None)) as mic:
        assert mic.follow(metrics([0.08] * 10)) == ""
        told = mic.follow(metrics([0.12] * 90))
        assert told == "microphone: 'puppetcam-mic' is 120 ms behind; choose it in the call"
        assert mic.follow(metrics([0.5] * 90)) == ""
    calls = log.read_text().splitlines()
    loads = [line for line in calls if line.startswith("load-module")]
    assert [line.split()[1] for line in loads] == [
        "module-null-sink", "module-loopback", "module-remap-source",
    ]  # fmt: skip
    assert "source=usb" in loads[1]
    assert "latency_msec=120" in loads[1]
    assert calls[-3:] == ["unload-module 3", "unload-module 2", "unload-module 1"]
