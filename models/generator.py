"""The avatar's picture under a dense motion (FOMM, section 3.2).

Split for live use: ``encode`` runs once per avatar, ``forward`` once per driving frame.
"""

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from config.network import NetworkConfig
from models.dense_motion import DenseMotionNetwork
from models.keypoints import Keypoints
from models.layers import DownBlock, ResidualBlock, SameBlock, UpBlock


class EncodedAvatar(NamedTuple):
    """All that a frame needs of the avatar's picture.

    features (B, F, h, w); thumbnail (B, C, h', w'), the anti-aliased picture 0..1. In the published
    networks F = 256 and both are a quarter of the picture's size.
    """

    features: Tensor
    thumbnail: Tensor


class OcclusionAwareGenerator(nn.Module):
    """Encoder, warp, occlusion, bottleneck, decoder."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        sizes = config.generator
        self.dense_motion_network = DenseMotionNetwork(config)
        # Size of the features against the motion's; 1 in the published networks.
        self.scale = 1 / (sizes.dense_motion.scale_factor * 2**sizes.num_down_blocks)
        # Width of each level, from full size inwards.
        levels = range(sizes.num_down_blocks + 1)
        widths = [min(sizes.max_features, sizes.block_expansion * 2**i) for i in levels]
        steps = list(itertools.pairwise(widths))
        self.first = SameBlock(config.num_channels, widths[0])
        self.down_blocks = nn.ModuleList(DownBlock(outer, inner) for outer, inner in steps)
        self.bottleneck = nn.Sequential()
        for i in range(sizes.num_bottleneck_blocks):
            self.bottleneck.add_module(f"r{i}", ResidualBlock(widths[-1]))
        self.up_blocks = nn.ModuleList(UpBlock(inner, outer) for outer, inner in reversed(steps))
        self.final = nn.Conv2d(widths[0], config.num_channels, 7, padding=3)

    def encode(self, image: Tensor) -> EncodedAvatar:
        """(B, C, H, W) 0..1, once per avatar."""
        features = self.first(image)
        for block in self.down_blocks:
            features = block(features)
        return EncodedAvatar(features, self.dense_motion_network.shrink(image))

    def forward(
        self, avatar: EncodedAvatar, avatar_keypoints: Keypoints, keypoints: Keypoints
    ) -> Tensor:
        """The avatar moved from its own keypoints to ``keypoints``: (B, C, H, W) 0..1."""
        motion = self.dense_motion_network(avatar.thumbnail, avatar_keypoints, keypoints)
        flow, occlusion = motion.flow, motion.occlusion
        if self.scale != 1:
            flow = self.resize(flow.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            occlusion = None if occlusion is None else self.resize(occlusion)
        # Upstream calls grid_sample with its default, although pixel_grid has the other convention.
        x = F.grid_sample(avatar.features, flow, align_corners=False)
        if occlusion is not None:
            x = x * occlusion
        x = self.bottleneck(x)
        for block in self.up_blocks:
            x = block(x)
        return torch.sigmoid(self.final(x))

    def resize(self, motion: Tensor) -> Tensor:
        """(B, n, h', w') at the size of the motion -> (B, n, h, w) at the size of the features."""
        return F.interpolate(motion, scale_factor=self.scale, mode="bilinear", align_corners=False)
