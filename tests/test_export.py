"""Export of small networks: what is written, what is compared, what is left behind on failure."""

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file
from small_network import SIZE, YAML, small_model
from torch import Tensor

from config.errors import ExportError
from export.bundle import export_bundle
from export.parity import Agreement, compare, drawn_face
from models.bundle import Bundle, open_bundle
from models.compact import CompactModel
from models.first_order import FirstOrderModel
from models.keypoints import Keypoints
from puppetcam.cli import main

FORMATS: tuple[Literal["onnx", "torchscript"], ...] = ("onnx", "torchscript")
OUTPUTS = ["avatar_features", "avatar_thumbnail", "value", "jacobian", "image"]


class Noisy(FirstOrderModel):
    """Training left something random on."""

    def generate(
        self, avatar: tuple[Tensor, ...], avatar_keypoints: Keypoints, keypoints: Keypoints
    ) -> Tensor:
        image: Tensor = super().generate(avatar, avatar_keypoints, keypoints)
        return image + 0.01 * torch.randn_like(image)


class Frozen(FirstOrderModel):
    """Depends on what came before, which tracing turns into a constant."""

    calls = 0

    def detect(self, image: Tensor) -> Keypoints:
        self.calls += 1
        value, jacobian = super().detect(image)
        return Keypoints(value * 0.99**self.calls, jacobian)


class Broken(FirstOrderModel):
    """Divides by nothing."""

    def generate(
        self, avatar: tuple[Tensor, ...], avatar_keypoints: Keypoints, keypoints: Keypoints
    ) -> Tensor:
        return super().generate(avatar, avatar_keypoints, keypoints) * float("nan")


class Exported(NamedTuple):
    bundle: Bundle
    lines: list[str]


