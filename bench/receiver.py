"""``python -m bench.receiver ADDRESS``: the far end of glass to glass, a program of its own.

Writes a line for each picture that it got: the moment, on the clock ``time.perf_counter`` (which
all programs of a machine share), and the number in its corner, or "-". What it takes to show the
picture on a screen is not in it.
"""

import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.counter import read_counter
from realtime.frame import Image

READY = "ready"
"""The first line: everything is imported, it looks from now on."""
_RETRY_S = 0.05
_NO_DELAY = {
    "fflags": "nobuffer",
    "flags": "low_delay",
    "probesize": "65536",
    "analyzeduration": "0",
}


def main(argv: list[str] | None = None) -> int:
    """Look until the parent ends it, or goes away itself."""
    (address,) = sys.argv[1:] if argv is None else argv
    looking = _camera(address) if address.startswith("/dev/") else _stream(address)
    print(READY, flush=True)
    try:
        for image in looking:
            number = read_counter(image)
            print(f"{time.perf_counter():.6f} {'-' if number is None else number}", flush=True)
    except (BrokenPipeError, KeyboardInterrupt):
        pass
    return 0


def _camera(device: str) -> Iterator[Image]:
    """(H, W, 3) uint8 of a video device; one that gives nothing yet is asked again."""
    import cv2

    while True:
        capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        while capture.isOpened():
            got, image = capture.read()
            if not got:
                break
            yield np.asarray(image, np.uint8)
        capture.release()
        time.sleep(_RETRY_S)


def _stream(url: str) -> Iterator[Image]:
    """(H, W) uint8 luma of an MJPEG stream over HTTP, or MPEG-TS over UDP."""
    import av

    kind = "mpjpeg" if url.startswith("http") else "mpegts"
    while True:
        try:
            with av.open(url, format=kind, options=_NO_DELAY, timeout=10.0) as container:
                stream: Any = container.streams.video[0]
                # Threads that decode ahead keep pictures back.
                stream.thread_type = "NONE"
                for picture in container.decode(stream):
                    yield picture.to_ndarray(format="gray")
        except (av.error.FFmpegError, OSError, IndexError):
            time.sleep(_RETRY_S)  # nothing there yet, or no longer


if __name__ == "__main__":
    raise SystemExit(main())
