"""Where the square lies, what is around it, that no seam shows, and whom a background replaces."""

import cv2
import numpy as np
import pytest

from config.errors import SettingsError
from config.schema import OutputSettings
from realtime.avatar import Avatar
from realtime.carry import MARGIN, put_before
from realtime.crop import Crop
from realtime.frame import Image
from realtime.scene import Scene, lay_out

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]


def noise(*shape: int, seed: int = 3) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def smooth(height: int, width: int) -> Image:
    y, x = np.mgrid[:height, :width]
    waves = [128 + 90 * np.sin(x / (17 + 5 * k) + y / (23 - 4 * k)) for k in range(3)]
    return np.stack(waves, -1).astype(np.uint8)


def output(width: int, height: int, **more: str) -> OutputSettings:
    return OutputSettings(width=width, height=height, **more)  # type: ignore[arg-type]


def alone(side: int, picture: Image | None = None) -> Avatar:
    return Avatar("alone", noise(side, side) if picture is None else picture)


def in_picture(full: Image, cx: float, cy: float, side: float, size: int = 128) -> Avatar:
    crop = Crop(cx, cy, side)
    return Avatar("within", crop.cut(full, size), full=full, crop=crop)


def motion(shift: float = 0.0, paint: float = 1.0) -> Planes:
    """A network's answer: everything moves by ``shift`` of -1..1; ``paint``: how little is painted
    (in red)."""
    painted = np.zeros((3, 256, 256), np.float32)
    painted[0] = 1
    alpha = np.full((1, 256, 256), paint, np.float32)
    return np.full((2, 64, 64), shift, np.float32), painted, alpha


def composed(scene: Scene, shift: float = 0.0, paint: float = 1.0) -> Image:
    assert scene.carrier is not None
    return scene.compose(scene.carrier(*motion(shift, paint)))[0]


@pytest.mark.parametrize("compose", ["fit", "crop", "place"])
@pytest.mark.parametrize(
    ("width", "height"), [(640, 480), (480, 640), (1280, 720), (256, 256), (300, 258), (64, 48)]
)
def test_the_output_has_the_asked_size_whatever_carries(
    width: int, height: int, compose: str
) -> None:
    avatar = in_picture(noise(300, 500), 260, 130, 150)
    for carries in (True, False):
        scene = Scene(avatar, output(width, height, compose=compose), carries=carries)
        if scene.carrier is not None:
            picture = composed(scene, 0.1)
        else:
            picture = scene.compose(avatar.image)[0]
        assert picture.shape == (height, width, 3)
        assert picture.dtype == np.uint8
        assert picture.flags.c_contiguous


def test_fit_shows_the_square_whole_and_unchanged_in_the_middle() -> None:
    avatar = alone(128)
    scene = Scene(avatar, output(200, 128), carries=True)
    assert scene.carrier is None  # the engine's own has the size already
    np.testing.assert_array_equal(scene.compose(avatar.image)[0][:, 36:164], avatar.image)


def test_the_picture_handed_out_is_fresh() -> None:
    avatar = alone(64)
    scene = Scene(avatar, output(64, 64), carries=True)
    first = scene.compose(avatar.image)[0]
    first[:] = 0
    np.testing.assert_array_equal(scene.compose(avatar.image)[0], avatar.image)


def test_the_fill_is_0_45_of_the_avatar_blurred() -> None:
    avatar = alone(100, np.full((100, 100, 3), (200, 100, 40), np.uint8))
    picture = composed(Scene(avatar, output(160, 120), carries=True))
    np.testing.assert_array_equal(
        picture[:, 20:140], np.broadcast_to((200, 100, 40), (120, 120, 3))
    )
    for side in (picture[:, :20], picture[:, 140:]):
        np.testing.assert_array_equal(side, np.broadcast_to((90, 45, 18), (120, 20, 3)))
    lines = np.zeros((128, 128, 3), np.uint8)
    lines[::2] = 255
    fill = Scene(alone(128, lines), output(256, 128), carries=False).compose(lines)[0][:, :60]
    assert np.abs(np.diff(fill.astype(float), axis=0)).max() <= 3
    assert fill.mean() == pytest.approx(127.5 * 0.45, abs=2)


