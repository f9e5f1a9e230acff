"""TorchScript's own: threads, cards, damaged graphs."""

import logging
import sys
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from small_network import picture, small_model

import realtime.torchscript_engine
from config.errors import EngineError, MissingPackageError
from config.schema import EngineSettings
from export.bundle import export_bundle
from models.bundle import Bundle, hashes, write_manifest
from realtime.engine import open_engine
from realtime.torchscript_engine import TorchScriptEngine, _Graph

CPU = EngineSettings(provider="cpu", threads=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("torchscript") / "small"
    return export_bundle(small_model(), folder, format="torchscript", report=len)


def test_torch_gets_its_threads_back(bundle: Bundle, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    engine = TorchScriptEngine(bundle, EngineSettings(provider="cpu", threads=before + 2))
    assert torch.get_num_threads() == before + 2
    engine.close()
    assert torch.get_num_threads() == before
    with pytest.raises(EngineError):
        TorchScriptEngine(broken(bundle, tmp_path, b"no network"), CPU)
    assert torch.get_num_threads() == before


def broken(bundle: Bundle, folder: Path, frame: bytes) -> Bundle:
    """The bundle with other bytes in its frame graph, rightly listed."""
    for file in bundle.path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "frame.pt").write_bytes(frame)
    fields = {name: getattr(bundle, name) for name in Bundle.__dataclass_fields__}
    fields |= {"path": folder, "files": hashes(folder, tuple(bundle.files))}
    write_manifest(Bundle(**fields))
    return Bundle(**fields)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_graph_that_is_damaged_but_listed_is_an_engine_error(
    bundle: Bundle, tmp_path: Path
) -> None:
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "foreign.pt")
    foreign = (tmp_path / "foreign.pt").read_bytes()
    for frame in (b"", b"no network", foreign, bundle.graph("frame").read_bytes()[:-500]):
        path = broken(bundle, tmp_path, frame).path
        with pytest.raises(EngineError, match=r"cannot open .*frame\.pt") as caught:
            open_engine(EngineSettings(bundle=str(path), provider="cpu"))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("driver", [True, False])
def test_the_provider_is_the_one_that_runs(
    bundle: Bundle,
    driver: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(realtime.torchscript_engine, "nvidia_driver_answers", lambda: driver)
    with closing(TorchScriptEngine(bundle, EngineSettings(provider="auto", threads=1))) as engine:
        assert engine.provider == "torchscript CPU"
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(loud) == driver
    with pytest.raises(EngineError, match=r"provider=cuda, but this torch .* reaches no card"):
        TorchScriptEngine(bundle, EngineSettings(provider="cuda"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="the card works here")
def test_a_card_that_fails_is_left_for_the_cpu_loudly(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    load = torch.jit.load

    def no_kernels(path: Path, map_location: str, **options: object) -> object:
        if map_location == "cuda":
            raise RuntimeError("CUDA error: no kernel image is available\nfor this device")
        return load(path, map_location, **options)

    monkeypatch.setattr(torch.jit, "load", no_kernels)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with closing(TorchScriptEngine(bundle, EngineSettings(provider="auto", threads=1))) as engine:
        assert engine.provider == "torchscript CPU"
        engine.set_avatar(picture(0))
    assert "run on the CPU: the card failed" in caplog.text
    with pytest.raises(EngineError, match="CUDA error: no kernel image is available"):
        TorchScriptEngine(bundle, EngineSettings(provider="cuda"))


def test_missing_torch_names_the_extra(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingPackageError, match=r'pip install ".\[export\]"') as caught:
        TorchScriptEngine(bundle, CPU)
    assert "\n" not in str(caught.value)


# --- what a card does, as far as a processor can tell ---


class Card:
    """Stands for torch.cuda: a captured graph that runs again on the same tensors."""

    def __init__(self, graph: _Graph, fails: bool) -> None:
        self.launched, self._graph, self._fails = 0, graph, fails
        self.Stream = self.current_stream = lambda: SimpleNamespace(wait_stream=lambda other: None)
        self.stream = lambda stream: nullcontext()
        self.CUDAGraph = lambda: SimpleNamespace(replay=self._replay)

    def graph(self, graph: object) -> AbstractContextManager[None]:
        if self._fails:
            raise RuntimeError("operation not permitted when stream is capturing\nCUDA error")
        return nullcontext()

    def _replay(self) -> None:
        self.launched += 1
        found = self._graph.launch(self._graph._held)
        with torch.inference_mode():
            for name, tensor in found.items():
                self._graph._found[name].copy_(tensor)


def on_card(bundle: Bundle, fails: bool) -> tuple[_Graph, Card]:
    graph = _Graph("frame", bundle, "cpu")
    card = Card(graph, fails)
    names = ("inference_mode", "autocast", "float16", "zeros")
    graph._torch = SimpleNamespace(cuda=card, **{name: getattr(torch, name) for name in names})
    graph._capture()
    return graph, card


def feeds(graph: _Graph, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    found = {name: torch.rand_like(tensor) for name, tensor in graph.zeros().items()}
    for name in ("jacobian", "avatar_jacobian"):
        found[name] = torch.eye(2).expand_as(found[name])
    return found


def test_a_replayed_graph_gets_each_frames_inputs(bundle: Bundle) -> None:
    graph, card = on_card(bundle, fails=False)
    for seed in (1, 2, 1):
        inputs = feeds(graph, seed)
        expected = graph.launch(inputs)["image"]
        torch.testing.assert_close(graph(inputs)["image"], expected)
    assert card.launched == 3


def test_a_card_that_captures_nothing_is_told_and_launches_each_node(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    graph, card = on_card(bundle, fails=True)
    assert "no CUDA graph, each frame is launched node by node: operation not" in caplog.text
    inputs = feeds(graph, 1)
    torch.testing.assert_close(graph(inputs)["image"], graph.launch(inputs)["image"])
    assert card.launched == 0


def test_precisions_of_another_runtime_are_refused(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="precision=int8 is for ONNX bundles"):
        open_engine(EngineSettings(bundle=str(bundle.path), precision="int8"))
    with pytest.raises(EngineError, match="tensorrt is for ONNX bundles"):
        TorchScriptEngine(bundle, EngineSettings(provider="tensorrt"))
