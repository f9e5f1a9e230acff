"""Does a bundle do what its model does? Both get the same pictures; each output is compared.

It knows of the pictures it draws, and of the CPU: not of other pictures, nor of a card.
"""

from contextlib import closing
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from config.schema import EngineSettings
from export.agreement import Agreement, agreement
from export.graphs import Model, avatar_code, frame_names, frame_outputs
from models.bundle import Bundle
from models.compact import CompactModel
from realtime.onnx_engine import OnnxEngine
from realtime.torchscript_engine import TorchScriptEngine

Outputs = dict[str, NDArray[np.float32]]


def compare(model: Model, bundle: Bundle) -> tuple[Agreement, ...]:
    """Run ``model`` (on the CPU, evaluating) and ``bundle`` on an avatar and three drivers.

    Each graph gets what the model's own graph got: rounding in the keypoints must not be taken for
    a fault of the frame, where a network (young, or far from its data) makes much of it.
    """
    # One thread: an export in the middle of a training finds every core taken.
    settings = EngineSettings(bundle=str(bundle.path), provider="cpu", threads=1)
    engine = (
        OnnxEngine(bundle, settings)
        if bundle.format == "onnx"
        else TorchScriptEngine(bundle, settings)
    )
    pairs: dict[str, list[tuple[Any, Any]]] = {}
    with closing(engine):
        for graph, inputs, expected in _steps(model):
            found = engine.run(graph, inputs)
            for name, array in expected.items():
                pairs.setdefault(name, []).append((array, found[name]))
    return tuple(agreement(name, both) for name, both in pairs.items())


def drawn_face(side: int, number: int) -> NDArray[np.float32]:
    """A coarse face on a soft background, (1, 3, side, side) float32 RGB 0..1; each ``number`` has
    its own colours, place, tilt and mouth."""
    random = np.random.default_rng(number)
    # Drawn at one size, so that a number is the same picture at every side.
    soft = random.uniform(0.1, 0.9, (8, 8, 3)).astype(np.float32)
    image = np.asarray(cv2.resize(soft, (512, 512), interpolation=cv2.INTER_CUBIC), np.float32)
    x, y, tilt = random.uniform(-40, 40), random.uniform(-40, 40), random.uniform(-20, 20)
    turn = cv2.getRotationMatrix2D((256, 256), tilt, 1.0) + np.array([[0, 0, x], [0, 0, y]])

    def ellipse(centre: tuple[int, int], axes: tuple[int, int], colour: tuple[float, ...]) -> None:
        cx, cy = turn @ (*centre, 1)
        cv2.ellipse(image, (round(cx), round(cy)), axes, -tilt, 0, 360, colour, -1, cv2.LINE_AA)

    ellipse((256, 256), (120, 160), (0.85, 0.65, 0.55))
    for eye in (206, 306):
        ellipse((eye, 220), (26, 14), (0.95, 0.95, 0.95))
        ellipse((eye, 220), (11, 11), (0.2, 0.15, 0.1))
        ellipse((eye, 188), (32, 6), (0.25, 0.15, 0.1))
    ellipse((256, 270), (14, 22), (0.75, 0.52, 0.45))
    ellipse((256, 336), (44, round(random.uniform(6, 26))), (0.6, 0.2, 0.2))
    image += random.normal(0, 0.02, image.shape).astype(np.float32)
    small = np.asarray(cv2.resize(image.clip(0, 1), (side, side), interpolation=cv2.INTER_AREA))
    return np.ascontiguousarray(small.transpose(2, 0, 1)[None], np.float32)


def _steps(model: Model) -> list[tuple[str, Outputs, Outputs]]:
    """Graph, its inputs and what the model makes of them: an avatar, then three drivers."""
    avatar_image = drawn_face(model.size, 0)
    with torch.inference_mode():
        avatar = avatar_code(model, torch.from_numpy(avatar_image))
        avatar_keypoints = model.detect(torch.from_numpy(drawn_face(model.keypoint_size, 0)))
        encoded = _arrays(avatar, "avatar_")
        held = encoded | _arrays(avatar_keypoints, "avatar_")
        steps = [("avatar", {"image": avatar_image}, encoded)]
        for number in (1, 2, 3):
            driving_image = drawn_face(model.keypoint_size, number)
            image = torch.from_numpy(driving_image)
            presence = {}
            if isinstance(model, CompactModel):
                keypoints, belief = model.detect_with_presence(image)
                presence["presence"] = belief.numpy()
            else:
                keypoints = model.detect(image)
            driving = _arrays(keypoints)
            tensors = frame_outputs(model, avatar, avatar_keypoints, keypoints)
            frame = dict(zip(frame_names(model), (one.numpy() for one in tensors), strict=True))
            steps.append(("keypoints", {"image": driving_image}, driving | presence))
            steps.append(("frame", held | driving, frame))
    return steps


def _arrays(tensors: NamedTuple, prefix: str = "") -> Outputs:
    return {f"{prefix}{name}": tensor.numpy() for name, tensor in tensors._asdict().items()}
