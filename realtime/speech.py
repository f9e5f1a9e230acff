"""Whether a mouth moves with the sound of its film, and how much earlier."""

import math
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GRID_HZ = 100.0
"""Mouth and sound are compared at this rate."""
MOST_LAG_S = 0.5
CHANCE_LAG_S = 1.0
"""Sound shifted by more than this has nothing to do with the mouth."""
LEAST_S = 4.0
"""Less than this of both is not compared."""


class Sound(NamedTuple):
    """How loud a film's sound is, every 1 / ``GRID_HZ`` seconds."""

    start_s: float
    """Against the first picture."""
    envelope: Floats
    """(N,) root mean square."""


def follow_sound(times: Floats, mouth: Floats, sound: Sound) -> tuple[float, float, float]:
    """Best correlation of mouth (T,) and loudness, by how many seconds the sound is later, and
    the correlation that chance gives. Not numbers where one of them does not move."""
    nothing = (math.nan,) * 3
    grid = np.arange(times[0], times[-1], 1 / GRID_HZ)
    at = sound.start_s + np.arange(len(sound.envelope)) / GRID_HZ
    grid = grid[(grid >= at[0]) & (grid <= at[-1])] if len(at) else grid[:0]
    if len(grid) < GRID_HZ * LEAST_S:
        return nothing
    lips = _syllables(np.interp(grid, times, mouth))
    loud = _syllables(np.interp(grid, at, sound.envelope))
    if lips.std() < 1e-4 or loud.std() < 1e-4:
        return nothing
    most, far = int(MOST_LAG_S * GRID_HZ), int(CHANCE_LAG_S * GRID_HZ)
    near = [_correlation(lips, loud, lag) for lag in range(-most, most + 1)]
    apart = range(far, len(grid) - far, 5)
    others = [float(np.corrcoef(lips, np.roll(loud, -lag))[0, 1]) for lag in apart]
    # The best of as many lags is compared with the best of as many.
    many = max(1, (2 * most + 1) // 5)
    best = [max(others[n : n + many]) for n in range(max(1, len(others) - many + 1))]
    lag = int(np.argmax(near))
    chance = float(np.quantile(best, 0.95))
    is_sure = near[lag] > chance
    return near[lag], (lag - most) / GRID_HZ if is_sure else math.nan, chance


def sound_of(path: Path | str) -> Sound | None:
    """How loud a film is over time; None without sound that can be read."""
    import av

    step = int(8000 / GRID_HZ)
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.audio or not container.streams.video:
                return None
            video = container.streams.video[0]
            first_s = float((video.start_time or 0) * (video.time_base or 0))
            resampler = av.AudioResampler(format="flt", layout="mono", rate=8000)
            start_s, blocks = None, []
            for frame in container.decode(audio=0):
                start_s = float(frame.time or 0) if start_s is None else start_s
                blocks += [one.to_ndarray()[0] for one in resampler.resample(frame)]
    except (av.error.FFmpegError, OSError):
        return None
    if start_s is None:
        return None
    samples = np.concatenate(blocks).astype(np.float64)
    samples = samples[: len(samples) // step * step].reshape(-1, step)
    return Sound(start_s - first_s, np.sqrt((samples**2).mean(1)))


def _syllables(values: Floats) -> Floats:
    """Without what changes slower than 1 s and faster than syllables, about 2 to 7 Hz."""
    rows = values.reshape(1, -1)
    smooth = cv2.GaussianBlur(rows, (0, 0), 0.04 * GRID_HZ)
    return np.asarray((smooth - cv2.GaussianBlur(rows, (0, 0), 0.3 * GRID_HZ))[0])


def _correlation(lips: Floats, loud: Floats, lag: int) -> float:
    """Of the lips with the sound ``lag`` steps later."""
    one = lips[max(0, -lag) : len(lips) - max(0, lag)]
    other = loud[max(0, lag) : len(loud) - max(0, -lag)]
    return float(np.corrcoef(one, other)[0, 1])
