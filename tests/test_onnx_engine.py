"""ONNX Runtime's own: the keypoint network alone, damaged graphs, cards, memory."""

import logging
import os
import subprocess
import sys
import tracemalloc
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import psutil
import pytest
from small_network import picture, small_model

import realtime.onnx_session
from config.errors import EngineError, MissingPackageError
from config.schema import EngineSettings
from export.bundle import export_bundle
from models.bundle import Bundle, hashes, read_manifest, write_manifest
from realtime.engine import open_engine
from realtime.onnx_engine import KeypointSession, OnnxEngine
from realtime.onnx_session import BoundGraph, open_session, runtime_threads

CPU = EngineSettings(provider="cpu", threads=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export_bundle(small_model(), tmp_path_factory.mktemp("onnx") / "small", report=len)


def test_the_keypoint_network_runs_alone(bundle: Bundle) -> None:
    with closing(KeypointSession(bundle, CPU)) as session, closing(OnnxEngine(bundle, CPU)) as one:
        assert session.provider == "onnxruntime CPU"
        found, expected = session.keypoints(picture(3)), one.keypoints(picture(3))
        np.testing.assert_array_equal(found[0].value, expected[0].value)
        np.testing.assert_array_equal(found[0].jacobian, expected[0].jacobian)
    session.close()


def test_a_graph_that_tells_presence_gives_the_confidence(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    def constant(name: str, shape: list[int], values: list[float]) -> object:
        value = helper.make_tensor(name, TensorProto.FLOAT, shape, values)
        return helper.make_node("Constant", [], [name], value=value)

    def info(name: str, shape: list[int]) -> object:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    outputs = {"value": [1, 1, 2], "jacobian": [1, 1, 2, 2], "presence": [1]}
    values = {"value": [0.5, -0.5], "jacobian": [1.0, 0.0, 0.0, 1.0], "presence": [0.25]}
    graph = helper.make_graph(
        [constant(name, shape, values[name]) for name, shape in outputs.items()],
        "keypoints",
        [info("image", [1, 3, 8, 8])],
        [info(name, shape) for name, shape in outputs.items()],
    )
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "keypoints.onnx",
    )
    known = Bundle(
        tmp_path, "t", "compact", "onnx", "fp32", 8, 8, 8, 1, ("chin",), 17, {}, "MIT", "test", {}
    )
    with closing(KeypointSession(known, CPU)) as session:
        keypoints, confidence = session.keypoints(np.zeros((8, 8, 3), np.uint8))
    assert confidence == 0.25
    assert keypoints.value.tolist() == [[0.5, -0.5]]


def test_a_graph_that_is_damaged_but_listed_is_an_engine_error(
    bundle: Bundle, tmp_path: Path
) -> None:
    for file in bundle.path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "frame.onnx").write_bytes(b"no network")
    fields = {name: getattr(bundle, name) for name in Bundle.__dataclass_fields__}
    fields |= {"path": tmp_path, "files": hashes(tmp_path, tuple(bundle.files))}
    write_manifest(Bundle(**fields))
    with pytest.raises(EngineError, match=r"cannot open .*frame\.onnx") as caught:
        open_engine(EngineSettings(bundle=str(tmp_path), provider="cpu"))
    assert "\n" not in str(caught.value)
    assert read_manifest(tmp_path).files["frame.onnx"] != bundle.files["frame.onnx"]


# --- where it runs ---


def test_sessions_do_not_spin_and_keep_to_their_threads(bundle: Bundle) -> None:
    with closing(KeypointSession(bundle, EngineSettings(provider="cpu", threads=3))) as session:
        options = session.graph.session.get_session_options()
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        assert options.intra_op_num_threads == 3


def test_threads_are_physical_cores_and_four_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runtime_threads(EngineSettings(threads=7)) == 7
    monkeypatch.setattr(sys, "platform", "darwin")  # no affinity mask to mind
    for cores, threads in ((2, 2), (4, 4), (24, 4)):
        monkeypatch.setattr(psutil, "cpu_count", lambda logical, n=cores: None if logical else n)
        assert runtime_threads(EngineSettings()) == threads


def test_the_provider_is_the_one_that_runs(bundle: Bundle) -> None:
    with closing(OnnxEngine(bundle, CPU)) as engine:
        assert engine.provider == "onnxruntime CPU"


def without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])


