import numpy as np
import pytest

from config.errors import SinkError
from config.schema import OutputSettings
from realtime.frame import Frame
from realtime.sinks import MemorySink, open_sink

SETTINGS = OutputSettings(width=64, height=48, fps=30)


@pytest.mark.parametrize(
    "text", ["", "obs", "virtualcam:", "file", "file:", "window:1", "memory:2"]
)
def test_unknown_output_is_told_with_what_there_is(text: str) -> None:
    with pytest.raises(SinkError, match=r"is no output; give virtualcam.*file:NAME\.mp4"):
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
