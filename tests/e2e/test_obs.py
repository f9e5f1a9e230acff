"""OBS shows the MJPEG stream: what was sent, not old, and again after the server was killed."""

import contextlib
import time
import urllib.request
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from desktop import Desktop, apart, free_port, need
from obs import Obs, obs
from sender import age_ms, picture

from bench.counter import HEIGHT, read_counter

LOOKS = 30
OLD_MS = 1000.0


@pytest.fixture
def desktop() -> Iterator[Desktop]:
    need("obs", "Xvfb", "dbus-daemon")
    with Desktop() as one:
        one.display()
        one.bus()
        yield one


def stream(desktop: Desktop, port: int) -> str:
    """The address of the stream; the token stays that of the desktop's user."""
    token = desktop.folder / "puppetcam/config/stream-token"
    desktop.wait_until(token.exists, 30, "the server has its token")
    return f"http://127.0.0.1:{port}/{token.read_text().strip()}/stream.mjpg"


def answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def look(screen: Obs) -> tuple[float, float] | None:
    """Age of the picture that OBS shows, in milliseconds: at least, and at most, as asking for it
    takes time. None: it shows none with a number."""
    asked_at = time.time()
    image = screen.picture("avatar")
    number = None if image is None else read_counter(image)
    return None if number is None else (age_ms(number, asked_at), age_ms(number, time.time()))


def test_obs_shows_what_is_sent_and_again_after_a_kill(
    desktop: Desktop, figure: Callable[[str], None]
) -> None:
    port = free_port()
    words = ("tests/e2e/sender.py", f"mjpeg:{port}")
    server = desktop.python(*words)
    url = stream(desktop, port)
    with obs(desktop) as screen:

        def fresh() -> bool:
            found = look(screen)
            return found is not None and found[0] < OLD_MS

        screen.add("avatar", url)
        first_s = desktop.wait_until(fresh, 30, "OBS shows the stream")
        image = screen.picture("avatar")
        assert image is not None
        difference = apart(image[HEIGHT:], picture()[HEIGHT:])
        assert difference < 3
        ages = np.array([look(screen) or (np.inf, np.inf) for _ in range(LOOKS)])
        least, most = np.median(ages, axis=0)
        assert least < OLD_MS
        server.kill()
        server.wait()
        desktop.wait_until(lambda: not fresh(), 30, "OBS has what came last")
        desktop.python(*words)
        desktop.wait_until(lambda: answers(url), 30, "the server is back")
        again_s = desktop.wait_until(fresh, 30, "OBS shows the stream again")
    figure(
        f"first picture after {first_s:.1f} s, {max(least, 0):.0f} to {most:.0f} ms old, "
        f"{difference:.1f} grey levels off; {again_s:.1f} s after the server was back, again"
    )
