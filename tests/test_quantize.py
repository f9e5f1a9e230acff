"""int8 bundles: what is quantised and what is not, how good they are, what a failure leaves."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from performed import faces, write_video
from safetensors.torch import save_file
from small_network import SIZE, YAML, picture, small_model

from config.errors import AvatarError, ExportError
from config.schema import EngineSettings
from export.bundle import export_bundle
from export.calibration import MOMENTS, Person, drawn_people, people_in
from export.lower import RARE, Recipe, to_int8
from export.quantize import LANDMARKS_MOVED_PX, RECIPES, quantize_bundle
from models.bundle import BUNDLES, Bundle, beside, open_bundle, precisions
from puppetcam.cli import main
from realtime.assembly import SHIPPED
from realtime.onnx_engine import OnnxEngine

PEOPLE: Sequence[Person] = [[picture(3 * n + k) for k in range(3)] for n in range(5)]
MOTION = "/generator/dense_motion_network/"
LOWERED = {
    f"/generator/{name}/Conv"
    for name in (
        "bottleneck/r0/conv1",
        "bottleneck/r0/conv2",
        "up_blocks.0/conv",
        "up_blocks.1/conv",
        "dense_motion_network/hourglass/encoder/down_blocks.1/conv",
        "dense_motion_network/hourglass/decoder/up_blocks.0/conv",
        "dense_motion_network/hourglass/decoder/up_blocks.1/conv",
    )
}
"""All convolutions of the frame but the first and last of the motion and the last of all."""

needs_shipped = pytest.mark.skipif(
    not all(map(Path.is_dir, BUNDLES.values())), reason="the bundles are not in models/weights"
)


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("fp32") / "small"
    return export_bundle(small_model(), folder, licence="MIT", origin="random", report=len)


@pytest.fixture(scope="module")
def made(fp32: Bundle, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, list[str]]:
    lines: list[str] = []
    folder = tmp_path_factory.mktemp("int8") / "small8"
    # Who has but one picture is passed over.
    people = [[picture(99)], *PEOPLE]
    return quantize_bundle(fp32, folder, people, report=lines.append), lines


def psnr(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> float:
    error = np.mean((ours.astype(np.float64) - theirs) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else np.inf


def frames(bundle: Bundle, person: Person) -> list[NDArray[np.uint8]]:
    """The person's first picture driven by the others."""
    settings = EngineSettings(bundle=str(bundle.path), provider="cpu", threads=1)
    side = bundle.keypoint_size
    with closing(OnnxEngine(bundle, settings)) as engine:
        engine.set_avatar(person[0])
        driving = [cv2.resize(one, (side, side), interpolation=cv2.INTER_AREA) for one in person]
        return [engine.generate(engine.keypoints(np.asarray(one))[0]) for one in driving[1:]]


def in_int8(bundle: Bundle, name: str = "frame") -> set[str]:
    """Names of a graph's nodes whose weights are int8."""
    graph = onnx.load(bundle.graph(name)).graph
    types = {one.name: one.data_type for one in graph.initializer}
    stored = {
        node.output[0]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and types.get(node.input[0]) == onnx.TensorProto.INT8
    }
    return {node.name for node in graph.node if len(node.input) > 1 and node.input[1] in stored}


def test_pictures_stay_near_fp32_and_are_not_the_same(
    fp32: Bundle, made: tuple[Bundle, list[str]]
) -> None:
    stranger = [picture(number) for number in (50, 51, 52)]
    for ours, theirs in zip(frames(fp32, stranger), frames(made[0], stranger), strict=True):
        assert 34 < psnr(ours, theirs) < 70


def test_what_motion_hangs_on_stays_as_it_is(made: tuple[Bundle, list[str]]) -> None:
    assert in_int8(made[0]) == LOWERED
    graph = onnx.load(made[0].graph("frame")).graph
    quantised = {
        name
        for node in graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
        for name in (*node.input, *node.output)
    }
    for node in graph.node:
        if node.op_type in ("Softmax", "GridSample"):
            assert not {*node.input, *node.output} & quantised, node.name


