"""Runs a bundle's ONNX graphs in OpenVINO, on the CPU. Needs no torch.

The package is optional, and does not replace ONNX Runtime. It reads the same files; what an int8
graph says is int8 runs in int8, the rest in fp32.
"""

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.errors import EngineError, MissingPackageError
from config.schema import EngineSettings
from models.bundle import GRAPHS, Bundle
from models.keypoints import Keypoints
from models.published import cache_folder
from realtime.carry import Carrier, Carry
from realtime.frame import Image
from realtime.onnx_session import runtime_threads
from realtime.planes import (
    check_picture,
    fill_planes,
    finish,
    resized,
    still_keypoints,
    to_keypoints,
)
from realtime.ports import check_joint, check_ports

KEPT_BYTES = 512 << 20
"""Of compiled graphs, the newest, between two starts."""


class OpenVinoEngine:
    """``realtime.engine.Engine`` on OpenVINO. Not thread-safe."""

    def __init__(self, bundle: Bundle, settings: EngineSettings) -> None:
        """Raises MissingPackageError without openvino, EngineError where it cannot run."""
        if settings.provider not in ("auto", "cpu"):
            raise EngineError(
                f"engine.provider={settings.provider}, but OpenVINO runs on the CPU; "
                "engine.runtime=onnxruntime has the card, or engine.provider=cpu"
            )
        self.bundle = bundle
        self.settings = settings
        self._graphs = {}
        for name in GRAPHS:
            graph = self._graphs[name] = _Graph(bundle.graph(name), settings)
            check_ports(bundle, name, _shapes(graph.inputs), _shapes(graph.outputs))
        check_joint(
            bundle, _shapes(self._graphs["frame"].inputs), _shapes(self._graphs["avatar"].outputs)
        )
        self.provider = f"openvino {self._graphs['frame'].device}"
        forget_old_graphs()
        self._carrier: Carrier | None = None

    def set_avatar(self, image: Image) -> Keypoints:
        """See ``Engine``. Raises EngineError for a picture of another size."""
        check_picture(image, self.bundle.output_size)
        carrier = Carrier(image)
        avatar, frame = self._graphs["avatar"], self._graphs["frame"]
        fill_planes(avatar.inputs["image"], resized(image, self.bundle.size))
        avatar.run()
        for name, array in avatar.outputs.items():
            if name in frame.inputs:
                frame.inputs[name][:] = array
        keypoints = still_keypoints(self.keypoints, image, self.bundle)
        frame.inputs["avatar_value"][0], frame.inputs["avatar_jacobian"][0] = keypoints
        self._carrier = carrier
        return keypoints

    def keypoints(self, image: Image) -> tuple[Keypoints, float]:
        """See ``Engine``."""
        graph = self._graphs["keypoints"]
        fill_planes(graph.inputs["image"], image)
        graph.run()
        return to_keypoints(graph.outputs, self.bundle)

    def generate(self, keypoints: Keypoints, carrier: Carry | None = None) -> Image:
        """The avatar at ``keypoints``, a fresh (S, S, 3) uint8 RGB picture; of the carrier's size
        where one is given. See ``Engine``."""
        if self._carrier is None:
            raise EngineError("the engine has no avatar yet: set_avatar comes before generate")
        frame = self._graphs["frame"]
        frame.inputs["value"][0], frame.inputs["jacobian"][0] = keypoints
        frame.run()
        return finish(frame.outputs, carrier or self._carrier, keypoints)

    def run(self, graph: str, feeds: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
        """One graph as it is, float32 in and out, by the names of ``models.bundle``."""
        one = self._graphs[graph]
        for name, array in feeds.items():
            one.inputs[name][:] = array
        one.run()
        return {name: array.copy() for name, array in one.outputs.items()}

    def close(self) -> None:
        """Free the graphs; twice is fine."""
        self._graphs, self._carrier = {}, None


def load_openvino() -> Any:
    """The module ``openvino``. Raises MissingPackageError.

    Imported without its converter, which tells a server on the internet of each import.
    """
    converter = "openvino.tools.ovc"
    try:
        known = converter in sys.modules
        if not known:
            sys.modules[converter] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            if not known:
                del sys.modules[converter]
    except ImportError as error:
        raise MissingPackageError(
            f"engine.runtime=openvino, but openvino cannot be imported ({error}); in the "
            'folder of puppetcam: pip install ".[openvino]", or engine.runtime=onnxruntime'
        ) from error
    return openvino


def kept_graphs() -> Path | None:
    """The folder in which OpenVINO keeps graphs that it has compiled, by their content: compiling
    takes most of a start. None where nothing can be written; a damaged one is compiled anew."""
    folder = cache_folder() / "openvino"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def forget_old_graphs() -> None:
    """Keep the newest compiled graphs, up to ``KEPT_BYTES``."""
    kept = 0
    with suppress(OSError):
        graphs = [(path.stat(), path) for path in cache_folder().glob("openvino/*.blob")]
        for found, path in sorted(graphs, key=lambda one: one[0].st_mtime, reverse=True):
            kept += found.st_size
            if kept > KEPT_BYTES:
                path.unlink()


def profiled(path: Path, settings: EngineSettings, runs: int = 3) -> list[tuple[str, str, float]]:
    """What OpenVINO's own profile says of a run on zeros: (operator and its kernel, device,
    milliseconds) of each node that ran, the fastest of ``runs``. Raises EngineError."""
    graph = _Graph(path, settings, profile=True)
    best: dict[str, tuple[str, float]] = {}
    for _ in range(runs):
        graph.run()
        for node in graph.profile():
            ms = node.real_time.total_seconds() * 1000
            if (
                str(node.status).endswith("EXECUTED")
                and ms < best.get(node.node_name, ("", 1e9))[1]
            ):
                best[node.node_name] = f"{node.node_type} ({node.exec_type})", ms
    return [(operator, graph.device, ms) for operator, ms in best.values()]


class _Graph:
    """A compiled graph with its inputs and outputs in memory of ours, for ever the same."""

    def __init__(self, path: Path, settings: EngineSettings, *, profile: bool = False) -> None:
        openvino = load_openvino()
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": runtime_threads(settings),
            # Its own choice is bf16 where the processor has it: 8 bits of a place are too few.
            "INFERENCE_PRECISION_HINT": "f32",
            "PERF_COUNT": profile,
        }
        kept = kept_graphs()
        if kept is not None:
            options["CACHE_DIR"] = str(kept)
        try:
            with kept_signal_stack():
                core = openvino.Core()
                model = core.read_model(path)
                compiled = core.compile_model(model, "CPU", options)
            self._request: Any = compiled.create_infer_request()
            self.device = "+".join(compiled.get_property("EXECUTION_DEVICES"))
            # Names of the model: a compiled output may have those of the nodes before it as well.
            bind = self._request
            self.inputs = _held(openvino, bind.set_input_tensor, model.inputs)
            self.outputs = _held(openvino, bind.set_output_tensor, model.outputs)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise EngineError(f"OpenVINO cannot open {path}: {_reason(error)}") from error

    def profile(self) -> Any:
        """Of the last run."""
        return self._request.profiling_info

    def run(self) -> None:
        """From ``inputs`` to ``outputs``."""
        try:
            self._request.infer()
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed: {_reason(error)}") from error


class _SignalStack(ctypes.Structure):
    """``stack_t`` of Linux."""

    _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Give the thread back the stack on which its signals are handled.

    OpenVINO's CPU plugin sets one of its own and frees it when the last graph is closed: the next
    Ctrl-C would end the process where it stands, recordings unfinished.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    library, before = ctypes.CDLL(None), _SignalStack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(before), None)


def _held(openvino: Any, bind: Any, ports: Any) -> dict[str, NDArray[np.float32]]:
    arrays = {}
    for index, port in enumerate(ports):
        array = arrays[port.any_name] = np.zeros(tuple(port.shape), np.float32)
        bind(index, openvino.Tensor(array, shared_memory=True))
    return arrays


def _shapes(arrays: Mapping[str, NDArray[np.float32]]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def _reason(error: Exception) -> str:
    """The last line that says something: first come places in OpenVINO's own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
