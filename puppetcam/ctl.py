"""``puppetcam ctl``: one action for the run that is going on, e.g. from a Stream Deck button."""

import argparse
import http.client
import json
from pathlib import Path
from typing import Any

from config.errors import ControlError, SinkError
from control.actions import ACTIONS
from provenance.consent import ANSWERS

READS = {
    "status": ("", "how the run stands, as JSON"),
    "metrics": ("", "rates, frame age and stage times, as JSON"),
    "settings": ("", "all settings, and which of them change live, as JSON"),
    "snapshot": ("FILE", "write the newest picture that went out; FILE ends in .png or .jpg"),
}
"""Questions, beside the actions."""
TIMEOUT_S = 20.0


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of this command."""
    rows = {name: (action.value, action.help) for name, action in ACTIONS.items()} | READS
    width = max(len(f"{name} {value}") for name, (value, _) in rows.items())
    lines = [f"  {f'{name} {value}':{width}}  {text}" for name, (value, text) in rows.items()]
    parser = commands.add_parser(
        "ctl",
        help="ask something of the run that is going on: ctl panic on",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(["actions:", *lines, "", "[on|off]: without a value it toggles."]),
    )
    parser.add_argument("action", metavar="ACTION", help="one of those below")
    parser.add_argument("value", nargs="?", metavar="VALUE")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    action, value = arguments.action, arguments.value
    if action in READS:
        wanted = READS[action][0]
        if bool(value) != bool(wanted):
            raise ControlError(f"write: puppetcam ctl {action} {wanted}".rstrip())
        if action == "snapshot":
            return _snapshot(Path(value))
        print(json.dumps(json.loads(_ask("GET", f"/{action}")), indent=2, ensure_ascii=False))
        return 0
    if action not in ACTIONS:
        known = ", ".join([*ACTIONS, *READS])
        raise ControlError(f"there is no action '{action}'; there are {known}")
    if action == "load" and value:
        value = _absolute(value)
    print(_line(json.loads(_ask("POST", f"/actions/{action}", {"value": value}))))
    return 0


def _absolute(text: str) -> str:
    """[WHOSE:]PICTURE with the whole path: the run may stand in another folder."""
    whose, colon, name = text.partition(":")
    if colon and whose in ANSWERS:
        return f"{whose}:{Path(name).absolute()}"
    return str(Path(text).absolute())


def _snapshot(path: Path) -> int:
    suffix = {".png": "png", ".jpg": "jpg", ".jpeg": "jpg"}.get(path.suffix.lower())
    if suffix is None:
        raise SinkError(f"{path} must end in .png or .jpg")
    data = _ask("GET", f"/snapshot.{suffix}")
    try:
        path.write_bytes(data)
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror or error}") from error
    print(path)
    return 0


def _ask(method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
    """What the run answers. Raises ControlError."""
    from control.running import find_running

    running = find_running()
    connection = http.client.HTTPConnection(running.host, running.port, timeout=TIMEOUT_S)
    headers = {"Authorization": f"Bearer {running.token}"}
    try:
        connection.request(method, path, json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        data = response.read()
    except TimeoutError as error:
        raise ControlError(
            f"the run at {running.url} did not answer within {TIMEOUT_S:g} s"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise ControlError(
            "nothing runs: the last run has ended without a word; start 'puppetcam run' first"
        ) from error
    finally:
        connection.close()
    if response.status == 200:
        return data
    try:
        message = str(json.loads(data)["error"])
    except (ValueError, LookupError, TypeError):
        message = f"what answers at {running.url} is not puppetcam; start 'puppetcam run' again"
    raise ControlError(message)


def _line(status: dict[str, Any]) -> str:
    """How the run stands, short."""
    avatar = status["avatar"]
    return f"{status['status']}, avatar {avatar['number']} {avatar['name']}"
