"""The performer in its crop, as the compact network sees it, for tests that have torch."""

import torch
from torch import Tensor

from models.field import SIZE
from realtime.crop import Crop
from realtime.performer import Appearance, Moment, draw

AHEAD = Moment()


def drawn(moment: Moment) -> tuple[Tensor, Tensor]:
    """Picture (1, 3, 256, 256) RGB 0..1, landmarks (1, 48, 2); the crop is that of ``AHEAD``."""
    crop = Crop.around(draw(Appearance(), AHEAD, 960, 960)[1].landmarks)
    picture, truth = draw(Appearance(), moment, 960, 960)
    planes = torch.from_numpy(crop.cut(picture, SIZE)).permute(2, 0, 1)[None].float() / 255
    return planes, torch.from_numpy(crop.from_frame(truth.landmarks))[None]
