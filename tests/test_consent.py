"""Whose face an avatar shows: asked once, kept beside it, told in films."""

import os
import re
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import yaml
from performed import faces, write_avatar, write_video

from config.errors import ConsentError
from config.schema import Settings, TrackingSettings
from control.actions import Actions
from models.published import file_hash
from provenance.consent import (
    ANSWERS,
    STATEMENTS,
    Consent,
    Whose,
    file_beside,
    find_consent,
    keep_consent,
)
from provenance.credentials import read_credentials
from puppetcam.cli import main
from puppetcam.consent import settled
from realtime.assembly import SHIPPED, assemble
from realtime.avatar import Avatar
from realtime.face import open_tracker
from realtime.metrics import Metrics
from realtime.portraits import shipped_avatars
from realtime.puppeteer import Puppeteer

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PUPPETCAM_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def a_picture(path: Path, content: bytes = b"a picture") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def avatar(path: Path) -> Avatar:
    """As the reader of avatars makes it, of a file with any content."""
    digest = file_hash(path)
    image = np.zeros((8, 8, 3), np.uint8)
    return Avatar(path.stem, image, (), path, digest, find_consent(path, digest))


def answers(*lines: str) -> tuple[Callable[[str], str], list[str]]:
    """A user who types these lines, and what he was asked."""
    waiting, asked = list(lines), []

    def ask(question: str) -> str:
        asked.append(question)
        return waiting.pop(0)

    return ask, asked


# --- kept ---


def test_the_answer_lies_beside_the_picture_and_is_plain_yaml(tmp_path: Path) -> None:
    path = a_picture(tmp_path / "a" / "me.png")
    digest = file_hash(path)
    assert find_consent(path, digest) is None
    kept = keep_consent(path, Consent("own", "2026-11-20", digest))
    assert kept == tmp_path / "a" / "me.png.consent.yaml"
    assert yaml.safe_load(kept.read_text()) == {
        "face": "own",
        "date": "2026-11-20",
        "sha256": digest,
    }
    assert find_consent(path, digest) == Consent("own", "2026-11-20", digest)
    assert sorted(one.name for one in kept.parent.iterdir()) == ["me.png", "me.png.consent.yaml"]


def test_an_answer_for_another_picture_counts_as_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = a_picture(tmp_path / "me.png")
    keep_consent(path, Consent("own", "2026-11-20", file_hash(path)))
    a_picture(path, b"somebody else's picture")
    assert find_consent(path, file_hash(path)) is None
    assert "is for another picture" in caplog.text


def test_a_folder_that_may_not_be_written_leaves_it_in_the_users_own(
    tmp_path: Path, state: Path
) -> None:
    path = a_picture(tmp_path / "a" / "me.png")
    digest = file_hash(path)
    if os.name == "posix" and os.geteuid() != 0:
        path.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    else:  # an administrator may write anywhere
        file_beside(path).mkdir()
    kept = keep_consent(path, Consent("permission", "2026-11-20", digest))
    path.parent.chmod(0o700)
    assert kept == state / "consent" / f"{digest}.yaml"
    assert find_consent(path, digest) == Consent("permission", "2026-11-20", digest)
    moved = a_picture(tmp_path / "elsewhere.png", path.read_bytes())
    assert find_consent(moved, digest) is not None  # by its bytes, not by its name


def test_nowhere_to_keep_it_is_told(tmp_path: Path, state: Path) -> None:
    path = a_picture(tmp_path / "me.png")
    file_beside(path).mkdir()
    state.touch()
    with pytest.raises(ConsentError, match="set PUPPETCAM_STATE to a folder of your own"):
        keep_consent(path, Consent("own", "2026-11-20", file_hash(path)))


@pytest.mark.parametrize(
    ("text", "face", "day"),
    [
        ("face: drawn", "drawn", ""),
        ("face: own\ndate: 2026-11-20", "own", "2026-11-20"),
        ("face: fictional\ndate: '2026-11-20'\n# from a museum", "fictional", "2026-11-20"),
    ],
)
def test_answers_written_by_hand_are_understood(
    tmp_path: Path, text: str, face: Whose, day: str
) -> None:
    path = a_picture(tmp_path / "me.png")
    file_beside(path).write_text(text)
    assert find_consent(path, "5e" * 32) == Consent(face, day)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"face: mine", "'face' must be one of own, permission, fictional, drawn"),
        (b"fase: own", "nearest is 'face'"),
        (b"", "missing setting 'face'"),
        (b"face: own\ndate: soon", "'date' must be a day such as 2026-11-20"),
        (b"face: own\nsha256: 12", "'sha256' must be"),
        (b"face: own\nsha256: abc", "'sha256' must be 64"),
        (b"[own]", "must hold 'key: value' lines"),
        (b"face: [", "not valid YAML"),
        (b"\xff\xfe\x00", "not a text file"),
        (b"face: !!python/object/apply:os.system [id]", "not valid YAML"),
    ],
)
def test_answers_that_cannot_be_understood_are_one_line(
    tmp_path: Path, content: bytes, part: str
) -> None:
    path = a_picture(tmp_path / "me.png")
    file_beside(path).write_bytes(content)
    with pytest.raises(ConsentError, match=re.escape(part)) as caught:
        find_consent(path, file_hash(path))
    assert "delete it to be asked again" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(str(path)) == 1


