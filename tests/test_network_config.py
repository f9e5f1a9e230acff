from pathlib import Path

import pytest
import yaml

from config.errors import SettingsError
from config.network import known_networks, load_network

TINY = Path(__file__).parent / "data" / "tiny-64.yaml"
PUBLISHED = ["vox-256", "vox-adv-256", "taichi-256", "nemo-128", "mgif-256", "bair-256"]
PUBLISHED += ["fashion-256"]


def broken(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(TINY.read_text()) | changes))
    return path


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_have_the_published_sizes(name):
    network = load_network(name)
    assert (network.name, network.size) == (name, int(name.rpartition("-")[2]))
    assert (network.num_keypoints, network.num_channels, network.estimate_jacobian) == (10, 3, True)
    detector, generator = network.keypoint_detector, network.generator
    assert (detector.temperature, detector.block_expansion, detector.max_features) == (
        0.1,
        32,
        1024,
    )
    assert (detector.num_blocks, detector.scale_factor, detector.pad) == (5, 0.25, 0)
    assert detector.single_jacobian_map == (name == "mgif-256")
    assert (generator.block_expansion, generator.max_features) == (64, 512)
    assert (generator.num_down_blocks, generator.num_bottleneck_blocks) == (2, 6)
    assert generator.estimate_occlusion_map
    motion = generator.dense_motion
    assert (motion.block_expansion, motion.max_features, motion.num_blocks) == (64, 1024, 5)
    assert (motion.scale_factor, motion.kp_variance) == (0.25, 0.01)


def test_every_yaml_named_by_size_is_known():
    assert set(PUBLISHED) | {"nemo-256"} == set(known_networks())


def test_an_unknown_name_tells_the_nearest_and_the_known_ones():
    with pytest.raises(SettingsError, match=r"'vox-265'; nearest is 'vox-256' of bair-256, .*YAML"):
        load_network("vox-265")


def test_a_path_is_read_and_named_by_its_stem():
    network = load_network(TINY)
    assert (network.name, network.size, network.num_keypoints) == ("tiny-64", 64, 3)
    assert load_network(str(TINY)) == network


def test_the_papers_own_yaml_is_read(tmp_path):
    ours = yaml.safe_load(TINY.read_text())
    detector, generator = ours["keypoint_detector"], ours["generator"]
    dense_motion = generator.pop("dense_motion")
    theirs = {
        "dataset_params": {"frame_shape": [64, 64, 3], "root_dir": "data"},
        "model_params": {
            "common_params": {"num_kp": 3, "num_channels": 3, "estimate_jacobian": True},
            "kp_detector_params": detector,
            "generator_params": generator | {"dense_motion_params": dense_motion},
            "discriminator_params": {"scales": [1]},
        },
        "train_params": {"num_epochs": 100},
    }
    path = tmp_path / "tiny-64.yaml"
    path.write_text(yaml.safe_dump(theirs))
    assert load_network(path) == load_network(TINY)


def test_an_unknown_key_names_the_file_and_the_dotted_path(tmp_path):
    values = yaml.safe_load(TINY.read_text())
    values["generator"]["dense_motion"]["num_block"] = 3
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(SettingsError) as caught:
        load_network(path)
    assert str(path) in str(caught.value)
    assert "'generator.dense_motion.num_block'" in str(caught.value)
    assert "'generator.dense_motion.num_blocks'" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"size": 60}, "'size' must be a multiple of 16, found 60"),
        ({"num_keypoints": 0}, "'num_keypoints' must be above 0"),
        ({"size": "big"}, "'size' must be a whole number"),
        ({"model_params": {}}, "missing group of settings 'common_params'"),
        ({"generator": None}, "'generator' is a group of settings"),
    ],
)
def test_impossible_sizes_are_refused(tmp_path, changes, told):
    with pytest.raises(SettingsError, match=told):
        load_network(broken(tmp_path, **changes))


@pytest.mark.parametrize("scale", [0.3, 0, 2, -1])
def test_a_scale_that_is_no_whole_shrink_is_refused(tmp_path, scale):
    values = yaml.safe_load(TINY.read_text())
    values["keypoint_detector"]["scale_factor"] = scale
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(
        SettingsError, match=r"'keypoint_detector\.scale_factor' must be 1 / a whole"
    ):
        load_network(path)


def test_a_missing_setting_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("size: 64\n")
    with pytest.raises(SettingsError, match="missing setting 'num_keypoints'"):
        load_network(path)
