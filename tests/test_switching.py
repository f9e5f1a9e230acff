"""Networks exchanged while they run."""

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_network import picture, small_model

from config.schema import EngineSettings
from export.bundle import export_bundle
from models.bundle import Bundle, read_manifest, write_manifest
from realtime.engine import open_engine
from realtime.switching import SwitchingEngine


def settings(bundle: Bundle) -> EngineSettings:
    return EngineSettings(bundle=str(bundle.path), provider="cpu", threads=1)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    folder = tmp_path_factory.mktemp("switching")
    one, other = (
        export_bundle(small_model(seed=seed), folder / f"b{seed}", report=len) for seed in (0, 1)
    )
    return one, other


def switched(engine: SwitchingEngine, to: EngineSettings) -> bool:
    """Whether the networks were exchanged within some seconds."""
    engine.switch(to)
    ends_at = time.monotonic() + 5
    while time.monotonic() < ends_at:
        engine.keypoints(picture(1))
        if engine.settings == to:
            return True
        time.sleep(0.01)
    return False


def test_the_new_networks_know_the_avatar(bundles: tuple[Bundle, Bundle]) -> None:
    first, second = (settings(bundle) for bundle in bundles)
    with (
        closing(SwitchingEngine(open_engine(first))) as engine,
        closing(open_engine(second)) as expected,
    ):
        engine.set_avatar(picture(0))
        expected.set_avatar(picture(0))
        driving = expected.keypoints(picture(2))[0]
        before = engine.generate(driving)
        assert switched(engine, second)
        assert engine.bundle.path == bundles[1].path
        found = engine.generate(driving)
        np.testing.assert_array_equal(found, expected.generate(driving))
        assert np.abs(found.astype(int) - before).max() > 1
    engine.close()


def test_an_avatar_that_came_meanwhile_is_the_one_shown(bundles: tuple[Bundle, Bundle]) -> None:
    first, second = (settings(bundle) for bundle in bundles)
    with (
        closing(SwitchingEngine(open_engine(first))) as engine,
        closing(open_engine(second)) as expected,
    ):
        engine.set_avatar(picture(0))
        new = open_engine(second)
        new.set_avatar(picture(0))
        later = picture(3)
        engine._ready.put((new, picture(0)))  # made for the avatar before
        engine._image = later
        engine.keypoints(picture(1))
        expected.set_avatar(later)
        driving = expected.keypoints(picture(2))[0]
        np.testing.assert_array_equal(engine.generate(driving), expected.generate(driving))


def test_networks_that_do_not_open_or_fit_change_nothing(
    bundles: tuple[Bundle, Bundle], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (settings(bundle) for bundle in bundles)
    for file in bundles[1].path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    names = ("chin", "nose_tip", "forehead", "temple_right", "temple_left")
    write_manifest(replace(read_manifest(tmp_path), landmarks=names))
    with closing(SwitchingEngine(open_engine(first))) as engine:
        engine.set_avatar(picture(0))
        for wrong in ("/nowhere/at/all", str(tmp_path)):
            engine._open(replace(second, bundle=wrong))
            engine.keypoints(picture(1))
            assert engine.settings == first
    assert "no such folder" in caplog.text
    assert "has other landmarks or another size" in caplog.text