def test_a_motion_that_does_not_bear_it_is_left_alone(
    fp32: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = RECIPES["first-order"]["frame"]
    strict = {"frame": (replace(first, least_psnr_db=90.0), second)}
    monkeypatch.setitem(RECIPES, "first-order", strict)  # type: ignore[arg-type]
    lines: list[str] = []
    bundle = quantize_bundle(fp32, tmp_path / "b", PEOPLE, report=lines.append)
    assert in_int8(bundle) == {name for name in LOWERED if not name.startswith(MOTION)}
    assert any(line.startswith("too much: it changes a picture to") for line in lines)


def test_weights_are_of_seven_bits_a_scale_a_channel(made: tuple[Bundle, list[str]]) -> None:
    graph = onnx.load(made[0].graph("frame")).graph
    values = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    weights = {
        node.input[0]: values[node.input[1]]
        for node in graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in values
        and values[node.input[0]].ndim == 4
    }
    assert len(weights) == len(LOWERED)
    for name, scales in weights.items():
        assert values[name].dtype == np.int8
        assert np.abs(values[name].astype(int)).max() <= 64
        assert scales.shape == values[name].shape[:1]


def test_keypoints_and_avatar_are_the_same_bytes(
    fp32: Bundle, made: tuple[Bundle, list[str]]
) -> None:
    for graph in ("keypoints", "avatar"):
        assert made[0].graph(graph).read_bytes() == fp32.graph(graph).read_bytes()
    assert made[0].graph("frame").stat().st_size != fp32.graph("frame").stat().st_size


def test_the_manifest_says_where_it_comes_from(
    fp32: Bundle, made: tuple[Bundle, list[str]]
) -> None:
    bundle, _ = made
    assert bundle == open_bundle(bundle.path)
    assert (bundle.precision, bundle.name, bundle.opset) == ("int8", "small8", 17)
    assert bundle.origin == (
        f"random; int8 made of small (SHA-256 of its frame.onnx {fp32.files['frame.onnx']})"
    )
    assert bundle.made_of == fp32.files["frame.onnx"]
    assert bundle.versions.keys() == {"python", "torch", "onnx", "onnxruntime"}
    same = {"path", "name", "precision", "origin", "files", "versions", "made_of"}
    assert replace(fp32, **{name: getattr(bundle, name) for name in same}) == bundle
    assert [path.name for path in bundle.path.parent.iterdir()] == ["small8"]
    assert len(list(bundle.path.iterdir())) == 4


def test_it_tells_quality_and_speed(made: tuple[Bundle, list[str]]) -> None:
    assert [line[:20].rstrip() for line in made[1]] == [
        "image",
        "picture",
        "frame graph",
    ]
    assert made[1][-1].endswith(" x")


def test_a_failing_limit_leaves_nothing_behind(fp32: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"dB PSNR of fp32, at least 90 are wanted"):
        quantize_bundle(fp32, tmp_path / "b", PEOPLE, least_psnr_db=90, report=len)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_limit_leaves_the_bundle_that_was_there(
    made: tuple[Bundle, list[str]], fp32: Bundle
) -> None:
    with pytest.raises(ExportError):
        quantize_bundle(fp32, made[0].path, PEOPLE, least_psnr_db=90, report=len)
    assert open_bundle(made[0].path) == made[0]
    assert [path.name for path in made[0].path.parent.iterdir()] == ["small8"]


def test_what_cannot_be_quantised_is_one_line(
    fp32: Bundle, made: tuple[Bundle, list[str]], tmp_path: Path
) -> None:
    script = export_bundle(small_model(), tmp_path / "script", format="torchscript", report=len)
    cases = (
        (made[0], PEOPLE, None, "is int8 onnx"),
        (script, PEOPLE, None, "is fp32 torchscript"),
        (fp32, [[picture(0)]], None, "two or more pictures of one person"),
        (fp32, [], None, "two or more pictures of one person"),
        (fp32, PEOPLE, Recipe(["/painter/"]), "has no nodes named /painter/"),
        (fp32, PEOPLE, Recipe([], common=["/lids/"]), "has no nodes named /lids/"),
        (fp32, PEOPLE, Recipe(["/generator/"]), "no convolution that may be lowered"),
    )
    for bundle, people, recipe, message in cases:
        with pytest.raises(ExportError, match=message) as caught:
            quantize_bundle(bundle, tmp_path / "b", people, recipe=recipe, report=len)
        assert "\n" not in str(caught.value)
    with pytest.raises(ExportError, match="would replace the bundle it is made of"):
        quantize_bundle(fp32, fp32.path, PEOPLE)
    assert [path.name for path in tmp_path.iterdir()] == ["script"]
    assert open_bundle(fp32.path) == fp32


def test_drawn_people_move_in_one_frame() -> None:
    (person,) = drawn_people(96, people=1, seed=3)
    assert len(person) == MOMENTS
    for image in person:
        assert image.shape == (96, 96, 3)
        assert image.dtype == np.uint8
    assert all(np.abs(person[0].astype(int) - other).mean() > 1 for other in person[1:])
    assert all(
        np.array_equal(*both)
        for both in zip(person, drawn_people(96, people=1, seed=3)[0], strict=True)
    )


@needs_shipped
def test_a_folder_gives_mirrored_pictures_and_tells_what_it_leaves_out(tmp_path: Path) -> None:
    shipped = sorted(SHIPPED.iterdir())[0]
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / shipped.name).write_bytes(shipped.read_bytes())
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((300, 300, 3), 90, np.uint8))
    (tmp_path / "cut.mp4").write_bytes(b"no video")
    (tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    lines: list[str] = []
    bundle = open_bundle(None)
    with closing(OnnxEngine(bundle, EngineSettings(threads=1, provider="cpu"))) as engine:
        ((image, mirrored),) = people_in(tmp_path, engine, lines.append)
        assert image.shape == (512, 512, 3)
        assert np.array_equal(image[:, ::-1], mirrored)
        assert len(lines) == 2
        assert all(line.startswith("left out: ") for line in lines)
        with pytest.raises(AvatarError, match=r"no face in any picture or video \(0 found\)"):
            people_in(SHIPPED.parent.parent / "tests" / "data", engine, len)
        with pytest.raises(AvatarError, match="is no folder"):
            people_in(tmp_path / "notes.txt", engine, len)


@needs_shipped
def test_a_video_gives_one_person_in_one_frame(tmp_path: Path) -> None:
    first, second = faces(1)[0], faces(1, start_s=8.8)[0]
    write_video(tmp_path / "talk.mp4", [*[first] * 30, *[second] * 2])
    write_video(tmp_path / "short.mp4", [first] * 3)
    lines: list[str] = []
    settings = EngineSettings(threads=1, provider="cpu")
    with closing(OnnxEngine(open_bundle(None), settings)) as engine:
        ((one, other),) = people_in(tmp_path, engine, lines.append)
    assert one.shape == other.shape == (512, 512, 3)
    assert np.abs(one.astype(int) - other).mean() > 1
    (line,) = lines
    assert line.endswith("short.mp4 is shorter than 31 frames")


def test_rare_values_do_not_make_the_steps_of_common_ones_coarse(tmp_path: Path) -> None:
    # 10,000 values in even steps from -1 to 1, the last one 50 instead.
    values = np.linspace(-1, 1, 10_000, dtype=np.float32).reshape(1, 1, 100, 100)
    values[0, 0, -1, -1] = 50
    x, y = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, values.shape)
        for name in ("x", "y")
    )
    same = onnx.numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "one")
    node = onnx.helper.make_node("Conv", ["x", "one"], ["y"], name="/same/Conv")
    graph = onnx.helper.make_graph([node], "same", [x], [y], [same])
    opset = onnx.helper.make_opsetid("", 17)
    source, target = tmp_path / "source.onnx", tmp_path / "target.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), source)
    to_int8(source, target, [{"x": values}], Recipe((), common=("/same/",)))
    made = onnx.load(target).graph.initializer
    steps = {one.name: onnx.numpy_helper.to_array(one) for one in made}
    assert steps["x_scale"] == pytest.approx(51 / 255, rel=1e-3)
    assert steps["y_scale"] == pytest.approx(2 * (1 - 2 * RARE) / 255, rel=1e-3)


