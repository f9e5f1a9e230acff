"""The animated square on the output's picture: where it lies, what is around and behind it.

What stands still is made once, for an avatar and the output's settings, at the output's size: the
avatar's picture (enlarged there, crisply, and not frame by frame), the background, the matte. Each
frame only the region that moves is made anew, from that picture's own pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from config.errors import SettingsError
from config.schema import OutputSettings
from realtime.avatar import Avatar
from realtime.carry import MARGIN, Box, Carrier, Ground, put_before
from realtime.cutout import KEY
from realtime.frame import Image
from realtime.ground import ground_behind, person_before, with_rim
from realtime.matte import Matte, foreground
from realtime.scaling import placed, scaled

_BACKDROP_PX = 48
"""Shorter side of the small copy that is blurred for the backdrop."""
_BACKDROP_LIGHT = 0.45
"""Brightness of the backdrop against the picture's."""
_NEAREST = 1.3
"""The square's side against the output's shorter one, where the whole picture has to cover it: the
face is whole still."""
_ABOVE = 0.15
"""Of what then is cut off the square, the part above the head."""
_REACH = 0.125
"""Of the square's side: pixels so far beyond the output are kept, to move in."""
_SOFT = 0.06
"""Of the square's side: so softly a square without carrying, or a cut-off person, ends."""

_RIM = 0.015
"""Of the square's side: so far around the person what is behind him moves along."""

_HEAD = 0.26
"""Of the square's side: radius of a head's upper end, with its hair."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the avatar's whole picture and the network's square in it lie, output pixels."""

    scale: float
    """Output pixels per pixel of the whole picture."""
    left: float
    top: float
    """The whole picture's upper left corner."""
    square: Box
    picture: Box
    """What the output shows of the whole picture."""


def lay_out(avatar: Avatar, settings: OutputSettings) -> Layout:
    """The layout for ``settings.compose``."""
    width, height = settings.width, settings.height
    full, left, top, length = _whole(avatar)
    tall, wide = full.shape[:2]
    # People stand on the lower edge, in front of another background: no chest ends in the air.
    low = 0.5 if settings.background == "avatar" else 1.0
    match settings.compose:
        case "fit":
            side = min(width, height)
            x, y = (width - side) // 2, int((height - side) * low)
        case "crop":
            side = max(width, height)
            x, y = (width - side) // 2, (height - side) // 2
        case "place":
            cover = max(width / wide, height / tall)
            nearest = _NEAREST if settings.background == "avatar" else 1.0
            most = int(nearest * min(width, height))
            side = max(2, min(int(np.ceil(cover * length - 1e-6)), most))
            scale = side / length
            over = height - side
            x = round(_covering((width - side) / 2, left * scale, wide * scale, width, 0.5))
            # There is more room below a chin than above hair.
            above = over * (0.5 if over > 0 else _ABOVE)
            y = round(_covering(above, top * scale, tall * scale, height, low))
    scale = side / length
    # Where less than three quarters of a pixel are missing, there is no border to be seen.
    shown = Box(
        max(0, int(np.ceil(x - left * scale - 0.75))),
        max(0, int(np.ceil(y - top * scale - 0.75))),
        min(width, int(np.floor(x + (wide - left) * scale + 0.75))),
        min(height, int(np.floor(y + (tall - top) * scale + 0.75))),
    )
    square = Box(x, y, x + side, y + side)
    return Layout(scale, x - left * scale, y - top * scale, square, shown)


