"""Graphs whose inputs and outputs are not those of a bundle are told before they are fed."""

from pathlib import Path
from typing import Any

import pytest

from config.errors import EngineError
from models.bundle import Bundle
from realtime.ports import check_joint, check_ports, check_results

PICTURE = {"image": (1, 3, 128, 128)}
POINTS: dict[str, Any] = {"value": (1, 5, 2), "jacobian": (1, 5, 2, 2)}
FRAME = POINTS | {f"avatar_{name}": shape for name, shape in POINTS.items()}
MOVED = {"displacement": (1, 2, 64, 64), "rgba": (1, 4, 256, 256)}


def bundle(family: str = "compact") -> Bundle:
    return Bundle(
        path=Path("/b"), name="b", family=family, format="onnx", precision="fp32",  # type: ignore[arg-type]
        size=256, output_size=512, keypoint_size=128, num_keypoints=5, landmarks=(), opset=17,
        files={}, licence="", origin="", versions={},
    )  # fmt: skip


def told(graph: str, inputs: Any, outputs: Any = None, family: str = "compact") -> str:
    with pytest.raises(EngineError) as caught:
        check_ports(bundle(family), graph, inputs, outputs)
    return str(caught.value)


def test_what_bundles_have_is_right() -> None:
    check_ports(bundle(), "keypoints", PICTURE, POINTS | {"presence": (1,)})
    check_ports(bundle(), "avatar", {"image": (1, 3, 256, 256)}, {"avatar_features": (1, 9)})
    check_ports(bundle(), "frame", FRAME | {"avatar_features": (1, 9)}, MOVED)
    check_ports(bundle("first-order"), "frame", FRAME, {"image": (1, 3, 512, 512)})
    check_joint(bundle(), FRAME | {"avatar_features": (1, 9)}, {"avatar_features": (1, 9)})


def test_what_is_missing_or_has_another_shape_is_named() -> None:
    assert told("keypoints", PICTURE, {"value": (1, 5, 2)}) == (
        "bundle /b: keypoints must give 'jacobian', found 'value'; export the bundle again"
    )
    assert "must give 'value' as (1, 5, 2), found [1, 4, 2]" in told(
        "keypoints", PICTURE, POINTS | {"value": (1, 4, 2)}
    )
    assert "must take 'image' as (1, 3, 128, 128), found [1, 3, 'side', 128]" in told(
        "keypoints", {"image": (1, 3, "side", 128)}, POINTS
    )
    assert "must take 'image' alone" in told("avatar", {"image": (1, 3, 256, 256), "x": (1,)})
    assert "frame must take 'avatar_value', found 'jacobian', 'value'" in told("frame", POINTS)
    assert "must give 'rgba'" in told("frame", FRAME, {"displacement": (1, 2, 64, 64)})
    assert "must give 'image'" in told("frame", FRAME, MOVED, "first-order")
    with pytest.raises(EngineError, match="avatar must give what frame takes: 'avatar_x'"):
        check_joint(bundle(), FRAME | {"avatar_x": (1, 9)}, {"avatar_y": (1, 9)})


@pytest.mark.parametrize("shape", [(1, 2, 1 << 20, 1 << 20), (1, 2, 0, 64), (1, 2, "n", 64)])
def test_shapes_that_cannot_be_are_refused_before_memory_is_taken(shape: Any) -> None:
    with pytest.raises(EngineError, match="'displacement' has the impossible shape"):
        check_results(bundle(), "frame", MOVED | {"displacement": shape})
