"""What the heap does is the C library's; that threads share it is counted in a fresh process."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import ctypes, re, sys, threading
from realtime.heap import few_arenas
print(few_arenas())
here, end = threading.Barrier(9), threading.Event()
def work():
    block = ctypes.CDLL(None).malloc(1000)
    here.wait()
    end.wait()
for _ in range(8):
    threading.Thread(target=work).start()
here.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = libc.fopen(sys.argv[1].encode(), b"w")
libc.malloc_info(0, ctypes.c_void_p(file))
libc.fclose(ctypes.c_void_p(file))
end.set()
print(len(re.findall("<heap nr", open(sys.argv[1]).read())))
"""


def arenas(tmp_path: Path, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "info.xml")],
        cwd=Path(__file__).parent.parent,
        env={k: v for k, v in os.environ.items() if k != "MALLOC_ARENA_MAX"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")
def test_eight_threads_share_two_arenas_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    assert arenas(tmp_path) == ["True", "2"]
    said, count = arenas(tmp_path, MALLOC_ARENA_MAX="5")
    assert said == "False"
    assert int(count) > 2
