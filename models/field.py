"""Places in a picture, flows, and pictures under a flow, for the compact network.

Coordinates are -1..1 over pixel centres of the 256 px picture, x right and y down. A flow points
from each place of the result to where the avatar has it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

SIZE = 256
"""Side of avatar and output, pixels."""


def coordinate_grid(size: int, like: Tensor) -> Tensor:
    """(size, size, 2) of x, y at the cell centres, where -1 and 1 are the centres of the first and
    last pixel of the 256 px picture: cells of any size agree on where things are."""
    centre = (torch.arange(size, device=like.device, dtype=torch.float32) * 2 + 1) / size - 1
    centre = centre * (SIZE / (SIZE - 1))
    return torch.stack([centre.expand(size, size), centre[:, None].expand(size, size)], -1)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Sample image (B, C, n, n) at flow (B, h, w, 2) in -1..1; outside, the border is repeated.

    The grid is rescaled and clamped because zeros padding with align_corners=False is the one
    case for which ONNX Runtime's CPU GridSample has a fast path.
    """
    n = image.shape[-1]
    grid = (flow * ((SIZE - 1) / SIZE)).clamp(-(1 - 1 / n), 1 - 1 / n)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def spread(centre: Tensor, axes: Tensor, width: int, height: int) -> Tensor:
    """(B, height, width, 2) of x, y: places around ``centre`` (B, 1, 2), as far as ``axes`` (B, 2,
    2) lead, of which the first goes to the right edge and the second to the lower one."""
    x, y = (torch.linspace(-1, 1, side, device=centre.device) for side in (width, height))
    square = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(1, -1, 2)
    return (centre + square @ axes).reshape(-1, height, width, 2)


def cut(image: Tensor, centre: Tensor, axes: Tensor, width: int, height: int) -> Tensor:
    """(B, C, height, width) of image (B, C, n, n): what lies at the places of ``spread``."""
    return warp(image, spread(centre, axes, width, height))


def cells(size: int, like: Tensor) -> Tensor:
    """(3, size * size): x, y, 1 of each cell's centre."""
    grid = coordinate_grid(size, like).reshape(-1, 2).T
    return torch.cat([grid, torch.ones_like(grid[:1])])


def near(value: Tensor, steepness: Tensor, size: int, strength: Tensor | None = None) -> Tensor:
    """strength exp(-steepness |z - p|^2) of each cell z and keypoint p: value (B, K, 2), steepness
    and strength (K,) -> (B, K, size, size).

    A product of a row and a column, both short: nothing else is computed cell by cell.
    """
    x, y = _rows_and_columns(value, steepness, size, strength)
    return y[..., None] * x[:, :, None]


def near_any(value: Tensor, steepness: Tensor, size: int, strength: Tensor) -> Tensor:
    """The same, summed over all keypoints: (B, 1, size, size)."""
    x, y = _rows_and_columns(value, steepness, size, strength)
    return product(y.transpose(1, 2), x)[:, None]


def _rows_and_columns(
    value: Tensor, steepness: Tensor, size: int, strength: Tensor | None
) -> tuple[Tensor, Tensor]:
    axis = coordinate_grid(size, value)[0, :, 0]  # y has the same places
    away = (value[..., None] - axis).square()  # (B, K, 2, size)
    # e^-40 is nothing, and its square still a number that processors are quick with.
    x, y = torch.exp((away * -steepness[:, None, None]).clamp(min=-40)).unbind(2)
    return (x if strength is None else x * strength[:, None]), y


def near_at(points: Tensor, value: Tensor, log_steepness: Tensor, log_strength: Tensor) -> Tensor:
    """The same at points (B, N, 2) instead of cells: (B, N, K)."""
    apart = (points[:, :, None] - value[:, None]).square().sum(-1)
    return torch.exp((apart * -log_steepness.exp()).clamp(min=-40) + log_strength)


def product(one: Tensor, other: Tensor) -> Tensor:
    """Matrix product in float32, in a training at lower precision too: bf16 knows a place to a
    pixel or two."""
    with torch.autocast(one.device.type, enabled=False):
        return one.float() @ other.float()


def enlarged(picture: Tensor, enlarge: Tensor) -> Tensor:
    """(B, C, n, n), rows and columns mixed by ``enlarge`` (m, n): (B, C, m, m)."""
    return product(product(enlarge, picture), enlarge.T)


def part(value: Tensor, ends: tuple[float, float]) -> Tensor:
    """How far it is from the first of ``ends`` to the second, 0..1."""
    start, end = ends
    scale = 1 / (end - start)
    return (value * scale - start * scale).clamp(0, 1)


def mix(weight: Tensor, moves: Tensor, cells: Tensor) -> Tensor:
    """Weighted mean of affine moves: weight (B, K, n), moves (B, K, 2, 3), cells (3, n) -> flow
    (B, 2, n).

    The affine maps are averaged, not the places that they lead to: the same, and far less of it.
    """
    ones = torch.ones_like(moves[:, :, 0, :1])
    maps = torch.cat([moves.flatten(2), ones], -1)  # (B, K, 7)
    mean = product(maps.transpose(1, 2), weight)  # (B, 7, n)
    a, b, c = (mean[:, :6] / mean[:, 6:]).reshape(-1, 2, 3, cells.shape[-1]).unbind(2)
    flow: Tensor = a * cells[0] + b * cells[1] + c
    return flow


def carry(image: Tensor, displacement: Tensor) -> Tensor:
    """The avatar's own pixels (B, 3, n, n), moved by a displacement (B, 2, m, m)."""
    size = image.shape[-1]
    full = F.interpolate(displacement, size=(size, size), mode="bilinear", align_corners=False)
    return warp(image, full.permute(0, 2, 3, 1) + coordinate_grid(size, displacement))