@needs_shipped
def test_the_default_bundle_keeps_what_motion_hangs_on(tmp_path: Path) -> None:
    bundle = open_bundle(None)
    known, stranger = drawn_people(bundle.output_size, people=2, seed=70)
    lines: list[str] = []
    made = quantize_bundle(bundle, tmp_path / "b", [known], report=lines.append)
    nodes = onnx.load(bundle.graph("frame")).graph.node
    convolutions = {node.name for node in nodes if node.op_type == "Conv"}
    keeps = [tuple(recipe.keep) for recipe in RECIPES["compact"]["frame"]]
    lowered = [{name for name in convolutions if not name.startswith(keep)} for keep in keeps]
    assert [len(convolutions) - len(some) for some in lowered[:2]] == [1, 2]
    assert in_int8(made) in lowered
    assert "/motion/Conv_1" in convolutions - in_int8(made)  # what corrects the flow
    for ours, theirs in zip(frames(bundle, stranger), frames(made, stranger), strict=True):
        assert psnr(ours, theirs) > 34
    # The landmarks' last layer stays in any case, and where they would move, more does.
    assert not any("heatmaps" in name for name in in_int8(made, "keypoints"))
    moved = [line for line in lines if line.startswith("landmarks")]
    last = float(moved[-1].split(" px")[0].rsplit(" ", 1)[1])
    assert last <= LANDMARKS_MOVED_PX or "keypoints stay fp32" in lines


