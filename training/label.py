"""One's own pictures and films as the stages of training read them: cut out, with landmarks.

Written are ``portraits`` and ``clips`` in the form of ``training.data``.
"""

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import av
import cv2
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray
from tqdm import tqdm

from config.errors import AvatarError, PuppetcamError, SettingsError, SinkError, SourceError
from realtime.assembly import PICTURES
from realtime.avatar import TIGHTEST, read_picture
from realtime.codec import FILM
from realtime.crop import Crop
from realtime.face import Tracker
from realtime.frame import Frame, Image
from realtime.neutral import find_neutral
from realtime.video import VideoFile
from training.data import PIXEL_CENTRE, SIZE, save_arrays
from training.driver import VIDEOS, Sampling, frames_of
from training.landmarker import Landmarker

LEAST_PX = SIZE // 2
"""Side of the smallest square that is cut out: enlarged further, it would teach blur."""
JPEG_QUALITY = 95
SCALE = 1 / 64
"""Of a clip's landmarks, pixels."""
WHOLE = Sampling(max_frames=sys.maxsize)
"""Every frame of a film."""

Report = Callable[[str], object]
Result = TypeVar("Result")


def label(
    folder: Path, run: Path, tracker: Tracker, landmarker: Landmarker, report: Report
) -> None:
    """All pictures and films of a folder, one person in each, into ``run/portraits`` and
    ``run/clips``.

    ``report`` gets a line for each that cannot be used. A film that was done before is not done
    again. Raises SettingsError where none can be used.
    """
    if not folder.is_dir():
        raise SettingsError(f"--pictures {folder}: there is no such folder; name one with pictures")
    files = sorted(folder.iterdir())
    pictures = [path for path in files if path.suffix.lower() in PICTURES]
    films = [path for path in files if path.suffix.lower() in VIDEOS]
    portraits = _done(
        pictures,
        lambda path: _portrait(path, run / "portraits", tracker, landmarker),
        "pictures",
        report,
    )
    clips = _done(
        films,
        lambda path: _clip(path, run / "clips" / path.stem, tracker, landmarker),
        "films",
        report,
    )
    if not portraits and not clips:
        raise SettingsError(
            f"--pictures {folder}: none of its {len(pictures)} pictures and {len(films)} films can "
            "be used; put pictures or films into it that show one face each"
        )
    if portraits:
        landmarks = np.stack(list(portraits.values()))
        save_arrays(
            run / "portraits" / "landmarks.npz", names=np.array(list(portraits)), lm=landmarks
        )


def _done(
    paths: list[Path], work: Callable[[Path], Result], unit: str, report: Report
) -> dict[str, Result]:
    """What ``work`` makes of each file that can be used, by name."""
    results: dict[str, Result] = {}
    for path in tqdm(paths, desc="labelling", unit=f" {unit}"):
        try:
            if path.stem in results:
                raise SourceError(f"{path}: another one here has this name; rename it")
            results[path.stem] = work(path)
        except PuppetcamError as error:
            report(f"left out: {error}")
        except (OSError, FFmpegError) as error:
            raise SinkError(f"{path}: what is made of it cannot be written: {error}") from error
    return results


def _portrait(
    path: Path, folder: Path, tracker: Tracker, landmarker: Landmarker
) -> NDArray[np.float32]:
    """The picture, cut out, into the folder; its landmarks (478, 3), pixels from the corner."""
    image = read_picture(path)
    faces = tracker.find_all(image)
    if not faces:
        raise AvatarError(f"{path}: no face in it")
    cut = _square(path, image, faces[0].landmarks).cut(image, SIZE)
    landmarks = landmarker.film([cut] * 2)[-1]  # as a film it settles
    if not np.isfinite(landmarks).all():
        raise AvatarError(f"{path}: the landmarker finds no face in it")
    folder.mkdir(parents=True, exist_ok=True)
    jpeg = cv2.imencode(
        ".jpg", cv2.cvtColor(cut, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )[1]
    (folder / f"{path.stem}.jpg").write_bytes(jpeg.tobytes())
    return np.asarray(landmarks + PIXEL_CENTRE, np.float32)


def _clip(path: Path, folder: Path, tracker: Tracker, landmarker: Landmarker) -> None:
    """The film, cut out, and its landmarks into the folder."""
    tracker.reset()
    final = folder / "video.mp4"
    if final.exists():
        return
    found = find_neutral(frames_of(path, WHOLE), tracker)
    if found is None:
        raise SourceError(f"{path}: no face in it")
    partial = final.with_name("partial.mp4")
    with closing(VideoFile(path)) as source:
        frames = iter(source.read, None)
        first = next(frames)
        square = _square(path, first.image, found[1].landmarks)
        folder.mkdir(parents=True, exist_ok=True)
        with av.open(str(partial), "w") as container:
            rate = max(round(source.fps), 1)
            stream: Any = container.add_stream(FILM.encoder, rate=rate, options=FILM.options)
            stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, FILM.pixels

            def written() -> Iterator[Image]:
                for frame in itertools.chain([first], frames):
                    cut = square.cut(frame.image, SIZE)
                    container.mux(stream.encode(FILM.picture(Frame(cut, 0.0, frame.index))))
                    yield cut

            landmarks = landmarker.film(written()) + PIXEL_CENTRE
            container.mux(stream.encode(None))
    valid = np.isfinite(landmarks).all((1, 2))
    quantized = np.nan_to_num(landmarks / SCALE).clip(-32768, 32767).round().astype(np.int16)
    save_arrays(folder / "landmarks.npz", lm_q=quantized, scale=SCALE, valid=valid)
    # Last, so that a clip that is there is whole.
    os.replace(partial, final)


def _square(path: Path, image: Image, landmarks: NDArray[np.float32]) -> Crop:
    """What is cut out: around the face, or all of a picture that has the size already."""
    if image.shape[:2] == (SIZE, SIZE):
        return Crop.whole(image)
    square = Crop.around(landmarks).within(image, TIGHTEST)
    if square.side < LEAST_PX:
        raise SourceError(
            f"{path}: its face is too small, {square.side:.0f} pixels with the hair around it; "
            f"give one with {LEAST_PX} at least"
        )
    return square
