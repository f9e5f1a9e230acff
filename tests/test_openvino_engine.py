"""OpenVINO's own: what it cannot do is told, and on what ships it gives what ONNX Runtime gives."""

import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from small_network import small_model

from config.errors import EngineError, MissingPackageError
from config.schema import EngineSettings
from export.bundle import export_bundle
from models.bundle import DEFAULT, GRAPHS, MANIFEST, Bundle, hashes, open_bundle, write_manifest
from realtime import openvino_engine
from realtime.assembly import SHIPPED
from realtime.engine import open_engine
from realtime.onnx_engine import OnnxEngine
from realtime.openvino_engine import OpenVinoEngine

pytest.importorskip(
    "openvino._pyopenvino", reason='openvino is not installed: pip install ".[openvino]"'
)

CPU = EngineSettings(provider="cpu", threads=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export_bundle(small_model(), tmp_path_factory.mktemp("openvino") / "small", report=len)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PUPPETCAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "openvino"


def read(bundle: Bundle) -> NDArray[np.float32]:
    """Where the engine finds keypoints in a picture of noise."""
    picture = np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)
    with closing(OpenVinoEngine(bundle, CPU)) as engine:
        return engine.keypoints(picture)[0].value


def test_a_graph_is_compiled_once(
    bundle: Bundle, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read(bundle)
    kept = {path: path.read_bytes() for path in cache.iterdir()}
    assert len(kept) == len(GRAPHS)
    written = {path: path.stat().st_mtime_ns for path in kept}
    np.testing.assert_array_equal(read(bundle), first)
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == written
    for path, content in kept.items():  # damaged: half of it
        path.unlink()
        path.write_bytes(content[: len(content) // 2])
    np.testing.assert_array_equal(read(bundle), first)
    assert all(path.stat().st_size > 0.9 * len(content) for path, content in kept.items())
    monkeypatch.setattr(openvino_engine, "KEPT_BYTES", max(map(len, kept.values())) + 1)
    read(bundle)
    assert 0 < len(list(cache.iterdir())) < len(kept)


def test_nothing_can_be_kept(bundle: Bundle, cache: Path) -> None:
    first = read(bundle)
    shutil.rmtree(cache)
    cache.write_bytes(b"a file where the folder would be")
    np.testing.assert_array_equal(read(bundle), first)


def test_misuse_is_told(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="provider=cuda, but OpenVINO runs on the CPU"):
        OpenVinoEngine(bundle, EngineSettings(provider="cuda"))
    for file in bundle.path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "frame.onnx").write_bytes(b"no network")
    write_manifest(replace(bundle, path=tmp_path, files=hashes(tmp_path, tuple(bundle.files))))
    with pytest.raises(EngineError, match=r"cannot open .*frame\.onnx") as caught:
        OpenVinoEngine(open_bundle(tmp_path), CPU)
    assert "\n" not in str(caught.value)


def test_a_missing_runtime_names_the_extra(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingPackageError, match=r'pip install "\.\[openvino\]"') as caught:
        OpenVinoEngine(bundle, CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not (DEFAULT / MANIFEST).exists(), reason="the default bundle is not there")
def test_the_default_bundle_is_the_same_in_both_runtimes() -> None:
    avatar = cv2.imread(str(sorted(SHIPPED.glob("*.png"))[0]))
    avatar = np.asarray(cv2.resize(avatar, (512, 512), interpolation=cv2.INTER_AREA), np.uint8)
    driving = np.asarray(cv2.resize(avatar[24:, :488], (256, 256)), np.uint8)
    pictures = []
    for kind in (OnnxEngine, OpenVinoEngine):
        with closing(kind(open_bundle(None), CPU)) as engine:
            engine.set_avatar(avatar)
            pictures.append(engine.generate(engine.keypoints(driving)[0]))
    assert cv2.PSNR(*pictures) > 70


def test_importing_it_tells_nobody(bundle: Bundle) -> None:
    # As it comes, openvino sends a message to a server on the internet whenever it is imported.
    code = f"""
import socket, sys
def refused(*_, **__): raise AssertionError("it wants the network")
socket.socket = refused
from config.schema import EngineSettings
from realtime.engine import open_engine
open_engine(EngineSettings(bundle={str(bundle.path)!r}, runtime="openvino", threads=1)).close()
print(sorted(name for name in sys.modules if "telemetry" in name or "torch" in name))
"""
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == "[]\n", found.stderr


def test_a_runtime_that_does_not_read_the_format_is_told(bundle: Bundle) -> None:
    settings = EngineSettings(bundle=str(bundle.path), runtime="torchscript")
    with pytest.raises(EngineError, match=r"runtime=torchscript does not run onnx bundles .*auto"):
        open_engine(settings)


@pytest.mark.skipif(sys.platform != "linux", reason="signal stacks are looked after on Linux")
def test_a_signal_after_it_was_closed_does_not_end_the_process() -> None:
    code = """
import signal
from config.schema import EngineSettings
from models.bundle import DEFAULT, open_bundle
from realtime.openvino_engine import OpenVinoEngine
OpenVinoEngine(open_bundle(DEFAULT), EngineSettings(threads=1)).close()
signal.signal(signal.SIGINT, lambda number, frame: print("told"))
signal.raise_signal(signal.SIGINT)
"""
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (0, "told\n"), found.stderr
