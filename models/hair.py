"""What surrounds the face, hair and ears, goes along with the head as a solid.

Landmarks end at the hair line. Extended from forehead and temples by their local maps, which are
those of a face's front, hair would nod further than it does.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.field import near_any, near_at, product
from models.head import HAIR, SEEN
from models.keypoints import inverse_2x2


class Plane(NamedTuple):
    """The plane through the hair, seen in a picture."""

    axes: Tensor
    """(B, 2, 2): where steps along x and y of the head lead."""
    origin: Tensor
    """(B, 2): where it begins."""


class Hair(nn.Module):
    """One more map beside those of the keypoints, and where it rules."""

    seen: Tensor
    places: Tensor

    def __init__(self) -> None:
        super().__init__()
        count = len(HAIR)
        self.log_steepness = nn.Parameter(torch.full((count,), 12.0).log())
        self.log_strength = nn.Parameter(torch.full((count,), 0.5).log())
        self.register_buffer("seen", torch.from_numpy(SEEN).float(), persistent=False)
        self.register_buffer("places", torch.from_numpy(HAIR[:, :2]).float(), persistent=False)

    def plane(self, value: Tensor) -> Plane:
        """Of landmarks (B, 48, 2)."""
        seen = product(self.seen, value)  # (B, 4, 2)
        return Plane(seen[:, :2].transpose(1, 2), seen[:, 3] + HAIR[0, 2] * seen[:, 2])

    def map(self, avatar: Plane, driving: Plane) -> Tensor:
        """(B, 1, 2, 3), of x, y, 1: from a place of the driving face's hair to the avatar's."""
        jacobian = product(avatar.axes, inverse_2x2(driving.axes))
        shift = avatar.origin[..., None] - product(jacobian, driving.origin[..., None])
        return torch.cat([jacobian, shift], -1)[:, None]

    def knots(self, driving: Plane) -> Tensor:
        """(B, 9, 2): where the hair is."""
        return product(self.places, driving.axes.transpose(1, 2)) + driving.origin[:, None]

    def near(self, knots: Tensor, size: int) -> Tensor:
        """How much the map rules each cell, (B, 1, size, size)."""
        steepness, strength = self.log_steepness.exp(), self.log_strength.exp()
        return near_any(knots, steepness, size, strength)

    def at(self, knots: Tensor, points: Tensor) -> Tensor:
        """The same at points (B, K, 2): (B, K, 1)."""
        share = near_at(points, knots, self.log_steepness, self.log_strength)
        return share.sum(-1, keepdim=True)
