import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from config.errors import SinkError
from realtime.child import Child


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def until_ended(child: Child) -> None:
    ends_at = time.perf_counter() + 20
    while child.running:
        assert time.perf_counter() < ends_at
        time.sleep(0.01)


def test_child_gets_every_byte_and_what_it_says_is_kept(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
    out = tmp_path / "out"
    child = Child(
        python(
            "import sys; d = sys.stdin.buffer.read(240 * 320 * 3);"
            f"open({str(out)!r}, 'wb').write(d); print('thanks')"
        )
    )
    child.write(picture)
    until_ended(child)
    assert out.read_bytes() == picture.tobytes()
    assert child.said().strip() == "thanks"
    child.close()
    child.close()
    assert child.said() == ""


def test_child_that_ended_is_an_error_with_its_own_words() -> None:
    child = Child(python("print('one'); print('ERROR: no such camera'); print('bye')"))
    until_ended(child)
    with pytest.raises(SinkError, match=r"ended \(ERROR: no such camera\)"):
        child.write(b"x" * 1_000_000)
    child.close()


def test_program_that_is_not_there_is_told() -> None:
    with pytest.raises(SinkError, match="the program no-such-program is not installed"):
        Child(["no-such-program"])


def test_write_that_hangs_ends_when_the_child_is_closed() -> None:
    child = Child(python("import time; time.sleep(60)"))
    failed: list[str] = []

    def write() -> None:
        try:
            child.write(b"x" * 10_000_000)
        except SinkError as error:
            failed.append(str(error))

    thread = threading.Thread(target=write)
    thread.start()
    time.sleep(0.2)
    assert thread.is_alive()
    child.close()
    thread.join(10)
    assert not thread.is_alive()
    assert len(failed) == 1
