"""Opening a bundle. Its graphs are a few bytes here: what they hold is not opened for."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import models.bundle
from config.errors import BundleError
from models.bundle import (
    Bundle,
    beside,
    bundle_folder,
    open_bundle,
    precisions,
    write_manifest,
)

GRAPHS = {"avatar.onnx": b"the avatar", "keypoints.onnx": b"keypoints", "frame.onnx": b"frame"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "mine"
    path.mkdir()
    for name, data in GRAPHS.items():
        (path / name).write_bytes(data)
    write_manifest(described(path))
    return path


def described(path: Path) -> Bundle:
    return Bundle(
        path=path,
        name="mine",
        family="compact",
        format="onnx",
        precision="fp32",
        size=256,
        output_size=512,
        keypoint_size=128,
        num_keypoints=2,
        landmarks=("nose_tip", "chin"),
        opset=17,
        files={name: hashlib.sha256(data).hexdigest() for name, data in GRAPHS.items()},
        licence="MIT",
        origin="drawn for a test, naïvely",
        versions={"torch": "2.13.0"},
    )


def rewritten(folder: Path, **changes: Any) -> Path:
    """The folder with fields of bundle.json changed."""
    file = folder / "bundle.json"
    fields = json.loads(file.read_text(encoding="utf-8")) | changes
    file.write_text(json.dumps(fields), encoding="utf-8")
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_opening_gives_what_was_written(folder: Path) -> None:
    bundle = open_bundle(folder)
    assert bundle == described(folder)
    assert bundle.graph("frame") == folder / "frame.onnx"


def test_a_torchscript_bundle_has_no_opset(folder: Path) -> None:
    files = {}
    for name, data in GRAPHS.items():
        renamed = name.replace(".onnx", ".pt")
        (folder / renamed).write_bytes(data)
        files[renamed] = hashlib.sha256(data).hexdigest()
    bundle = open_bundle(rewritten(folder, format="torchscript", opset=None, files=files))
    assert bundle.opset is None
    assert bundle.graph("avatar") == folder / "avatar.pt"


@pytest.mark.parametrize("name", GRAPHS)
def test_a_changed_byte_is_refused(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    assert f"{name} was changed" in refusal(folder)


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "keypoints.onnx").unlink()
    assert "keypoints.onnx is missing" in refusal(folder)


def test_a_graph_that_is_a_folder_is_refused(folder: Path) -> None:
    (folder / "frame.onnx").unlink()
    (folder / "frame.onnx").mkdir()
    assert "frame.onnx cannot be read" in refusal(folder)


def test_an_extra_file_is_let_be(folder: Path) -> None:
    (folder / "MODEL_CARD.md").write_text("# Mine", encoding="utf-8")
    assert open_bundle(folder).name == "mine"


def test_an_unknown_format_version_is_told_before_its_fields(folder: Path) -> None:
    (folder / "bundle.json").write_text('{"format_version": 2}', encoding="utf-8")
    message = refusal(folder)
    assert "format version 2" in message
    assert "update puppetcam" in message


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe\x00", b"[" * 200_000, b"[1, 2]", b'{"size": ' + b"9" * 5000 + b"}"],
    ids=["empty", "cut", "binary", "deep", "list", "huge number"],
)
def test_a_manifest_that_is_no_json_object_is_refused(folder: Path, data: bytes) -> None:
    (folder / "bundle.json").write_bytes(data)
    assert "bundle.json" in refusal(folder)


OPTIONAL = ("path", "made_of")
FIELDS = ["format_version", *(one for one in Bundle.__dataclass_fields__ if one not in OPTIONAL)]


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_named(folder: Path, field: str) -> None:
    file = folder / "bundle.json"
    fields = json.loads(file.read_text(encoding="utf-8"))
    del fields[field]
    file.write_text(json.dumps(fields), encoding="utf-8")
    assert f"'{field}'" in refusal(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format_version", "1"),
        ("size", "256"),
        ("size", 0),
        ("size", True),
        ("keypoint_size", -1),
        ("num_keypoints", 2.0),
        ("landmarks", "nose_tip"),
        ("landmarks", ["nose_tip", 3]),
        ("opset", None),
        ("format", "tflite"),
        ("family", ""),
        ("files", []),
        ("files", {"avatar.onnx": 1}),
        ("versions", {"torch": 2}),
        ("licence", None),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(folder: Path, field: str, value: object) -> None:
    assert f"'{field}'" in refusal(rewritten(folder, **{field: value}))


def test_landmarks_must_be_as_many_as_keypoints(folder: Path) -> None:
    message = refusal(rewritten(folder, landmarks=["nose_tip"]))
    assert "1 landmarks for 2 keypoints" in message


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/hostname", "..", "a/b", "a\\b", "C:x", "", ".hidden", "a\n"]
)
def test_a_file_name_must_not_leave_the_folder(folder: Path, name: str) -> None:
    outside = b"not of the bundle"
    (folder.parent / "outside").write_bytes(outside)
    files = dict(described(folder).files) | {name: hashlib.sha256(outside).hexdigest()}
    assert "not a plain file name" in refusal(rewritten(folder, files=files))


def test_a_hash_must_look_like_one(folder: Path) -> None:
    files = dict(described(folder).files) | {"frame.onnx": "no hash"}
    assert "files.frame.onnx" in refusal(rewritten(folder, files=files))


def test_every_graph_must_be_listed(folder: Path) -> None:
    files = dict(described(folder).files)
    del files["frame.onnx"]
    assert "lists no frame.onnx" in refusal(rewritten(folder, files=files))


def test_a_path_without_a_bundle_says_what_is_there(folder: Path) -> None:
    assert "no such folder" in refusal(folder / "nowhere")
    assert "is a file" in refusal(folder / "frame.onnx")
    (folder / "bundle.json").unlink()
    assert "has no bundle.json" in refusal(folder)


def test_none_is_the_shipped_bundle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(models.bundle.BUNDLES, "default", folder)
    assert open_bundle(None) == described(folder)
    monkeypatch.setitem(models.bundle.BUNDLES, "default", folder / "weights")
    with pytest.raises(BundleError, match=r"shipped bundle is missing .*engine\.bundle="):
        open_bundle(None)


def test_shipped_bundles_have_names_and_others_paths() -> None:
    for name, shipped in models.bundle.BUNDLES.items():
        assert bundle_folder(name) == shipped
    assert bundle_folder("mine/small") == Path("mine/small")


def test_a_precision_lies_beside_the_bundle_it_was_made_of(folder: Path) -> None:
    bundle = described(folder)
    own = str(bundle.precision)
    assert open_bundle(folder, own) == open_bundle(folder, "auto") == bundle
    assert precisions(bundle) == {own: folder}
    other = folder.with_name(f"{folder.name}-int8")
    assert beside(bundle, "int8") == other
    with pytest.raises(BundleError, match=r"there is no bundle .*make it: puppetcam quantize"):
        open_bundle(folder, "int8")
    shutil.copytree(folder, other)
    made = replace(bundle, path=other, precision="int8", made_of=bundle.files["frame.onnx"])
    write_manifest(made)
    assert open_bundle(folder, "int8") == made
    assert precisions(bundle) == {own: folder, "int8": other}
    with pytest.raises(BundleError, match="is int8; name the bundle that it was made of"):
        open_bundle(other, "fp16")

    # The networks were trained on, and what was made of the old ones is still there.
    write_manifest(replace(made, made_of="0" * 64))
    with pytest.raises(BundleError, match=r"was made of other networks than .*make it: puppetcam"):
        open_bundle(folder, "int8")
    assert precisions(bundle) == {own: folder}
