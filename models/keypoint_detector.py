"""Keypoints and their local affine frames from one picture (FOMM, section 3.1)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from config.network import NetworkConfig
from models.keypoints import Keypoints
from models.layers import Hourglass, anti_alias, joined_heads, pixel_grid


class KeypointDetector(nn.Module):
    """Learnt without landmarks: which keypoint sits where is only known from looking."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        sizes = config.keypoint_detector
        self.temperature = sizes.temperature
        self.num_keypoints = config.num_keypoints
        self.down = anti_alias(config.num_channels, sizes.scale_factor)
        self.predictor = Hourglass(
            config.num_channels, sizes.block_expansion, sizes.max_features, sizes.num_blocks
        )
        width = self.predictor.channels_out
        self.kp = nn.Conv2d(width, config.num_keypoints, 7, padding=sizes.pad)
        self.jacobian: nn.Conv2d | None = None
        if config.estimate_jacobian:
            maps = 1 if sizes.single_jacobian_map else config.num_keypoints
            self.jacobian = nn.Conv2d(width, 4 * maps, 7, padding=sizes.pad)
            # Training starts from identity jacobians: from keypoints that only move.
            nn.init.zeros_(self.jacobian.weight)
            self.jacobian.bias = nn.Parameter(torch.eye(2).flatten().repeat(maps))

    def forward(self, image: Tensor) -> Keypoints:
        """(B, C, H, W) 0..1 -> value (B, K, 2), jacobian (B, K, 2, 2).

        A network that does not estimate jacobians gives identities, which move a neighbourhood
        exactly as no jacobian would.
        """
        batch, count = image.shape[0], self.num_keypoints
        small = image if self.down is None else self.down(image)
        features = self.predictor(small)
        heads = [self.kp] if self.jacobian is None else [self.kp, self.jacobian]
        scores, *affine = joined_heads(features, *heads)
        height, width = scores.shape[2:]
        heat = F.softmax(scores.flatten(2) / self.temperature, dim=2)  # (B, K, h*w), sums to 1
        # Mean position under the heatmap (soft-argmax).
        grid = pixel_grid(height, width, heat).reshape(height * width, 2)
        value = heat @ grid  # (B, K, h*w) @ (h*w, 2) -> (B, K, 2)
        if not affine:
            return Keypoints(value, torch.eye(2).to(value).expand(batch, count, 2, 2))
        # Mean jacobian under the same heatmap: (B, K, 1, h*w) * (B, K or 1, 4, h*w) -> (B, K, 4).
        maps = affine[0].reshape(batch, -1, 4, height * width)
        jacobian = (heat.unsqueeze(2) * maps).sum(dim=3)
        return Keypoints(value, jacobian.reshape(batch, count, 2, 2))
