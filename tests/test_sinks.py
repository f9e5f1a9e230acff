import numpy as np
import pytest

from config.errors import SinkError
from config.schema import OutputSettings
from realtime.frame import Frame
from realtime.sinks import MemorySink, open_best, open_sink

SETTINGS = OutputSettings(width=64, height=48, fps=30)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "obs",
        "auto:1",
        "virtualcam:",
        "pipewire:1",
        "mjpeg:",
        "udp:9000",
        "file",
        "file:",
        "window:1",
        "memory:2",
    ],
)
def test_unknown_output_is_told_with_what_there_is(text: str) -> None:
    with pytest.raises(SinkError, match=r"is no output; give one of: auto.*file:NAME\.mp4"):
        open_sink(text, SETTINGS)


def test_memory_keeps_the_newest_and_counts_all() -> None:
    sink = open_sink("memory", SETTINGS)
    assert isinstance(sink, MemorySink)
    small = MemorySink(keep=3)
    for number in range(10):
        small.send(Frame(np.zeros((48, 64, 3), np.uint8), 1000, number))
    small.close()
    small.close()
    assert [kept.index for kept in small.frames] == [7, 8, 9]
    assert small.count == 10


def test_the_best_is_the_first_that_opens_and_says_why_not_the_others() -> None:
    choice = ["virtualcam:/dev/video77", "file:x.avi", "memory", "nonsense"]
    sink, reasons = open_best(SETTINGS, choice)
    assert sink.name == "memory"
    assert len(reasons) == 2
    assert str(reasons[0]).startswith("virtualcam:/dev/video77 cannot be opened: ")
    assert str(reasons[1]).startswith("file:x.avi must end in .mp4, or in .mov or .webm")


def test_when_none_opens_all_reasons_are_told_in_one_line() -> None:
    with pytest.raises(
        SinkError, match=r"x\.avi must end in \.mp4, or .*; 'nonsense' is no output"
    ) as told:
        open_best(SETTINGS, ["file:x.avi", "nonsense"])
    assert "\n" not in str(told.value)
