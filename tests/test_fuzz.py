"""Damaged and invented settings, profiles, bundles and checkpoints into their readers."""

import dataclasses
import io
import json
import math
import zipfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from damage import PLAIN, Damaged, bent, damaged, fuzz
from hypothesis import strategies as st

from config.errors import PuppetcamError
from config.schema import EngineSettings, Settings, load_settings
from models.bundle import hashes, open_bundle, read_manifest, write_manifest
from provenance.consent import find_consent
from realtime.engine import open_engine

# --- settings ---


VALID_YAML = b"""\
camera: {width: 1280, height: 720, fps: 30.0, mirror: true}
tracking: &t {tracker: landmarks, min_face_px: 40, zoom: 1.1}
smoothing:
  enabled: on
label: {text: AI GENERATED, position: top-left, size: 0.1, opacity: 0.85}
output:
  width: 640
  compose: place
  background: "green"
engine: {bundle: default, provider: auto}
"""


def all_settings() -> dict[str, Any]:
    found = dataclasses.asdict(Settings())
    return json.loads(json.dumps(found, default=str))  # type: ignore[no-any-return]


def read_settings(path: Path, overrides: Sequence[str] = ()) -> bool:
    found = load_settings(path, overrides)
    assert isinstance(found, Settings)
    assert found.output.width % 2 == 0
    assert math.isfinite(found.smoothing.beta)
    return True


def test_settings_files_that_are_damaged(tmp_path: Path) -> None:
    def check(data: bytes) -> bool:
        (tmp_path / "s.yaml").write_bytes(data)
        return read_settings(tmp_path / "s.yaml")

    fuzz(damaged([VALID_YAML, yaml.safe_dump(all_settings()).encode()]) | st.binary(), check)


def test_settings_that_are_something_else(tmp_path: Path) -> None:
    def check(example: tuple[Any, list[str]]) -> bool:
        values, overrides = example
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        return read_settings(tmp_path / "s.yaml", overrides)

    names = [f"{group}.{name}" for group, held in all_settings().items() for name in held]
    value = (
        st.text(max_size=12) | PLAIN.map(json.dumps) | st.sampled_from(["{", "*t", "!!python/x"])
    )
    override = st.builds("{}={}".format, st.sampled_from(names) | st.text(max_size=9), value)
    fuzz(st.tuples(bent(all_settings()), st.lists(override | st.text(), max_size=3)), check)


def test_profiles_and_consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from control.profiles import load_profile, profile_file

    monkeypatch.setenv("PUPPETCAM_CONFIG", str(tmp_path))
    monkeypatch.setenv("PUPPETCAM_STATE", str(tmp_path))
    profile = {
        "avatars": ["/a.png"], "camera": "usb", "settings": {"label": {"size": 0.1}},
        "calibration": {"landmarks": [[0.0, 1.0]] * 48, "value": [[0.0, 1.0]] * 48},
    }  # fmt: skip
    consent = {"face": "own", "date": "2026-11-20", "sha256": "0" * 64}
    profile_file("x").parent.mkdir(parents=True, exist_ok=True)

    def check(example: tuple[Any, Any, bytes]) -> bool:
        values, said, data = example
        text = data or yaml.safe_dump(values).encode()
        profile_file("x").write_bytes(text)
        answer = tmp_path / "me.png.consent.yaml"
        answer.write_bytes(data or yaml.safe_dump(said).encode())
        taken = False
        for read in (
            lambda: load_profile("x"),
            lambda: find_consent(tmp_path / "me.png", "0" * 64),
        ):
            try:
                taken = bool(read()) or taken
            except PuppetcamError as error:
                assert "\n" not in str(error)  # noqa: PT017 - both are read
        return taken

    texts = [yaml.safe_dump(one).encode() for one in (profile, consent)]
    either = st.just(b"") | damaged(texts)
    fuzz(st.tuples(bent(profile), bent(consent), either), check)


