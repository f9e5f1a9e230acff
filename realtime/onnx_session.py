"""Sessions of ONNX Runtime: where they run, how they are fed, and the proof of where they ran."""

import ctypes
import importlib.metadata
import json
import logging
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from config.errors import EngineError, MissingPackageError
from config.schema import EngineSettings
from models.published import cache_folder

logger = logging.getLogger(__name__)

CUDA_FIX = (
    "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install "
    '".[gpu]" "onnxruntime-gpu[cuda,cudnn]" in the folder of puppetcam'
)
"""What mends a CUDA provider that is not there: both packages own the same module, and CUDA and
cuDNN must be found."""
TENSORRT_FIX = 'pip install tensorrt, which "onnxruntime-gpu" does not bring'
CPU, CUDA, TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))

Array = NDArray[np.float32]


def ports_of(session: Any) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Names and shapes of a session's inputs, and of its outputs."""
    return (
        {one.name: list(one.shape) for one in session.get_inputs()},
        {one.name: list(one.shape) for one in session.get_outputs()},
    )


class BoundGraph:
    """A graph whose inputs and outputs lie in memory of their own for ever, on the card where there
    is one: a CUDA graph can be replayed on them, and no frame allocates. Not thread-safe."""

    def __init__(self, session: Any, device: str | None = None) -> None:
        """``device``: "cpu" or "cuda", default where the session runs."""
        from onnxruntime import OrtValue

        self.session = session
        self._on_cpu = (device or device_of(session)) == "cpu"
        self._binding = session.io_binding()
        self._arrays: dict[str, Array] = {}
        self._inputs: dict[str, Any] = {}
        self._outputs: dict[str, Any] = {}
        for held, ports, bind in (
            (self._inputs, session.get_inputs(), self._binding.bind_ortvalue_input),
            (self._outputs, session.get_outputs(), self._binding.bind_ortvalue_output),
        ):
            for port in ports:
                array = self._arrays[port.name] = np.zeros(port.shape, np.float32)
                # On the CPU the value and the array are one memory.
                where = "cpu" if self._on_cpu else "cuda"
                held[port.name] = OrtValue.ortvalue_from_numpy(array, where, 0)
                bind(port.name, held[port.name])

    @property
    def inputs(self) -> Sequence[str]:
        """The names of the inputs."""
        return tuple(self._inputs)

    def set(self, name: str, values: Array) -> None:
        """Write an input, of its shape but for a leading 1; it stays until it is set again."""
        array = self._arrays[name]
        if values is not array:
            array[...] = values
        if not self._on_cpu:
            self._inputs[name].update_inplace(array)

    def memory(self, name: str) -> Array:
        """The memory of an input, to be filled and then ``set``."""
        return self._arrays[name]

    def run(self) -> Mapping[str, Array]:
        """The outputs by name. On the CPU, the same arrays at each call. Raises EngineError."""
        try:
            self.session.run_with_iobinding(self._binding)
            self._binding.synchronize_outputs()
            if self._on_cpu:
                return {name: self._arrays[name] for name in self._outputs}
            return {name: value.numpy() for name, value in self._outputs.items()}
        except runtime_errors() as error:
            raise EngineError(f"ONNX Runtime failed: {first_line(error)}") from error


