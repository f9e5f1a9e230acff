"""The seam between the live path and whatever runs the networks."""

from pathlib import Path
from typing import Protocol

from config.schema import EngineSettings
from models.bundle import Bundle, open_bundle
from models.keypoints import Keypoints
from realtime.frame import Image


class Engine(Protocol):
    """Exported networks, ready to run. Not thread-safe: one thread calls it.

    Pictures are (S, S, 3) uint8 RGB, S = ``bundle.output_size`` but for driving crops; keypoints
    are numpy, value (K, 2) and jacobian (K, 2, 2) float32, in -1..1 of the picture they are of.
    """

    bundle: Bundle
    provider: str
    """Where it really runs, as the runtime reports it, e.g. "onnxruntime CPU"."""

    def set_avatar(self, image: Image) -> Keypoints:
        """Encode the avatar, once; returns its keypoints."""
        ...

    def keypoints(self, image: Image) -> tuple[Keypoints, float]:
        """Keypoints of a driving crop, S = ``bundle.keypoint_size``, and the network's confidence
        that it sees a face, 0..1 (1.0 where the bundle's network does not tell)."""
        ...

    def generate(self, keypoints: Keypoints) -> Image:
        """The avatar at these keypoints. A fresh array on each call."""
        ...

    def close(self) -> None:
        """Free the runtime; twice is fine."""
        ...


def open_engine(settings: EngineSettings) -> Engine:
    """The engine for the bundle's format. Raises BundleError, MissingPackageError, EngineError."""
    bundle = open_bundle(None if settings.bundle == "default" else Path(settings.bundle))
    match bundle.format:
        case "onnx":
            from realtime.onnx_engine import OnnxEngine

            return OnnxEngine(bundle, settings)
        case "torchscript":
            from realtime.torchscript_engine import TorchScriptEngine

            return TorchScriptEngine(bundle, settings)
