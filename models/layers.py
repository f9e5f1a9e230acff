"""Building blocks of the First Order Motion Model networks (Siarohin et al. 2019).

Module names follow the published checkpoints, but for all from ``widths`` on, of which the
compact networks are made. Tensors are (batch, channels, height, width) float32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SameBlock(nn.Module):
    """7x7 convolution, norm, ReLU; the size stays."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 7, padding=3)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, H, W)."""
        return F.relu(self.norm(self.conv(x)))


class DownBlock(nn.Module):
    """3x3 convolution, norm, ReLU, halving by the mean of 2x2 pixels."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, H / 2, W / 2)."""
        return F.avg_pool2d(F.relu(self.norm(self.conv(x))), 2)


class UpBlock(nn.Module):
    """Doubling by repeated pixels, 3x3 convolution, norm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, 2 H, 2 W)."""
        return F.relu(self.norm(self.conv(doubled(x))))


class ResidualBlock(nn.Module):
    """Two times norm, ReLU, 3x3 convolution, added to the input (pre-activation)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same shape."""
        inner = self.conv1(F.relu(self.norm1(x)))
        change: Tensor = self.conv2(F.relu(self.norm2(inner)))
        return x + change


class HourglassEncoder(nn.Module):
    """A chain of DownBlocks that keeps every level."""

    def __init__(self, channels_in: int, widths: list[int]) -> None:
        super().__init__()
        pairs = zip([channels_in, *widths[1:-1]], widths[1:], strict=True)
        self.down_blocks = nn.ModuleList(DownBlock(before, after) for before, after in pairs)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, channels_in, H, W) -> the levels, the input first, each half the size of the last."""
        levels = [x]
        for block in self.down_blocks:
            levels.append(block(levels[-1]))
        return levels


class HourglassDecoder(nn.Module):
    """A chain of UpBlocks, each followed by the encoder's level of the same size."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        inner_first = range(len(widths) - 1, 0, -1)
        self.up_blocks = nn.ModuleList(
            # All but the innermost take the block before and the skip connection: twice the width.
            UpBlock(widths[i] * (1 if i == len(widths) - 1 else 2), widths[i - 1])
            for i in inner_first
        )

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Encoder levels -> (B, widths[0] + channels_in, H, W)."""
        x = levels[-1]
        for block, skip in zip(self.up_blocks, reversed(levels[:-1]), strict=True):
            x = torch.cat([block(x), skip], dim=1)
        return x


class Hourglass(nn.Module):
    """Encoder and decoder with skip connections; ends with the input itself appended."""

    def __init__(
        self, channels_in: int, block_expansion: int, max_features: int, num_blocks: int
    ) -> None:
        super().__init__()
        widths = [min(max_features, block_expansion * 2**i) for i in range(num_blocks + 1)]
        self.encoder = HourglassEncoder(channels_in, widths)
        self.decoder = HourglassDecoder(widths)
        self.channels_out = widths[0] + channels_in

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, H, W); H, W multiples of 2 ** num_blocks."""
        decoded: Tensor = self.decoder(self.encoder(x))
        return decoded


class AntiAliasDown(nn.Module):
    """Shrinking by 1 / scale_factor after a Gaussian blur.

    One depthwise convolution with that stride: blurring at full size and then taking every n-th
    pixel gives the same numbers for n * n times the work. The Gaussian is computed, not learnt.
    """

    weight: Tensor

    def __init__(self, channels: int, scale_factor: float) -> None:
        super().__init__()
        self.stride = round(1 / scale_factor)
        sigma = (self.stride - 1) / 2
        radius = round(sigma * 4)
        offset = torch.arange(-radius, radius + 1, dtype=torch.float32)
        line = torch.exp(-(offset**2) / (2 * sigma**2))
        kernel = line[:, None] * line[None, :]
        kernel = kernel / kernel.sum()
        # (channels, 1, 2 radius + 1, 2 radius + 1)
        self.register_buffer("weight", kernel.repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H / stride, W / stride)."""
        channels, _, side, _ = self.weight.shape
        return F.conv2d(x, self.weight, stride=self.stride, padding=side // 2, groups=channels)


def anti_alias(channels: int, scale_factor: float) -> nn.Module | None:
    """AntiAliasDown, or None where the picture is not shrunk at all."""
    return None if scale_factor == 1 else AntiAliasDown(channels, scale_factor)


def pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """(height, width, 2): x and y of each pixel, -1..1 at the centres of the outer pixels."""
    x = 2 * (torch.arange(width, dtype=like.dtype, device=like.device) / (width - 1)) - 1
    y = 2 * (torch.arange(height, dtype=like.dtype, device=like.device) / (height - 1)) - 1
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=2)


def joined_heads(x: Tensor, *heads: nn.Conv2d) -> tuple[Tensor, ...]:
    """What each head gives, by one convolution: faster where each has few channels.

    The heads agree in kernel and padding and have biases.
    """
    out = F.conv2d(
        x,
        torch.cat([head.weight for head in heads]),
        torch.cat([head.bias for head in heads if head.bias is not None]),
        padding=heads[0].padding,
    )
    return torch.split(out, [head.out_channels for head in heads], dim=1)


def widths(width: float, *channels: int) -> list[int]:
    """Channels in eights, which processors like."""
    return [8 * round(count * width / 8) for count in channels]


def parted_head(x: Tensor, head: nn.Conv2d, *channels: int) -> list[Tensor]:
    """What a head gives, by one convolution for each part of its channels: a precision that does
    for one part may not do for all. It has a bias."""
    weights = torch.split(head.weight, list(channels))
    biases = () if head.bias is None else torch.split(head.bias, list(channels))
    parts = zip(weights, biases, strict=True)
    return [F.conv2d(x, *part, padding=head.padding) for part in parts]


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two 3x3 convolutions around a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        return F.relu(x + self.second(self.first(x)))


def doubled(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2 H, 2 W), pixels repeated."""
    return F.interpolate(x, scale_factor=2.0)


def planes(x: Tensor, head: nn.Conv2d) -> Tensor:
    """What a head of 1x1 pixels gives, as a product: a runtime writes it plane by plane, where it
    would have to turn what a convolution gives for a softmax over each."""
    heat = head.weight.flatten(1) @ x.flatten(2)  # (B, K, H W)
    heat = heat if head.bias is None else heat + head.bias[:, None]
    return heat.reshape(*heat.shape[:2], *x.shape[2:])


def soft_argmax(logits: Tensor, temperature: float) -> Tensor:
    """Heatmaps (B, K, H, W) -> the mean position under each, (B, K, 2), x and y in -1..1."""
    weight = F.softmax(logits.flatten(2) / temperature, -1).reshape(logits.shape)
    # One axis at a time.
    x, y = (torch.linspace(-1, 1, side, device=logits.device) for side in logits.shape[:1:-1])
    return torch.stack([weight.sum(2) @ x, weight.sum(3) @ y], -1)
