"""A small fully convolutional network that tells the person from what is behind: a matte.

A U-Net (Ronneberger et al. 2015, arXiv 1505.04597), deep enough to see a whole person: it runs once
for an avatar. ``realtime.matte`` runs it, and draws its edge onto the picture's own.
"""

import torch
from torch import Tensor, nn

from models.layers import Residual, conv, doubled

SIDE = 256
"""Of the picture that it is trained on, pixels."""


class MatteNetwork(nn.Module):
    """(B, 3, H, W) RGB 0..1 -> (B, 1, H, W), logits: the person is here."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 16, 2)
        self.down1 = nn.Sequential(conv(16, 32, 2), Residual(32))
        self.down2 = nn.Sequential(conv(32, 48, 2), Residual(48))
        self.down3 = nn.Sequential(conv(48, 80, 2), Residual(80))
        self.down4 = nn.Sequential(conv(80, 96, 2), Residual(96), Residual(96))
        self.up3 = conv(96 + 80, 80)
        self.up2 = conv(80 + 48, 48)
        self.up1 = conv(48 + 32, 32)
        # With the picture's three they are 16, of which runtimes take that many at a time.
        self.up0 = conv(32 + 16, 13)
        self.edge = conv(13 + 3, 16)
        self.head = nn.Conv2d(16, 1, 3, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """H and W are multiples of 32."""
        image = image * 2 - 1
        a = self.stem(image)  # (B, 16, H / 2, W / 2)
        b = self.down1(a)
        c = self.down2(b)
        d = self.down3(c)
        y = self.down4(d)  # (B, 96, H / 32, W / 32)
        y = self.up3(torch.cat([doubled(y), d], 1))
        y = self.up2(torch.cat([doubled(y), c], 1))
        y = self.up1(torch.cat([doubled(y), b], 1))
        y = self.up0(torch.cat([doubled(y), a], 1))
        y = self.edge(torch.cat([doubled(y), image], 1))
        logits: Tensor = self.head(y).float()
        return logits
