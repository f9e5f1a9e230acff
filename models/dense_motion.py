"""From the motion of K keypoints to the motion of every pixel (FOMM, sections 3.1 and 3.2).

Flow is backward: for each pixel of the output, where in the avatar it comes from.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from config.network import NetworkConfig
from models.keypoints import Keypoints, inverse_2x2
from models.layers import Hourglass, anti_alias, joined_heads, pixel_grid


class DenseMotion(NamedTuple):
    """flow (B, h, w, 2), -1..1 of the avatar; occlusion (B, 1, h, w) 0 hidden..1 visible, or None;
    mask (B, K + 1, h, w), the share of the background and of each keypoint in the flow, sums to 1.
    """

    flow: Tensor
    occlusion: Tensor | None
    mask: Tensor


class DenseMotionNetwork(nn.Module):
    """Blends the affine motion around each keypoint, and no motion, into one flow."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        sizes = config.generator.dense_motion
        parts = config.num_keypoints + 1
        self.variance = sizes.kp_variance
        self.down = anti_alias(config.num_channels, sizes.scale_factor)
        self.hourglass = Hourglass(
            parts * (config.num_channels + 1),
            sizes.block_expansion,
            sizes.max_features,
            sizes.num_blocks,
        )
        width = self.hourglass.channels_out
        self.mask = nn.Conv2d(width, parts, 7, padding=3)
        self.occlusion: nn.Conv2d | None = None
        if config.generator.estimate_occlusion_map:
            self.occlusion = nn.Conv2d(width, 1, 7, padding=3)

    def shrink(self, image: Tensor) -> Tensor:
        """The avatar at the size that ``forward`` takes: (B, C, H, W) -> (B, C, h, w)."""
        small: Tensor = image if self.down is None else self.down(image)
        return small

    def forward(
        self, thumbnail: Tensor, avatar_keypoints: Keypoints, keypoints: Keypoints
    ) -> DenseMotion:
        """Avatar (B, C, h, w) 0..1, its keypoints, and those to move it to."""
        batch, channels, height, width = thumbnail.shape
        parts = self.mask.out_channels  # K + 1: the background comes first
        grid = pixel_grid(height, width, thumbnail)
        motions = sparse_motions(grid, avatar_keypoints, keypoints)  # (B, K + 1, h*w, 2)

        # Eq. 7, the avatar under each motion. The grids stand on top of each other, so that one
        # sampling serves all and the avatar is not repeated K + 1 times.
        tall = motions.reshape(batch, parts * height, width, 2)
        moved = F.grid_sample(thumbnail, tall, align_corners=False)  # (B, C, (K + 1) * h, w)
        moved = moved.reshape(batch, channels, parts, height, width).transpose(1, 2)

        # Eq. 6, where the keypoints went and where they came from; nothing for the background.
        heat = self.heatmap(grid, keypoints.value) - self.heatmap(grid, avatar_keypoints.value)
        heat = F.pad(heat, (0, 0, 0, 0, 1, 0)).unsqueeze(2)  # (B, K + 1, 1, h, w)

        features = self.hourglass(torch.cat([heat, moved], dim=2).flatten(1, 2))
        heads = [self.mask] if self.occlusion is None else [self.mask, self.occlusion]
        scores, *visible = joined_heads(features, *heads)
        occlusion = torch.sigmoid(visible[0]) if visible else None
        mask = F.softmax(scores, dim=1)
        # Eq. 8: (B, K + 1, h*w, 1) * (B, K + 1, h*w, 2), summed over the parts.
        flow = (mask.flatten(2).unsqueeze(3) * motions).sum(dim=1)
        return DenseMotion(flow.reshape(batch, height, width, 2), occlusion, mask)

    def heatmap(self, grid: Tensor, value: Tensor) -> Tensor:
        """A Gaussian at each keypoint: (h, w, 2), (B, K, 2) -> (B, K, h, w), 1 at its centre."""
        distance = grid - value[:, :, None, None, :]
        return torch.exp(-0.5 * (distance**2).sum(dim=4) / self.variance)


def sparse_motions(grid: Tensor, avatar: Keypoints, driving: Keypoints) -> Tensor:
    """The backward motion of the whole picture by each keypoint alone: (B, K + 1, h*w, 2).

    Eq. 4: T(z) = s + J_s J_d^-1 (z - d) with z a pixel of ``grid`` (h, w, 2), s and d the value and
    J the jacobian of a keypoint in avatar and driving. The first motion is none: the background.
    """
    pixels = grid.flatten(0, 1)[None, None]  # (1, 1, h*w, 2)
    affine = avatar.jacobian @ inverse_2x2(driving.jacobian)  # (B, K, 2, 2)
    offset = pixels - driving.value.unsqueeze(2)  # (B, K, h*w, 2)
    moved = offset @ affine.transpose(2, 3) + avatar.value.unsqueeze(2)
    background = pixels.expand(moved.shape[0], 1, -1, 2)
    return torch.cat([background, moved], dim=1)
