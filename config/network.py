"""The sizes of a First Order Motion Model network, and the published ones by name.

A published network is a YAML file beside this one whose name ends with its picture size, such as
``vox-256.yaml``. The YAML files of the paper's own repository (with ``model_params``) are read too.
"""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.errors import SettingsError
from config.load import build, read_yaml


@dataclass(frozen=True, slots=True)
class KeypointDetectorConfig:
    """The hourglass that finds keypoints, and its heads."""

    temperature: float
    """Divides the heatmap before its softmax: lower is sharper."""
    block_expansion: int
    """Channels of the hourglass at its outer level; each level inwards doubles them."""
    max_features: int
    """Most channels of a level."""
    num_blocks: int
    """Levels of the hourglass."""
    scale_factor: float
    """The picture is shrunk by this first, 1 / a whole number."""
    single_jacobian_map: bool = False
    """One map of jacobians for all keypoints instead of one each."""
    pad: int = 0
    """Zero padding of the 7x7 heads, pixels."""

    def __post_init__(self) -> None:
        _positive(self, "temperature", "block_expansion", "max_features", "num_blocks")
        _whole_inverse(self, "scale_factor")
        if not 0 <= self.pad <= 3:
            raise ValueError(f"pad' must be from 0 to 3, found {self.pad}")


@dataclass(frozen=True, slots=True)
class DenseMotionConfig:
    """The hourglass that blends the keypoints' motions into one flow."""

    block_expansion: int
    """Channels of the hourglass at its outer level; each level inwards doubles them."""
    max_features: int
    """Most channels of a level."""
    num_blocks: int
    """Levels of the hourglass."""
    scale_factor: float
    """The avatar is shrunk by this first, 1 / a whole number."""
    kp_variance: float = 0.01
    """Variance of the Gaussian drawn at each keypoint, in squared units of -1..1."""

    def __post_init__(self) -> None:
        _positive(self, "block_expansion", "max_features", "num_blocks", "kp_variance")
        _whole_inverse(self, "scale_factor")


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """Encoder, bottleneck and decoder."""

    block_expansion: int
    """Channels at full size; each halving of the picture doubles them."""
    max_features: int
    """Most channels of a level."""
    num_down_blocks: int
    """Halvings of the picture before the bottleneck."""
    num_bottleneck_blocks: int
    """Residual blocks."""
    dense_motion: DenseMotionConfig
    estimate_occlusion_map: bool = False
    """Hide warped features where the avatar shows nothing to warp."""

    def __post_init__(self) -> None:
        _positive(self, "block_expansion", "max_features", "num_down_blocks")
        _positive(self, "num_bottleneck_blocks")


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """One network of the family."""

    size: int
    """Side of avatar, driving crop and output, pixels."""
    num_keypoints: int
    num_channels: int
    """Colour channels."""
    keypoint_detector: KeypointDetectorConfig
    generator: GeneratorConfig
    estimate_jacobian: bool = False
    """First order (true): a local affine frame at each keypoint; else keypoints only move."""
    name: str = ""
    """Where it comes from: "vox-256", or the stem of the file."""

    def __post_init__(self) -> None:
        _positive(self, "size", "num_keypoints", "num_channels")
        motion, detector = self.generator.dense_motion, self.keypoint_detector
        step = math.lcm(
            2**self.generator.num_down_blocks,
            round(2**motion.num_blocks / motion.scale_factor),
            round(2**detector.num_blocks / detector.scale_factor),
        )
        if self.size % step:
            raise ValueError(f"size' must be a multiple of {step}, found {self.size}")
        if self.size * detector.scale_factor + 2 * detector.pad < 8:
            raise ValueError(f"size' leaves less than 2x2 pixels of heatmap, found {self.size}")


def known_networks() -> dict[str, Path]:
    """Name -> YAML file of each published network."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*-[0-9]*.yaml"))}


def load_network(name_or_path: str | Path) -> NetworkConfig:
    """The network of that name, or of that YAML file.

    Raises SettingsError for an unknown name (told with the nearest) and for a bad file.
    """
    known = known_networks()
    path = known.get(str(name_or_path), Path(name_or_path))
    if not path.is_file():
        near = difflib.get_close_matches(str(name_or_path), known, n=1, cutoff=0.0)
        raise SettingsError(
            f"unknown network '{name_or_path}'; nearest is '{near[0]}' of {', '.join(known)}; "
            f"or give the path of a YAML file"
        )
    values = read_yaml(path)
    try:
        if "model_params" in values:
            values = _from_published(values)
        return dataclasses.replace(build(NetworkConfig, values), name=path.stem)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def _from_published(values: Mapping[str, Any]) -> dict[str, Any]:
    """Our layout from the layout of the paper's repository; what only trains is left out."""
    model = _group(values, "model_params")
    common = _group(model, "common_params")
    generator = dict(_group(model, "generator_params"))
    dense_motion = generator.pop("dense_motion_params", None)
    data = values.get("dataset_params")
    shape = data.get("frame_shape", data.get("image_shape")) if isinstance(data, dict) else None
    ours = {
        "size": shape[0] if isinstance(shape, list) and shape else 256,
        "keypoint_detector": _group(model, "kp_detector_params"),
        "generator": generator | {"dense_motion": dense_motion},
    }
    names = {"num_kp": "num_keypoints"}
    return ours | {names.get(key, key): value for key, value in common.items()}


def _group(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key)
    if not isinstance(found, dict):
        raise SettingsError(f"missing group of settings '{key}'")
    return found


# Messages start with the name and its closing quote: config.load puts "setting 'group." before it.
def _positive(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name}' must be above 0, found {value}")


def _whole_inverse(config: object, name: str) -> None:
    value = getattr(config, name)
    if not (0 < value <= 1 and (1 / value).is_integer()):
        raise ValueError(f"{name}' must be 1 / a whole number, found {value}")