class Scene:
    """One avatar in the output's picture. Making it takes a while; composing is quick."""

    def __init__(
        self,
        avatar: Avatar,
        settings: OutputSettings,
        *,
        carries: bool,
        matte: Matte | None = None,
        background: Image | None = None,
    ) -> None:
        """``carries``: the engine moves pixels by a ``Carrier``. ``matte``: of the avatar's whole
        picture; without it the avatar's own background moves as the network has it. For another
        background it is needed, and ``background`` where that is a picture, of any size. Raises
        SettingsError where these networks cannot have another one."""
        self.avatar, self.settings = avatar, settings
        own = settings.background == "avatar"
        if not own and (matte is None or not carries):
            raise SettingsError(
                f"output.background={settings.background} needs networks that tell where each "
                "pixel went, a bundle of the compact family; or take output.background=avatar"
            )
        layout = lay_out(avatar, settings)
        square, frame = layout.square, Box(0, 0, settings.width, settings.height)
        side = square.size[0]
        self.square = square
        """Where the network's square lies, output pixels."""
        # The whole picture shows: what moves has to fade into it.
        whole = not own or settings.compose == "place"
        fading = whole and carries
        region = square.grown(round(side * MARGIN)) if fading else square
        self._region = region.within(layout.picture if whole else frame)
        around = frame.grown(round(side * _REACH))
        here = frame.seen_from(around).part
        full = _whole(avatar)[0]
        cover = None if matte is None else _put(matte, layout, around)
        ground: Image | None = None
        if own:
            still = _put(full, layout, around)
            self._static = _backdrop(full if whole else avatar.image, *frame.size)
            if whole:
                self._static[layout.picture.part] = still[here][layout.picture.part]
            if cover is not None:
                behind = ground_behind(still, with_rim(cover, side * _RIM))
                top = layout.picture.top - around.top
                cover = with_rim(_domed(cover, top, side * _HEAD), side * _RIM)
                still, ground = person_before(still, cover, behind), behind[here]
        elif matte is not None and cover is not None:
            still = _put(foreground(full, matte), layout, around)
            cover = _ended(cover, layout, frame, around)
            ground = _behind(background, settings)
            self._static = still[here].copy()
            put_before(self._static, ground, cover[here])
        self._alpha = None
        if cover is not None and settings.background == "alpha":
            self._alpha = cover[here].copy()
        self.carrier: Carrier | None = None
        """For ``Engine.generate``; None: the engine's own does."""
        if carries and (whole or cover is not None or side != avatar.image.shape[0]):
            places = square.seen_from(around), self._region.seen_from(around)
            before = None
            if cover is not None and ground is not None:
                landmarks = None
                if avatar.crop is not None and avatar.landmarks is not None:
                    landmarks = avatar.crop.from_frame(avatar.landmarks)
                shown = np.ascontiguousarray(ground[self._region.part])
                before = Ground(cover, shown, landmarks)
            self.carrier = Carrier(still, *places, ground=before, fading=fading)
        self._weights = _soft_edged(side) if whole and not carries else None

    def compose(self, result: Image) -> tuple[Image, Matte | None]:
        """The output's picture, fresh, (height, width, 3) uint8 RGB, and its transparency (height,
        width) where the settings ask for it. ``result``: what the engine generated, with
        ``carrier`` where there is one."""
        place = self._region.part
        if self.carrier is None:
            part = self._region.seen_from(self.square).part
            result = scaled(result, *self.square.size)[part]
            if self._weights is not None:
                weights = self._weights[part]
                result = np.asarray(
                    cv2.blendLinear(result, self._static[place], weights, 1 - weights), np.uint8
                )
        picture = self._static.copy()
        picture[place] = result
        if self._alpha is None or self.carrier is None:
            return picture, None
        alpha = self._alpha.copy()
        alpha[place] = self.carrier.matte
        return picture, alpha


def _whole(avatar: Avatar) -> tuple[Image, float, float, float]:
    """The avatar's whole picture, and the corner and side of the square in it; pixels, counted from
    the picture's corner, not from its first pixel's centre."""
    image = avatar.image
    if avatar.full is None or avatar.crop is None:
        return image, 0.0, 0.0, float(image.shape[0])
    crop, last = avatar.crop, image.shape[0] - 1
    length = crop.side * (last + 1) / last
    return avatar.full, crop.cx + 0.5 - length / 2, crop.cy + 0.5 - length / 2, length


def _covering(wanted: float, inner: float, length: float, room: float, rest: float) -> float:
    """Where the square, ``inner`` into a picture of ``length``, has to start so that the picture
    covers ``room``, as near as may be to ``wanted``; a picture too short leaves ``rest`` of the gap
    before it."""
    if length < room:
        return (room - length) * rest + inner
    return min(max(wanted, room - length + inner), inner)


