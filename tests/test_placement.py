"""Where nodes ran, as the runtimes' own profiles tell."""

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_network import small_model

from config.schema import EngineSettings
from export.bundle import export_bundle
from realtime.engine import open_engine
from realtime.placement import EACH_FRAME, Placed, fallen, heavy, placement, summary


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torchscript"])
def test_every_runtime_tells_where_its_convolutions_ran(runtime: str, tmp_path: Path) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino._pyopenvino", reason="openvino is not installed")
    format = "torchscript" if runtime == "torchscript" else "onnx"
    bundle = export_bundle(small_model(), tmp_path / "b", format=format, report=len)  # type: ignore[arg-type]
    settings = EngineSettings(bundle=str(bundle.path), runtime=runtime, threads=1)  # type: ignore[arg-type]
    with closing(open_engine(settings)) as engine:
        placed = placement(engine)
        assert {one.device for one in placed} == {"CPU"}
        assert all(one.ms >= 0 for one in placed)
        for graph in EACH_FRAME:
            assert any("conv" in one.operator.lower() for one in placed if one.graph == graph)
        assert fallen(placed, engine) == []
        line = summary(placed)
    assert "frame on CPU: " in line
    assert "\n" not in line


PLACED = [
    Placed("frame", "Conv", "CUDA", 6.0),
    Placed("frame", "GridSample", "CPU", 3.5),
    Placed("frame", "Add", "CPU", 0.5),
    Placed("keypoints", "Conv", "CUDA", 1.0),
]


def test_a_heavy_node_on_the_cpu_fell_and_a_light_one_did_not() -> None:
    assert [one.operator for one in heavy(PLACED)] == ["Conv", "GridSample", "Conv"]
    on_card = SimpleNamespace(provider="onnxruntime CUDA")
    assert [one.operator for one in fallen(PLACED, on_card)] == ["GridSample"]  # type: ignore[arg-type]
    assert fallen(PLACED, SimpleNamespace(provider="onnxruntime CPU")) == []  # type: ignore[arg-type]
    assert (
        summary(PLACED)
        == "frame on CUDA: 1 Conv; frame on CPU: 1 GridSample; keypoints on CUDA: 1 Conv"
    )
