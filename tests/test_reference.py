"""The reference loop and what is held against it, on a network that runs in milliseconds."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import reference
from bench.reference import ReferenceLoop, in_turns, main
from bench.synthetic import levels, published_config, published_model, waves
from config.network import load_network
from export.graphs import Model
from models.first_order import FirstOrderModel
from models.keypoints import Keypoints

DATA = Path(__file__).parent / "data"


def test_drawn_weights_give_what_the_published_code_gave() -> None:
    model = published_model(load_network("vox-256"))
    with np.load(DATA / "vox256-seed1.npz") as golden, torch.no_grad():
        found = model.detect(torch.from_numpy(waves(12)).permute(2, 0, 1)[None])
        np.testing.assert_allclose(found.value[0], golden["driving_value"].squeeze(), atol=1e-4)


def test_configurations_differ_in_size_and_keypoints_only() -> None:
    config = published_config(size=128, num_keypoints=5)
    assert (config.size, config.num_keypoints) == (128, 5)
    assert config.generator == load_network("vox-256").generator


def test_the_avatar_is_encoded_anew_for_every_frame() -> None:
    class Counting(FirstOrderModel):
        encoded = 0

        def encode(self, image: torch.Tensor):
            self.encoded += 1
            return super().encode(image)

    model = Counting(load_network(DATA / "tiny-64.yaml")).eval()
    pictures = [levels(waves(seed, 64)) for seed in range(4)]
    loop = ReferenceLoop(model, pictures[0], pictures[1])
    shown = [loop.step(one) for one in pictures[1:]]
    assert model.encoded == 3
    assert shown[0].shape == (64, 64, 3)
    assert shown[0].dtype == np.uint8


def test_the_initial_pose_shows_the_avatar_at_its_own() -> None:
    model: Model = published_model(load_network(DATA / "tiny-64.yaml"))
    avatar, initial = (levels(waves(seed, 64)) for seed in (0, 1))
    loop = ReferenceLoop(model, avatar, initial)
    image = reference.tensor_of(avatar)
    with torch.no_grad():
        own = model.detect(image)
        expected = model.generate(model.encode(image), own, Keypoints(*own))
    # Relative motion: nothing moved since the first frame.
    torch.testing.assert_close(loop.predict(initial), expected, atol=1e-5, rtol=0)


def test_turns_leave_out_the_first_step_of_each_block(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(reference.time, "perf_counter", lambda: now[0])
    order = []

    def step(name: str, first: float, later: float):
        def run() -> None:
            now[0] += first if order[-1:] != [name] else later
            order.append(name)

        return run

    slow, fast = in_turns([step("slow", 9.0, 2.0), step("fast", 5.0, 0.5)], 6.0)
    # Three rounds of two seconds: one slow step each, four fast ones.
    assert slow == [2.0] * 3
    assert fast == [0.5] * 12


def test_ratios_and_differences_come_from_one_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "figures.json"
    arguments = ["--network", str(DATA / "tiny-64.yaml"), "--seconds", "0.05", "--threads", "1"]
    assert main([*arguments, "--json", str(target)]) == 0
    found = json.loads(target.read_text())
    first, *others = found["rows"]
    assert (first["name"], first["network"], first["ratio"]) == ("reference loop", "tiny-64", 1.0)
    for row in found["rows"]:
        assert row["ratio"] == pytest.approx(first["ms"] / row["ms"])
    own = [row for row in others if row["provider"] == "onnxruntime CPU"]
    assert [(row["network"], row["precision"]) for row in own] == [
        ("tiny-64", "fp32"), ("tiny-64", "int8"), ("default", "fp32"), ("default", "int8"),
        ("small", "fp32"), ("small", "int8"),
    ]  # fmt: skip
    assert own[0]["max_abs"] < 1e-3
    assert own[0]["max_abs"] < own[1]["max_abs"]
    assert 20 < own[1]["psnr_db"] < own[0]["psnr_db"]
    for fp32, int8 in (own[2:4], own[4:6]):
        assert fp32["psnr_db"] == 99  # held against itself
        assert 34 < int8["psnr_db"] < 99
    assert found["golden_max_abs"] is None  # another network
    assert "reference loop: tiny-64" in capsys.readouterr().out


def test_mistakes_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, part in [
        (["--seconds", "0"], "--seconds must be above 0"),
        (["--threads", "-1"], "--threads must be from 0 to 256"),
        (["--network", "vox-255"], "unknown network 'vox-255'"),
        (["--json", str(tmp_path)], "is a folder"),
    ]:
        assert main(arguments) == 2
        found = capsys.readouterr().err
        assert found.startswith("bench.reference: ")
        assert part in found
        assert found.count("\n") == 1