def test_crop_fills_the_output_with_the_middle_of_the_square() -> None:
    avatar = alone(64, smooth(64, 64))
    picture = composed(Scene(avatar, output(128, 64, compose="crop"), carries=True))
    large = cv2.resize(avatar.image, (128, 128), interpolation=cv2.INTER_CUBIC)
    assert np.abs(picture.astype(int) - large[32:96]).mean() < 2


def test_place_shows_the_whole_picture_where_it_was() -> None:
    full = smooth(300, 500)
    avatar = in_picture(full, 260.5, 130.25, 149)
    picture = composed(Scene(avatar, output(500, 300, compose="place"), carries=True))
    # The square's side and corner are whole pixels: so much larger, and so far off.
    assert lay_out(avatar, output(500, 300, compose="place")).scale == pytest.approx(1, abs=0.007)
    assert np.abs(picture.astype(int) - full).mean() < 3.5


@pytest.mark.parametrize("carries", [True, False])
def test_beyond_the_moving_region_place_is_the_still_picture_whatever_moves(carries: bool) -> None:
    avatar = in_picture(noise(400, 600), 300, 190, 160)
    settings = output(600, 400, compose="place")
    scene = Scene(avatar, settings, carries=carries)
    square = lay_out(avatar, settings).square
    region = square.grown(round(square.size[0] * MARGIN) if carries else 0)
    inside = np.zeros((400, 600), bool)
    inside[region.part] = True
    # The region's outermost ring too: there motion has come to rest.
    ring = inside.copy()
    ring[region.grown(-1).part] = False
    if carries:
        still = composed(scene)
        moved = composed(scene, 0.08, 0.3)
    else:
        still, moved = (scene.compose(one)[0] for one in (avatar.image, 255 - avatar.image))
    assert (moved != still)[square.part].mean() > 0.5
    np.testing.assert_array_equal(moved[~inside], still[~inside])
    np.testing.assert_array_equal(moved[ring], still[ring])


def test_no_line_shows_where_the_square_ends() -> None:
    """Across the square's border the moved picture is as smooth as it is elsewhere."""
    avatar = in_picture(smooth(400, 600), 300, 190, 160)
    settings = output(600, 400, compose="place")
    scene = Scene(avatar, settings, carries=True)
    square = lay_out(avatar, settings).square
    moved = composed(scene, 0.12).astype(int)
    steps = np.abs(np.diff(moved, axis=1)).max(axis=2)
    calm = np.abs(np.diff(smooth(400, 600).astype(int), axis=1)).max()
    for border in (square.left, square.right):
        near = steps[square.top : square.bottom, border - 3 : border + 2]
        assert near.max() <= 2 * calm
    # What hides it: motion goes on beyond the square.
    still = composed(scene).astype(int)
    outside = (slice(square.top, square.bottom), slice(square.left - 6, square.left - 1))
    assert np.abs(moved - still)[outside].mean() > 1


