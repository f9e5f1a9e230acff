"""Chromium, headless, driven over its DevTools protocol."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from desktop import Desktop
from websockets.sync.client import ClientConnection, connect


@contextmanager
def chromium(desktop: Desktop, page: str, *options: str) -> Iterator["Page"]:
    """A browser of the desktop session that shows ``page``, an address."""
    profile = desktop.folder / "chromium"
    browser = desktop.start(
        "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-dev-shm-usage", "--remote-debugging-port=0", f"--user-data-dir={profile}",
        *options, page,
    )  # fmt: skip
    told = profile / "DevToolsActivePort"
    desktop.wait_until(
        lambda: told.exists() and told.read_text().count("\n"), 60, "Chromium starts", browser
    )
    list_of_pages = f"http://127.0.0.1:{told.read_text().splitlines()[0]}/json/list"

    def addresses() -> list[str]:
        with urllib.request.urlopen(list_of_pages, timeout=30) as answer:
            pages = json.loads(answer.read())
        return [one["webSocketDebuggerUrl"] for one in pages if one["url"] == page]

    desktop.wait_until(addresses, 30, "Chromium shows the page")
    with connect(addresses()[0], max_size=None, compression=None, open_timeout=30) as socket:
        shown = Page(socket)
        ready = f'document.readyState == "complete" && location.href == "{page}"'
        desktop.wait_until(lambda: shown.evaluate(ready), 30, "the page is loaded")
        yield shown


class Page:
    """A page of the browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._asked = 0

    def ask(self, method: str, timeout_s: float = 60, **parameters: Any) -> dict[str, Any]:
        """The answer to a message of the protocol."""
        self._asked += 1
        message = {"id": self._asked, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout_s))
            if answer.get("id") == self._asked:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def evaluate(self, script: str, timeout_s: float = 60) -> Any:
        """The value of a script in the page, or of its promise."""
        answer = self.ask(
            "Runtime.evaluate", timeout_s,
            expression=script, awaitPromise=True, returnByValue=True, userGesture=True,
        )  # fmt: skip
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")
