"""Runs a bundle's ONNX graphs in ONNX Runtime, on the CPU or an NVIDIA card. Needs no torch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.errors import EngineError
from config.schema import EngineSettings
from models.bundle import Bundle
from models.keypoints import Keypoints
from realtime.carry import Carrier, Carry
from realtime.frame import Image
from realtime.onnx_session import (
    BoundGraph,
    device_of,
    open_session,
    ports_of,
    provider_of,
    warn_if_cuda_was_meant,
)
from realtime.planes import (
    check_picture,
    fill_planes,
    finish,
    resized,
    still_keypoints,
    to_keypoints,
)
from realtime.ports import check_joint, check_ports


class OnnxEngine:
    """``realtime.engine.Engine`` on ONNX Runtime. Not thread-safe."""

    def __init__(self, bundle: Bundle, settings: EngineSettings) -> None:
        """Raises MissingPackageError without onnxruntime, EngineError where it cannot run."""
        self.bundle = bundle
        self.settings = settings
        self._keypoints = KeypointSession(bundle, settings)
        avatar = _checked("avatar", bundle, settings)
        frame = _checked("frame", bundle, settings)
        check_joint(bundle, ports_of(frame)[0], ports_of(avatar)[1])
        self._avatar, self._frame = BoundGraph(avatar), BoundGraph(frame)
        self.provider = provider_of(self._frame.session)
        if settings.provider == "auto" and device_of(self._frame.session) == "cpu":
            warn_if_cuda_was_meant()
        self._carrier: Carrier | None = None

    def set_avatar(self, image: Image) -> Keypoints:
        """See ``Engine``. Raises EngineError for a picture of another size."""
        check_picture(image, self.bundle.output_size)
        carrier = Carrier(image)
        planes = self._avatar.memory("image")
        fill_planes(planes, resized(image, self.bundle.size))
        self._avatar.set("image", planes)
        for name, values in self._avatar.run().items():
            if name in self._frame.inputs:
                self._frame.set(name, values)
        keypoints = still_keypoints(self.keypoints, image, self.bundle)
        self._frame.set("avatar_value", keypoints.value)
        self._frame.set("avatar_jacobian", keypoints.jacobian)
        self._carrier = carrier
        return keypoints

    def keypoints(self, image: Image) -> tuple[Keypoints, float]:
        """See ``KeypointSession.keypoints``."""
        return self._keypoints.keypoints(image)

    def generate(self, keypoints: Keypoints, carrier: Carry | None = None) -> Image:
        """The avatar at ``keypoints``, a fresh (S, S, 3) uint8 RGB picture; of the carrier's size
        where one is given. See ``Engine``."""
        if self._carrier is None:
            raise EngineError("the engine has no avatar yet: set_avatar comes before generate")
        self._frame.set("value", keypoints.value)
        self._frame.set("jacobian", keypoints.jacobian)
        return finish(self._frame.run(), carrier or self._carrier, keypoints)

    def run(self, graph: str, feeds: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
        """One graph as it is, float32 in and out, by the names of ``models.bundle``. The avatar is
        to be set again afterwards."""
        graphs = {
            "keypoints": self._keypoints.graph,
            "avatar": self._avatar,
            "frame": self._frame,
        }
        return _fed(graphs[graph], feeds)

    def close(self) -> None:
        """Free the sessions; twice is fine."""
        self._keypoints.close()
        for name in ("_avatar", "_frame"):
            self.__dict__.pop(name, None)


class KeypointSession:
    """A bundle's keypoint network alone: the face tracker follows with it. Not thread-safe."""

    def __init__(self, bundle: Bundle, settings: EngineSettings) -> None:
        """Raises MissingPackageError without onnxruntime, EngineError where it cannot run."""
        self.bundle = bundle
        self.graph: Any = BoundGraph(_checked("keypoints", bundle, settings))
        self.provider = provider_of(self.graph.session)

    def keypoints(self, image: Image) -> tuple[Keypoints, float]:
        """Keypoints of a crop (S, S, 3) uint8 RGB, S = ``bundle.keypoint_size``, and 0..1 how sure
        the network is that it sees a face (1.0 where it does not tell)."""
        planes = self.graph.memory("image")
        fill_planes(planes, image)
        self.graph.set("image", planes)
        return to_keypoints(self.graph.run(), self.bundle)

    def close(self) -> None:
        """Free the session; twice is fine."""
        self.graph = None


def _checked(graph: str, bundle: Bundle, settings: EngineSettings) -> Any:
    session = open_session(bundle.graph(graph), settings)
    check_ports(bundle, graph, *ports_of(session))
    return session


def _fed(graph: BoundGraph, feeds: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
    for name, values in feeds.items():
        graph.set(name, values)
    return {name: values.copy() for name, values in graph.run().items()}
