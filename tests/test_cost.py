"""Multiplications and bytes of graphs whose figures are worked out by hand."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench.cost import Limits, Node, heavy_nodes, limit_s, stage_of
from bench.roofline import measure_peak, measure_stages
from models.bundle import BUNDLES, open_bundle


def written(path: Path, nodes: list, inputs: dict, output: tuple, weights: dict) -> Path:
    def info(name: str, shape: tuple) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "test",
        [info(name, shape) for name, shape in inputs.items()],
        [info("y", output)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def test_convolutions_are_counted_by_groups_and_strides(tmp_path: Path) -> None:
    weights = {"w": np.ones((8, 2, 3, 3), np.float32), "b": np.ones(8, np.float32)}
    node = helper.make_node(
        "Conv", ["x", "w", "b"], ["y"], name="/painter/down/Conv",
        group=2, strides=[2, 2], pads=[1, 1, 1, 1],
    )  # fmt: skip
    path = written(tmp_path / "a.onnx", [node], {"x": (1, 4, 10, 10)}, (1, 8, 5, 5), weights)
    # 8 x 5 x 5 outputs, each of 2 x 3 x 3 products; 4 bytes of 400 + 144 + 8 + 200 numbers.
    assert heavy_nodes(path) == [Node("painter", "Conv", 200 * 18, 4 * 752, False)]


def test_matrix_products_and_samples_are_counted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], name="/motion/MatMul"),
        helper.make_node("Relu", ["m"], ["r"], name="/motion/Relu"),
        helper.make_node("Reshape", ["r", "shape"], ["grid"], name="Reshape"),
        helper.make_node("GridSample", ["p", "grid"], ["y"], name="/painter/GridSample"),
    ]
    weights = {"w": np.ones((5, 2), np.float32), "shape": np.array([1, 3, 4, 2])}
    inputs = {"x": (1, 12, 5), "p": (1, 7, 6, 6)}
    found = heavy_nodes(written(tmp_path / "a.onnx", nodes, inputs, (1, 7, 3, 4), weights))
    assert [(one.stage, one.macs) for one in found] == [
        ("motion", 12 * 2 * 5),
        ("painter", 4 * 7 * 3 * 4),
    ]
    assert found[0].bytes == 4 * (60 + 10 + 24)


def test_eight_bits_between_quantisers_are_one_byte(tmp_path: Path) -> None:
    scale, zero = np.array(0.1, np.float32), np.array(0, np.uint8)
    weights = {
        "s": scale,
        "z": zero,
        "zw": np.array(0, np.int8),
        "w": np.ones((6, 3, 1, 1), np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s", "zw"], ["dw"]),
        helper.make_node("Conv", ["d", "dw"], ["c"], name="/painter/Conv"),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["qc"]),
        helper.make_node("DequantizeLinear", ["qc", "s", "z"], ["y"]),
    ]
    path = written(tmp_path / "a.onnx", nodes, {"x": (1, 3, 4, 4)}, (1, 6, 4, 4), weights)
    assert heavy_nodes(path) == [Node("painter", "Conv", 96 * 3, 48 + 18 + 96, True)]


def test_names_tell_the_part_of_the_network() -> None:
    assert stage_of("/painter/paint/paint.0/Conv") == "painter"
    assert stage_of("/generator/up_blocks.1/conv/Conv") == "up_blocks"
    assert stage_of("/generator/bottleneck/r3/conv1/Conv") == "bottleneck"
    assert stage_of("Conv_17") == "other"


def test_the_limit_is_arithmetic_or_memory_whichever_is_longer() -> None:
    limits = Limits(fp32_macs=100.0, int8_macs=400.0, bytes_=1000.0)
    nodes = [
        Node("a", "Conv", 200, 500, False),  # 2 s of arithmetic, 0.5 of memory
        Node("a", "Conv", 200, 500, True),  # 0.5 s either way
        Node("a", "GridSample", 1, 3000, False),  # 3 s of memory
    ]
    assert limit_s(nodes, limits) == pytest.approx(2 + 0.5 + 3)


def test_parts_add_up_to_the_whole_on_this_machine() -> None:
    peak = measure_peak(threads=1, seconds=0.02, scale=0.2)
    assert min(peak.fp32_gmacs, peak.int8_gmacs, peak.copy_gb_s) > 0.01
    stages = measure_stages(open_bundle(None), peak, runs=1)
    whole = {one.graph: one for one in stages if one.stage == "all"}
    assert set(whole) == {"keypoints", "avatar", "frame"}
    parts = [one for one in stages if one.stage != "all"]
    assert {one.stage for one in parts} >= {"motion", "painter"}
    frame = whole["frame"]
    assert sum(one.gmac for one in parts) == pytest.approx(frame.gmac)
    assert sum(one.limit_ms for one in parts) == pytest.approx(frame.limit_ms)
    assert all(one.ms > 0 and one.share > 0 for one in stages)


@pytest.mark.skipif(not all(map(Path.is_dir, BUNDLES.values())), reason="nothing is shipped")
@pytest.mark.parametrize(("name", "least", "most"), [("default", 2.2, 2.5), ("small", 0.6, 0.9)])
def test_what_is_shipped_can_be_counted(name: str, least: float, most: float) -> None:
    # A graph whose shapes ONNX cannot tell beforehand has no cost.
    products = sum(node.macs for node in heavy_nodes(BUNDLES[name] / "frame.onnx"))
    assert least < products / 1e9 < most
