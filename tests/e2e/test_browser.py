"""The PipeWire camera in a page that calls: real Chromium, ``getUserMedia``."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from desktop import Desktop, apart, decoded, need
from devtools import Page, chromium
from sender import age_ms, picture

from bench.counter import BLOCK, HEIGHT, WIDTH, read_counter
from realtime.frame import Image

PAGE = Path(__file__).with_name("camera.html").as_uri()
FLAGS = ("--enable-features=WebRtcPipeWireCamera", "--use-fake-ui-for-media-stream")
FRAMES = 150
STORE = "org.freedesktop.impl.portal.PermissionStore"
ALLOW = [
    "dbus-send", "--session", "--print-reply", f"--dest={STORE}", "/" + STORE.replace(".", "/"),
    f"{STORE}.SetPermission", "string:devices", "boolean:true", "string:camera", "string:",
    "array:string:yes",
]  # fmt: skip
"""The user's answer when the desktop's portal asks whether a program may use the camera."""
PORTAL = [
    "dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus",
    "/org/freedesktop/DBus", "org.freedesktop.DBus.StartServiceByName",
    "string:org.freedesktop.portal.Desktop", "uint32:0",
]  # fmt: skip
"""Starts the portal, as a user's session does, long before a browser wants the camera. PipeWire
0.3.65 asks who a new portal is, and a browser that is quicker than the answer is never let in."""


@pytest.fixture
def desktop() -> Iterator[Desktop]:
    need("chromium", "pipewire", "wireplumber", "dbus-daemon", "gst-launch-1.0", "Xvfb")
    if not Path("/usr/libexec/xdg-desktop-portal").exists():
        pytest.skip("not installed: xdg-desktop-portal")
    with Desktop() as one:
        one.display()
        one.bus()
        one.pipewire()
        one.run(ALLOW)
        one.run(PORTAL)
        yield one


def wait_for_camera(desktop: Desktop) -> None:
    desktop.wait_until(
        lambda: "puppetcam" in desktop.run(["pw-cli", "ls", "Node"]), 30, "the camera is there"
    )


def seen(page: Page) -> Image:
    """What the page shows."""
    return decoded(base64.b64decode(str(page.evaluate("picture()")).partition(",")[2]))


def number(frame: dict[str, Any]) -> int | None:
    """The number in a frame that the page saw."""
    cells = np.array(frame["blocks"], np.uint8).reshape(HEIGHT // BLOCK, WIDTH // BLOCK)
    return read_counter(np.kron(cells, np.ones((BLOCK, BLOCK), np.uint8)))


def test_a_page_gets_each_picture_while_it_is_new(
    desktop: Desktop, figure: Callable[[str], None]
) -> None:
    desktop.python("tests/e2e/sender.py", "pipewire")
    wait_for_camera(desktop)
    with chromium(desktop, PAGE, *FLAGS) as page:
        camera = page.evaluate("openCamera()")
        frames = page.evaluate(f"watch({FRAMES})", 120)
        image = seen(page)
    assert (camera["label"], camera["width"], camera["height"]) == ("puppetcam", 640, 480)
    numbers = [number(frame) for frame in frames]
    assert None not in numbers
    assert len(set(numbers)) > 0.9 * len(frames)  # hardly one twice
    ages = [age_ms(n, frame["at_s"]) for n, frame in zip(numbers, frames, strict=True) if n]
    seconds = frames[-1]["at_s"] - frames[0]["at_s"]
    figure(
        f"{len(set(numbers))} pictures in {seconds:.1f} s, age median {np.median(ages):.0f} ms, "
        f"p95 {np.percentile(ages, 95):.0f} ms"
    )
    assert np.median(ages) < 200
    assert apart(image[HEIGHT:], picture()[HEIGHT:]) < 3


def test_a_page_sees_what_puppetcam_sends(desktop: Desktop) -> None:
    desktop.puppetcam("--sink", "pipewire")
    wait_for_camera(desktop)
    with chromium(desktop, PAGE, *FLAGS) as page:
        page.evaluate("openCamera()")
        first = seen(page)
        desktop.wait_until(lambda: apart(seen(page), first) > 0.5, 30, "the avatar moves")
        desktop.panic("on")

        def same() -> bool:
            return apart(seen(page), desktop.snapshot()) < 3

        desktop.wait_until(same, 30, "the page shows the card, which is still")
        card = desktop.snapshot()
        desktop.panic("off")
        desktop.wait_until(lambda: apart(seen(page), card) > 20, 30, "it shows the avatar again")
    assert apart(card, first) > 20