def open_session(path: Path, settings: EngineSettings, *, profile: str = "") -> Any:
    """An ``onnxruntime.InferenceSession``. ``profile``: start of the name of a profile's file.

    Raises MissingPackageError without onnxruntime, EngineError where it cannot run.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError(
            f"this bundle runs in ONNX Runtime, which cannot be imported ({first_line(error)}); "
            'in the folder of puppetcam: pip install ".[cpu]", or ".[gpu]" with an NVIDIA card'
        ) from error
    onnxruntime.disable_telemetry_events()  # on Windows, where the variable of ``config`` is unread
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = runtime_threads(settings)
    # A pool that spins between frames takes the cores from the other sessions and from the call.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    session, reason = None, ""
    for providers in _providers(settings, path, graphs=not profile):
        try:
            session = onnxruntime.InferenceSession(path, options, providers=providers)
        except runtime_errors() as error:
            reason = first_line(error)
        else:
            break
    if session is None:
        raise EngineError(f"ONNX Runtime cannot open {path}: {reason}")
    # Without this a failing card is changed for the CPU in the middle of a call, unsaid.
    session.disable_fallback()
    took = session.get_providers()[0]
    wanted = {"cuda": CUDA, "tensorrt": TENSORRT}.get(settings.provider, took)
    if took != wanted:
        fix = f"CUDA or cuDNN did not load; {CUDA_FIX}"
        if wanted == TENSORRT:
            fix = f"TensorRT did not load; {TENSORRT_FIX}"
        raise EngineError(
            f"engine.provider={settings.provider}, but ONNX Runtime took {provider_of(session)}: "
            f"{fix}; or engine.provider=cpu"
        )
    return session


def cuda_is_offered() -> bool:
    """True where the installed ONNX Runtime was built for CUDA; whether it loads is not known."""
    try:
        import onnxruntime
    except ImportError:
        return False
    return CUDA in onnxruntime.get_available_providers()


def _providers(settings: EngineSettings, path: Path, *, graphs: bool) -> list[list[Any]]:
    """What to ask for, the best first; what follows is for cards and drivers that cannot do that.
    Raises EngineError."""
    import onnxruntime

    offered = onnxruntime.get_available_providers()
    for name, provider, fix in (("cuda", CUDA, CUDA_FIX), ("tensorrt", TENSORRT, TENSORRT_FIX)):
        if settings.provider == name and provider not in offered:
            raise EngineError(
                f"engine.provider={name}, but this ONNX Runtime has no {name.upper()} provider; "
                f"{fix}; or engine.provider=cpu"
            )
    if settings.provider == "cpu" or CUDA not in offered:
        return [[CPU]]
    # Finds CUDA and cuDNN where pip put them; onnxruntime-gpu before 1.21 has no such call.
    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload:
        preload()
    plain: dict[str, str] = {"cudnn_conv_algo_search": "EXHAUSTIVE", "prefer_nhwc": "1"}
    # One launch a frame instead of some hundred: needs every node on the card.
    replayed = plain | {"enable_cuda_graph": "1"}
    ways: list[list[Any]] = [[(CUDA, plain), CPU], [CUDA, CPU]]
    if graphs:
        ways.insert(0, [(CUDA, replayed), CPU])
    if settings.provider == "tensorrt":
        folder = cache_folder() / "tensorrt"
        folder.mkdir(parents=True, exist_ok=True)
        engine = {
            # An engine takes a minute to build.
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder),
            "trt_fp16_enable": "1" if settings.precision == "fp16" else "0",
        }
        ways = [[(TENSORRT, engine), (CUDA, plain), CPU]]
        if graphs:
            ways.insert(
                0, [(TENSORRT, engine | {"trt_cuda_graph_enable": "1"}), (CUDA, plain), CPU]
            )
    return ways


def device_of(session: Any) -> str:
    """Where the session's tensors lie: "cpu" or "cuda"."""
    return "cpu" if session.get_providers()[0] == CPU else "cuda"


def provider_of(session: Any) -> str:
    """What the session took after it was made, not what was asked of it."""
    return f"onnxruntime {session.get_providers()[0].removesuffix('ExecutionProvider')}"


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


def warn_if_cuda_was_meant() -> None:
    """Say loudly that the networks run on the CPU although a card was bought for them."""
    try:
        importlib.metadata.version("onnxruntime-gpu")
        reason = "onnxruntime-gpu is installed"
    except importlib.metadata.PackageNotFoundError:
        if not nvidia_driver_answers():
            return
        reason = "there is an NVIDIA card"
    logger.warning("the networks run on the CPU although %s; to use the card: %s", reason, CUDA_FIX)


def profiled(path: Path, settings: EngineSettings, runs: int = 3) -> list[tuple[str, str, float]]:
    """What ONNX Runtime's own profile says of a run on zeros: (operator, provider, milliseconds)
    of each node, the median over ``runs``."""
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(path, settings, profile=str(Path(folder) / "profile"))
        feeds = {one.name: np.zeros(one.shape, np.float32) for one in session.get_inputs()}
        try:
            for _ in range(runs + 1):
                session.run(None, feeds)
            text = Path(session.end_profiling()).read_text(encoding="utf-8")
        except runtime_errors() as error:
            raise EngineError(f"ONNX Runtime failed: {first_line(error)}") from error
    times: dict[str, list[float]] = defaultdict(list)
    what: dict[str, tuple[str, str]] = {}
    for event in json.loads(text):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["name"]].append(event["dur"] / 1000)
            known = event["args"]
            provider = known.get("provider", "").removesuffix("ExecutionProvider")
            what[event["name"]] = known["op_name"], provider
    return [(*what[name], float(np.median(own[1:] or own))) for name, own in times.items()]


def runtime_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: classes of its own with no base in common."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [one for one in vars(state).values() if isinstance(one, type)]
    # Its messages name what stands in the file, which may be no text.
    return (RuntimeError, UnicodeDecodeError, *(one for one in own if issubclass(one, Exception)))


def first_line(error: Exception) -> str:
    """The first line of its message."""
    return str(error).strip().split("\n", 1)[0]
