"""A First Order Motion Model of a few thousand weights that really moves its picture."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from config.network import (
    DenseMotionConfig,
    GeneratorConfig,
    KeypointDetectorConfig,
    NetworkConfig,
)
from export.parity import drawn_face
from models.first_order import FirstOrderModel

SIZE = 64
CONFIG = NetworkConfig(
    size=SIZE,
    num_keypoints=5,
    num_channels=3,
    keypoint_detector=KeypointDetectorConfig(0.1, 8, 16, 2, 0.5),
    generator=GeneratorConfig(8, 16, 2, 1, DenseMotionConfig(8, 16, 2, 0.25), True),
    estimate_jacobian=True,
    name="small",
)
YAML = """\
size: 64
num_keypoints: 5
num_channels: 3
estimate_jacobian: true
keypoint_detector:
  {temperature: 0.1, block_expansion: 8, max_features: 16, num_blocks: 2, scale_factor: 0.5}
generator:
  block_expansion: 8
  max_features: 16
  num_down_blocks: 2
  num_bottleneck_blocks: 1
  estimate_occlusion_map: true
  dense_motion:
    {block_expansion: 8, max_features: 16, num_blocks: 2, scale_factor: 0.25, kp_variance: 0.01}
"""
"""``CONFIG`` as a file."""


def small_model(cls: type[FirstOrderModel] = FirstOrderModel, seed: int = 0) -> FirstOrderModel:
    """Random weights, large enough that keypoints and pictures depend on what comes in."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = cls(CONFIG)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.05, 0.2)
        with torch.no_grad():
            model.kp_detector.kp.weight.normal_(0, 0.05)
            model.kp_detector.jacobian.weight.normal_(0, 0.01)
            model.generator.final.weight.normal_(0, 0.05)
    return model.eval().requires_grad_(False)


def picture(number: int, side: int = SIZE) -> NDArray[np.uint8]:
    """A drawn face, (side, side, 3) uint8 RGB."""
    planes = drawn_face(side, number)[0].transpose(1, 2, 0)
    return np.ascontiguousarray(np.rint(planes * 255), np.uint8)


def tensor(image: NDArray[np.uint8]) -> torch.Tensor:
    """As the networks take it: (1, 3, S, S) float32 in 0..1."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


def expected_frame(model: FirstOrderModel, avatar: int, driving: int) -> NDArray[np.float32]:
    """The model's own picture, (S, S, 3) in 0..255."""
    avatar_image, driving_image = tensor(picture(avatar)), tensor(picture(driving))
    with torch.inference_mode():
        image = model.generate(
            model.encode(avatar_image), model.detect(avatar_image), model.detect(driving_image)
        )
    return image[0].permute(1, 2, 0).numpy() * 255
