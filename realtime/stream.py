"""Pictures over a network: RTSP, HTTP and their like, opened only when the user names an address.

Live ones are cameras: what is not taken in time is lost, a silent one is lost and tried again. A
film that has an end plays as one from a file. ``captured_at`` is the moment at which a picture had
arrived; what the camera and the network took before is not known. Frames are decoded one after the
other: on a machine too slow for that a stream falls behind, which is not noticed.
"""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from config.errors import SourceError
from config.schema import CameraSettings
from realtime.frame import Frame
from realtime.video import VideoFile, pictures_of, reason, upright

SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "srt", "tcp", "udp")
OPEN_S = 8.0
"""Longest wait for a stream to begin."""

_OPTIONS = {
    # A stream that names files of this machine is not followed.
    "protocol_whitelist": "rtsp,rtp,srtp,rtmp,rtmps,http,httpproxy,https,tls,tcp,udp,srt,crypto",
    # Nothing is held back: no waiting for late packets, half a second to find out what it is. Not
    # "nobuffer": that throws away what was looked at, which of a short film is all of it.
    "flags": "low_delay",
    "max_delay": "0",
    "analyzeduration": "500000",
    "fpsprobesize": "0",
    "rtsp_transport": "tcp",  # UDP loses packets, and firewalls lose all of it
}


def is_address(text: str) -> bool:
    """True for ``rtsp://...`` and the like."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.casefold() in SCHEMES


def shown(address: str) -> str:
    """An address for messages: without the password and what follows a "?"."""
    parts = urlsplit(address)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def open_stream(
    address: str, settings: CameraSettings, clock: Callable[[], float] = time.perf_counter
) -> "Stream | VideoFile":
    """Connect and wait for the first picture. Raises SourceError."""
    import av

    name = shown(address)
    try:
        container = av.open(
            address,
            options=_OPTIONS,
            timeout=(OPEN_S, settings.stall_s),
            metadata_errors="replace",
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceError(f"{name} cannot be opened: {_told(error)}") from error
    # A live one has no end that could be known: no length, or one that grows.
    if (container.duration or 0) > 0 and container.size > 0:
        return VideoFile(name, clock, container)
    try:
        return Stream(container, name, settings, clock)
    except BaseException:
        container.close()
        raise


class Stream:
    """A live stream as a Source; owns its container."""

    live = True

    def __init__(
        self,
        container: Any,
        name: str,
        settings: CameraSettings,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Waits for the first picture. Raises SourceError."""
        self.name = name
        self._container = container
        self._stall_s = settings.stall_s
        self._clock = clock
        self._count = 0
        self._closed = False
        self._stream = pictures_of(container, name)
        # Threads by frame would hold as many frames back as there are threads.
        self._stream.thread_type = "SLICE"
        self.fps = float(self._stream.average_rate or self._stream.guessed_rate or settings.fps)
        self._packets = container.demux(self._stream)
        self._first: Frame | None = None
        self._first = self.read()
        self.height, self.width = self._first.image.shape[:2]

    def read(self) -> Frame:
        """The next picture. Raises SourceError when there is none for ``stall_s``, or the stream
        has ended."""
        import av

        if self._first is not None:
            frame, self._first = self._first, None
            return frame
        if self._closed:
            raise SourceError(f"{self.name} is closed")
        patience_s = self._stall_s if self._count else OPEN_S
        started = self._clock()
        while True:
            try:
                packet = next(self._packets, None)
                if packet is None or not packet.size:
                    raise SourceError(f"{self.name} has ended")
                arrived_at = self._clock()
                pictures = packet.decode()
            except av.error.InvalidDataError:
                pictures = []  # it began in the middle, or is damaged: there is more to come
            except (av.error.FFmpegError, OSError) as error:
                silent_s = self._clock() - started
                if silent_s < self._stall_s / 2:
                    raise SourceError(f"{self.name} broke off: {reason(error)}") from error
                raise SourceError(f"{self.name} gave no picture for {silent_s:.1f} s") from error
            if pictures:
                self._count += 1
                return Frame(upright(pictures[-1]), arrived_at, self._count - 1)
            silent_s = self._clock() - started
            if silent_s >= patience_s:
                raise SourceError(f"{self.name} gave no picture for {silent_s:.1f} s")

    def close(self) -> None:
        """Hang up; twice is fine."""
        self._closed = True
        self._container.close()


def _told(error: Exception) -> str:
    """What went wrong, and what to do."""
    import av

    found = reason(error)
    if isinstance(error, av.error.ProtocolNotFoundError):
        return f"{found}: this PyAV lacks it; rtsp:// and http:// work"
    if isinstance(error, av.error.ExitError):
        found = f"no answer within {OPEN_S:g} s"
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        return f"{found}; name and password go before the host: rtsp://name:password@host/..."
    if isinstance(error, av.error.HTTPNotFoundError):
        return f"{found}; check the path in the address"
    return f"{found}; check the address, and that the camera is on and in this network"