@pytest.fixture(scope="module")
def as_onnx(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported(tmp_path_factory.mktemp("onnx"), "onnx")


@pytest.fixture(scope="module")
def as_torchscript(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported(tmp_path_factory.mktemp("torchscript"), "torchscript")


def exported(folder: Path, format: Literal["onnx", "torchscript"]) -> Exported:
    lines: list[str] = []
    bundle = export_bundle(
        small_model(),
        folder / "small",
        format=format,
        licence="MIT",
        origin="random",
        report=lines.append,
    )
    return Exported(bundle, lines)


@pytest.mark.parametrize("fixture", ["as_onnx", "as_torchscript"])
def test_a_bundle_agrees_with_its_model_in_every_output(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    bundle, lines = request.getfixturevalue(fixture)
    assert [line.split()[0] for line in lines] == OUTPUTS
    assert all("max abs" in line and "PSNR" in line for line in lines)
    for agreement in compare(small_model(), bundle):
        assert agreement.max_abs < 2e-5
        assert agreement.psnr_db > 90
    # A model with other weights is told from it: the comparison can fail.
    others = {one.output: one for one in compare(small_model(seed=1), bundle)}
    assert not others["image"].good
    assert not others["value"].good


def test_the_manifest_says_what_was_exported(as_onnx: Exported) -> None:
    path = as_onnx.bundle.path
    fields = json.loads((path / "bundle.json").read_text(encoding="utf-8"))
    assert fields.pop("versions").keys() == {"python", "torch", "onnx"}
    assert fields.pop("files").keys() == {"avatar.onnx", "keypoints.onnx", "frame.onnx"}
    assert fields == {
        "format_version": 1,
        "name": "small",
        "family": "first-order",
        "format": "onnx",
        "precision": "fp32",
        "size": 64,
        "output_size": 64,
        "keypoint_size": 64,
        "num_keypoints": 5,
        "landmarks": [],
        "opset": 17,
        "licence": "MIT",
        "origin": "random",
    }
    assert [sibling.name for sibling in path.parent.iterdir()] == ["small"]


def test_onnx_graphs_are_static_opset_17_with_folded_norms_and_fast_sampling(
    as_onnx: Exported,
) -> None:
    shapes = {}
    operators = []
    for name in ("avatar", "keypoints", "frame"):
        model = onnx.load(as_onnx.bundle.graph(name))
        assert [(one.domain, one.version) for one in model.opset_import] == [("", 17)]
        for value in (*model.graph.input, *model.graph.output):
            dims = value.type.tensor_type.shape.dim
            shapes[f"{name} {value.name}"] = tuple(dim.dim_value for dim in dims)
        operators += [node.op_type for node in model.graph.node]
        for node in model.graph.node:
            if node.op_type == "GridSample":
                found = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
                assert found == {"mode": b"bilinear", "padding_mode": b"zeros", "align_corners": 0}
    assert shapes == {
        "avatar image": (1, 3, 64, 64),
        "avatar avatar_features": (1, 16, 16, 16),
        "avatar avatar_thumbnail": (1, 3, 16, 16),
        "keypoints image": (1, 3, 64, 64),
        "keypoints value": (1, 5, 2),
        "keypoints jacobian": (1, 5, 2, 2),
        "frame avatar_features": (1, 16, 16, 16),
        "frame avatar_thumbnail": (1, 3, 16, 16),
        "frame avatar_value": (1, 5, 2),
        "frame avatar_jacobian": (1, 5, 2, 2),
        "frame value": (1, 5, 2),
        "frame jacobian": (1, 5, 2, 2),
        "frame image": (1, 3, 64, 64),
    }
    assert operators.count("GridSample") == 2
    # The residual blocks normalise before they convolve: there is nothing to fold their first
    # norm into. All others are gone.
    assert operators.count("BatchNormalization") == 1
    assert not {name for name in operators if name.startswith("Random") or name == "Dropout"}


def test_torchscript_graphs_are_frozen(as_torchscript: Exported) -> None:
    assert as_torchscript.bundle.opset is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(as_torchscript.bundle.graph("frame"))
    assert list(module.parameters()) == []
    assert list(module.buffers()) == []
    assert not hasattr(module, "training")


def test_a_compact_bundle_tells_presence_and_landmarks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = CompactModel()
    # Untrained, all keypoints are near the middle: spread them, or their frames degenerate.
    model.template.uniform_(-0.6, 0.6)
    model.detector.heatmaps.weight.data.mul_(30)
    lines: list[str] = []
    bundle = export_bundle(model, tmp_path / "compact", report=lines.append)
    assert {"presence", "value", "jacobian", "rgba", "displacement"} < {
        line.split()[0] for line in lines
    }
    assert bundle.family == "compact"
    assert bundle.landmarks == CompactModel.landmarks
    assert (bundle.size, bundle.output_size, bundle.keypoint_size) == (256, 512, 256)
    assert bundle.num_keypoints == 48


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("cls", "output"), [(Noisy, "image"), (Frozen, "value"), (Broken, "image")]
)
def test_a_bundle_that_differs_is_not_written(
    tmp_path: Path,
    cls: type[FirstOrderModel],
    output: str,
    format: Literal["onnx", "torchscript"],
) -> None:
    lines: list[str] = []
    with pytest.raises(ExportError, match=rf"do not agree with the model: .*{output} \("):
        export_bundle(small_model(cls), tmp_path / "b", format=format, report=lines.append)
    assert [line.split()[0] for line in lines if "OVER THE LIMIT" in line] == [output]
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_the_bundle_that_was_there(tmp_path: Path) -> None:
    before = export_bundle(small_model(), tmp_path / "b", format="onnx", report=len)
    with pytest.raises(ExportError):
        export_bundle(small_model(Noisy), tmp_path / "b", format="onnx", report=len)
    assert open_bundle(tmp_path / "b") == before
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_graph_that_onnx_cannot_say_is_one_line(tmp_path: Path) -> None:
    class Inverting(FirstOrderModel):
        def detect(self, image: Tensor) -> Keypoints:
            value, jacobian = super().detect(image)
            return Keypoints(value, torch.linalg.inv(jacobian))

    with pytest.raises(
        ExportError, match="the keypoints graph cannot be written as onnx"
    ) as caught:
        export_bundle(small_model(Inverting), tmp_path / "b", format="onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_replaced_and_its_neighbours_stay(tmp_path: Path) -> None:
    first = export_bundle(small_model(), tmp_path / "b", format="onnx", report=len)
    (tmp_path / "b" / "MODEL_CARD.md").write_text("# Mine", encoding="utf-8")
    second = export_bundle(small_model(seed=1), tmp_path / "b", format="torchscript", report=len)
    assert open_bundle(tmp_path / "b") == second != first
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "MODEL_CARD.md",
        "avatar.pt",
        "bundle.json",
        "frame.pt",
        "keypoints.pt",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    assert export_bundle(small_model(), tmp_path / "b", report=len) == open_bundle(tmp_path / "b")


def test_what_is_no_bundle_is_not_overwritten(tmp_path: Path) -> None:
    holiday = tmp_path / "pictures" / "holiday.jpg"
    holiday.parent.mkdir()
    holiday.write_bytes(b"a beach")
    with pytest.raises(ExportError, match="is no bundle, nothing was touched"):
        export_bundle(small_model(), holiday.parent)
    # A bundle.json of something else makes no bundle either.
    (holiday.parent / "bundle.json").write_text('{"name": "webpack"}', encoding="utf-8")
    with pytest.raises(ExportError, match="is no bundle, nothing was touched"):
        export_bundle(small_model(), holiday.parent)
    with pytest.raises(ExportError, match="is a file"):
        export_bundle(small_model(), holiday)
    with pytest.raises(ExportError, match="cannot write"):
        export_bundle(small_model(), holiday / "b")
    assert holiday.read_bytes() == b"a beach"
    assert len(list(holiday.parent.iterdir())) == 2


def test_the_model_stays_as_it_was(tmp_path: Path) -> None:
    model = small_model().train().requires_grad_(True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    export_bundle(model, tmp_path / "b", report=len)
    assert model.training
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_what_is_compared_is_measured_right() -> None:
    near = Agreement("image", 9e-4, 1.0, 70.0)
    assert near.good
    assert not Agreement("image", 1.1e-3, 5.0, 70.0).good
    assert Agreement("avatar_features", 4e-3, 5.0, 70.0).good
    assert not Agreement("avatar_features", 6e-3, 5.0, 70.0).good
    assert not Agreement("image", float("nan"), 1.0, float("nan")).good
    assert "OVER" not in str(near)


def test_drawn_faces_differ_and_keep_their_framing() -> None:
    faces = [drawn_face(SIZE, number) for number in range(4)]
    for face in faces:
        assert face.shape == (1, 3, SIZE, SIZE)
        assert face.dtype == np.float32
        assert 0 <= face.min() < face.max() <= 1
    assert np.abs(faces[0] - faces[1]).mean() > 0.05
    # The same picture at another size: 2x2 means of the large one are the small one.
    means = drawn_face(2 * SIZE, 0).reshape(1, 3, SIZE, 2, SIZE, 2).mean((3, 5))
    assert np.abs(means - faces[0]).max() < 1e-5


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    weights = small_model().state_dict()
    save_file({k: v.clone() for k, v in weights.items()}, tmp_path / "small.safetensors")
    (tmp_path / "small.yaml").write_text(YAML, encoding="utf-8")
    return tmp_path / "small.safetensors"


def test_the_command_exports_a_checkpoint(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "export",
        "--checkpoint",
        str(checkpoint),
        "--config",
        str(tmp_path / "small.yaml"),
    ]
    arguments += ["--output", str(tmp_path / "b"), "--name", "my puppet"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    for output in OUTPUTS:
        assert f"\n{output} " in f"\n{printed}"
    bundle = open_bundle(tmp_path / "b")
    assert bundle.name == "my puppet"
    assert bundle.origin.startswith("small.safetensors (SHA-256 ")
    assert "no licence" in bundle.licence
    assert main([*arguments, "--licence", "CC0-1.0", "--origin", "drawn"]) == 0
    assert open_bundle(tmp_path / "b").licence == "CC0-1.0"
    assert open_bundle(tmp_path / "b").origin == "drawn"


@pytest.mark.parametrize("config", ["vox-256", "compact"])
def test_the_command_refuses_a_checkpoint_that_is_none(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "vox.pth.tar").write_bytes(b"<html>not found</html>")
    for name in ("vox.pth.tar", "nowhere.pth.tar"):
        arguments = ["--checkpoint", str(tmp_path / name), "--config", config]
        assert main(["export", *arguments, "--output", str(tmp_path / "b")]) == 2
        printed = capsys.readouterr()
        assert printed.err.startswith("puppetcam: ")
        assert printed.err.count("\n") == 1
    assert not (tmp_path / "b").exists()


def test_without_torch_the_command_names_the_extra(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from puppetcam.cli import main\n"
        f"sys.exit(main(['export', '--checkpoint', 'x', '--output', {str(tmp_path / 'b')!r}]))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert found.stderr == (
        "puppetcam: export needs torch, which is not installed; "
        'in the folder of puppetcam: pip install ".[export]"\n'
    )


def test_the_last_convolution_makes_blocks_of_pixels(tmp_path: Path) -> None:
    bundle = export_bundle(small_model(), tmp_path / "small", report=len)
    graph = onnx.shape_inference.infer_shapes(
        onnx.load(bundle.graph("frame")), data_prop=True
    ).graph
    shapes = {
        one.name: [size.dim_value for size in one.type.tensor_type.shape.dim]
        for one in (*graph.value_info, *graph.output)
    }
    (last,) = (node for node in graph.node if node.name == "/generator/final/Conv")
    # The same picture: what export_bundle has compared with the model's.
    assert shapes[last.output[0]] == [1, 4 * 3, SIZE // 2, SIZE // 2]
    assert shapes["image"] == [1, 3, SIZE, SIZE]
