"""What every engine behind the seam does, against the PyTorch model that its bundle was made of."""

from contextlib import closing

import numpy as np
import pytest
from small_network import SIZE, expected_frame, picture, small_model, tensor

from config.errors import EngineError
from config.schema import EngineSettings
from export.bundle import export_bundle
from models.bundle import Bundle
from models.keypoints import Keypoints
from realtime.engine import Engine, open_engine

RUNTIMES = ("onnxruntime", "openvino", "torchscript")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("engines")
    onnx = export_bundle(small_model(), folder / "onnx", report=len)
    script = export_bundle(small_model(), folder / "script", format="torchscript", report=len)
    return {"onnxruntime": onnx, "openvino": onnx, "torchscript": script}


@pytest.fixture(params=RUNTIMES)
def engine(request: pytest.FixtureRequest, bundles: dict[str, Bundle]) -> Engine:
    runtime = request.param
    if runtime == "openvino":
        pytest.importorskip(
            "openvino._pyopenvino", reason='openvino is not installed: pip install ".[openvino]"'
        )
    path = str(bundles[runtime].path)
    return open_engine(EngineSettings(bundle=path, runtime=runtime, provider="cpu", threads=1))


def test_the_engine_draws_what_the_model_draws(engine: Engine) -> None:
    model = small_model()
    with closing(engine):
        assert type(engine).__module__.startswith(f"realtime.{engine.settings.runtime[:4]}")
        for avatar in (0, 2, 0):
            image = picture(avatar)
            own = engine.set_avatar(image)
            np.testing.assert_array_equal(image, picture(avatar))
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
                # Rounded, not cut: never more than half a level away.
                assert np.abs(found - expected_frame(model, avatar, number)).max() < 0.51


def test_results_are_the_callers_own(engine: Engine) -> None:
    with closing(engine):
        own = engine.set_avatar(picture(0))
        first, _ = engine.keypoints(picture(1))
        value_kept = first.value.copy()
        one = engine.generate(first)
        one_kept = one.copy()
        second, _ = engine.keypoints(picture(2))
        engine.generate(second)
        np.testing.assert_array_equal(first.value, value_kept)
        np.testing.assert_array_equal(one, one_kept)
        # Writing into what came back changes nothing inside.
        own.value[:] = 9
        own.jacobian[:] = 9
        np.testing.assert_array_equal(engine.generate(first), one_kept)


def test_keypoints_in_double_precision_or_any_order_of_memory_will_do(engine: Engine) -> None:
    with closing(engine):
        engine.set_avatar(picture(0))
        driving, _ = engine.keypoints(picture(1))
        odd = Keypoints(
            np.asfortranarray(driving.value.astype(np.float64)),
            np.asfortranarray(driving.jacobian.astype(np.float64)),
        )
        np.testing.assert_array_equal(engine.generate(odd), engine.generate(driving))


def test_misuse_is_told(engine: Engine) -> None:
    driving, _ = engine.keypoints(picture(1))
    with pytest.raises(EngineError, match="set_avatar comes before generate"):
        engine.generate(driving)
    with pytest.raises(EngineError, match=r"takes \(64, 64, 3\) uint8 .*\(32, 32, 3\)"):
        engine.set_avatar(picture(0, 32))
    with pytest.raises(EngineError, match=r"takes \(64, 64, 3\) uint8 .*\(64, 64, 3\) float64"):
        engine.keypoints(np.zeros((64, 64, 3)))  # type: ignore[arg-type]
    engine.close()
    engine.close()
