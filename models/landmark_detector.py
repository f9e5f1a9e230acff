"""The compact networks' keypoint detector: face landmarks, learnt with supervision."""

import torch
from torch import Tensor, nn

from models.keypoints import inverse_2x2
from models.landmarks import COUNT
from models.layers import Residual, conv, doubled, planes, soft_argmax


class LandmarkDetector(nn.Module):
    """(B, 3, 128, 128) RGB 0..1 -> 48 landmarks and the belief that there is a face."""

    size = 128
    temperature = 0.1

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 24, 2)
        self.down1 = nn.Sequential(conv(24, 48, 2), Residual(48))
        self.down2 = nn.Sequential(conv(48, 96, 2), Residual(96))
        self.down3 = nn.Sequential(conv(96, 128, 2), Residual(128), Residual(128))
        self.up2 = conv(128 + 96, 96)
        self.up1 = conv(96 + 48, 64)
        self.up0 = conv(64 + 24, 48)
        self.heatmaps = nn.Conv2d(48, COUNT, 1)
        self.presence = nn.Sequential(conv(128, 32, 2), nn.Flatten(), nn.Linear(32 * 16, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Returns value (B, 48, 2) in -1..1 and presence (B,), a logit."""
        a = self.stem(image * 2 - 1)  # (B, 24, 64, 64)
        b = self.down1(a)  # (B, 48, 32, 32)
        c = self.down2(b)  # (B, 96, 16, 16)
        d = self.down3(c)  # (B, 128, 8, 8)
        y = self.up2(torch.cat([doubled(d), c], 1))
        y = self.up1(torch.cat([doubled(y), b], 1))
        y = self.up0(torch.cat([doubled(y), a], 1))  # (B, 48, 64, 64)
        value = soft_argmax(planes(y, self.heatmaps).float(), self.temperature)
        presence: Tensor = self.presence(d)
        return value, presence.float()[:, 0]


def local_affine(value: Tensor, template: Tensor) -> Tensor:
    """Jacobians: at each keypoint, the affine map that best takes the mean face to this one.

    Weighted least squares over all keypoints, weight exp(-d^2 / (2 * 0.35^2)) + 0.25 with d the
    distance on the mean face. value (B, K, 2), template (K, 2) -> (B, K, 2, 2).
    """
    from_template = template[None] - template[:, None]  # (K, K, 2), [i, j] = t_j - t_i
    weight = torch.exp(-0.5 * from_template.square().sum(-1) / 0.35**2) + 0.25
    weighted = weight[..., None] * from_template
    # sum_j w_ij (v_j - v_i) (t_j - t_i)^T and sum_j w_ij (t_j - t_i) (t_j - t_i)^T, as products.
    total = weighted.sum(1)  # (K, 2)
    cross = value.transpose(1, 2)[:, None] @ weighted - value[..., None] * total[:, None]
    own = weighted.transpose(1, 2) @ from_template
    jacobian: Tensor = cross @ inverse_2x2(own)
    return jacobian
