"""The seam between the live path and whatever runs the networks."""

from typing import Protocol

from config.errors import EngineError
from config.schema import EngineSettings
from models.bundle import Bundle, bundle_folder, open_bundle
from models.keypoints import Keypoints
from realtime.carry import Carry
from realtime.frame import Image


class Engine(Protocol):
    """Exported networks, ready to run. Not thread-safe: one thread calls it.

    Pictures are (S, S, 3) uint8 RGB, S = ``bundle.output_size`` but for driving crops; keypoints
    are numpy, value (K, 2) and jacobian (K, 2, 2) float32, in -1..1 of the picture they are of.
    """

    @property
    def bundle(self) -> Bundle:
        """What runs."""
        ...

    @property
    def provider(self) -> str:
        """Where it really runs, as the runtime reports it, e.g. "onnxruntime CPU"."""
        ...

    @property
    def settings(self) -> EngineSettings:
        """Those that it was opened with."""
        ...

    def set_avatar(self, image: Image) -> Keypoints:
        """Encode the avatar, once; returns its keypoints."""
        ...

    def keypoints(self, image: Image) -> tuple[Keypoints, float]:
        """Keypoints of a driving crop, S = ``bundle.keypoint_size``, and the network's confidence
        that it sees a face, 0..1 (1.0 where the bundle's network does not tell)."""
        ...

    def generate(self, keypoints: Keypoints, carrier: Carry | None = None) -> Image:
        """The avatar at these keypoints. A fresh array on each call. ``carrier``: moves pixels in
        place of the engine's own, e.g. at another size; networks that paint the whole picture
        themselves take no notice of it."""
        ...

    def close(self) -> None:
        """Free the runtime; twice is fine."""
        ...


def open_engine(settings: EngineSettings) -> Engine:
    """The engine that ``settings`` name: of its "auto"s, ONNX Runtime where the bundle's format
    leaves a choice, and the bundle's own precision; ``realtime.tuning`` makes better ones.

    Raises BundleError, MissingPackageError, EngineError.
    """
    path = bundle_folder(settings.bundle)
    bundle = open_bundle(path)
    if bundle.format == "onnx":
        bundle = open_bundle(path, settings.precision)
    elif settings.precision not in ("auto", "fp32", "fp16"):
        raise EngineError(
            f"engine.precision={settings.precision} is for ONNX bundles, {bundle.path} is "
            f"{bundle.format}; take auto, fp32, or fp16 on a card"
        )
    runtime = settings.runtime
    if runtime == "auto":
        runtime = "onnxruntime" if bundle.format == "onnx" else "torchscript"
    if (runtime == "torchscript") != (bundle.format == "torchscript"):
        raise EngineError(
            f"engine.runtime={runtime} does not run {bundle.format} bundles such as {bundle.path}; "
            "engine.runtime=auto takes one that does, puppetcam export --format writes the other"
        )
    match runtime:
        case "onnxruntime":
            from realtime.onnx_engine import OnnxEngine

            return OnnxEngine(bundle, settings)
        case "openvino":
            from realtime.openvino_engine import OpenVinoEngine

            return OpenVinoEngine(bundle, settings)
        case "torchscript":
            from realtime.torchscript_engine import TorchScriptEngine

            return TorchScriptEngine(bundle, settings)
