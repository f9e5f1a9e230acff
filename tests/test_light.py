import numpy as np
import pytest

from realtime.frame import Image
from realtime.light import EVERY_S, IN_A_ROW, SETTLE_S, STEP, Denoiser, LightMeter, noise_between

RNG = np.random.default_rng(3)
SCENE = np.clip(
    120 + 60 * np.sin(np.arange(320) / 20)[None, :, None] + np.zeros((240, 1, 3)), 0, 255
)
"""(240, 320, 3) float: smooth stripes."""


def shot(gain: float = 1.0, sigma: float = 0.0, scene: np.ndarray = SCENE) -> Image:  # type: ignore[type-arg]
    noisy = scene * gain + RNG.normal(0, sigma, scene.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def watch(meter: LightMeter, seconds: float, fps: float = 30, **light: float) -> list[float]:
    """Times at which the meter says something."""
    said = []
    shots = [shot(**light) for _ in range(5)]
    for number in range(int(seconds * fps)):
        if meter.look(shots[number % 5], number / fps) is not None:
            said.append(number / fps)
    return said


@pytest.mark.parametrize("sigma", [0.0, 1.0, 3.0, 9.0])
def test_noise_between_two_pictures_is_its_standard_deviation(sigma: float) -> None:
    scene = SCENE[..., 0]
    before, after = (
        np.asarray(scene + RNG.normal(0, sigma, scene.shape), np.float32) for _ in range(2)
    )
    assert noise_between(before, after) == pytest.approx(sigma, rel=0.03, abs=1e-4)
    moved = after.copy()
    moved[:, :60], moved[:, 60:120] = 255, 0  # more than a third of the picture moves
    assert noise_between(before, moved) < 1.7 * sigma + 0.1
    assert noise_between(before, after + 7) == pytest.approx(sigma, rel=0.03, abs=1e-4)  # a lamp


def test_good_light_is_not_mentioned() -> None:
    meter = LightMeter()
    assert watch(meter, 12, sigma=2) == []
    middle = SCENE[48:-48, 80:-80].mean()
    assert meter.brightness == pytest.approx(middle, abs=3)
    # Grey of three independent channels.
    assert meter.noise == pytest.approx(2 * np.sqrt(0.299**2 + 0.587**2 + 0.114**2), rel=0.1)


@pytest.mark.parametrize("light", [{"gain": 0.2, "sigma": 1.0}, {"gain": 0.8, "sigma": 12.0}])
def test_dark_or_noisy_pictures_are_mentioned_once_after_they_have_settled(
    light: dict[str, float],
) -> None:
    said = watch(LightMeter(), 12, **light)
    assert said == [pytest.approx(SETTLE_S + (IN_A_ROW - 1) * EVERY_S, abs=0.3)]


def test_what_is_said_has_the_figures_and_the_remedy() -> None:
    meter = LightMeter()
    dark = shot(gain=0.2)
    (text,) = [said for n in range(80) if (said := meter.look(dark, n / 10))]
    assert f"brightness {dark[48:-48, 80:-80].mean():.0f} of 255, noise 0.0" in text
    assert "camera.denoise=true" in text
    assert "\n" not in text


def test_a_moment_of_darkness_is_not_mentioned() -> None:
    meter = LightMeter()
    light, dark = shot(), shot(gain=0.1)
    for number in range(300):
        assert meter.look(dark if 120 < number < 150 else light, number / 30) is None


def test_two_pictures_a_second_are_looked_at_and_few_of_their_pixels() -> None:
    looked: list[int] = []

    class Counted(np.ndarray):  # type: ignore[type-arg]
        def __getitem__(self, key: object) -> object:  # type: ignore[override]
            looked.append(1)
            return np.asarray(self)[key]  # type: ignore[index]

    meter = LightMeter()
    picture = shot().view(Counted)
    for number in range(300):
        meter.look(picture, number / 30)
    assert 14 <= len(looked) <= 2 * (10 - SETTLE_S) / EVERY_S + 1
    assert STEP**2 == 16


def test_a_still_scene_is_calmed_and_stays_as_bright() -> None:
    denoise = Denoiser()
    noisy = [shot(gain=0.3, sigma=8) for _ in range(30)]
    calm = [denoise(image) for image in noisy]
    truth = SCENE * 0.3

    def error(images: list[Image]) -> float:
        return float(np.mean([(image - truth).std() for image in images[10:]]))

    # A weight of 1/4 leaves sqrt(0.25 / 1.75) = 0.38 of the noise; a few pixels count as moved.
    assert error(calm) < 0.5 * error(noisy)
    assert np.mean(calm[-1]) == pytest.approx(np.mean(noisy), abs=0.3)


def test_what_moves_does_not_lag() -> None:
    denoise = Denoiser()
    for number in range(20):
        scene = SCENE * 0.5
        scene[100:140, 8 * number : 8 * number + 40] = 250
        calm = denoise(shot(sigma=4, scene=scene))
    inside = calm[110:130, 8 * 19 + 10 : 8 * 19 + 30]
    behind = calm[110:130, 8 * 18 - 30 : 8 * 18 - 10]
    assert inside.mean() == pytest.approx(250, abs=2)
    assert behind.mean() == pytest.approx(scene[110:130, 8 * 18 - 30 : 8 * 18 - 10].mean(), abs=4)


def test_the_first_picture_and_another_size_pass_as_they_are() -> None:
    denoise = Denoiser()
    first = shot(sigma=8)
    assert denoise(first) is first
    small = shot(sigma=8)[:100]
    np.testing.assert_array_equal(denoise(small), small)
    denoise.reset()
    assert denoise(first) is first
