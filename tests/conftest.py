"""What holds for every test: keys, answers and caches of the user who runs them are left alone."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# As the command line has it, before OpenCV is imported.
os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "100000000")

import numpy as np
import pytest
from hypothesis import settings

import config  # noqa: F401 - before ONNX Runtime, which it keeps quiet

if TYPE_CHECKING:
    from training.data import Portraits

# No test depends on how fast the machine is at the moment.
settings.register_profile("untimed", parent=settings(), deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True, scope="session")
def folders_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keys, answers and caches go into a temporary folder, also those of child processes."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CACHE", "CONFIG", "STATE"):
            patch.setenv(f"PUPPETCAM_{name}", str(tmp_path_factory.mktemp(name.lower())))
        yield


@pytest.fixture
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what is remembered that no other test has used; it is not there yet."""
    folder = tmp_path / "state"
    monkeypatch.setenv("PUPPETCAM_STATE", str(folder))
    return folder


@pytest.fixture(scope="session")
def drawn() -> list:
    """Clips of drawn people, for training."""
    from training.drawn import drawn_clips

    return drawn_clips(2, 4)


@pytest.fixture(scope="session")
def portraits(drawn: list) -> "Portraits":
    """The pictures of ``drawn``, each by itself."""
    from training.data import Portraits

    images = np.concatenate([clip.images for clip in drawn])
    landmarks = np.concatenate([clip.landmarks for clip in drawn])
    return Portraits(images, landmarks, np.zeros(landmarks.shape[:2], np.float32))
