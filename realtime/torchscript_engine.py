"""Runs a bundle's TorchScript graphs in torch, on the CPU or an NVIDIA card."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.errors import EngineError, MissingPackageError
from config.schema import EngineSettings
from models.bundle import GRAPHS, Bundle
from models.keypoints import Keypoints
from realtime.carry import Carrier, Carry
from realtime.frame import Image
from realtime.onnx_session import nvidia_driver_answers, runtime_threads
from realtime.planes import (
    check_picture,
    empty_planes,
    fill_planes,
    finish,
    resized,
    still_keypoints,
    to_keypoints,
)
from realtime.ports import check_ports, check_results

logger = logging.getLogger(__name__)

INTERFACE = "interface.json"
"""In each graph's archive: {"inputs": {name: shape}, "outputs": [name]}, in the graph's order."""


_DAMAGE = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, MemoryError)
"""What torch, and reading what it found, raise on graphs that were not written by us."""


class TorchScriptEngine:
    """``realtime.engine.Engine`` on torch. Not thread-safe.

    torch has one thread pool a process: while the engine is open, it has the engine's size.
    """

    def __init__(self, bundle: Bundle, settings: EngineSettings) -> None:
        """Raises MissingPackageError without torch, EngineError where it cannot run."""
        try:
            import torch
        except ImportError as error:
            raise MissingPackageError(
                f"this bundle is TorchScript, for torch, which cannot be imported ({error}); "
                'in the folder of puppetcam: pip install ".[export]", or use an ONNX bundle'
            ) from error
        self._torch: Any = torch
        self.bundle = bundle
        self.settings = settings
        self._planes = {
            "avatar": empty_planes(bundle.size),
            "keypoints": empty_planes(bundle.keypoint_size),
        }
        self._avatar: dict[str, Any] = {}
        self._carrier: Carrier | None = None
        self._graphs: dict[str, _Graph] = {}
        self._device = _device(torch, settings)
        self._threads_before: int | None = torch.get_num_threads()
        torch.set_num_threads(runtime_threads(settings))
        try:
            self._graphs = self._open(settings)
        except EngineError:
            self.close()
            raise
        self.provider = f"torchscript {'CUDA' if self._device == 'cuda' else 'CPU'}"

    def set_avatar(self, image: Image) -> Keypoints:
        """See ``Engine``. Raises EngineError for a picture of another size."""
        check_picture(image, self.bundle.output_size)
        carrier = Carrier(image)
        fill_planes(self._planes["avatar"], resized(image, self.bundle.size))
        keypoints = still_keypoints(self.keypoints, image, self.bundle)
        # The features and keypoints stay on the card, where there is one, from frame to frame.
        encoded = self._graphs["avatar"](self._picture("avatar"))
        self._avatar = {name: tensor.float() for name, tensor in encoded.items()}
        # Copied: what is returned is the caller's own.
        self._avatar["avatar_value"] = self._tensor(keypoints.value[None].copy())
        self._avatar["avatar_jacobian"] = self._tensor(keypoints.jacobian[None].copy())
        self._carrier = carrier
        return keypoints

    def keypoints(self, image: Image) -> tuple[Keypoints, float]:
        """Keypoints of a crop (S, S, 3) uint8 RGB, S = ``bundle.keypoint_size``, and 0..1 how sure
        the network is that it sees a face (1.0 where it does not tell)."""
        found = self._read(image)
        return to_keypoints({name: one.cpu().numpy() for name, one in found.items()}, self.bundle)

    def generate(self, keypoints: Keypoints, carrier: Carry | None = None) -> Image:
        """The avatar at ``keypoints``, a fresh (S, S, 3) uint8 RGB picture; of the carrier's size
        where one is given. See ``Engine``."""
        if self._carrier is None:
            raise EngineError("the engine has no avatar yet: set_avatar comes before generate")
        driving = {
            "value": self._tensor(keypoints.value[None]),
            "jacobian": self._tensor(keypoints.jacobian[None]),
        }
        found = self._graphs["frame"](self._avatar | driving)
        # Fresh, since finishing uses them up and the CPU's may be constants of the graph.
        return finish(
            {name: one.float().cpu().numpy().copy() for name, one in found.items()},
            carrier or self._carrier,
            keypoints,
        )

    def run(self, graph: str, feeds: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
        """One graph as it is, float32 in and out, by the names of ``models.bundle``."""
        found = self._graphs[graph]({name: self._tensor(array) for name, array in feeds.items()})
        return {name: tensor.float().cpu().numpy() for name, tensor in found.items()}

    def profiled(self, graph: str) -> list[tuple[str, str, float]]:
        """What torch's own profile says of a run on zeros: (operator, device, milliseconds) of all
        its calls together."""
        one = self._graphs[graph]
        feeds = one.zeros()
        one.launch(feeds)
        with self._torch.profiler.profile() as profile:
            one.launch(feeds)
        found = []
        for event in profile.key_averages():
            if event.key.startswith("aten::"):
                on_card = getattr(event, "self_device_time_total", 0.0)
                device, us = ("CUDA", on_card) if on_card else ("CPU", event.self_cpu_time_total)
                found.append((event.key.removeprefix("aten::"), device, us / 1000))
        return found

    def close(self) -> None:
        """Free the graphs and give torch its threads back; twice is fine."""
        if self._threads_before is not None:
            self._torch.set_num_threads(self._threads_before)
            self._threads_before = None
        self._avatar, self._carrier = {}, None
        self._graphs = {}

    def _open(self, settings: EngineSettings) -> dict[str, _Graph]:
        try:
            half = settings.precision == "fp16"
            return {
                # Keypoints stay fp32: half a thousandth of a face is a blink.
                name: _Graph(name, self.bundle, self._device, half and name != "keypoints")
                for name in GRAPHS
            }
        except EngineError as error:
            if settings.provider != "auto" or self._device == "cpu":
                raise
            logger.warning("the networks run on the CPU: the card failed: %s", error)
        self._device = "cpu"
        return self._open(settings)

    def _read(self, image: Image) -> dict[str, Any]:
        fill_planes(self._planes["keypoints"], image)
        return self._graphs["keypoints"](self._picture("keypoints"))

    def _picture(self, graph: str) -> dict[str, Any]:
        return {"image": self._tensor(self._planes[graph])}

    def _tensor(self, array: NDArray[np.float32]) -> Any:
        """Shares the array's memory on the CPU."""
        return self._torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self._device)


