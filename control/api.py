"""What the API answers: paths and JSON, without a socket (``control.server`` has those).

Every error is one line. No way leads to the camera's picture.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NamedTuple

import cv2

from config.errors import EngineError, NeedsRestartError, PuppetcamError
from control.actions import ACTIONS, Actions
from control.openapi import document
from control.settings import LIVE, setting_values
from provenance.signer import Signer
from realtime.cutout import cut_out
from realtime.frame import Latest

ANSWER_S = 10.0
"""Longest wait for the run to do what was asked."""
METRICS_EVERY_S = 1.0
"""The stream's metrics are this old at most."""
_READS = {
    "/status": "application/json",
    "/metrics": "application/json",
    "/openapi.json": "application/json",
    "/snapshot.png": "image/png",
    "/snapshot.jpg": "image/jpeg",
}


class Answer(NamedTuple):
    """The body of an answer, and what it is, e.g. "image/png"."""

    kind: str
    data: bytes


class RefusalError(Exception):
    """An answer that is an error: its HTTP code and one line."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code


class Api:
    """Answers for one run; any thread may ask."""

    def __init__(
        self,
        actions: Actions,
        about: Mapping[str, Any],
        version: str,
        signing: Callable[[], Signer | None],
    ) -> None:
        """``about``: what does not change during the run, a part of its status. ``signing``: what
        signs snapshots, asked for with the first one; None: they stay without credentials."""
        self._actions = actions
        self._about = dict(about)
        self._version = version
        self._signing = signing
        self._slots: list[Latest[str]] = []
        self._lock = threading.Lock()
        self._metrics: dict[str, Any] = {}
        self._metrics_at = -METRICS_EVERY_S

    def answer(self, method: str, path: str, body: Mapping[str, Any], url: str) -> Answer:
        """The answer to a request; ``url``: of this server. Raises RefusalError."""
        if path.startswith("/actions/"):
            name = path.removeprefix("/actions/")
            if name not in ACTIONS:
                known = ", ".join(ACTIONS)
                raise RefusalError(404, f"there is no action '{name[:40]}'; there are {known}")
            _allow(method, "POST")
            value = _value(body)
            _wait_for(lambda: self._actions.do(name, value))
            return _json(self._status())
        if path == "/settings":
            _allow(method, "GET", "HEAD", "PATCH")
            if method == "PATCH":
                _wait_for(lambda: self._actions.change(body))
            values = setting_values(self._actions.settings)
            return _json({"settings": values, "live": sorted(LIVE)})
        if path not in _READS:
            raise RefusalError(404, f"there is no '{path[:80]}'; /openapi.json lists what there is")
        _allow(method, "GET", "HEAD")
        match path:
            case "/status":
                return _json(self._status())
            case "/metrics":
                return _json(self._actions.metrics.summary().as_dict())
            case "/openapi.json":
                return _json(document(self._version, url))
            case _:
                return Answer(_READS[path], self._snapshot(path[-4:]))

    @contextmanager
    def listening(self) -> Iterator[Latest[str]]:
        """A slot for one client of the stream: the newest message, older ones are dropped."""
        slot: Latest[str] = Latest()
        with self._lock:
            slot.put(self._message())
            self._slots.append(slot)
        try:
            yield slot
        finally:
            with self._lock:
                self._slots.remove(slot)

    def publish(self) -> None:
        """Lay the newest status and metrics into the slot of each client."""
        with self._lock:
            if self._slots:
                message = self._message()
                for slot in self._slots:
                    slot.put(message)

    def close(self) -> None:
        """Tell the clients of the stream that it has ended; twice is fine."""
        with self._lock:
            for slot in self._slots:
                slot.close()

    def _status(self) -> dict[str, Any]:
        return {**self._actions.status(), **self._about}

    def _message(self) -> str:
        now = time.perf_counter()
        if now - self._metrics_at >= METRICS_EVERY_S:
            self._metrics_at = now
            self._metrics = self._actions.metrics.summary().as_dict()
        return json.dumps({"status": self._status(), "metrics": self._metrics})

    def _snapshot(self, suffix: str) -> bytes:
        avatar, frame = self._actions.avatar, self._actions.snapshot()
        if frame is None:
            raise RefusalError(503, "no picture went out yet; ask again")
        if suffix == ".png" and frame.alpha is not None:
            image = cv2.cvtColor(cut_out(frame), cv2.COLOR_RGBA2BGRA)
        else:
            image = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
        _, encoded = cv2.imencode(suffix, image)
        data = encoded.tobytes()
        try:
            signer = self._signing()
        except PuppetcamError as error:
            raise RefusalError(500, str(error)) from error
        composite = self._actions.settings.output.composite
        return signer.sign_picture(data, suffix, [avatar], composite) if signer else data


def _allow(method: str, *methods: str) -> None:
    if method not in methods:
        raise RefusalError(405, f"{method} cannot be done here, only {' or '.join(methods)}")


def _wait_for(ask: Callable[[], "Future[None]"]) -> None:
    """Ask for an action, and wait until it is done."""
    try:
        ask().result(ANSWER_S)
    except NeedsRestartError as error:
        raise RefusalError(409, str(error)) from error
    except EngineError as error:
        raise RefusalError(500, str(error)) from error
    except PuppetcamError as error:
        raise RefusalError(400, str(error)) from error
    except TimeoutError as error:
        raise RefusalError(503, f"the run did not answer within {ANSWER_S:g} s") from error


def _value(body: Mapping[str, Any]) -> str | None:
    """The value of an action, as text."""
    value = body.get("value")
    if set(body) - {"value"} or not (value is None or isinstance(value, (str, int, float))):
        raise RefusalError(400, 'the body must be {"value": a text, a number, true or false}')
    if isinstance(value, bool):
        return "on" if value else "off"
    return None if value is None else str(value)


def _json(value: Mapping[str, Any]) -> Answer:
    return Answer("application/json", json.dumps(value).encode())
