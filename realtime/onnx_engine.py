"""Runs a bundle's ONNX graphs in ONNX Runtime, on the CPU or an NVIDIA card. Needs no torch."""

import ctypes
import importlib.metadata
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from config.errors import EngineError, MissingPackageError
from config.schema import EngineSettings
from models.bundle import Bundle
from models.keypoints import Keypoints
from realtime.carry import Carrier
from realtime.frame import Image
from realtime.planes import (
    check_picture,
    empty_planes,
    fill_planes,
    finish,
    resized,
    still_keypoints,
)

logger = logging.getLogger(__name__)

CUDA_FIX = (
    "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install "
    '".[gpu]" "onnxruntime-gpu[cuda,cudnn]" in the folder of puppetcam'
)
"""What mends a CUDA provider that is not there: both packages own the same module, and CUDA and
cuDNN must be found."""


class OnnxEngine:
    """``realtime.engine.Engine`` on ONNX Runtime. Not thread-safe."""

    def __init__(self, bundle: Bundle, settings: EngineSettings) -> None:
        """Raises MissingPackageError without onnxruntime, EngineError where it cannot run."""
        self.bundle = bundle
        self._keypoints = KeypointSession(bundle, settings)
        self._avatar = _open(bundle.graph("avatar"), settings)
        self._frame = _open(bundle.graph("frame"), settings)
        self.provider = _provider(self._frame)
        if settings.provider == "auto" and not _on_cuda(self._frame):
            _warn_if_cuda_was_meant()
        self._avatar_planes = empty_planes(bundle.size)
        value = np.empty((1, bundle.num_keypoints, 2), np.float32)
        jacobian = np.empty((1, bundle.num_keypoints, 2, 2), np.float32)
        self._avatar_keypoints = Keypoints(value, jacobian)
        self._driving_keypoints = Keypoints(value.copy(), jacobian.copy())
        # The avatar's features stay bound, on the card where there is one, from frame to frame;
        # the results land in the same buffers for ever.
        self._binding = self._frame.io_binding()
        self._results: dict[str, NDArray[np.float32]] = {}
        for output in self._frame.get_outputs():
            array = self._results[output.name] = np.empty(output.shape, np.float32)
            self._binding.bind_output(
                output.name, "cpu", 0, np.float32, array.shape, array.ctypes.data
            )
        self._carrier: Carrier | None = None
        self._closed = False

    def set_avatar(self, image: Image) -> Keypoints:
        """See ``Engine``. Raises EngineError for a picture of another size."""
        check_picture(image, self.bundle.output_size)
        carrier = Carrier(image)
        fill_planes(self._avatar_planes, resized(image, self.bundle.size))
        keypoints = still_keypoints(self.keypoints, image, self.bundle)
        device = "cuda" if _on_cuda(self._avatar) else "cpu"
        encoding = self._avatar.io_binding()
        encoding.bind_cpu_input("image", self._avatar_planes)
        names = [output.name for output in self._avatar.get_outputs()]
        for name in names:
            encoding.bind_output(name, device)
        _run_bound(self._avatar, encoding)
        wanted = {one.name for one in self._frame.get_inputs()}
        for name, tensor in zip(names, encoding.get_outputs(), strict=True):
            if name in wanted:
                self._binding.bind_ortvalue_input(name, tensor)
        self._bind(self._avatar_keypoints, keypoints, "avatar_")
        self._carrier = carrier
        return keypoints

    def keypoints(self, image: Image) -> tuple[Keypoints, float]:
        """See ``KeypointSession.keypoints``."""
        return self._keypoints.keypoints(image)

    def generate(self, keypoints: Keypoints, carrier: Carrier | None = None) -> Image:
        """The avatar at ``keypoints``, a fresh (S, S, 3) uint8 RGB picture; of the carrier's size
        where one is given. See ``Engine``."""
        if self._carrier is None:
            raise EngineError("the engine has no avatar yet: set_avatar comes before generate")
        self._bind(self._driving_keypoints, keypoints, "")
        _run_bound(self._frame, self._binding)
        return finish(self._results, carrier or self._carrier)

    def run(self, graph: str, feeds: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
        """One graph as it is, float32 in and out, by the names of ``models.bundle``."""
        sessions = {
            "keypoints": self._keypoints.session,
            "avatar": self._avatar,
            "frame": self._frame,
        }
        return _run(sessions[graph], feeds)

    def close(self) -> None:
        """Free the sessions; twice is fine."""
        if not self._closed:
            self._closed = True
            self._keypoints.close()
            del self._binding, self._avatar, self._frame

    def _bind(self, held: Keypoints, keypoints: Keypoints, prefix: str) -> None:
        held.value[0], held.jacobian[0] = keypoints
        # Bound anew each time: a card copies its inputs at this moment.
        self._binding.bind_cpu_input(f"{prefix}value", held.value)
        self._binding.bind_cpu_input(f"{prefix}jacobian", held.jacobian)


class KeypointSession:
    """A bundle's keypoint network alone: the face tracker follows with it. Not thread-safe."""

    def __init__(self, bundle: Bundle, settings: EngineSettings) -> None:
        """Raises MissingPackageError without onnxruntime, EngineError where it cannot run."""
        self.bundle = bundle
        self.session: Any = _open(bundle.graph("keypoints"), settings)
        self.provider = _provider(self.session)
        self._planes = empty_planes(bundle.keypoint_size)

    def keypoints(self, image: Image) -> tuple[Keypoints, float]:
        """Keypoints of a crop (S, S, 3) uint8 RGB, S = ``bundle.keypoint_size``, and 0..1 how sure
        the network is that it sees a face (1.0 where it does not tell)."""
        fill_planes(self._planes, image)
        found = _run(self.session, {"image": self._planes})
        presence = found.get("presence")
        confidence = 1.0 if presence is None else float(presence[0])
        return Keypoints(found["value"][0], found["jacobian"][0]), confidence

    def close(self) -> None:
        """Free the session; twice is fine."""
        self.session = None


def runtime_threads(settings: EngineSettings) -> int:
    """CPU threads for ``settings.threads``; 0 is one per physical core, at most 4.

    More than four gain little at these picture sizes and heat a laptop.
    """
    if settings.threads:
        return settings.threads
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if sys.platform == "linux":
        cores = min(cores, len(os.sched_getaffinity(0)))
    return min(cores, 4)


def nvidia_driver_answers() -> bool:
    """True where an NVIDIA driver is installed and finds a card."""
    try:
        # The driver's own library: it is there on every platform, unlike nvidia-smi.
        if sys.platform == "win32":
            driver: Any = ctypes.WinDLL("nvcuda.dll")
        else:
            driver = ctypes.CDLL("libcuda.so.1")
        return bool(driver.cuInit(0) == 0)
    except (OSError, AttributeError):
        return False


def _open(path: Path, settings: EngineSettings) -> Any:
    """An ``onnxruntime.InferenceSession``."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError(
            f"this bundle runs in ONNX Runtime, which cannot be imported ({_first_line(error)}); "
            'in the folder of puppetcam: pip install ".[cpu]", or ".[gpu]" with an NVIDIA card'
        ) from error
    providers = ["CPUExecutionProvider"]
    if settings.provider != "cpu" and (
        "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    ):
        # Finds CUDA and cuDNN where pip put them; onnxruntime-gpu before 1.21 has no such call.
        preload = getattr(onnxruntime, "preload_dlls", None)
        if preload:
            preload()
        providers.insert(0, "CUDAExecutionProvider")
    elif settings.provider == "cuda":
        raise EngineError(
            "engine.provider=cuda, but this ONNX Runtime has no CUDA provider; "
            f"{CUDA_FIX}; or engine.provider=cpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = runtime_threads(settings)
    # A pool that spins between frames takes the cores from the other sessions and from the call.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only
    try:
        session = onnxruntime.InferenceSession(path, options, providers=providers)
    except _runtime_errors() as error:
        raise EngineError(f"ONNX Runtime cannot open {path}: {_first_line(error)}") from error
    # Without this a failing card is changed for the CPU in the middle of a call, unsaid.
    session.disable_fallback()
    if settings.provider == "cuda" and not _on_cuda(session):
        raise EngineError(
            f"engine.provider=cuda, but ONNX Runtime took {_provider(session)}: CUDA or cuDNN did "
            f"not load; {CUDA_FIX}; or engine.provider=cpu"
        )
    return session


def _on_cuda(session: Any) -> bool:
    return bool(session.get_providers()[0] == "CUDAExecutionProvider")


def _provider(session: Any) -> str:
    # What the session took after it was made, not what was asked of it.
    return f"onnxruntime {session.get_providers()[0].removesuffix('ExecutionProvider')}"


def _warn_if_cuda_was_meant() -> None:
    try:
        importlib.metadata.version("onnxruntime-gpu")
        reason = "onnxruntime-gpu is installed"
    except importlib.metadata.PackageNotFoundError:
        if not nvidia_driver_answers():
            return
        reason = "there is an NVIDIA card"
    logger.warning("the networks run on the CPU although %s; to use the card: %s", reason, CUDA_FIX)


def _run(session: Any, feeds: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
    names = [output.name for output in session.get_outputs()]
    try:
        return dict(zip(names, session.run(names, feeds), strict=True))
    except _runtime_errors() as error:
        raise EngineError(f"ONNX Runtime failed: {_first_line(error)}") from error


def _run_bound(session: Any, binding: Any) -> None:
    try:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
    except _runtime_errors() as error:
        raise EngineError(f"ONNX Runtime failed: {_first_line(error)}") from error


def _runtime_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: classes of its own with no base in common."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [one for one in vars(state).values() if isinstance(one, type)]
    return (RuntimeError, *(one for one in own if issubclass(one, Exception)))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
