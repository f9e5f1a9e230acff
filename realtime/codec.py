"""How the pictures of a film are encoded, by the end of its name."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realtime.cutout import cut_out
from realtime.frame import Frame


@dataclass(frozen=True, slots=True)
class Codec:
    """An encoder of FFmpeg and what it is told."""

    encoder: str
    pixels: str
    """The pixel format that it stores."""
    options: dict[str, str] = field(default_factory=dict)
    transparent: bool = False
    """Keeps a frame's alpha."""

    def picture(self, frame: Frame) -> Any:
        """The frame as an ``av.VideoFrame`` without a time."""
        import av

        if self.transparent:
            return av.VideoFrame.from_ndarray(cut_out(frame), format="rgba")
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.image), format="rgb24")


LIVE = {
    # zerolatency keeps no frames back, which an interruption would lose.
    ".mp4": Codec("libx264", "yuv420p", {"preset": "veryfast", "tune": "zerolatency", "crf": "20"}),
    # The only one with transparency that editors read and that is quick enough: 11 ms a frame at
    # 1280x720, ProRes 92.
    ".mov": Codec("qtrle", "argb", transparent=True),
    ".webm": Codec(
        "libvpx-vp9",
        "yuva420p",
        {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "lag-in-frames": "0", "crf": "24"},
        transparent=True,
    ),
}
"""For recordings, by suffix."""
FILM = Codec("libx264", "yuv420p", {"preset": "veryfast", "crf": "18"})
TRANSPARENT_FILM = Codec("prores_ks", "yuva444p10le", {"profile": "4"}, transparent=True)
"""ProRes 4444, in .mov."""
