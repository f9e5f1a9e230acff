"""A small fully convolutional network that finds faces in a whole picture.

Each face is a peak of a heatmap with its size and offset beside it (Zhou, Wang, Kraehenbuehl 2019,
"Objects as Points", arXiv 1904.07850). It says where a face is; what it looks like, and whether it
is one at all, the landmark network tells.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import Residual, conv

STRIDE = 4
"""Pixels of the picture for one cell of the outputs."""
MULTIPLE = 16
"""Sides of the picture are multiples of it."""
UNIT_PX = 24.0
"""Height of the face whose size output is 0, pixels of the picture given to the network."""


class Peaks(NamedTuple):
    """What the network says of each cell."""

    heat: Tensor
    """(B, 1, H / 4, W / 4), logits: the middle of a face is here."""
    shape: Tensor
    """(B, 3, H / 4, W / 4): the middle's place in the cell, x and y in cells from its centre, and
    the logarithm of the face's height over ``UNIT_PX``."""


class FaceFinder(nn.Module):
    """(B, 3, H, W) RGB 0..1 -> Peaks. The height is that of the box of the 48 landmarks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 16, 2)
        self.down1 = nn.Sequential(conv(16, 32, 2), Residual(32))
        self.down2 = nn.Sequential(conv(32, 48, 2), Residual(48))
        self.down3 = nn.Sequential(conv(48, 64, 2), Residual(64), Residual(64))
        self.up2 = conv(64 + 48, 48)
        self.up1 = conv(48 + 32, 32)
        self.head = nn.Conv2d(32, 4, 1)
        # Few cells hold a face: begin with that belief (Lin et al. 2017, focal loss).
        nn.init.zeros_(self.head.weight)
        self.head.bias = nn.Parameter(torch.tensor([-4.0, 0.0, 0.0, 0.0]))

    def forward(self, image: Tensor) -> Peaks:
        """H and W are multiples of 16."""
        b = self.down1(self.stem(image * 2 - 1))  # (B, 32, H / 4, W / 4)
        c = self.down2(b)
        d = self.down3(c)  # (B, 64, H / 16, W / 16)
        y = self.up2(torch.cat([F.interpolate(d, scale_factor=2.0), c], 1))
        y = self.up1(torch.cat([F.interpolate(y, scale_factor=2.0), b], 1))
        heat, shape = self.head(y).float().split([1, 3], 1)
        return Peaks(heat, shape)
