"""``puppetcam demo``, through the command line, with the shipped networks."""

from pathlib import Path

import numpy as np
import pytest
from performed import read_video, write_avatar

from provenance.credentials import read_credentials
from puppetcam.cli import main
from puppetcam.demo import Turns
from puppetcam.panels import row_size
from realtime.avatar import Avatar


def test_the_performer_drives_an_avatar_into_a_film_of_three_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = tmp_path / "demo.mp4"
    avatar = write_avatar(tmp_path / "anna.png")
    arguments = ["--avatar", str(avatar), "--output", str(film), "engine.runtime=onnxruntime"]
    code = main(["demo", "--seconds", "2", *arguments])
    said = capsys.readouterr()
    assert code == 0
    images, _ = read_video(film)
    width, height = row_size(3, 320, captions=True)
    assert images[0].shape == (height, width, 3)
    driving, still, result = (images[-1][height - 320 :, 320 * n : 320 * n + 320] for n in range(3))
    assert np.abs(driving.astype(int) - still).mean() > 15  # two people
    label = result[285:, 275:].max(axis=2)
    assert label.max() > 190
    assert label.min() < 70
    assert images[-1][: height - 320].max() > 150  # captions
    assert "drives anna for 2 s on onnxruntime CPU" in said.err
    credentials = read_credentials(film)
    assert credentials.state == "valid"
    assert credentials.source_types == ("compositeWithTrainedAlgorithmicMedia",)
    for part in ("frame age", "frames delivered", str(film), "puppetcam run --avatar"):
        assert part in said.out


def test_avatars_take_equal_turns_that_are_not_too_short() -> None:
    avatars = [Avatar(name, np.zeros((8, 8, 3), np.uint8)) for name in ("a", "b", "c", "d")]

    def names(seconds: float, *moments: float) -> str:
        turns = Turns(avatars, seconds)
        return "".join(turns.at(500 + moment).name for moment in moments)

    assert names(10, 0, 3.3, 3.4, 6.6, 6.7, 9.9, 10.5) == "aabbccc"
    assert names(12, 0, 2.9, 3.1, 6.1, 9.1) == "aabcd"
    assert names(2, 0, 1, 2) == "aaa"
    assert names(60, 0, 14, 16, 59) == "aabd"


def test_mistakes_are_told_in_one_line_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = tmp_path / "demo.mp4"
    for arguments, part in [
        (["--output", str(film), "--seconds", "0"], "--seconds must be above 0"),
        (["--output", str(tmp_path / "demo.gif")], "must end in .mp4"),
        (["--output", str(tmp_path / "none" / "demo.mp4")], "cannot be written"),
        (["--output", str(film), "--avatar", str(tmp_path / "none.png")], "no such file"),
        (["--output", str(film), "label.text=HUMAN"], "'label.text' must be one of"),
    ]:
        assert main(["demo", *arguments]) == 2
        found = capsys.readouterr().err
        assert found.startswith("puppetcam: ")
        assert part in found
        assert found.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