def test_the_shipped_avatars_are_drawn_and_say_so() -> None:
    for _, path in shipped_avatars():
        found = find_consent(path, file_hash(path))
        assert found is not None
        assert (found.face, found.sha256) == ("drawn", file_hash(path))


# --- asked ---


def test_each_is_asked_once_and_kept(tmp_path: Path) -> None:
    paths = [a_picture(tmp_path / name, name.encode()) for name in ("a.png", "b.png")]
    ask, asked = answers("2", "drawn\n")
    found = settled([avatar(path) for path in paths], ask=ask)
    assert [one.consent and one.consent.face for one in found] == ["permission", "drawn"]
    assert found[0].consent == Consent("permission", date.today().isoformat(), file_hash(paths[0]))
    assert "a.png" in asked[0]
    assert "b.png" in asked[1]
    for face in ANSWERS:
        assert STATEMENTS[face] in asked[0]
    silent, questions = answers()
    again = settled([avatar(path) for path in paths], ask=silent)
    assert [one.consent for one in again] == [one.consent for one in found]
    assert questions == []


def test_one_answer_may_be_for_all_that_follow(tmp_path: Path) -> None:
    paths = [a_picture(tmp_path / f"{n}.png", bytes([n])) for n in range(4)]
    keep_consent(paths[1], Consent("drawn", "2026-11-20", file_hash(paths[1])))
    ask, asked = answers("1", "fictional all")
    found = settled([avatar(path) for path in paths], ask=ask)
    faces_found = [one.consent and one.consent.face for one in found]
    assert faces_found == ["own", "drawn", "fictional", "fictional"]
    assert len(asked) == 2
    assert "the 2 after it" in asked[0]
    assert "the 1 after it" in asked[1]


def test_what_is_no_answer_is_asked_again(tmp_path: Path) -> None:
    ask, asked = answers("", "me", "5", "0", "own please", "3")
    (found,) = settled([avatar(a_picture(tmp_path / "a.png"))], ask=ask)
    assert found.consent is not None
    assert found.consent.face == "fictional"
    assert len(asked) == 6


def test_the_option_is_the_newest_word_but_not_on_shipped_avatars(tmp_path: Path) -> None:
    path = a_picture(tmp_path / "a.png")
    keep_consent(path, Consent("drawn", "2020-01-01", file_hash(path)))
    name, shipped = shipped_avatars()[0]
    before = file_beside(shipped).read_bytes()
    mine, theirs = settled([avatar(path), avatar(shipped)], "own")
    assert mine.consent == Consent("own", date.today().isoformat(), file_hash(path))
    assert find_consent(path, file_hash(path)) == mine.consent
    assert theirs.name == name
    assert theirs.consent is not None
    assert theirs.consent.face == "drawn"
    assert file_beside(shipped).read_bytes() == before
    assert shipped.parent == SHIPPED


def test_the_same_word_again_keeps_its_date(tmp_path: Path) -> None:
    path = a_picture(tmp_path / "a.png")
    keep_consent(path, Consent("own", "2020-01-01", file_hash(path)))
    (found,) = settled([avatar(path)], "own")
    assert found.consent is not None
    assert found.consent.date == "2020-01-01"