@needs_shipped
@pytest.mark.parametrize("name", list(BUNDLES))
def test_the_shipped_int8_was_made_of_the_shipped_networks(name: str) -> None:
    bundle = open_bundle(BUNDLES[name])
    # Else make it anew: puppetcam quantize --bundle models/weights/NAME --pictures FACES
    assert precisions(bundle) == {"fp32": BUNDLES[name], "int8": beside(bundle, "int8")}
    lowered = open_bundle(BUNDLES[name], "int8")
    (stranger,) = drawn_people(bundle.output_size, people=1, seed=71)
    for ours, theirs in zip(frames(bundle, stranger), frames(lowered, stranger), strict=True):
        assert psnr(ours, theirs) > 34


def test_half_precision_is_nearly_the_same(fp32: Bundle, tmp_path: Path) -> None:
    lines: list[str] = []
    bundle = quantize_bundle(fp32, tmp_path / "half", PEOPLE, precision="fp16", report=lines.append)
    assert (bundle.precision, bundle.made_of) == ("fp16", fp32.files["frame.onnx"])
    graph = onnx.load(bundle.graph("frame")).graph
    half = {one.name for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT16}
    lowered = {n.name for n in graph.node if n.op_type == "Conv" and n.input[1] in half}
    assert lowered == LOWERED
    types = {one.type.tensor_type.elem_type for one in (*graph.input, *graph.output)}
    assert types == {onnx.TensorProto.FLOAT}
    stranger = [picture(number) for number in (50, 51, 52)]
    for ours, theirs in zip(frames(fp32, stranger), frames(bundle, stranger), strict=True):
        assert psnr(ours, theirs) > 50


@needs_shipped
def test_the_commands_quantise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = small_model().state_dict()
    save_file({k: v.clone() for k, v in weights.items()}, tmp_path / "small.safetensors")
    (tmp_path / "small.yaml").write_text(YAML, encoding="utf-8")
    checkpoint, config = str(tmp_path / "small.safetensors"), str(tmp_path / "small.yaml")
    export = ["export", "--checkpoint", checkpoint, "--config", config, "--pictures", str(SHIPPED)]
    assert main([*export, "--precision", "int8", "--output", str(tmp_path / "eight")]) == 0
    printed = capsys.readouterr().out
    assert "PSNR" in printed
    assert f"{tmp_path / 'eight'}: first-order, {SIZE} px, onnx int8, " in printed
    bundle = open_bundle(tmp_path / "eight")
    assert (bundle.name, bundle.precision) == ("eight", "int8")
    assert in_int8(bundle) == LOWERED

    assert main([*export, "--output", str(tmp_path / "full")]) == 0
    quantize = ["quantize", "--bundle", str(tmp_path / "full"), "--pictures", str(SHIPPED)]
    again = ["--output", str(tmp_path / "again"), "--name", "mine"]
    assert main([*quantize, *again]) == 0
    assert open_bundle(tmp_path / "again").name == "mine"
    assert open_bundle(tmp_path / "again").files == bundle.files
    assert main(quantize) == 0
    assert open_bundle(tmp_path / "full", "int8").path == tmp_path / "full-int8"
    assert main([*quantize, "--precision", "fp16"]) == 0
    assert open_bundle(tmp_path / "full", "fp16").precision == "fp16"
    capsys.readouterr()

    for wrong in (
        [*quantize, *again, "--least-psnr", "99"],
        [*quantize[:3], *again, "--pictures", str(tmp_path / "nowhere")],
        ["quantize", "--bundle", str(tmp_path / "nowhere"), *again],
        [*export, "--precision", "int8", "--format", "torchscript", *again],
    ):
        assert main(wrong) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert open_bundle(tmp_path / "again").name == "mine"
