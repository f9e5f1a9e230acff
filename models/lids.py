"""Eyes, painted once more near by.

The painter works in cells of 4x4 pixels, and what it knows of lids is a soft spot a few cells wide:
the seams of shut eyes are pale. Here a window around each eye is painted in cells of 2x2, by a
network that is told of each where it lies between the lids.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.landmarks import indices
from models.layers import Residual, conv, doubled
from models.openings import EyePlaces
from models.windows import EYE, Windows

CHANNELS = 32

_IRISES = indices("right_iris", "left_iris")


class LidPainter(nn.Module):
    """See the module."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.enter = conv(features, CHANNELS)
        # 5 numbers of the opening, 2 of the iris.
        self.join = conv(CHANNELS + 5 + 2, CHANNELS)
        self.between = Residual(CHANNELS)
        # Light and alpha of 2x2 pixels, at first nothing.
        self.paint = nn.Conv2d(CHANNELS, 2 * 4, 3, 1, 1)
        nn.init.zeros_(self.paint.weight)
        nn.init.zeros_(self.paint.bias)  # type: ignore[arg-type]

    def forward(
        self,
        features: Tensor,
        driving: Tensor,
        windows: Windows,
        places: Tensor,
        eyes: EyePlaces,
    ) -> Tensor:
        """What is to be added to the painter's logits of light and alpha, pixels in the windows,
        (B * 2, 2, 4 * rows, 4 * columns): from its features (B, C, CELLS, CELLS), for a face at
        landmarks (B, 48, 2)."""
        # (B * 2, CHANNELS, 2 * rows, 2 * columns)
        entered = doubled(self.enter(windows.cut(features)))
        away = ((places[:, :, :2] - driving[:, _IRISES, :, None]) / eyes.half).clamp(-3, 3)
        seen = torch.cat([eyes.along, eyes.inside, eyes.own], 2).clamp(-2, 2)
        told = torch.cat([seen, away], 2).reshape(-1, 7, 2 * EYE.rows, 2 * EYE.columns)
        added = self.paint(self.between(self.join(torch.cat([entered, told], 1)))).float()
        return F.pixel_shuffle(added, 2)
