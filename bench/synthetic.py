"""Networks without trained weights, for measuring: times do not depend on what weights say.

The numbers follow from a name, a shape and a seed alone, so that pictures can be compared from
machine to machine, and with figures that the published code gave.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from config.network import NetworkConfig, load_network
from export.bundle import export_bundle
from export.quantize import quantize_bundle
from models.bundle import Bundle
from models.compact import CompactModel
from models.first_order import FirstOrderModel
from realtime.frame import Image

SEED = 1
SCALES: Mapping[str, float] = {"jacobian.weight": 0.2, "final.weight": 0.15}
"""Heads that would else leave the range in which anything moves or shows."""


def published_model(config: NetworkConfig, seed: int = SEED) -> FirstOrderModel:
    """A network of the published family, evaluating, with drawn weights."""
    model = FirstOrderModel(config)
    for part in (model.kp_detector, model.generator):
        fill(part, seed)
    return model.eval().requires_grad_(False)


def compact_model(seed: int = SEED) -> CompactModel:
    """The compact network, evaluating, as its training begins: nothing moves yet."""
    torch.manual_seed(seed)
    model = CompactModel()
    # Landmarks of a mean face, which training takes from its data: no two at one place.
    model.template.uniform_(-0.6, 0.6)
    return model.eval().requires_grad_(False)


def published_config(size: int = 256, num_keypoints: int = 10) -> NetworkConfig:
    """vox-256 but for its size and the number of its keypoints."""
    return replace(load_network("vox-256"), size=size, num_keypoints=num_keypoints)


def fill(module: nn.Module, seed: int) -> None:
    """Draw all weights of ``module``; buffers that it computes itself stay."""
    state: dict[str, Tensor] = module.state_dict()
    for name, tensor in state.items():
        if not name.endswith("down.weight"):
            drawn = _drawn(name, tuple(tensor.shape), seed)
            tensor.copy_(torch.as_tensor(drawn).to(tensor.dtype))


def _drawn(name: str, shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    random = np.random.default_rng([seed, zlib.crc32(name.encode())])
    match name.rpartition(".")[2]:
        case "num_batches_tracked":
            return np.ones(shape)
        case "running_mean":
            return random.normal(0, 0.1, shape)
        case "running_var":
            return random.uniform(0.6, 1.4, shape)
        case kind if len(shape) == 1:
            small = random.normal(0, 0.05, shape) + float(kind == "weight")
            if name == "jacobian.bias":  # identities, drawn anew
                around = random.normal(0, 0.05, shape)
                return np.tile(np.eye(2).ravel(), shape[0] // 4) + around
            return small
    deviation = np.sqrt(2 / np.prod(shape[1:]))
    return random.normal(0, deviation, shape) * SCALES.get(name, 1.0)


def waves(seed: int, size: int = 256) -> NDArray[np.float32]:
    """(size, size, 3) float32 RGB 0..1: smooth coloured waves."""
    random = np.random.default_rng([seed, 7])
    y, x = np.mgrid[0:size, 0:size] / size
    image = np.zeros((size, size, 3))
    for _ in range(24):
        across, down = random.uniform(-6, 6, 2)
        phase = random.uniform(0, 6.28)
        colour = random.uniform(-1, 1, 3)
        image += np.sin(6.28 * (across * x + down * y) + phase)[..., None] * colour
    image -= image.min()
    return np.asarray(image / image.max(), np.float32)


def levels(image: NDArray[np.float32]) -> Image:
    """0..1 as uint8."""
    return np.asarray((image * 255).round(), np.uint8)


def published_bundles(
    folder: Path,
    config: NetworkConfig,
    report: Callable[[str], object] = print,
) -> tuple[FirstOrderModel, Bundle, Bundle]:
    """A published network with drawn weights, and its bundles in fp32 and int8, written into
    ``folder``. Half a minute for vox-256. Raises ExportError."""
    model, size = published_model(config), config.size
    target = folder / config.name
    full = export_bundle(model, target, origin="drawn weights", report=report)
    # Waves are what this network sees: of some its ranges are taken, others are measured.
    people = [[levels(waves(20 + n, size)), levels(waves(30 + n, size))] for n in range(4)]
    output = target.with_name(f"{target.name}-int8")
    int8 = quantize_bundle(full, output, people, least_psnr_db=0, report=report)
    return model, full, int8