def test_cuda_that_is_not_there_names_the_fix(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_cuda(monkeypatch)
    with pytest.raises(EngineError, match=r"has no CUDA provider; .*\.\[gpu\]") as caught:
        OnnxEngine(bundle, EngineSettings(provider="cuda"))
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider'")
@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA may work here"
)
def test_cuda_that_fails_to_start_is_seen_after_the_session_is_made(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # The runtime says that it has CUDA, and then makes its session on the CPU, as it does where
    # cuDNN is missing.
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    monkeypatch.setattr(realtime.onnx_session, "nvidia_driver_answers", lambda: True)
    with pytest.raises(EngineError, match="took onnxruntime CPU: CUDA or cuDNN did not load"):
        OnnxEngine(bundle, EngineSettings(provider="cuda"))
    with closing(OnnxEngine(bundle, EngineSettings(provider="auto", threads=1))) as engine:
        assert engine.provider == "onnxruntime CPU"
        engine.set_avatar(picture(0))
    assert "run on the CPU although there is an NVIDIA card" in caplog.text


@pytest.mark.parametrize("driver", [True, False])
def test_auto_on_the_cpu_is_loud_only_where_there_is_a_card(
    bundle: Bundle,
    driver: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    without_cuda(monkeypatch)
    monkeypatch.setattr(realtime.onnx_session, "nvidia_driver_answers", lambda: driver)
    OnnxEngine(bundle, EngineSettings(provider="auto", threads=1)).close()
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(loud) == driver
    if driver:
        assert ".[gpu]" in loud[0].getMessage()


def test_auto_on_the_cpu_is_loud_with_the_gpu_package(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_cuda(monkeypatch)
    monkeypatch.setattr(realtime.onnx_session, "nvidia_driver_answers", lambda: False)
    monkeypatch.setattr(
        "importlib.metadata.version", lambda name: {"onnxruntime-gpu": "1.31"}[name]
    )
    OnnxEngine(bundle, EngineSettings(provider="auto", threads=1)).close()
    assert "although onnxruntime-gpu is installed" in caplog.text


def test_asked_for_the_cpu_it_is_quiet(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(realtime.onnx_session, "nvidia_driver_answers", lambda: True)
    OnnxEngine(bundle, CPU).close()
    assert caplog.records == []


def test_a_missing_runtime_names_the_extras(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackageError) as caught:
        OnnxEngine(bundle, CPU)
    assert 'pip install ".[cpu]"' in str(caught.value)
    assert ".[gpu]" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_runs_without_torch(bundle: Bundle, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture(0))
    code = f"""
import sys
sys.modules["torch"] = None
import cv2
from config.schema import EngineSettings
from realtime.engine import open_engine
engine = open_engine(EngineSettings(bundle={str(bundle.path)!r}, provider="cpu", threads=1))
image = cv2.imread({str(tmp_path / "a.png")!r})
engine.set_avatar(image)
print(engine.generate(engine.keypoints(image)[0]).shape)
"""
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == "(64, 64, 3)\n", found.stderr


def test_the_runtime_tells_nobody(bundle: Bundle, tmp_path: Path) -> None:
    # As it comes, it makes up a number for the computer and keeps what it is going to report.
    code = f"""
from config.schema import EngineSettings
from realtime.engine import open_engine
open_engine(EngineSettings(bundle={str(bundle.path)!r}, provider="cpu", threads=1)).close()
"""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent.parent,
        env=kept | {"HOME": str(tmp_path)},
        check=True,
    )
    assert list(tmp_path.rglob("*")) == []


# --- what a card does, as far as a processor can tell ---


def test_tensors_that_stay_on_a_card_are_updated_in_place(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_session(bundle.graph("frame"), CPU)
    here = BoundGraph(session)
    real = onnxruntime.OrtValue.ortvalue_from_numpy
    # Copied at once, like to a card: an array that is changed later does not show.
    monkeypatch.setattr(
        onnxruntime.OrtValue, "ortvalue_from_numpy",
        staticmethod(lambda array, device, number: real(array.copy(), "cpu", 0)),
    )  # fmt: skip
    there = BoundGraph(session, "cuda")
    random = np.random.default_rng(1)
    shapes = {one.name: one.shape for one in session.get_inputs()}
    for _ in range(3):
        for name, shape in shapes.items():
            values = random.random(shape, np.float32)
            if "jacobian" in name:
                values = np.broadcast_to(np.eye(2, dtype=np.float32), shape).copy()
            here.set(name, values)
            there.set(name, values)
        found, expected = there.run(), here.run()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)


def test_the_bound_graph_allocates_no_frame(bundle: Bundle) -> None:
    graph = BoundGraph(open_session(bundle.graph("frame"), CPU))
    first = graph.run()
    addresses = {name: array.ctypes.data for name, array in first.items()}
    tracemalloc.start()
    try:
        again = graph.run()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert {name: array.ctypes.data for name, array in again.items()} == addresses
    assert peak < 10_000


@pytest.mark.parametrize(
    ("provider", "asked"),
    [
        ("auto", ["CUDAExecutionProvider"] * 3),
        ("cuda", ["CUDAExecutionProvider"] * 3),
        ("tensorrt", ["TensorrtExecutionProvider"] * 2),
    ],
)
def test_a_card_is_asked_for_with_a_cuda_graph_first(
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    provider: str,
    asked: list[str],
) -> None:
    offered = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    monkeypatch.setenv("PUPPETCAM_CACHE", str(tmp_path))
    tried: list[list[object]] = []

    def refuses(path: Path, options: object, providers: list[object]) -> object:
        tried.append(providers)
        raise RuntimeError(f"no card, try {len(tried)}\nlong text")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuses)
    settings = EngineSettings(provider=provider, precision="fp16")  # type: ignore[arg-type]
    with pytest.raises(EngineError, match=rf"cannot open .*: no card, try {len(asked)}$"):
        open_session(bundle.graph("frame"), settings)
    first = [one[0][0] if isinstance(one[0], tuple) else one[0] for one in tried]
    assert first == asked
    assert all(one[-1] == "CPUExecutionProvider" for one in tried)
    options = tried[0][0][1]  # type: ignore[index]
    if provider == "tensorrt":
        assert options["trt_cuda_graph_enable"] == options["trt_fp16_enable"] == "1"
        assert options["trt_engine_cache_path"].startswith(str(tmp_path))
    else:
        assert options["enable_cuda_graph"] == "1"


def test_tensorrt_that_is_not_there_names_the_fix(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_cuda(monkeypatch)
    with pytest.raises(EngineError, match=r"has no TENSORRT provider; pip install tensorrt"):
        OnnxEngine(bundle, EngineSettings(provider="tensorrt"))