# --- bundles ---


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small bundle of each format."""
    pytest.importorskip("torch", reason="PyTorch makes the bundles")
    pytest.importorskip("onnx", reason="onnx makes the bundles")
    from small_network import small_model

    from export.bundle import export_bundle

    folder = tmp_path_factory.mktemp("bundles")
    return {
        format: export_bundle(small_model(), folder / format, report=len, format=format).path
        for format in ("onnx", "torchscript")
    }


def test_bundle_descriptions(bundles: dict[str, Path], tmp_path: Path) -> None:
    for file in bundles["onnx"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    manifest = tmp_path / "bundle.json"
    text = manifest.read_bytes()

    def check(example: bytes | dict[str, Any]) -> bool:
        manifest.write_bytes(
            example if isinstance(example, bytes) else json.dumps(example).encode()
        )
        return open_bundle(tmp_path).num_keypoints > 0

    fuzz(damaged([text]) | bent(json.loads(text)), check)


@pytest.mark.parametrize("format", ["onnx", "torchscript"])
def test_networks_whose_hash_is_right(
    bundles: dict[str, Path], tmp_path: Path, format: str
) -> None:
    """Whoever can write a bundle can write its hashes too."""
    source = bundles[format]
    bundle = read_manifest(source)
    names = sorted(bundle.files)
    graphs = [(source / name).read_bytes() for name in names]
    picture = np.full((bundle.output_size, bundle.output_size, 3), 99, np.uint8)

    def check(example: tuple[int, bytes]) -> bool:
        which, data = example
        for number, name in enumerate(names):
            (tmp_path / name).write_bytes(data if number == which else graphs[number])
        write_manifest(
            dataclasses.replace(bundle, path=tmp_path, files=hashes(tmp_path, tuple(names)))
        )
        chosen = EngineSettings(bundle=str(tmp_path), provider="cpu", threads=1)
        with closing(open_engine(chosen)) as engine:
            keypoints = engine.set_avatar(picture)
            engine.keypoints(picture[: bundle.keypoint_size, : bundle.keypoint_size])
            assert engine.generate(keypoints).shape == picture.shape
        return True

    fuzz(st.tuples(st.integers(0, len(names) - 1), damaged(graphs)), check)


# --- checkpoints ---


@pytest.fixture(scope="module")
def checkpoint() -> dict[str, Any]:
    torch = pytest.importorskip("torch", reason="checkpoints are read by PyTorch")
    from config.network import load_network
    from models.first_order import FirstOrderModel

    torch.manual_seed(1)
    model = FirstOrderModel(load_network(Path(__file__).parent / "data" / "tiny-64.yaml"))
    parts = {"generator": model.generator, "kp_detector": model.kp_detector}
    return {name: dict(part.state_dict()) for name, part in parts.items()}


def saved(value: Any, zipped: bool = True) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def read_weights(path: Path) -> bool:
    from config.network import load_network
    from models.checkpoint import load_weights, read_checkpoint
    from models.first_order import FirstOrderModel

    read_checkpoint(path)
    network = load_network(Path(__file__).parent / "data" / "tiny-64.yaml")
    load_weights(FirstOrderModel(network), path, network.name)
    return True


def rezipped(archive: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The archive with another ``data.pkl``, its checksums right."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name.endswith("data.pkl") else data)
    return stream.getvalue()


def test_checkpoints_that_are_damaged(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    from safetensors.torch import save

    flat = {
        f"{part}.{name}": value for part, held in checkpoint.items() for name, value in held.items()
    }
    files = [saved(checkpoint), saved(checkpoint, zipped=False), save(flat)]
    with zipfile.ZipFile(io.BytesIO(files[0])) as archive:
        name = next(one for one in archive.namelist() if one.endswith("data.pkl"))
        pickled = archive.read(name)
    inside = damaged([pickled]).map(lambda data: Damaged(rezipped(files[0], lambda _: data)))
    path = tmp_path / "x.pth.tar"

    def check(data: bytes) -> bool:
        path.write_bytes(data)
        return read_weights(path)

    fuzz(damaged(files) | inside | st.binary(max_size=300), check)


def test_checkpoints_that_hold_something_else(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    import torch

    names = sorted(checkpoint["generator"])
    tensor = st.builds(
        lambda shape, kind, fill: torch.full(shape, fill).to(kind),
        st.lists(st.integers(0, 4), max_size=5),
        st.sampled_from([torch.float16, torch.int64, torch.bool, torch.complex64, torch.bfloat16]),
        st.floats(allow_nan=True, width=32),
    )
    odd = tensor | PLAIN | tensor.map(lambda one: one.to_sparse()) | st.just(np.float64(1))
    path = tmp_path / "x.pth.tar"

    def check(changes: list[tuple[str, str, Any]]) -> bool:
        file = {part: dict(held) for part, held in checkpoint.items()}
        for part, name, value in changes:
            if isinstance(file.get(part), dict) and name:
                file[part][name] = value
            else:
                file[part] = value
        path.write_bytes(saved(file))
        return read_weights(path)

    change = st.tuples(
        st.sampled_from(["generator", "kp_detector", "epoch", "optimizer"]),
        st.sampled_from(names) | st.text(max_size=8),
        odd,
    )
    fuzz(st.lists(change, max_size=4), check)
