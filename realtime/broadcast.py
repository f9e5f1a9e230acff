"""The output as H.264 over a network: UDP or SRT to another machine's OBS, RTMP to a server.

Compressed and sent by a thread of its own: a slow network loses pictures and delays nobody. UDP
does not know whether anybody listens. SRT and RTMP go through the program ffmpeg: PyAV's packages
have no SRT, and PyAV stops the whole of Python while it connects.
"""

import contextlib
import shutil
import socket
import time
from collections.abc import Callable
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
_STALL_US = 5_000_000
"""A connection that takes nothing for so long is opened again, microseconds."""
_DATAGRAM = 7 * 188
"""Bytes of MPEG-TS packets that fit into one datagram of an ordinary network."""
_RATE = {"crf": "23", "maxrate": "4M", "bufsize": "1M"}
# One thread: the others are the model's. zerolatency keeps no pictures back.
_ENCODER = {"preset": "superfast", "tune": "zerolatency", "threads": "1", **_RATE}
_KEYFRAME_S = {"mpegts": 0.5, "flv": 2.0}
"""Time between pictures with which a viewer can begin; RTMP servers ask for two seconds."""
_MUXER = {
    # Who joins late learns at each picture what comes.
    "mpegts": {"mpegts_flags": "pat_pmt_at_frames", "flush_packets": "1"},
    "flv": {"flvflags": "no_duration_filesize", "flush_packets": "1"},
}


class Broadcast:
    """A stream to ``udp://HOST:PORT``, ``srt://HOST:PORT``, ``rtmp://HOST/APP/KEY``. Where nobody
    answers, or the connection is lost, it is tried again."""

    def __init__(self, url: str, settings: OutputSettings) -> None:
        """Raises SinkError for an address that cannot be one, and where SRT is not possible."""
        self._url = _checked(url)
        self.name = _shown(url)
        if not url.startswith("udp:") and shutil.which("ffmpeg") is None:
            raise SinkError(
                f"{self.name} goes through the program ffmpeg, which is not installed; "
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

        self._name, self._url = name, url
        self._size = settings.width, settings.height
        self._started_at: float | None = None
        self._last = -1
        self._container: Any = None
        kind = "flv" if url.startswith("rtmp") else "mpegts"
        try:
            self._way = _Datagrams(url) if url.startswith("udp:") else _Ffmpeg(url)
        except (OSError, SinkError) as error:
            raise SinkError(f"{name} cannot be reached: {_reason(error)}") from error
        self._container = av.open(_NoSeek(self._way.write), "w", format=kind, options=_MUXER[kind])
        self._stream = self._container.add_stream(
            "libx264", rate=Fraction(settings.fps).limit_denominator(1001), options=_ENCODER
        )
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _TICKS_PER_S)
        self._stream.codec_context.gop_size = max(1, round(_KEYFRAME_S[kind] * settings.fps))

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
            self._way.flush()
        except (av.error.FFmpegError, OSError, SinkError) as error:
            reason = _reason(error).replace(self._url, self._name)  # the address may hold a key
            raise SinkError(f"{self._name} was lost: {reason}") from error

    def abort(self) -> None:
        self._way.close()

    def close(self) -> None:
        import av

        container, self._container = self._container, None
        if container is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError, SinkError):
                container.close()  # of a lost connection: that was told
        self._way.close()


class _NoSeek:
    """What PyAV writes to: a file that only goes on."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write = write


class _Datagrams:
    """MPEG-TS over UDP, whole packets in each datagram."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, to = found[0]
        self._to: Any = to
        self._socket = socket.socket(family, kind, protocol)
        self._waiting = bytearray()

    def write(self, data: bytes) -> None:
        self._waiting += data

    def flush(self) -> None:
        data, self._waiting = bytes(self._waiting), bytearray()
        for start in range(0, len(data), _DATAGRAM):
            self._socket.sendto(data[start : start + _DATAGRAM], self._to)

    def close(self) -> None:
        self._socket.close()


class _Ffmpeg:
    """Bytes through the program ffmpeg: SRT takes them as they are, RTMP wants its own packets."""

    def __init__(self, url: str) -> None:
        if url.startswith("srt:"):
            reading, sending = f"-f data -raw_packet_size {_DATAGRAM}", "-f data"
        else:
            # It begins with the first picture: nothing is to be found out.
            reading = "-f flv -fflags nobuffer -analyzeduration 1 -fpsprobesize 0"
            sending = "-f flv -flvflags no_duration_filesize"
        words = f"ffmpeg -hide_banner -nostats -loglevel error {reading} -i pipe:0 -map 0 -c copy"
        words += f" {sending} -rw_timeout {_STALL_US} -flush_packets 1"
        self._child = Child([*words.split(), url])

    def write(self, data: bytes) -> None:
        self._child.write(data)

    def flush(self) -> None:
        """Each write is one already."""

    def close(self) -> None:
        self._child.close()


def _checked(url: str) -> str:
    """The address, which can be one. Raises SinkError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SinkError(f"'{url}' is no address: {error}; give udp://HOST:PORT") from error
    if not parts.hostname or (port is None and parts.scheme in ("udp", "srt")):
        raise SinkError(f"'{url}' is no address; give {parts.scheme}://HOST:PORT")
    if parts.scheme.startswith("rtmp") and not parts.path.strip("/"):
        raise SinkError(f"'{url}' is no address; give {parts.scheme}://HOST/APP/KEY")
    return url


def _shown(url: str) -> str:
    """The address without what may be secret: a stream key, a pass phrase."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def _reason(error: Exception) -> str:
    """The system's own words, or FFmpeg's."""
    return getattr(error, "strerror", None) or str(error)
