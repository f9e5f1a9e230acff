"""One line of what ``puppetcam doctor`` found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """A part, its state, and the fix."""

    name: str
    state: Literal["ok", "problem", "broken"]
    """broken: nothing moves without it; problem: some use is not possible."""
    detail: str
    fix: str = ""
    """What to do, "" where nothing is to be done."""
