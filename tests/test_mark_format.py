"""The format of the mark as docs/provenance.md publishes it: a reader and an embedder that were
written from that page alone, without a line of the project's own."""

import hashlib
import re
from pathlib import Path

import numpy as np
from marked import PAYLOAD, Picture, coded, marked, scene

from provenance.detector import read_video
from provenance.watermark import Payload

PAGE = Path(__file__).parents[1] / "docs" / "provenance.md"


def signs(name: str) -> np.ndarray:
    """(32, 32) of -1 and 1."""
    digest = b"".join(
        hashlib.sha256(f"puppetcam mark 1 {name} {number}".encode("ascii")).digest()
        for number in range(4)
    )
    bits = [byte >> (7 - place) & 1 for byte in digest for place in range(8)]
    return np.array([1 if bit else -1 for bit in bits]).reshape(32, 32)


def check(message: str) -> str:
    """CRC-12/DECT of a text of 0 and 1, by long division."""
    rest = int(message, 2) << 12
    while rest.bit_length() > 12:
        rest ^= 0x180F << (rest.bit_length() - 13)
    return f"{rest:012b}"


def message(day: int, recording: int) -> str:
    """48 of 0 and 1."""
    text = f"{1:04b}{day:014b}{recording:018b}"
    return text + check(text)


def cells(picture: Picture) -> np.ndarray:
    """(32, 32): mean brightness, BT.601, of each cell."""
    brightness = picture.astype(float) @ [0.299, 0.587, 0.114]
    height, width = brightness.shape
    rows, columns = (np.arange(side) * 32 // side for side in (height, width))
    number = rows[:, None] * 32 + columns
    total = np.bincount(number.ravel(), brightness.ravel(), 1024)
    return (total / np.bincount(number.ravel(), minlength=1024)).reshape(32, 32)


def around(values: np.ndarray) -> np.ndarray:
    """(32, 32): means of 3 x 3 cells."""
    padded = np.pad(values, 1, mode="edge")
    return sum(padded[y : y + 32, x : x + 32] for y in range(3) for x in range(3)) / 9


def read(film: list[tuple[Picture, float]]) -> tuple[float, str]:
    """z of the pilot, and the 48 bits; of a film at 30 fps that shows nothing but the marked
    picture, not moved."""
    brightness = np.array([cells(picture) for picture, _ in film])
    times = np.array([time_s for _, time_s in film])
    total = np.zeros((32, 32), complex)
    for start in range(0, len(film) - 95, 48):  # 3.2 s, every 1.6 s
        part = slice(start, start + 96)
        window = np.hanning(98)[1:-1]
        turns = window * np.exp(-2j * np.pi * 1.25 * times[part])
        turns -= window * turns.sum() / window.sum()
        swing = np.tensordot(turns, brightness[part], 1)
        swing -= around(swing)
        energy = around(np.abs(swing) ** 2)
        total += swing / (energy + 0.05 * np.median(energy))
    pilot = (total * signs("pilot")).sum()
    z = abs(pilot) / np.sqrt((np.abs(total) ** 2).sum() / 2)
    later = -(total * np.conj(pilot)).imag * signs("data")
    rows, columns = np.indices((32, 32))
    bits = np.bincount(((columns + 11 * rows) % 48).ravel(), later.ravel())
    return z, "".join("1" if bit > 0 else "0" for bit in bits)


def embed(pictures: list[Picture], day: int, recording: int) -> list[tuple[Picture, float]]:
    """With 2 grey levels, rounded at random."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((32, 32))
    sent = np.array([1 if bit == "1" else -1 for bit in message(day, recording)])
    q = signs("data") * sent[(columns + 11 * rows) % 48]
    film = []
    for number, picture in enumerate(pictures):
        t = 5.5 + number / 30
        turn = 2 * np.pi * 1.25 * t
        swing = 2 * (signs("pilot") * np.cos(turn) + q * np.sin(turn)) / np.sqrt(2)
        height, width = picture.shape[:2]
        spread = swing[np.ix_(np.arange(height) * 32 // height, np.arange(width) * 32 // width)]
        changed = np.floor(picture + spread[..., None] + rng.random((height, width, 1)))
        film.append((np.clip(changed, 0, 255).astype(np.uint8), number / 30))
    return film


def test_the_page_gives_the_first_signs() -> None:
    text = PAGE.read_text()
    for name in ("pilot", "data"):
        first = "".join("+" if sign > 0 else "-" for sign in signs(name)[0, :8])
        assert re.search(rf"{name}'s (first eight signs )?are\s+`{re.escape(first)}`", text)


def test_the_check_is_that_of_the_catalogue() -> None:
    assert int(check("".join(f"{byte:08b}" for byte in b"123456789")), 2) == 0xF5B


def test_the_reader_of_the_page_reads_our_films() -> None:
    film = marked(scene(seconds=9.6), start_s=3.3)
    sent = message(PAYLOAD.day, PAYLOAD.session)
    z, bits = read(film)
    assert z > 8
    assert bits == sent
    # With its look ahead the encoder gives other pictures at every run.
    steady = {"x264-params": "rc-lookahead=0:sync-lookahead=0"}
    z, bits = read(coded(film, {"crf": "20", "preset": "veryfast", **steady}))
    assert z > 8
    assert sum(one != other for one, other in zip(bits, sent, strict=True)) <= 4
    z, bits = read([(picture, time_s) for picture, (_, time_s) in zip(scene(), film, strict=False)])
    assert z < 4
    assert bits[36:] != check(bits[:36])


def test_our_reader_reads_films_of_the_page() -> None:
    reading = read_video(embed(scene(seconds=5), day=77, recording=0x1F00D))
    assert reading.found
    assert reading.payload == Payload(day=77, session=0x1F00D)
