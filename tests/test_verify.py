"""``puppetcam verify``, through the command line."""

import json
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from marked import FPS, PAYLOAD, Picture, marked, scene
from performed import faces, write_avatar, write_video

from config.errors import SourceError
from config.schema import CredentialsSettings
from models.bundle import open_bundle
from provenance.identity import own_folder
from provenance.signer import Signer, open_signer
from provenance.watermark import Payload
from puppetcam.cli import main
from realtime.frame import Frame

OPTIONS = {"crf": "16", "preset": "veryfast"}


@pytest.fixture(scope="module")
def film() -> list[tuple[Picture, float]]:
    return marked(scene(seconds=4))


def write(path: Path, pictures: list[Picture]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS), options=OPTIONS)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def verify(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["verify", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_marked_film_is_told_with_its_recording(
    film: list[tuple[Picture, float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "film.mp4", [picture for picture, _ in film])
    code, out, _ = verify(capsys, str(path))
    assert code == 0
    assert "made by AI" in out.splitlines()[0]
    assert str(PAYLOAD) in out
    code, out, _ = verify(capsys, str(path), "--json")
    assert code == 0
    found = json.loads(out)
    assert found["target"] == str(path)
    assert found["made_by_ai"] is True
    layer = found["layers"]["watermark"]
    assert layer["verdict"] == "found"
    assert layer["recording"] == "2026-11-20-2a51f"
    assert layer["day"] == "2026-11-20"
    assert layer["z"] >= layer["threshold"] == 5
    assert layer["seconds"] == pytest.approx(4, abs=0.1)
    assert layer["pictures"] == 120
    assert layer["marked"][0]["place"]["mirrored"] is False


def test_what_animate_writes_is_found_side_by_side_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    avatar = write_avatar(tmp_path / "avatar.png")
    driving = write_video(tmp_path / "driving.mp4", faces(60))
    out = tmp_path / "out.mp4"
    paths = ["--avatar", str(avatar), "--driving", str(driving), "--output", str(out)]
    options = ["--side-by-side", "--size", "256", "--best-frame", "0", "--consent", "drawn"]
    assert main(["animate", *paths, *options]) == 0
    capsys.readouterr()
    code, said, _ = verify(capsys, str(out), "--json")
    assert code == 0
    layer = json.loads(said)["layers"]["watermark"]
    assert layer["verdict"] == "found"
    place = layer["marked"][0]["place"]
    assert place["left"] == pytest.approx(2 / 3, abs=0.01)
    assert place["width"] == pytest.approx(1 / 3, abs=0.01)


def test_an_unmarked_film_gives_1_and_no_false_comfort(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "film.mp4", scene(seconds=4))
    code, out, _ = verify(capsys, str(path))
    assert code == 1
    assert "does not prove" in out
    code, out, _ = verify(capsys, str(path), "--json")
    assert code == 1
    assert json.loads(out)["made_by_ai"] is False
    assert json.loads(out)["layers"]["watermark"]["verdict"] == "not found"


def test_only_what_was_asked_for_is_looked_at(
    film: list[tuple[Picture, float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "film.mp4", [picture for picture, _ in film])
    code, out, _ = verify(capsys, str(path), "--json", "--seconds", "1")
    assert code == 1
    layer = json.loads(out)["layers"]["watermark"]
    assert layer["verdict"] == "not checked"
    assert layer["seconds"] <= 1


def test_a_folder_of_screenshots_and_a_single_one(
    film: list[tuple[Picture, float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    for number in range(0, 120, 24):
        shot = cv2.cvtColor(film[number][0], cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"shot {number}.png"), shot)
    code, out, _ = verify(capsys, str(folder))
    assert code == 0
    assert "5 pictures" in out
    code, out, _ = verify(capsys, str(folder / "shot 0.png"), "--json")
    assert code in (0, 1)
    assert json.loads(out)["layers"]["watermark"]["pictures"] == 1
    cv2.imwrite(str(tmp_path / "unmarked.png"), scene(seconds=1)[0])
    code, out, _ = verify(capsys, str(tmp_path / "unmarked.png"))
    assert code == 1
    assert "in 1 picture; two of the same film, in a folder, show it better" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing.mp4"], "does not exist"),
        (["{}/text.mp4"], "not a readable video"),
        (["{}/empty.png"], "empty"),
        (["{}/text.png"], "not a picture"),
        (["{}"], "pictures can be read"),
        (["film.mp4", "--seconds", "0"], "--seconds must be above 0"),
        (["film.mp4", "--seconds", "nan"], "--seconds must be above 0"),
    ],
)
def test_what_cannot_be_checked_gives_2_and_one_line(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    code, out, err = verify(capsys, *(text.format(tmp_path) for text in arguments))
    assert code == 2
    assert out == ""
    assert told in err.splitlines()[-1]


# --- the other layer ---


@pytest.fixture
def signer() -> Signer:
    pytest.importorskip("c2pa", reason="c2pa-python has no wheel for this system")
    found = open_signer(CredentialsSettings(), open_bundle(None), "1.2.3")
    assert found is not None
    return found


def test_both_layers_are_told_and_one_is_enough(
    film: list[tuple[Picture, float]],
    signer: Signer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    both = write(tmp_path / "both.mp4", [picture for picture, _ in film])
    plain = write(tmp_path / "plain.mp4", scene(seconds=4))
    for path, mark in ((both, "found"), (plain, "not found")):
        assert signer.sign(path, [])
        code, out, _ = verify(capsys, str(path), "--json")
        assert code == 0
        found = json.loads(out)
        assert found["made_by_ai"] is True
        assert found["layers"]["watermark"]["verdict"] == mark
        layer = found["layers"]["credentials"]
        assert (layer["verdict"], layer["state"], layer["trusted"]) == ("found", "valid", True)
        assert layer["source_types"] == ["trainedAlgorithmicMedia"]
    code, out, _ = verify(capsys, str(plain))
    assert code == 0
    assert "credentials: found; valid: unchanged" in out
    assert "puppetcam 1.2.3" in out


def test_a_changed_film_gives_3_and_is_no_longer_believed(
    signer: Signer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "film.mp4", scene(seconds=4))
    assert signer.sign(path, [])
    data = bytearray(path.read_bytes())
    data[data.index(b"mdat") + 99] ^= 1
    path.write_bytes(data)
    code, out, _ = verify(capsys, str(path))
    assert code == 3
    assert "it was changed" in out.splitlines()[0]
    assert "credentials: broken; invalid: changed or damaged" in out
    code, out, _ = verify(capsys, str(path), "--json")
    assert code == 3
    assert json.loads(out)["made_by_ai"] is False


def test_a_folder_is_as_its_worst_picture(
    signer: Signer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), scene(seconds=1)[0])
    assert verify(capsys, str(tmp_path))[0] == 1
    assert signer.sign(tmp_path / "b.png", [])
    code, out, _ = verify(capsys, str(tmp_path))
    assert code == 0
    assert "2 not found, 1 found" in out
    data = bytearray((tmp_path / "b.png").read_bytes())
    data[-30] ^= 1
    (tmp_path / "b.png").write_bytes(data)
    assert verify(capsys, str(tmp_path))[0] == 3


def test_trust_is_the_users_to_give(
    signer: Signer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), scene(seconds=1)[0])
    assert signer.sign(path, [])
    theirs = own_folder() / "certificate.pem"
    monkeypatch.setenv("PUPPETCAM_CONFIG", str(tmp_path / "another computer"))
    code, out, _ = verify(capsys, str(path))
    assert code == 0
    assert "nobody vouches for" in out
    assert "(untrusted)" in out
    code, out, _ = verify(capsys, str(path), f"credentials.trust={theirs}")
    assert code == 0
    assert "that this computer trusts" in out
    assert not (tmp_path / "another computer").exists()  # reading makes no key
    code, _, err = verify(capsys, str(path), "credentials.trust=none.pem")
    assert code == 2
    assert "credentials.trust=none.pem cannot be read" in err


def test_a_still_film_says_so_little_that_nothing_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "still.mp4", [np.full((120, 160, 3), 90, np.uint8)] * 90)
    assert verify(capsys, str(path))[0] == 1


def test_two_recordings_in_one_film_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = scene(seconds=9.6)
    other = Payload(day=1, session=0x00ABC)
    film = marked(pictures) + marked(pictures, payload=other)
    path = write(tmp_path / "film.mp4", [picture for picture, _ in film])
    code, out, _ = verify(capsys, str(path))
    assert code == 0
    assert f"recordings {PAYLOAD}, {other}" in out


class Ending:
    """A stream that breaks off."""

    name, width, height, fps, live = "cam", 320, 240, 30.0, True

    def __init__(self, count: int) -> None:
        self._left = [(picture, 50 + time_s) for picture, time_s in marked(scene(seconds=4))][
            :count
        ]

    def read(self) -> Frame:
        if not self._left:
            raise SourceError("cam has ended")
        image, time_s = self._left.pop(0)
        return Frame(image, time_s, 0)

    def close(self) -> None:
        pass


def test_a_stream_that_breaks_off_is_judged_by_what_was_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("realtime.camera.open_source", lambda *_: Ending(120))
    code, out, err = verify(capsys, "rtsp://cam/live", "--json")
    assert code == 0
    assert "cam has ended" in err
    assert json.loads(out)["layers"]["watermark"]["marked"][0]["start_s"] == 0
    monkeypatch.setattr("realtime.camera.open_source", lambda *_: Ending(0))
    code, _, err = verify(capsys, "rtsp://cam/live")
    assert code == 2
    assert err == "puppetcam: cam has ended\n"
