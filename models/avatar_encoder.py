"""What the compact network looks at once: the avatar."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import Residual, conv, doubled

HINTS = 8
"""Channels for the motion network."""


class AvatarCode(NamedTuple):
    """What the networks know of an avatar between frames."""

    small: Tensor
    """(B, 3 + HINTS, 64, 64): the picture, and hints for the motion network."""
    features: Tensor
    """(B, 64, 64, 64)."""


class AvatarEncoder(nn.Module):
    """Runs once per avatar: it may be as large as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 24, 2), conv(24, 48, 2), conv(48, 64))
        self.down1 = nn.Sequential(conv(64, 96, 2), Residual(96))
        self.down2 = nn.Sequential(conv(96, 128, 2), Residual(128))
        self.down3 = nn.Sequential(conv(128, 128, 2), Residual(128))
        self.up2 = conv(128, 128)
        self.up1 = conv(128, 96)
        self.up0 = conv(96, 64)
        self.features = nn.Conv2d(64, 64, 3, 1, 1)
        self.hints = nn.Conv2d(64, HINTS, 3, 1, 1)

    def forward(self, image: Tensor) -> AvatarCode:
        """(B, 3, 256, 256) RGB 0..1 -> AvatarCode."""
        a = self.stem(image * 2 - 1)  # (B, 64, 64, 64)
        b = self.down1(a)
        c = self.down2(b)
        d = self.down3(c)  # (B, 128, 8, 8)
        c = c + doubled(self.up2(d))
        b = b + doubled(self.up1(c))
        a = a + doubled(self.up0(b))
        small = F.avg_pool2d(image, 4) * 2 - 1
        hints = torch.tanh(self.hints(a)).float()
        return AvatarCode(torch.cat([small, hints], 1), self.features(a).float())
