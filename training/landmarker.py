"""MediaPipe in an environment of its own: an independent landmarker to measure with, FaceMesh, and
a teacher of mattes, Selfie Segmentation.

The networks that are measured were trained on the landmarker's landmarks, but it shares no code and
no weights with them. MediaPipe cannot live beside puppetcam: it needs numpy < 2. So ``install``
makes a virtual environment in the cache folder, and ``Landmarker`` talks to
``training/face_mesh.py`` there, ``Segmenter`` to ``training/selfie.py``.
"""

import contextlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

import numpy as np

from config.errors import DownloadError, EngineError, MissingPackageError
from models.published import cache_folder
from realtime.frame import Image
from training.face_mesh import POINTS, READINGS
from training.measures import Mesh

VERSION = "0.10.21"
NAME = f"MediaPipe FaceMesh {VERSION}"
DISK_MB = 420
"""What the environment takes."""
PYTHONS = ((3, 9), (3, 12))
"""The oldest and the newest Python that has this MediaPipe."""

# MediaPipe names jax, sounddevice and sentencepiece as well: 600 MB that FaceMesh never imports.
_NEEDED = (
    *("numpy<2", "protobuf>=4.25.3,<5", "absl-py", "attrs", "flatbuffers"),
    *("matplotlib", "opencv-python-headless<5"),
)
_COMPLETE = "complete"


def environment() -> Path:
    """Where the landmarker's virtual environment is, or would be."""
    return cache_folder() / f"mediapipe-{VERSION}"


def is_installed() -> bool:
    """True once ``install`` came to its end."""
    return (environment() / _COMPLETE).is_file()


def install(report: Callable[[str], object]) -> None:
    """Make the environment with the standard venv and pip; one that is incomplete is made anew.

    ``report`` gets a line for each step. Uses the network. Raises MissingPackageError without a
    fitting Python, DownloadError where pip fails.
    """
    folder = environment()
    python = _python()
    report(f"making {folder} with {python}")
    shutil.rmtree(folder, ignore_errors=True)
    _run([python, "-m", "venv", str(folder)], "make a virtual environment")
    pip = [str(_python_in(folder)), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    report(f"installing {NAME}")
    _run([*pip, *_NEEDED], "install what MediaPipe needs")
    _run([*pip, "--no-deps", f"mediapipe=={VERSION}"], f"install mediapipe {VERSION}")
    (folder / _COMPLETE).touch()


class _Program:
    """A program of that environment, running. A context: leaving it ends the program."""

    script: str
    """Its file, beside this one."""
    purpose: str

    def __init__(self, *arguments: str) -> None:
        """Starts it. Raises MissingPackageError where it is not installed, EngineError."""
        if not is_installed():
            raise MissingPackageError(
                f"{NAME}, which {self.purpose}, is not installed; with puppetcam evaluate "
                f"--install-landmarker pip puts it into {environment()} ({DISK_MB} MB)"
            )
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close
        # PYTHONPATH would bring the modules of this Python's packages over there.
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        try:
            self._process = subprocess.Popen(
                [
                    str(_python_in(environment())),
                    str(Path(__file__).with_name(self.script)),
                    *arguments,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env=variables,
            )
        except OSError as error:
            self._said.close()
            raise EngineError(
                f"{NAME} does not start: {error.strerror}; delete {environment()} and install anew"
            ) from error

    def _ask(self, height: int, width: int, pixels: bytes, length: int) -> bytes:
        """The ``length`` bytes that it answers to a picture."""
        process, answer = self._process, b""
        if process.stdin and process.stdout and process.poll() is None:
            try:
                process.stdin.write(struct.pack("<ii", height, width) + pixels)
                process.stdin.flush()
                answer = process.stdout.read(length)
            except OSError:  # it has ended
                answer = b""
        if len(answer) < length:
            raise EngineError(f"{NAME} ended: {self._last_words()}")
        return answer

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def close(self) -> None:
        """End it; twice is fine."""
        for pipe in (self._process.stdin, self._process.stdout):
            # Where it has ended by itself, what it did not read cannot be delivered.
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()
        self._process.terminate()
        self._process.wait()
        self._said.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Landmarker(_Program):
    """The landmarker. What one reading errs by is as large as what a calm head moves, and half of
    it is gone from the mean of four, two of them of the picture's mirror image."""

    script = "face_mesh.py"
    purpose = "measures"

    def __init__(self, readings: int = READINGS) -> None:
        """``readings`` of each picture, 1 to ``READINGS``. Raises MissingPackageError where it is
        not installed, EngineError."""
        super().__init__(str(readings))

    def film(self, images: Iterable[Image]) -> Mesh:
        """The face of each picture of one film, in order: (T, 478, 3) float32, pixels.

        Pictures are (H, W, 3) uint8 RGB. x right, y down, whole numbers at pixel centres; z away
        from the camera, on the same scale; not a number where no face is found. Raises EngineError.
        """
        self._face(0, 0, b"")
        found = [self._face(image.shape[0], image.shape[1], image.tobytes()) for image in images]
        return np.array(found, np.float32).reshape(-1, POINTS, 3)

    def _face(self, height: int, width: int, pixels: bytes) -> Mesh:
        answer = self._ask(height, width, pixels, POINTS * 3 * 4)
        return np.frombuffer(answer, "<f4").reshape(POINTS, 3).astype(np.float32)


class Segmenter(_Program):
    """The teacher of mattes."""

    script = "selfie.py"
    purpose = "tells people from what is behind them"

    def matte(self, image: Image) -> Image:
        """(H, W, 3) uint8 RGB -> (H, W) uint8, 255 where the person is. Raises EngineError."""
        height, width = image.shape[:2]
        answer = self._ask(height, width, image.tobytes(), height * width)
        return np.frombuffer(answer, np.uint8).reshape(height, width)


def _python() -> str:
    """A Python that MediaPipe exists for: this one, else one on the search path."""
    oldest, newest = PYTHONS
    if oldest <= sys.version_info[:2] <= newest:
        return sys.executable
    for minor in range(newest[1], oldest[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found:
            return found
    raise MissingPackageError(
        f"{NAME} exists for Python {oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}, this is "
        f"{sys.version_info[0]}.{sys.version_info[1]} and no other is found; install Python 3.12"
    )


def _python_in(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _run(command: list[str], purpose: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        reason = next((line for line in lines if "ERROR" in line.upper()), (lines or ["?"])[-1])
        raise DownloadError(f"cannot {purpose}: {reason.strip()}")
