"""What is exported: a model's three graphs, with example inputs and the names of ``models.bundle``.

The graphs are the model's own methods and nothing else: what trains is what exports.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.compact import CompactModel
from models.first_order import FirstOrderModel
from models.keypoints import Keypoints
from models.painter import Painting

Model = FirstOrderModel | CompactModel


@dataclass(frozen=True, slots=True)
class Graph:
    """One network to export."""

    name: str
    module: nn.Module
    """Takes ``inputs`` in their order, returns a tuple of tensors in the order of ``outputs``."""
    inputs: Mapping[str, Tensor]
    """Examples: float32, batch 1. The shapes are exported as they are."""
    outputs: tuple[str, ...]


class KeypointGraph(nn.Module):
    """Picture -> keypoints, and presence where the model tells it."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(1, 3, s, s) RGB 0..1 -> (1, K, 2), (1, K, 2, 2) [, (1,)]."""
        if isinstance(self.model, CompactModel):
            keypoints, presence = self.model.detect_with_presence(image)
            return (*keypoints, presence)
        return tuple(self.model.detect(image))


class AvatarGraph(nn.Module):
    """Picture -> the fields of the model's avatar."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(1, 3, S, S) RGB 0..1 -> the fields of ``avatar_code``."""
        return tuple(avatar_code(self.model, image))


class FrameGraph(nn.Module):
    """The avatar's fields and both keypoints -> picture, or how to make it (``Painting``)."""

    def __init__(self, model: Model, avatar_type: type) -> None:
        super().__init__()
        self.model = model
        self.avatar_type = avatar_type

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Avatar fields, avatar value and jacobian, value and jacobian -> ``frame_outputs``."""
        avatar: Any = self.avatar_type(*tensors[:-4])
        return frame_outputs(
            self.model, avatar, Keypoints(*tensors[-4:-2]), Keypoints(*tensors[-2:])
        )


def avatar_code(model: Model, image: Tensor) -> Any:
    """What an avatar graph gives, a NamedTuple. A compact model's networks do not need the picture
    itself, only ``realtime.carry`` does."""
    return model.encoder(image) if isinstance(model, CompactModel) else model.encode(image)


def frame_outputs(
    model: Model, avatar: Any, avatar_keypoints: Keypoints, keypoints: Keypoints
) -> tuple[Tensor, ...]:
    """What a frame graph gives: the picture, or of a compact model the fields of its Painting."""
    if isinstance(model, CompactModel):
        return tuple(model.paint(avatar, avatar_keypoints, keypoints))
    return (model.generate(avatar, avatar_keypoints, keypoints),)


def frame_names(model: Model) -> tuple[str, ...]:
    """The names of ``frame_outputs``."""
    return Painting._fields if isinstance(model, CompactModel) else ("image",)


def graphs_of(model: Model, avatar_image: Tensor, driving_image: Tensor) -> tuple[Graph, ...]:
    """The graphs of ``model``, which must be in eval mode; the examples come from these pictures:
    (1, 3, size, size) and (1, 3, keypoint_size, keypoint_size) float32 RGB 0..1."""
    with torch.no_grad():
        avatar = avatar_code(model, avatar_image)
        driving = model.detect(driving_image)
    fields = tuple(f"avatar_{name}" for name in avatar._fields)
    presence = ("presence",) if isinstance(model, CompactModel) else ()
    frame_inputs = {
        **dict(zip(fields, avatar, strict=True)),
        "avatar_value": driving.value,
        "avatar_jacobian": driving.jacobian,
        "value": driving.value,
        "jacobian": driving.jacobian,
    }
    # eval() although the model is: a module is made training, and the exporters put a module and
    # all it holds back to what it was.
    encode, detect = AvatarGraph(model).eval(), KeypointGraph(model).eval()
    generate = FrameGraph(model, type(avatar)).eval()
    return (
        Graph("avatar", encode, {"image": avatar_image}, fields),
        Graph("keypoints", detect, {"image": driving_image}, ("value", "jacobian", *presence)),
        Graph("frame", generate, frame_inputs, frame_names(model)),
    )


@contextmanager
def tracing() -> Iterator[None]:
    """No gradients, and no warnings of what is known and meant; all others stay."""
    with warnings.catch_warnings(), torch.no_grad():
        # While tracing, a size is a tensor too, and a branch on it warns. Sizes are fixed here;
        # a branch on anything else shows when bundle and model are compared on other pictures.
        warnings.filterwarnings(
            "ignore",
            "Converting a tensor to a Python boolean",
            torch.jit.TracerWarning,  # type: ignore[attr-defined]
        )
        # torch 2.13 calls TorchScript, and ONNX export by tracing, the older way. Chosen all the
        # same: users ask for TorchScript, and the newer ONNX exporter needs one more package and
        # does not write opset 17 itself.
        for message in (
            r"`torch\.jit\.\w+`",
            "You are using the legacy",
            "The feature will be removed",
        ):
            warnings.filterwarnings("ignore", message, DeprecationWarning)
        # Constants (of a padding) that the exporter leaves to ONNX Runtime to fold.
        warnings.filterwarnings("ignore", "Constant folding - Only steps=1", UserWarning)
        yield
