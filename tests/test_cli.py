"""The command line: what a user's mistake looks like, and that it is never a traceback."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from config import errors
from puppetcam import __version__, cli

ROOT = Path(__file__).parent.parent


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "puppetcam", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def fake_command(run: Callable[[argparse.Namespace], int]) -> SimpleNamespace:
    return SimpleNamespace(
        register=lambda commands: commands.add_parser("fake").set_defaults(run=run)
    )


def fail_with(error: BaseException) -> SimpleNamespace:
    def run(_: argparse.Namespace) -> int:
        raise error

    return fake_command(run)


def names_of(module: ModuleType) -> list[str]:
    commands = argparse.ArgumentParser().add_subparsers()
    module.register(commands)
    return list(commands.choices)


def test_version_is_the_one_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"puppetcam {__version__}\n"
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()


def test_help_lists_every_command_with_its_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    names = [name for module in cli.COMMANDS for name in names_of(module)]
    assert "models" in names
    for name in names:
        assert any(words[:1] == [name] and len(words) > 1 for words in lines), name


def test_every_command_has_a_help_page(capsys: pytest.CaptureFixture[str]) -> None:
    for module in cli.COMMANDS:
        for name in names_of(module):
            with pytest.raises(SystemExit) as caught:
                cli.main([name, "--help"])
            assert caught.value.code == 0
            assert f"puppetcam {name}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["models"], ["models", "nonsense"]])
def test_an_unknown_or_missing_command_shows_the_usage(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: puppetcam")


@pytest.mark.parametrize(
    ("name", "code"),
    [(name, 1 if name == "EngineError" else 2) for name in dir(errors) if name.endswith("Error")],
)
def test_each_error_of_the_tree_is_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, code: int
) -> None:
    monkeypatch.setattr(cli, "COMMANDS", (fail_with(getattr(errors, name)("what to do")),))
    assert cli.main(["fake"]) == code
    captured = capsys.readouterr()
    assert captured.err == "puppetcam: what to do\n"
    assert captured.out == ""


def test_the_commands_exit_code_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "COMMANDS", (fake_command(lambda _: 7),))
    assert cli.main(["fake"]) == 7


def test_control_c_is_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "COMMANDS", (fail_with(KeyboardInterrupt()),))
    assert cli.main(["fake"]) == 130
    assert capsys.readouterr().err == ""


def test_a_missing_system_library_names_the_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
    monkeypatch.setattr(cli, "COMMANDS", (fail_with(error),))
    assert cli.main(["fake"]) == 2
    told = capsys.readouterr().err
    assert "libGL.so.1" in told
    assert "apt install libgl1" in told
    assert told.count("\n") == 1


def test_a_mistake_in_a_real_process_has_no_traceback(tmp_path: Path) -> None:
    found = run("models", "pull", "vox-adf", PUPPETCAM_CACHE=str(tmp_path))
    assert found.returncode == 2
    assert found.stderr.startswith("puppetcam: no published weights are called 'vox-adf'")
    assert found.stderr.count("\n") == 1
    assert found.stdout == ""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    found = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m puppetcam models list | head -n 1"],
        cwd=ROOT,
        # Unbuffered: the second line meets a closed pipe for sure.
        env=os.environ | {"PUPPETCAM_CACHE": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.stdout == f"cache: {tmp_path}\n"
    assert found.stderr == ""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "there is no memory left; close other programs"),
        (ValueError("two\nlines"), "a mistake of puppetcam's own (ValueError: two lines); please"),
    ],
)
def test_what_nobody_foresaw_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    told: str,
) -> None:
    monkeypatch.setattr(cli, "COMMANDS", (fail_with(error),))
    assert cli.main(["fake"]) == 1
    found = capsys.readouterr().err
    assert found.startswith(f"puppetcam: {told}")
    assert found.count("\n") == 1
    monkeypatch.setenv(cli.TRACEBACK, "1")
    with pytest.raises(type(error)):
        cli.main(["fake"])
