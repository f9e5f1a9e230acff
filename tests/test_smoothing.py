import math

import numpy as np

from config.schema import SmoothingSettings
from models.keypoints import Keypoints
from models.landmarks import COUNT, INDEX, NAMES, indices
from realtime.smoothing import KeypointSmoother, OneEuro


def paper(times: list[float], xs: list[float], min_cutoff: float, beta: float, dcutoff: float):
    """Algorithm 1 and equations 4-7 of the paper, one number at a time."""

    def alpha(cutoff: float, rate: float) -> float:
        tau = 1 / (2 * math.pi * cutoff)
        te = 1 / rate
        return 1 / (1 + tau / te)

    hat_x, hat_dx, last, out = xs[0], 0.0, times[0], [xs[0]]
    for t, x in zip(times[1:], xs[1:], strict=True):
        rate = 1 / (t - last)
        dx = (x - hat_x) * rate
        edx = alpha(dcutoff, rate) * dx + (1 - alpha(dcutoff, rate)) * hat_dx
        cutoff = min_cutoff + beta * abs(edx)
        hat_x = alpha(cutoff, rate) * x + (1 - alpha(cutoff, rate)) * hat_x
        hat_dx, last = edx, t
        out.append(hat_x)
    return out


def test_each_number_is_filtered_as_in_the_paper() -> None:
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.uniform(0.005, 0.08, 60)).tolist()
    signal = np.cumsum(rng.normal(0, 0.1, (60, 4, 2)), axis=0).astype(np.float32)
    one_euro = OneEuro(1.7, 0.9, 1.0)
    found = np.stack([one_euro(x, t) for x, t in zip(signal, times, strict=True)])
    for i in range(4):
        for j in range(2):
            golden = paper(times, signal[:, i, j].tolist(), 1.7, 0.9, 1.0)
            np.testing.assert_allclose(found[:, i, j], golden, atol=2e-5)


def test_unit_scales_the_speed_and_nothing_else() -> None:
    rng = np.random.default_rng(4)
    signal = rng.normal(0, 1, (40, 3)).astype(np.float32)
    small, large = OneEuro(2.0, 1.0), OneEuro(2.0, 1.0)
    for i, x in enumerate(signal):
        expected = small(x, i / 30) * 120
        np.testing.assert_allclose(large(x * 120, i / 30, unit=120), expected, rtol=1e-3, atol=1e-3)


def test_response_does_not_depend_on_the_frame_rate() -> None:
    """A ramp and a step, filtered at 15, 30 and 60 fps: the same after a second."""
    settled = {}
    for fps in (15, 30, 60):
        one_euro = OneEuro(2.5, 8.0)
        for i in range(fps + 1):
            t = i / fps
            value = one_euro(np.array([0.3 * t, float(t >= 0.2) * 0.1], np.float32), t)
        settled[fps] = value
    np.testing.assert_allclose(settled[15], settled[60], atol=0.004)
    np.testing.assert_allclose(settled[30], settled[60], atol=0.002)


def test_noise_at_rest_is_calmed() -> None:
    rng = np.random.default_rng(5)
    settings = SmoothingSettings()
    one_euro = OneEuro(settings.min_cutoff_hz, settings.beta)
    noise = rng.normal(0, 0.004, (300, 20)).astype(np.float32)
    smooth = np.stack([one_euro(x, i / 30) for i, x in enumerate(noise)])
    assert smooth[30:].std() < 0.55 * noise[30:].std()


def test_a_blink_keeps_its_depth_and_comes_in_time() -> None:
    """A lid that closes in 0.07 s, rests 0.06 s and opens in 0.1 s, by 0.05 of the crop."""
    settings = SmoothingSettings()
    smoother = KeypointSmoother(settings.min_cutoff_hz, settings.beta, tuple(NAMES))
    lid, depths = INDEX["left_lid_upper"], {}
    for i in range(45):
        t = i / 30
        raw = float(np.interp(t, [0.5, 0.57, 0.63, 0.73], [0, 1, 1, 0])) * 0.05
        value = np.zeros((COUNT, 2), np.float32)
        value[lid, 1] = raw
        jacobian = np.tile(np.eye(2, dtype=np.float32), (COUNT, 1, 1))
        depths[i] = (raw, float(smoother(Keypoints(value, jacobian), t).value[lid, 1]))
    raws, smooths = np.array(list(depths.values())).T
    assert smooths.max() > 0.85 * raws.max()
    assert smooths.argmax() - raws.argmax() <= 2
    assert abs(smooths[-1]) < 0.002


def test_a_head_that_moves_takes_its_gaze_along() -> None:
    settings = SmoothingSettings()
    smoother = KeypointSmoother(settings.min_cutoff_hz, settings.beta, tuple(NAMES))
    rng = np.random.default_rng(8)
    face = rng.normal(0, 0.3, (COUNT, 2))
    jacobian = np.tile(np.eye(2, dtype=np.float32), (COUNT, 1, 1))
    for i in range(30):
        place = np.array([0.4, 0.1]) * np.sin(6 * i / 30)
        value = smoother(Keypoints((face + place).astype(np.float32), jacobian), i / 30).value
        for side in ("right", "left"):
            ends = indices(f"{side}_eye_outer", f"{side}_eye_inner")
            iris = INDEX[f"{side}_iris"]
            glance = value[iris] - value[ends].mean(0)
            np.testing.assert_allclose(glance, face[iris] - face[ends].mean(0), atol=1e-5)


def test_jacobians_are_filtered_like_values() -> None:
    smoother = KeypointSmoother(2.5, 8.0)
    reference = OneEuro(2.5, 8.0)
    rng = np.random.default_rng(6)
    for i in range(20):
        value = rng.normal(size=(5, 2)).astype(np.float32)
        jacobian = rng.normal(size=(5, 2, 2)).astype(np.float32)
        smooth = smoother(Keypoints(value, jacobian), i / 25)
        np.testing.assert_allclose(smooth.jacobian, reference(jacobian, i / 25), atol=1e-6)
        assert smooth.value.shape == (5, 2)


def test_the_first_value_and_a_repeated_moment_pass_unchanged() -> None:
    one_euro = OneEuro(1.0, 0.0)
    first = np.array([3.0], np.float32)
    assert one_euro(first, 5.0) == first
    assert one_euro(np.array([9.0], np.float32), 5.0) == first
    one_euro.reset()
    assert one_euro(np.array([7.0], np.float32), 5.0) == 7
