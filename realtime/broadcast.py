"""The output as H.264 over a network: UDP or SRT to another machine's OBS, RTMP to a server.

Compressed and sent by a thread of its own: a slow network loses pictures and delays nobody. UDP
does not know whether anybody listens. An RTMP server that keeps the connection but reads nothing
cannot be told from a slow one: the stream waits for it.
"""

import contextlib
import shutil
import time
from fractions import Fraction
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from config.errors import SinkError
from config.schema import OutputSettings
from realtime.child import Child
from realtime.frame import Frame, fitted
from realtime.relay import Relay

SCHEMES = ("udp", "srt", "rtmp", "rtmps")
_TICKS_PER_S = 90_000
_DATAGRAM = 7 * 188
"""Bytes of MPEG-TS packets that fit into one datagram of an ordinary network."""
_RATE = {"crf": "23", "maxrate": "4M", "bufsize": "1M"}
# One thread: the others are the model's. zerolatency keeps no pictures back.
_ENCODER = {"preset": "superfast", "tune": "zerolatency", "threads": "1", **_RATE}
_KEYFRAME_S = {"mpegts": 0.5, "flv": 2.0}
"""Time between pictures with which a viewer can begin; RTMP servers ask for two seconds."""
_MUXER = {
    # Who joins late learns at each picture what comes.
    "mpegts": {"mpegts_flags": "pat_pmt_at_frames", "flush_packets": "1", "muxdelay": "0"},
    "flv": {"flvflags": "no_duration_filesize", "flush_packets": "1"},
}


class Broadcast:
    """A stream to ``udp://HOST:PORT``, ``srt://HOST:PORT``, ``rtmp://HOST/APP/KEY``. Where nobody
    answers, or the connection is lost, it is tried again."""

    def __init__(self, url: str, settings: OutputSettings) -> None:
        """Raises SinkError for an address that cannot be one, and where SRT is not possible."""
        self._url = _checked(url)
        self.name = _shown(url)
        if self._url.startswith("srt:") and shutil.which("ffmpeg") is None:
            raise SinkError(
                f"{self.name}: SRT goes through the program ffmpeg, which is not installed; "
                "sudo apt install ffmpeg (brew, winget: install ffmpeg), or give udp://HOST:PORT"
            )
        self.repeat_fps: float | None = settings.fps
        self._settings = settings
        self._relay = Relay(self.name, self._open)

    def send(self, frame: Frame) -> None:
        """Lay down the newest picture, at once."""
        self._relay.send(frame)

    def close(self) -> None:
        """End the stream; twice is fine."""
        self._relay.close()

    def _open(self) -> "_Stream":
        return _Stream(self._url, self.name, self._settings)


class _Stream:
    """One connection, from its first picture to its loss."""

    def __init__(self, url: str, name: str, settings: OutputSettings) -> None:
        import av

        self._name = name
        self._size = settings.width, settings.height
        self._started_at: float | None = None
        self._last = -1
        self._child: Child | None = None
        self._container: Any = None
        kind = "flv" if url.startswith("rtmp") else "mpegts"
        try:
            target: Any = url
            if url.startswith("srt:"):
                target = self._child = Child(_srt_command(url))
            self._container = av.open(target, "w", format=kind, options=_MUXER[kind])
            self._stream = self._container.add_stream(
                "libx264", rate=Fraction(settings.fps).limit_denominator(1001), options=_ENCODER
            )
            self._stream.width, self._stream.height = self._size
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = Fraction(1, _TICKS_PER_S)
            self._stream.codec_context.gop_size = max(1, round(_KEYFRAME_S[kind] * settings.fps))
            self._container.start_encoding()  # connects
        except (av.error.FFmpegError, OSError, SinkError) as error:
            self.close()
            raise SinkError(f"{name} cannot be reached: {_reason(error)}") from error

    def write(self, frame: Frame) -> None:
        import av

        now = time.perf_counter()
        if self._started_at is None:
            self._started_at = now
        ticks = round((now - self._started_at) * _TICKS_PER_S)
        if self._last >= 0 and ticks - self._last < _TICKS_PER_S // 500:
            return  # FLV counts in milliseconds: two pictures must not have the same
        picture = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(fitted(frame.image, *self._size)), format="rgb24"
        )
        picture.pts, picture.time_base, self._last = ticks, Fraction(1, _TICKS_PER_S), ticks
        try:
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        except (av.error.FFmpegError, OSError, SinkError) as error:
            raise SinkError(f"{self._name} was lost: {_reason(error)}") from error

    def abort(self) -> None:
        if self._child is not None:
            self._child.close()

    def close(self) -> None:
        import av

        container, self._container = self._container, None
        if container is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError, SinkError):
                container.close()  # of a lost connection: that was told
        self.abort()


def _checked(url: str) -> str:
    """The address as FFmpeg takes it. Raises SinkError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SinkError(f"'{url}' is no address: {error}; give udp://HOST:PORT") from error
    if not parts.hostname or (port is None and parts.scheme in ("udp", "srt")):
        raise SinkError(f"'{url}' is no address; give {parts.scheme}://HOST:PORT")
    if parts.scheme.startswith("rtmp") and not parts.path.strip("/"):
        raise SinkError(f"'{url}' is no address; give {parts.scheme}://HOST/APP/KEY")
    if parts.scheme == "udp" and "pkt_size" not in parts.query:
        url += f"{'&' if parts.query else '?'}pkt_size={_DATAGRAM}"
    return url


def _shown(url: str) -> str:
    """The address without what may be secret: a stream key, a pass phrase."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def _srt_command(url: str) -> list[str]:
    """The program that sends MPEG-TS from its input, byte for byte, over SRT."""
    reading = ["-f", "data", "-raw_packet_size", str(_DATAGRAM), "-i", "pipe:0"]
    sending = ["-map", "0", "-c", "copy", "-f", "data", "-flush_packets", "1", url]
    return ["ffmpeg", "-hide_banner", "-nostats", "-loglevel", "error", *reading, *sending]


def _reason(error: Exception) -> str:
    """FFmpeg's own words; without the address, which may hold a key."""
    return getattr(error, "strerror", None) or str(error)