def test_nothing_is_painted_at_the_squares_border() -> None:
    avatar = in_picture(np.zeros((400, 600, 3), np.uint8), 300, 190, 160)
    settings = output(600, 400, compose="place")
    picture = composed(Scene(avatar, settings, carries=True), paint=0.0)
    square = lay_out(avatar, settings).square
    assert picture[square.part][square.size[0] // 2, square.size[0] // 2, 0] == 255
    ring = np.ones((400, 600), bool)
    ring[square.grown(-1).part] = False
    assert picture[ring].max() <= 8


def test_place_comes_so_near_that_the_picture_covers_the_output_but_the_face_stays_whole() -> None:
    # A tall picture, the face's square as wide as it: covering would cut the face in two.
    avatar = in_picture(noise(900, 300), 150, 200, 250)
    layout = lay_out(avatar, output(640, 360, compose="place"))
    assert layout.square.size == (468, 468)
    # Forehead and chin lie at 23 and 77 % of the square.
    assert layout.square.top + 0.23 * 468 > 0.1 * 360
    assert layout.square.top + 0.77 * 468 < 360
    assert layout.picture.left > 0  # fill at both sides
    assert layout.picture.right < 640
    # 3:4, the usual portrait: no fill.
    portrait = in_picture(noise(800, 600), 300, 300, 380)
    layout = lay_out(portrait, output(1280, 720, compose="place"))
    assert (layout.picture.left, layout.picture.right) == (0, 1280)
    assert (layout.picture.top, layout.picture.bottom) == (0, 720)


def test_a_large_picture_gives_more_detail_than_the_networks_square() -> None:
    full = np.repeat(np.repeat(noise(180, 180), 4, 0), 4, 1)  # blocks of 4 x 4 pixels
    avatar = in_picture(full, 359.5, 359.5, 630, size=64)
    picture = composed(Scene(avatar, output(640, 640), carries=True)).astype(int)
    blurred = cv2.resize(avatar.image, (640, 640), interpolation=cv2.INTER_CUBIC).astype(int)
    truth = full[40:680, 40:680].astype(int)
    assert np.abs(picture - truth).mean() < 0.35 * np.abs(blurred - truth).mean()


def disc(height: int, width: int, cx: float, cy: float, radius: float) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.where(np.hypot(x - cx, y - cy) < radius, 255, 0).astype(np.uint8)


def test_green_stands_behind_the_person_and_moves_with_him() -> None:
    full = np.full((400, 600, 3), (10, 20, 200), np.uint8)
    matte = disc(400, 600, 300, 200, 60)
    full[matte > 0] = (230, 180, 150)
    avatar = in_picture(full, 300, 200, 200, size=256)
    settings = output(600, 400, compose="place", background="green")
    scene = Scene(avatar, settings, carries=True, matte=matte)
    picture = composed(scene)
    assert (picture[200, 300] == (230, 180, 150)).all()
    assert (picture[30, 30] == (0, 255, 0)).all()
    assert (picture[200, 380] == (0, 255, 0)).all()
    blue = (picture[..., 2].astype(int) > 170) & (picture[..., 0] < 100)
    assert not blue.any()  # no rim of the old background
    moved = composed(scene, 0.3)  # content comes from 0.3 to the right and below: it moves left, up
    xs = np.nonzero(moved[170, :, 0] > 200)[0]
    middle = np.nonzero(picture[200, :, 0] > 200)[0].mean()
    assert xs.mean() == pytest.approx(middle - 0.3 * 100, abs=4)


def barred(moving: tuple[int, int, int] = (230, 180, 150)) -> tuple[Avatar, np.ndarray, Image]:
    """A disc for a head before upright bars, its matte, and the wall alone."""
    wall = np.full((400, 600, 3), 190, np.uint8)
    wall[:, ::40] = wall[:, 1::40] = wall[:, 2::40] = 20
    matte = disc(400, 600, 300, 200, 60)
    full = wall.copy()
    full[matte > 0] = moving
    return in_picture(full, 300, 200, 200, size=256), matte, wall


@pytest.mark.parametrize("compose", ["fit", "crop", "place"])
def test_lines_behind_the_person_stay_straight_while_he_moves(compose: str) -> None:
    avatar, matte, wall = barred()
    settings = output(600, 400, compose=compose)
    scene = Scene(avatar, settings, carries=True, matte=matte)
    still, moved = composed(scene).astype(int), composed(scene, 0.2).astype(int)
    alike = Scene(in_picture(wall, 300, 200, 200, size=256), settings, carries=True)
    bars = composed(alike).astype(int)
    dark = bars.max(-1) < 60
    person = (moved[..., 0] - moved[..., 2] > 40) | (still[..., 0] - still[..., 2] > 40)
    near = cv2.dilate(person.astype(np.uint8), np.ones((51, 51), np.uint8)) > 0
    assert person.any()
    assert (dark & ~near).sum() > 500
    assert np.abs(moved - still)[~near].max() <= 2
    without = Scene(avatar, settings, carries=True)
    bent = np.abs(composed(without, 0.2).astype(int) - composed(without))[~near]
    assert bent.max() > 100  # as the network has it


def test_a_still_person_before_his_own_background_is_the_picture() -> None:
    avatar, matte, _ = barred()
    settings = output(600, 400, compose="place")
    expected = composed(Scene(avatar, settings, carries=True)).astype(int)
    found = composed(Scene(avatar, settings, carries=True, matte=matte)).astype(int)
    off = np.abs(found - expected)
    assert off.max() < 40  # where a bar ends at him: colours cannot be darker than black
    assert off.mean() < 0.05


@pytest.mark.parametrize("wide", [40, 160])
def test_a_head_that_the_pictures_edge_cuts_off_ends_in_a_dome(wide: int) -> None:
    full = np.full((200, 200, 3), 200, np.uint8)
    matte = np.zeros((200, 200), np.uint8)
    matte[:150, 100 - wide // 2 : 100 + wide // 2] = 255
    full[matte > 0] = (60, 30, 20)
    avatar = in_picture(full, 99.5, 99.5, 199, size=128)
    scene = Scene(avatar, output(200, 200), carries=True, matte=matte)
    lowered = np.zeros((2, 64, 64), np.float32)
    lowered[1] -= 0.2  # 20 pixels: more than a narrow dome is high, less than a wide one
    picture = scene.compose(scene.carrier(lowered, *motion()[1:]))[0]  # type: ignore[misc]
    head = picture[..., 0] < 130
    assert head[60, 100]
    assert head[19, 100]
    assert not head[1, 100 - wide // 2]
    assert head[1, 100] == (wide == 160)
    assert head[20].sum() == pytest.approx(wide, abs=8)


def test_alpha_is_the_matte_before_green() -> None:
    full = np.full((400, 600, 3), (230, 180, 150), np.uint8)
    matte = disc(400, 600, 300, 200, 60)
    avatar = in_picture(full, 300, 200, 200, size=256)
    settings = output(600, 400, compose="place", background="alpha")
    scene = Scene(avatar, settings, carries=True, matte=matte)
    assert scene.carrier is not None
    picture, alpha = scene.compose(scene.carrier(*motion()))
    assert alpha is not None
    assert alpha.shape == (400, 600)
    assert np.abs(alpha.astype(int) - matte).mean() < 2
    assert (picture[alpha == 0] == (0, 255, 0)).all()
    without = Scene(avatar, output(600, 400), carries=True)
    assert without.carrier is not None
    assert without.compose(without.carrier(*motion()))[1] is None


def test_a_picture_stands_behind_the_person_covering_the_output() -> None:
    full = np.full((300, 300, 3), (230, 180, 150), np.uint8)
    wall = smooth(100, 400)
    avatar = in_picture(full, 150, 150, 200, size=256)
    matte = disc(300, 300, 150, 150, 60)
    settings = output(400, 200, background="wall.png")
    picture = composed(Scene(avatar, settings, carries=True, matte=matte, background=wall))
    expected = cv2.resize(wall[:, 100:300], (400, 200), interpolation=cv2.INTER_CUBIC)
    assert np.abs(picture[:40, :40].astype(int) - expected[:40, :40]).mean() < 4


def test_a_person_cut_off_by_his_pictures_edge_ends_softly_within_the_output() -> None:
    full = np.full((200, 200, 3), 200, np.uint8)
    avatar = in_picture(full, 99.5, 99.5, 199, size=128)
    settings = output(400, 200, background="alpha")
    scene = Scene(avatar, settings, carries=True, matte=np.full((200, 200), 255, np.uint8))
    assert scene.carrier is not None
    _, alpha = scene.compose(scene.carrier(*motion()))
    assert alpha is not None
    row = alpha[150].astype(int)
    assert row[200] == 255
    assert (row[:99] == 0).all()
    assert 0 < np.diff(row[95:130]).max() < 60  # a ramp, not a step
    assert alpha[199, 200] == 255  # he stands on the lower edge


def test_networks_that_paint_everything_have_no_other_background() -> None:
    avatar = alone(64)
    matte = np.full((64, 64), 255, np.uint8)
    with pytest.raises(SettingsError, match=r"output\.background=green needs networks that tell"):
        Scene(avatar, output(64, 64, background="green"), carries=False, matte=matte)


def test_mixing_follows_the_matte() -> None:
    person, wall = np.full((2, 3, 3), 200, np.uint8), np.full((2, 3, 3), 100, np.uint8)
    matte = np.array([[0, 128, 255], [255, 64, 0]], np.uint8)
    expected = 100 + 100 * (matte.astype(float) / 255)
    put_before(person, wall, matte)
    assert np.abs(person[..., 0] - expected).max() <= 1
