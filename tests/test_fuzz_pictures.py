"""Damaged and invented pictures and films into their readers."""

import math
import struct
import subprocess
import sys
import textwrap
import zlib
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from damage import Damaged, damaged, fuzz
from hypothesis import strategies as st
from performed import write_video

from puppetcam.animate import _count_frames
from puppetcam.film import Film
from realtime.avatar import read_picture
from realtime.cutout import cut_out
from realtime.frame import Frame
from realtime.video import PictureFolder, VideoFile

# --- pictures ---


def pictures() -> list[bytes]:
    rng = np.random.default_rng(0)
    soft = cv2.resize(rng.integers(0, 256, (6, 8, 4), np.uint8), (56, 40))
    kinds = [
        (".png", soft[..., :3]), (".png", soft), (".png", soft[..., 0]),
        (".png", soft.astype(np.uint16) * 257), (".jpg", soft[..., :3]), (".jpg", soft[..., 0]),
        (".webp", soft[..., :3]), (".webp", soft), (".bmp", soft[..., :3]),
        (".tiff", soft[..., :3]), (".tiff", soft[..., 0].astype(np.float32) / 255),
        (".jp2", soft[..., :3]), (".ppm", soft[..., :3]), (".gif", soft[..., :3]),
        (".hdr", soft[..., :3].astype(np.float32)),
    ]  # fmt: skip
    found = []
    for suffix, image in kinds:
        done, data = cv2.imencode(suffix, image)
        assert done
        found.append(data.tobytes())
    return found


def sound_png(data: bytes) -> bytes:
    """The PNG with the checksums of its chunks made right again, so that its damage counts."""
    out, at = bytearray(data[:8]), 8
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunk = data[at + 4 : at + 8 + length]
        out += data[at : at + 4] + chunk + struct.pack(">I", zlib.crc32(chunk))
        at += 12 + length
    return Damaged(out)


def read_image(path: Path) -> bool:
    image = read_picture(path)
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert min(image.shape[:2]) > 0
    cut_out(Frame(image, 0.0, 0))
    return True


def test_pictures(tmp_path: Path) -> None:
    files = pictures()
    path = tmp_path / "x.png"

    def check(data: bytes) -> bool:
        path.write_bytes(data)
        return read_image(path)

    repaired = damaged(files[:4]).map(sound_png)
    fuzz(damaged(files) | repaired | st.binary(max_size=200), check)


def test_a_small_file_that_unpacks_to_gigabytes_is_refused_unpacked(tmp_path: Path) -> None:
    side = 20_000
    rows = zlib.compressobj(9)
    body = b"".join(rows.compress(bytes(1 + side // 8)) for _ in range(side)) + rows.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)  # black and white: 50 MB of rows
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    )
    assert len(data) < 100_000
    (tmp_path / "x.png").write_bytes(data)
    code = textwrap.dedent(f"""
        import resource, sys
        from puppetcam.cli import main
        main(["animate", "--avatar", {str(tmp_path / "x.png")!r}, "--driving", "none.mp4",
              "--output", {str(tmp_path / "o.mp4")!r}])
        from pathlib import Path
        from config.errors import AvatarError
        from realtime.avatar import read_picture
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            read_picture(Path({str(tmp_path / "x.png")!r}))
        except AvatarError as error:
            print(error)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    told, grown_kb = done.stdout.strip().rsplit("\n", 1)
    assert "x.png cannot be decoded" in told or "pixels are too many" in told
    assert int(grown_kb) < 100_000


# --- films ---


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("films")
    images = [np.full((48, 64, 3), 20 * number, np.uint8) for number in range(10)]
    found = [
        write_video(folder / f"x.{suffix}", images, Fraction(25), sound=sound).read_bytes()
        for suffix, sound in (
            ("mp4", "aac"),
            ("mkv", None),
            ("mov", None),
            ("avi", None),
            ("ts", None),
        )
    ]
    for name, codec, pixels in (
        ("x.webm", "libvpx-vp9", "yuva420p"), ("x.avi", "mjpeg", "yuvj420p"),
        ("x.mov", "qtrle", "argb"), ("y.mov", "prores_ks", "yuva444p10le"),
        ("x.gif", "gif", "rgb8"), ("x.mpg", "mpeg2video", "yuv420p"),
    ):  # fmt: skip
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
            for image in images:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
        found.append((folder / name).read_bytes())
    return found


def test_videos(films: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"

    def check(data: bytes) -> bool:
        path.write_bytes(data)
        count = _count_frames(path)
        assert count is None or count >= 0
        with closing(VideoFile(path, clock=lambda: 0.0)) as video:
            assert video.fps > 0
            last = -1.0
            for _ in range(40):
                frame = video.read()
                if frame is None:
                    break
                assert frame.image.dtype == np.uint8
                assert frame.image.ndim == 3
                assert math.isfinite(frame.captured_at)
                assert frame.captured_at > last
                last = frame.captured_at
        return True

    fuzz(damaged(films) | st.binary(max_size=300), check)


def test_folders_of_pictures(tmp_path: Path) -> None:
    files = pictures()

    def check(example: list[bytes]) -> bool:
        for number in range(4):
            (tmp_path / f"{number}.png").unlink(missing_ok=True)
        for number, data in enumerate(example):
            (tmp_path / f"{number}.png").write_bytes(data)
        with closing(PictureFolder(tmp_path, 25.0, clock=lambda: 0.0)) as source:
            while source.read() is not None:
                pass
        return True

    fuzz(st.lists(damaged(files), max_size=4), check)


def test_films_over_which_sound_is_copied(films: list[bytes], tmp_path: Path) -> None:
    """The driving film is read a second time where its sound goes into the new one."""
    driving = tmp_path / "driving.mp4"

    def check(data: bytes) -> bool:
        driving.write_bytes(data)
        VideoFile(driving).close()
        with Film(tmp_path / "film.mp4", driving, 64, 48) as film:
            for number in range(4):
                film.write(Frame(np.full((48, 64, 3), 90, np.uint8), number / 25, number))
            film.finish()
        return True

    fuzz(damaged(films[:1]), check)
