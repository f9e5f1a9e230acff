"""The C library's heap, kept small in a process that starts threads for hours."""

import ctypes
import os
import sys

_M_ARENA_MAX = -8
"""Of glibc's malloc.h."""
_ARENAS = 2


def few_arenas() -> bool:
    """Let all threads share two arenas, from now on; to be called before threads start.

    glibc gives threads arenas of their own, up to eight a core, and what one has freed another
    cannot use: pictures that are prepared beside a run leave a hole in each. False where that is
    not so: another C library, or the user has said ``MALLOC_ARENA_MAX``.
    """
    if not sys.platform.startswith("linux") or "MALLOC_ARENA_MAX" in os.environ:
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS))
    except AttributeError:  # musl has no such function
        return False
