"""The OpenVINO engine against the PyTorch model that its bundle was made of, and against ONNX
Runtime on what ships."""

import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_network import SIZE, expected_frame, picture, small_model, tensor

from config.errors import EngineError, MissingPackageError
from config.schema import EngineSettings
from export.bundle import export_bundle
from models.bundle import DEFAULT, MANIFEST, Bundle, hashes, open_bundle, write_manifest
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


def test_the_engine_draws_what_the_model_draws(bundle: Bundle) -> None:
    model = small_model()
    settings = EngineSettings(bundle=str(bundle.path), runtime="openvino", threads=1)
    with closing(open_engine(settings)) as engine:
        assert isinstance(engine, OpenVinoEngine)
        assert engine.provider == "openvino CPU"
        for avatar in (0, 2):
            own = engine.set_avatar(picture(avatar))
            expected = model.detect(tensor(picture(avatar)))
            np.testing.assert_allclose(own.value, expected.value[0], atol=1e-5)
            np.testing.assert_allclose(own.jacobian, expected.jacobian[0], atol=1e-5)
            for number in (1, 3):
                driving, confidence = engine.keypoints(picture(number))
                assert confidence == 1.0
                expected = model.detect(tensor(picture(number)))
                np.testing.assert_allclose(driving.value, expected.value[0], atol=1e-5)
                found = engine.generate(driving)
                assert found.shape == (SIZE, SIZE, 3)
                assert found.dtype == np.uint8
                assert np.abs(found - expected_frame(model, avatar, number)).max() < 0.51


def test_results_are_the_callers_own(bundle: Bundle) -> None:
    with closing(OpenVinoEngine(bundle, CPU)) as engine:
        own = engine.set_avatar(picture(0))
        first, _ = engine.keypoints(picture(1))
        value_kept = first.value.copy()
        one = engine.generate(first)
        one_kept = one.copy()
        second, _ = engine.keypoints(picture(2))
        engine.generate(second)
        np.testing.assert_array_equal(first.value, value_kept)
        np.testing.assert_array_equal(one, one_kept)
        own.value[:] = 9
        own.jacobian[:] = 9
        np.testing.assert_array_equal(engine.generate(first), one_kept)


def test_misuse_is_told(bundle: Bundle, tmp_path: Path) -> None:
    engine = OpenVinoEngine(bundle, CPU)
    driving, _ = engine.keypoints(picture(1))
    with pytest.raises(EngineError, match="set_avatar comes before generate"):
        engine.generate(driving)
    with pytest.raises(EngineError, match=r"takes \(64, 64, 3\) uint8 .*\(32, 32, 3\)"):
        engine.set_avatar(picture(0, 32))
    engine.close()
    engine.close()
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
    driving = np.asarray(cv2.resize(avatar[24:, :488], (128, 128)), np.uint8)
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