def at_a_terminal(path: Path, typed: bytes) -> tuple[int, str]:
    """The question at a real terminal; exit code and what the terminal showed."""
    import pty

    script = f"""
        import fcntl, sys, termios
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that its Ctrl-C reaches this process
        sys.path.insert(0, {str(ROOT / "tests")!r})
        from pathlib import Path
        from test_consent import avatar
        from config.errors import ConsentError
        from puppetcam.consent import settled
        try:
            print(settled([avatar(Path({str(path)!r}))])[0].consent.face)
        except ConsentError as error:
            sys.exit(str(error))
        except KeyboardInterrupt:
            sys.exit(130)
    """
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    ) as child:  # fmt: skip
        os.close(slave)
        shown = b""
        while b"Answer" not in shown:
            shown += os.read(master, 4096)
        os.write(master, typed)
        while True:
            try:
                more = os.read(master, 4096)
            except OSError:  # the terminal closes with the process
                break
            if not more:
                break
            shown += more
    os.close(master)
    return child.returncode, shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize(
    ("typed", "code", "part"),
    [
        (b"nobody\n2\n", 0, "permission\r\n"),
        (b"\x04", 1, "no answer; say it with --consent"),
        (b"\x03", 130, "^C"),
    ],
)
def test_a_terminal_is_asked_and_ctrl_c_ends_it(
    tmp_path: Path, typed: bytes, code: int, part: str
) -> None:
    path = a_picture(tmp_path / "a.png")
    found, shown = at_a_terminal(path, typed)
    assert found == code
    assert part in shown
    assert file_beside(path).exists() is (code == 0)


# --- while it runs ---


def test_a_picture_that_is_loaded_while_it_runs_needs_an_answer_too(tmp_path: Path) -> None:
    new = unsaid_avatar(tmp_path / "new.png")
    done: list[str] = []
    puppet = SimpleNamespace(set_avatar=lambda avatar: done.append(avatar.consent.face))
    with assemble(Settings()) as assembly:
        actions = Actions(
            lambda action: action(cast(Puppeteer, puppet)), Metrics(), assembly.avatars,
            Settings(), lambda avatar: None, lambda: open_tracker(TrackingSettings()), 256,
        )  # fmt: skip
        with pytest.raises(ConsentError, match="say it once: load own:") as caught:
            actions.do("load", str(new))
        assert "\n" not in str(caught.value)
        assert len(actions.avatars) == len(assembly.avatars)
        actions.do("load", f"permission:{new}").result(5)
        actions.do("load", str(new)).result(5)
    assert done == ["permission", "permission"]
    assert yaml.safe_load(file_beside(new).read_text())["face"] == "permission"


# --- through the command line ---


@pytest.fixture(scope="module")
def driving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("driving") / "driving.mp4", faces(3))


def unsaid_avatar(path: Path) -> Path:
    write_avatar(path)
    file_beside(path).unlink()
    return path


def test_without_terminal_and_answer_nothing_is_made_and_one_line_says_how(
    tmp_path: Path, driving: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    me, film = unsaid_avatar(tmp_path / "me.png"), tmp_path / "film.mp4"
    for arguments in (
        ["run", "--avatar", str(me), "--source", str(driving), "--sink", f"file:{film}"],
        ["animate", "--avatar", str(me), "--driving", str(driving), "--output", str(film)],
        ["demo", "--avatar", str(me), "--seconds", "1", "--output", str(film)],
    ):
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert said.startswith("puppetcam: nobody has said yet whose face ")
        assert "--consent own|permission|fictional|drawn" in said
        assert said.count("\n") == 1
        assert sorted(one.name for one in tmp_path.iterdir()) == ["me.png"]


def test_the_word_is_kept_and_told_in_the_film(
    tmp_path: Path, driving: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("c2pa", reason="c2pa-python has no wheel for this system")
    me, film = unsaid_avatar(tmp_path / "me.png"), tmp_path / "film.mp4"
    more = ["--best-frame", "0", "--size", "256", "--side-by-side"]
    paths = ["--avatar", str(me), "--driving", str(driving), "--output", str(film)]
    assert main(["animate", *paths, *more, "--consent", "own"]) == 0
    assert "signed" in capsys.readouterr().out
    found = read_credentials(film)
    assert found.state == "valid"
    assert found.source_types == ("compositeWithTrainedAlgorithmicMedia",)
    today = date.today().isoformat()
    assert found.statement is not None
    assert found.statement["avatars"] == [
        {
            "sha256": file_hash(me),
            "face": "own",
            "consent": "my own face",
            "consent_date": today,
        }
    ]
    assert yaml.safe_load(file_beside(me).read_text())["face"] == "own"
    assert main(["animate", *paths, *more]) == 0  # asks no more
    names = sorted(one.name for one in tmp_path.iterdir())
    assert names == ["film.mp4", "me.png", "me.png.consent.yaml"]


def test_pictures_that_are_no_avatars_get_no_answer(
    tmp_path: Path, driving: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = a_picture(tmp_path / "wrong.png")
    arguments = ["--source", str(driving), "--sink", "memory", "--consent", "own"]
    assert main(["run", "--avatar", str(wrong), *arguments]) == 2
    assert "not a picture" in capsys.readouterr().err
    assert not file_beside(wrong).exists()