class _Graph:
    """One frozen module with the names of its inputs and outputs."""

    def __init__(self, name: str, bundle: Bundle, device: str, half: bool = False) -> None:
        """``half``: convolutions and products in fp16, on a card."""
        import torch

        self._name, self._bundle = name, bundle
        path = bundle.graph(name)
        self._torch: Any = torch
        self._device = device
        self._half = half
        self._replay: Callable[[], object] | None = None
        extra = {INTERFACE: ""}
        try:
            with warnings.catch_warnings():
                # torch 2.13 calls TorchScript deprecated; this format is what the user asked for.
                warnings.filterwarnings("ignore", r"`torch\.jit\.\w+`", DeprecationWarning)
                self._module = torch.jit.load(  # type: ignore[no-untyped-call]
                    path, map_location=device, _extra_files=extra
                )
            interface = json.loads(extra[INTERFACE])
            self._inputs: dict[str, list[int]] = {
                str(port): list(shape) for port, shape in interface["inputs"].items()
            }
            self._outputs = [str(port) for port in interface["outputs"]]
        except _DAMAGE as error:
            told = (str(error).splitlines() or [type(error).__name__])[0]
            raise EngineError(
                f"torch cannot open {path}: {told!r:.200}; export the bundle again"
            ) from error
        check_ports(bundle, name, self._inputs)
        if device != "cpu":
            # A card that cannot run the graph fails here, not in the call.
            self.launch(self.zeros())
            self._capture()

    def zeros(self) -> dict[str, Any]:
        """Inputs of the right shapes."""
        shapes = self._inputs.items()
        return {name: self._torch.zeros(shape, device=self._device) for name, shape in shapes}

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs by name; on a card, the same tensors at each call."""
        if self._replay is None:
            return self.launch(feeds)
        for name, tensor in self._held.items():
            tensor.copy_(feeds[name])
        self._replay()
        return self._found

    def launch(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs by name, one operator after the other."""
        try:
            # The cache would keep casts that a captured graph has to make itself.
            with (
                self._torch.inference_mode(),
                self._torch.autocast(
                    self._device, self._torch.float16, enabled=self._half, cache_enabled=False
                ),
            ):
                found = self._module(*(feeds[name] for name in self._inputs))
            results = dict(zip(self._outputs, found, strict=True))
            shapes = {name: tuple(one.shape) for name, one in results.items()}
        except KeyError as error:
            raise EngineError(
                f"bundle {self._bundle.path}: {self._name} takes {error!s:.60}, which no other "
                "graph gives; export the bundle again"
            ) from error
        except _DAMAGE as error:
            # The interpreter's own traceback comes first, what went wrong last.
            last_line = str(error).strip().rsplit("\n", 1)[-1]
            raise EngineError(f"torch failed: {last_line}") from error
        check_results(self._bundle, self._name, shapes)
        return results

    def _capture(self) -> None:
        """Have the card replay all launches as one CUDA graph; where it cannot, they stay single,
        and that is told."""
        cuda = self._torch.cuda
        self._held = self.zeros()
        try:
            beside = cuda.Stream()
            beside.wait_stream(cuda.current_stream())
            with cuda.stream(beside):
                for _ in range(3):  # torch makes its plans in the first runs
                    self.launch(self._held)
            cuda.current_stream().wait_stream(beside)
            graph = cuda.CUDAGraph()
            with cuda.graph(graph):
                self._found = self.launch(self._held)
        except (RuntimeError, EngineError) as error:
            reason = str(error).splitlines()[0]
            logger.warning("no CUDA graph, each frame is launched node by node: %s", reason)
            return
        self._replay = graph.replay


def _device(torch: Any, settings: EngineSettings) -> str:
    if settings.provider == "tensorrt":
        raise EngineError("engine.provider=tensorrt is for ONNX bundles; take auto, cuda or cpu")
    if settings.provider == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    fix = "install a CUDA build of torch"
    if settings.provider == "cuda":
        raise EngineError(
            f"engine.provider=cuda, but this torch ({torch.__version__}) reaches no card; {fix}, "
            "or engine.provider=cpu"
        )
    if nvidia_driver_answers():
        logger.warning("the networks run on the CPU although there is an NVIDIA card; %s", fix)
    return "cpu"