def _put(picture: Image, layout: Layout, around: Box) -> Image:
    """The whole picture, or its matte, as it lies in the output, seen in ``around``."""
    left, top = layout.left - around.left, layout.top - around.top
    return placed(picture, layout.scale, left, top, *around.size)


def _domed(cover: Matte, top: int, radius: float) -> Matte:
    """The matte of a picture that begins at row ``top``; above, where a repeated edge would be a
    column of hair, a head that it cuts off is as high as one of that radius."""
    cover = cover.copy()
    cut = np.flatnonzero(cover[top] > 127)
    cover[:top] = 0
    if top and cut.size:
        half = (cut[-1] - cut[0] + 1) / 2
        high = max(radius - np.sqrt(max(radius**2 - half**2, 0)), 1)
        ys, xs = np.ogrid[-top:0, : cover.shape[1]]
        outwards = np.hypot((xs - (cut[0] + cut[-1]) / 2) / half, ys / high)
        cover[:top] = np.clip((1 - outwards) * high, 0, 1) * 255
    return cover


def _ended(cover: Matte, layout: Layout, frame: Box, around: Box) -> Matte:
    """The matte without what lies beyond the picture: softly at its sides and above, where the
    picture ends within the output."""
    picture = layout.picture.seen_from(around)
    ramp = max(2, round(layout.square.size[0] * _SOFT))
    xs, ys = (np.arange(length, dtype=np.float32) for length in reversed(cover.shape))
    across, down = np.ones_like(xs), np.ones_like(ys)
    if layout.picture.left > 0:
        across = np.minimum(across, (xs - picture.left) / ramp)
    if layout.picture.right < frame.right:
        across = np.minimum(across, (picture.right - 1 - xs) / ramp)
    if layout.picture.top > 0:
        down = np.minimum(down, (ys - picture.top) / ramp)
    if layout.picture.bottom < frame.bottom:
        down = np.where(ys < picture.bottom, down, 0)
    kept = np.clip(np.minimum.outer(down, across), 0, 1)
    return np.asarray(cover * kept + 0.5).astype(np.uint8)


def _behind(background: Image | None, settings: OutputSettings) -> Image:
    """The background at the output's size: as much of the picture as covers it, or the key."""
    width, height = settings.width, settings.height
    if background is None:
        return np.full((height, width, 3), KEY, np.uint8)
    tall, wide = background.shape[:2]
    scale = max(width / wide, height / tall)
    left, top = (width - wide * scale) / 2, (height - tall * scale) / 2
    found = placed(background, scale, left, top, width, height)
    # The output is flipped as a whole at the end: what is written on a wall stays readable.
    return np.asarray(cv2.flip(found, 1), np.uint8) if settings.mirror else found


def _backdrop(image: Image, width: int, height: int) -> Image:
    """The middle of ``image`` that has the output's shape, blurred on a small copy."""
    cover = min(image.shape[1] / width, image.shape[0] / height)
    cut_width, cut_height = max(1, int(width * cover)), max(1, int(height * cover))
    left, top = (image.shape[1] - cut_width) // 2, (image.shape[0] - cut_height) // 2
    cut = image[top : top + cut_height, left : left + cut_width]
    shrink = _BACKDROP_PX / min(width, height)
    small_size = max(1, round(width * shrink)), max(1, round(height * shrink))
    small = cv2.resize(cut, small_size, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), _BACKDROP_PX / 16, borderType=cv2.BORDER_REPLICATE)
    dark = cv2.convertScaleAbs(blurred, alpha=_BACKDROP_LIGHT)
    return np.asarray(cv2.resize(dark, (width, height)), np.uint8)


def _soft_edged(side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """(side, side): 0 at the border, 1 inside."""
    steps = np.arange(side, dtype=np.float32)
    ramp = np.clip(np.minimum(steps, steps[::-1]) / max(side * _SOFT, 1), 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return np.asarray(np.minimum.outer(ramp, ramp), np.float32)
