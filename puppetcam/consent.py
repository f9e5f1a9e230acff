"""Asks whose face an avatar shows, once, or takes the answer from ``--consent``."""

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.errors import ConsentError
from provenance.consent import ANSWERS, STATEMENTS

if TYPE_CHECKING:
    from provenance.consent import Whose
    from realtime.avatar import Avatar

MEANS = "; ".join(f"{answer}: {STATEMENTS[answer]}" for answer in ANSWERS)


def add_avatar_arguments(
    parser: argparse.ArgumentParser, help: str | None = None, *, several: bool = True
) -> None:
    """``--avatar``, a list where ``several`` and else one that is required, and ``--consent``."""
    how: dict[str, Any] = {"required": True}
    if several:
        how = {"action": "append", "default": []}
    parser.add_argument("--avatar", type=Path, metavar="PICTURE", help=help, **how)
    parser.add_argument(
        "--consent",
        choices=ANSWERS,
        help=f"whose face it is, kept beside the picture and told in films ({MEANS}); asked once "
        "where it is not given",
    )


def settled(
    avatars: "Sequence[Avatar]",
    said: "Whose | None" = None,
    ask: Callable[[str], str] | None = None,
) -> "tuple[Avatar, ...]":
    """The avatars, each with its consent: ``said``, which is for all but the shipped ones; else
    what was kept; else what the user answers, and that is kept.

    ``ask``: puts a question and returns the line typed; default: the terminal, where there is one.
    Raises ConsentError where nobody can be asked.
    """
    from datetime import date

    from realtime.assembly import SHIPPED
    from realtime.avatar import with_consent

    today = date.today()
    found = list(avatars)
    if said is not None:
        for number, one in enumerate(found):
            if one.path is None or one.path.resolve().parent != SHIPPED.resolve():
                found[number] = with_consent(one, said, today)
        return tuple(found)
    unsaid = [number for number, one in enumerate(found) if one.path and one.consent is None]
    if unsaid and ask is None and not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        more = f" and {len(unsaid) - 1} more" if len(unsaid) > 1 else ""
        raise ConsentError(
            f"nobody has said yet whose face {found[unsaid[0]].path} shows{more}; say it once with "
            f"--consent {'|'.join(ANSWERS)} ({MEANS})"
        )
    while unsaid:
        face, for_all = _answer(str(found[unsaid[0]].path), len(unsaid), ask or _type)
        count = len(unsaid) if for_all else 1
        for number in unsaid[:count]:
            found[number] = with_consent(found[number], face, today)
        unsaid = unsaid[count:]
    return tuple(found)


def _answer(picture: str, left: int, ask: Callable[[str], str]) -> "tuple[Whose, bool]":
    """The answer, and whether it is for all the ``left`` pictures."""
    lines = [f"Whose face is in {picture}? It is kept beside the picture and told in your films."]
    lines += [f"  {n}  {face:10}  {STATEMENTS[face]}" for n, face in enumerate(ANSWERS, start=1)]
    prompt = "Answer (1 to 4): "
    if left > 1:
        prompt = f"Answer (1 to 4; '4 all' for this and the {left - 1} after it): "
    text = "\n".join(lines) + "\n" + prompt
    while True:
        word, _, rest = ask(text).strip().lower().partition(" ")
        chosen = ANSWERS[int(word) - 1] if word in ("1", "2", "3", "4") else word
        for face in ANSWERS:
            if chosen == face and rest.strip() in ("", "all"):
                return face, rest.strip() == "all"
        text = prompt


def _type(question: str) -> str:
    """A line from the terminal. Ctrl-C interrupts at once; the end of input is an error."""
    print(question, end="", file=sys.stderr, flush=True)
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.default_int_handler) if main else None
    try:
        line = sys.stdin.readline()
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
    if not line:
        raise ConsentError(f"no answer; say it with --consent {'|'.join(ANSWERS)}")
    return line
