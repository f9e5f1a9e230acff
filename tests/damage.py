"""Damaged and invented files, and ``fuzz``, which gives them to a reader: nothing but the project's
own errors may come out.

    python -m pytest tests/test_fuzz*.py                                   # some examples of each
    PUPPETCAM_FUZZ_S=600 python -m pytest -s tests/test_fuzz*.py -k video  # ten minutes of one

With ``-s`` each reader says how many files it was given and how many of them it took. The same
seeds give the same files.
"""

import faulthandler
import json
import os
import random
import resource
import struct
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import hypothesis
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import PuppetcamError

LONG_S = float(os.environ.get("PUPPETCAM_FUZZ_S", "0"))
EXAMPLES = 40
"""Of each reader where no time is given."""
LONGEST_S = 60.0
"""No file may keep a reader for longer, on however busy a machine."""
LARGEST_GB = 4.0
"""Nor make the process larger than this."""


def fuzz(strategy: "st.SearchStrategy[Any]", check: Callable[[Any], bool]) -> None:
    """Give ``check`` examples of the strategy for as long as there is time. ``check`` says whether
    the reader took it, and may raise nothing but PuppetcamError."""
    given_, taken, slowest = 0, 0, 0.0
    wrong: dict[str, str] = {}

    def one(example: Any) -> None:
        nonlocal given_, taken, slowest
        given_ += 1
        began = time.monotonic()
        if LONG_S:
            # What hangs in a library ends the process, and says where.
            faulthandler.dump_traceback_later(10 * LONGEST_S, exit=True)
        try:
            taken += check(example)
        except PuppetcamError as error:
            told = str(error)
            if not (told.isprintable() and 0 < len(told) < 2000):
                wrong.setdefault(f"message {told[:80]!r}", repr(example))
        except Exception as error:  # noqa: BLE001 - what is looked for; all of it, not the first
            place = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {place.filename}:{place.lineno}"
            wrong.setdefault(kind, f"{error!r:.300} of {example!r:.300}")
        took = time.monotonic() - began
        if took > LONGEST_S:
            wrong.setdefault("slow", f"{took:.0f} s for {example!r:.300}")
        slowest = max(slowest, took)

    ends, number = time.monotonic() + LONG_S, 0
    while number == 0 or time.monotonic() < ends:
        number += 1
        examples = settings(
            max_examples=EXAMPLES if LONG_S == 0 else 200,
            phases=[hypothesis.Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )(given(strategy)(one))
        hypothesis.seed(number)(examples)()
    faulthandler.cancel_dump_traceback_later()
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    name = os.environ["PYTEST_CURRENT_TEST"].partition(" ")[0]
    print(
        f"\n{name}: {given_} files, {taken} taken, seeds 1 to {number}, slowest {slowest:.2f} s, "
        f"largest memory {peak_gb:.2f} GB"
    )
    assert not wrong, "\n".join(f"{kind}: {said}" for kind, said in wrong.items())
    assert peak_gb < LARGEST_GB
    assert given_ >= EXAMPLES


class Damaged(bytes):
    """A file, short to look at."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes, {self[:24].hex()}...>"


@st.composite
def damaged(draw: st.DrawFn, files: Sequence[bytes]) -> bytes:
    """One of the files, changed in some places: bits flipped, numbers made extreme, parts cut out,
    doubled, taken from the others or from nowhere."""
    data = bytearray(draw(st.sampled_from(files)))
    chance = random.Random(draw(st.integers(0, 2**48)))  # noqa: S311 - no secrets
    for _ in range(draw(st.integers(0, 12))):
        if not data:
            break
        # Headers are where readers decide.
        reach = len(data) if chance.random() < 0.5 else min(len(data), 200)
        at = chance.randrange(reach)
        length = min(len(data) - at, int(2 ** chance.uniform(0, 12)))
        match draw(st.sampled_from(("flip", "number", "cut", "drop", "double", "splice", "noise"))):
            case "flip":
                data[at] ^= 1 << chance.randrange(8)
            case "number":
                value = chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x7FFFFFFF, 0xFFFFFFFF))
                data[at : at + 4] = struct.pack(chance.choice(("<I", ">I")), value)
            case "cut":
                del data[at:]
            case "drop":
                del data[at : at + length]
            case "double":
                data[at:at] = data[at : at + length]
            case "splice":
                other = chance.choice(files)
                start = chance.randrange(max(1, len(other)))
                data[at : at + length] = other[start : start + length]
            case "noise":
                data[at : at + length] = chance.randbytes(min(length, 64))
    return Damaged(data)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from([-1, 0, 1, 2**31, 2**63, 1e308, "..", "../x", "\0", "a\nb", "", "0" * 64]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
"""What JSON and YAML may hold."""


@st.composite
def bent(draw: st.DrawFn, values: dict[str, Any]) -> dict[str, Any]:
    """The nested values with some replaced, left out, or added."""
    found = json.loads(json.dumps(values))
    for _ in range(draw(st.integers(0, 4))):
        node: Any = found
        key: Any = draw(st.sampled_from(sorted(node))) if node else "x"
        while isinstance(node.get(key), dict) and node[key] and draw(st.booleans()):
            node = node[key]
            key = draw(st.sampled_from(sorted(node)))
        match draw(st.sampled_from(("replace", "drop", "add"))):
            case "replace":
                node[key] = draw(PLAIN)
            case "drop":
                node.pop(key, None)
            case "add":
                node[draw(st.text(max_size=8))] = draw(PLAIN)
    return found
