import dataclasses
import gzip
import hashlib
import io
import json
import pickle
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from config.errors import CheckpointError, SettingsError
from config.network import load_network
from models.checkpoint import Checkpoint, convert, guess_config, read_checkpoint
from models.first_order import FirstOrderModel

TINY = Path(__file__).parent / "data" / "tiny-64.yaml"


class Code:
    """Unpickling this would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    return FirstOrderModel(load_network(TINY)).eval()


@pytest.fixture
def pruned(model):
    """As published: plain dictionaries, the anti-alias filters among the weights."""
    parts = {"generator": model.generator, "kp_detector": model.kp_detector}
    file = {name: OrderedDict(part.state_dict()) for name, part in parts.items()}
    for name, part in parts.items():
        file[name] |= {k: v for k, v in part.named_buffers() if k.endswith("down.weight")}
    assert "down.weight" in file["kp_detector"]
    assert "dense_motion_network.down.weight" in file["generator"]
    return file


def full(pruned):
    adam = {
        "state": {0: {"step": 3, "exp_avg": torch.zeros(2)}},
        "param_groups": [{"lr": np.float64(2e-4), "betas": (0.5, 0.999), "params": [0]}],
    }
    return pruned | {
        "discriminator": {"discs.1.conv.weight": torch.zeros(2, 2)},
        "optimizer_generator": adam,
        "optimizer_discriminator": adam,
        "optimizer_kp_detector": adam,
        "epoch": np.int64(99),
    }


def saved(tmp_path, file, legacy=False, name="mine.pth.tar"):
    path = tmp_path / name
    torch.save(file, path, _use_new_zipfile_serialization=not legacy)
    return path


def refused(path) -> str:
    with pytest.raises(CheckpointError) as caught:
        FirstOrderModel.from_checkpoint(path, config=TINY)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def assert_same(loaded, model):
    expected = model.state_dict()
    assert list(loaded.state_dict()) == list(expected)
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("layout", [dict, full])
def test_both_layouts_and_both_formats_load(tmp_path, model, pruned, layout, legacy):
    path = saved(tmp_path, layout(pruned), legacy)
    loaded = FirstOrderModel.from_checkpoint(path, config=TINY)
    assert_same(loaded, model)
    assert not loaded.training
    assert not any(value.requires_grad for value in loaded.parameters())


@pytest.mark.parametrize("ending", ["down.weight", "num_batches_tracked"])
def test_names_that_inference_does_not_need_may_be_left_out(tmp_path, model, pruned, ending):
    for name in ("generator", "kp_detector"):
        pruned[name] = {k: v for k, v in pruned[name].items() if not k.endswith(ending)}
    assert_same(FirstOrderModel.from_checkpoint(saved(tmp_path, pruned), config=TINY), model)


def test_half_precision_is_widened(tmp_path, model, pruned):
    for name in ("generator", "kp_detector"):
        pruned[name] = {k: v.half() for k, v in pruned[name].items()}
    loaded = FirstOrderModel.from_checkpoint(saved(tmp_path, pruned), config=TINY)
    assert loaded.generator.final.weight.dtype == torch.float32
    assert torch.allclose(loaded.generator.final.weight, model.generator.final.weight, atol=1e-3)


def test_a_missing_name_is_named(tmp_path, pruned):
    del pruned["generator"]["final.bias"]
    assert "not a tiny-64 network: missing generator.final.bias" in refused(saved(tmp_path, pruned))


def test_an_extra_name_is_named(tmp_path, pruned):
    pruned["kp_detector"]["colour.weight"] = torch.zeros(1)
    assert "unknown kp_detector.colour.weight" in refused(saved(tmp_path, pruned))


def test_a_renamed_name_is_told_with_its_nearest(tmp_path, pruned):
    pruned["generator"]["finale.bias"] = pruned["generator"].pop("final.bias")
    message = refused(saved(tmp_path, pruned))
    assert "unknown generator.finale.bias (nearest is generator.final.bias)" in message


def test_a_wrong_shape_is_named_with_both_shapes(tmp_path, pruned):
    pruned["generator"]["final.weight"] = torch.zeros(3, 4, 5, 5)
    message = refused(saved(tmp_path, pruned))
    assert "generator.final.weight has shape (3, 4, 5, 5), expected (3, 4, 7, 7)" in message


def test_another_blur_filter_is_refused(tmp_path, pruned):
    pruned["kp_detector"]["down.weight"] = torch.full((3, 1, 13, 13), 1 / 169)
    assert "'kp_detector.down.weight' is not the Gaussian" in refused(saved(tmp_path, pruned))


def test_a_network_of_another_config_is_told_by_its_name(tmp_path):
    with torch.device("meta"):
        mgif = FirstOrderModel(load_network("mgif-256"))
    parts = {"generator": mgif.generator, "kp_detector": mgif.kp_detector}
    # Zeros of the right shapes that take no room.
    file = {
        name: {k: torch.zeros(()).expand(v.shape) for k, v in part.state_dict().items()}
        for name, part in parts.items()
    }
    with pytest.raises(CheckpointError) as caught:
        FirstOrderModel.from_checkpoint(saved(tmp_path, file), config="vox-256")
    assert "kp_detector.jacobian.bias has shape (4,), expected (40,)" in str(caught.value)
    assert str(caught.value).endswith("it fits mgif-256")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (torch.tensor([0.0, float("nan"), 1.0]), "'generator.final.bias' holds NaN or infinity"),
        (torch.full((3,), 1e300, dtype=torch.float64), "'generator.final.bias' holds NaN or inf"),
        (torch.zeros(3, dtype=torch.int64), "'generator.final.bias' holds torch.int64"),
        (torch.zeros(3, dtype=torch.complex64), "'generator.final.bias' holds torch.complex64"),
        (torch.zeros(3).to_sparse(), "'generator.final.bias' is not a plain tensor"),
        ([0.0, 0.0, 0.0], "'generator.final.bias' is a list, not a tensor"),
    ],
)
def test_what_is_no_finite_float_tensor_is_refused(tmp_path, pruned, value, told):
    pruned["generator"]["final.bias"] = value
    assert told in refused(saved(tmp_path, pruned))


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ({"kp_detector": {}, "inpainting_network": {}}, "no 'generator', and holds kp_detector, i"),
        ({"generator": None, "kp_detector": {}}, "a NoneType as 'generator'"),
        ([1, 2], "holds a list"),
        (torch.zeros(2), "holds a Tensor"),
    ],
)
def test_another_models_file_is_told_by_what_it_holds(tmp_path, file, told):
    assert told in refused(saved(tmp_path, file))


@pytest.mark.parametrize("legacy", [True, False])
def test_code_is_named_and_never_run(tmp_path, pruned, legacy):
    mark = tmp_path / "ran"
    message = refused(saved(tmp_path, pruned | {"epoch": Code(mark)}, legacy))
    assert "carries code (pathlib.Path.touch)" in message or "carries code (" in message
    assert not mark.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_code_in_a_plain_pickle_is_named_and_never_run(tmp_path, protocol):
    mark = tmp_path / "ran"
    path = tmp_path / "mine.pth.tar"
    path.write_bytes(pickle.dumps({"generator": Code(mark)}, protocol))
    assert "carries code (" in refused(path)
    assert not mark.exists()


def test_a_whole_pickled_module_is_code(tmp_path):
    message = refused(saved(tmp_path, torch.nn.Conv2d(1, 1, 1)))
    assert "carries code (torch.nn.modules.conv.Conv2d)" in message


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.7, 0.999])
def test_a_truncated_file_is_told_with_its_size(tmp_path, pruned, legacy, share):
    path = saved(tmp_path, pruned, legacy)
    data = path.read_bytes()
    path.write_bytes(data[: max(2, int(len(data) * share))])
    message = refused(path)
    assert f"({path.stat().st_size:,} bytes)" in message
    assert "cut short or damaged" in message


def archive_of(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("vox-cpk.pth"))
    else:
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("vox-cpk.pth", "weights")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is empty (0 bytes)"),
        (archive_of("tar"), "is a real tar archive"),
        (archive_of("zip"), "is a zip archive of other files"),
        (gzip.compress(b"weights"), "is a gzip file"),
        (b"\n<!DOCTYPE html>\n<html>404</html>", "is a web page (HTML)"),
        (b"<html><body>Quota exceeded</body></html>", "is a web page (HTML)"),
        (b"version https://git-lfs.github.com/spec/v1\nsize 1", "is a Git LFS pointer"),
        (b'{"message": "Not Found"}', 'begins with b\'{"message": "No'),
        (bytes(range(1, 100)), "is no checkpoint"),
        (b"\x80\x02garbage", "is cut short or damaged"),
        (b"PK\x03\x04garbage", "is cut short or damaged"),
    ],
)
def test_what_is_no_checkpoint_is_told_by_what_it_is(tmp_path, data, told):
    path = tmp_path / "vox-cpk.pth.tar"
    path.write_bytes(data)
    assert told in refused(path)


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    assert "No such file" in refused(tmp_path / "absent.pth.tar")
    assert "directory" in refused(tmp_path)


def test_damaged_bytes_never_end_in_another_error(tmp_path, pruned):
    random = np.random.default_rng(0)
    for legacy in (True, False):
        path = saved(tmp_path, full(pruned), legacy)
        data = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(60):
            damaged = data.copy()
            # Old files begin with their pickles: hit those rather than the numbers behind.
            places = random.integers(0, 4000 if legacy else data.size, 3)
            damaged[places] = random.integers(0, 256, 3)
            path.write_bytes(damaged.tobytes())
            try:
                read_checkpoint(path)
            except CheckpointError as error:
                assert "\n" not in str(error)  # noqa: PT017 - most damage is refused, not all


def test_convert_keeps_every_number_and_tells_the_origin(tmp_path, model, pruned):
    path = saved(tmp_path, full(pruned), legacy=True)
    output = tmp_path / "new folder" / "mine.safetensors"
    imported = convert(path, TINY, output)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (imported.path, imported.config, imported.sha256) == (output, "tiny-64", digest)
    assert imported.values == sum(v.numel() for v in model.state_dict().values())
    with safe_open(output, framework="np") as file:
        note = file.metadata()
        assert set(file.keys()) == set(model.state_dict())
    assert (note["sha256"], note["origin"], note["config"]) == (digest, "mine.pth.tar", "tiny-64")
    assert "MIT" in note["licence"]
    assert [one.name for one in output.parent.iterdir()] == ["mine.safetensors"]
    assert_same(FirstOrderModel.from_checkpoint(output, config=TINY), model)


def test_a_failed_convert_leaves_nothing_behind(tmp_path, pruned):
    path = saved(tmp_path, pruned)
    output = tmp_path / "taken"
    (output / "full").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="cannot write"):
        convert(path, TINY, output)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["mine.pth.tar", "taken"]


def test_convert_asks_for_the_config_that_it_cannot_guess(tmp_path, pruned):
    with pytest.raises(CheckpointError, match=r"fit none of bair-256.*--config"):
        convert(saved(tmp_path, pruned), None, tmp_path / "x.safetensors")
    with pytest.raises(SettingsError, match="unknown network 'vox'"):
        convert(saved(tmp_path, pruned), "vox", tmp_path / "x.safetensors")


def shapes(name: str) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return FirstOrderModel(load_network(name)).state_dict()


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("vox-cpk.pth.tar", "vox-256"),
        ("Vox-adv-cpk.pth.tar", "vox-adv-256"),
        ("taichi-adv-cpk.pth.tar", "taichi-256"),
        ("nemo-cpk.pth.tar", "nemo-256"),
        ("fashion.pth.tar", "fashion-256"),
    ],
)
def test_the_published_file_names_tell_the_network(name, config):
    assert guess_config(Checkpoint(Path(name), shapes("vox-256"), {})) == config


def test_shapes_tell_the_network_where_only_one_has_them():
    path = Path("weights.pth")
    assert guess_config(Checkpoint(path, shapes("mgif-256"), {})) == "mgif-256"
    with pytest.raises(CheckpointError, match=r"fit bair-256, .*vox-256.*say which with --config"):
        guess_config(Checkpoint(path, shapes("vox-256"), {}))


def test_the_note_of_a_converted_file_comes_before_its_name():
    checkpoint = Checkpoint(Path("vox.safetensors"), shapes("vox-256"), {"config": "bair-256"})
    assert guess_config(checkpoint) == "bair-256"


def test_a_damaged_safetensors_file_is_told(tmp_path, pruned):
    output = tmp_path / "mine.safetensors"
    convert(saved(tmp_path, pruned), TINY, output)
    data = output.read_bytes()
    output.write_bytes(data[:-7])
    assert "cut short or damaged" in refused(output)
    header = int.from_bytes(data[:8], "little")
    names = json.loads(data[8 : 8 + header])
    begin = 8 + header + names["generator.final.bias"]["data_offsets"][0]
    output.write_bytes(data[:begin] + np.float32("nan").tobytes() + data[begin + 4 :])
    assert "'generator.final.bias' holds NaN" in refused(output)


def test_a_config_object_serves_as_well(tmp_path, model, pruned):
    config = dataclasses.replace(load_network(TINY), name="own")
    assert_same(FirstOrderModel.from_checkpoint(saved(tmp_path, pruned), config), model)
