"""``puppetcam verify``: does a film, stream, camera or screenshot say that it is made by AI?

Free and offline. Each layer is looked for on its own, and each finding is told.
"""

import argparse
import json
import logging
import math
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from config.errors import AvatarError, SettingsError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.schema import CredentialsSettings, TrackingSettings
    from provenance.credentials import Credentials
    from provenance.detector import Reading
    from realtime.camera import Source
    from realtime.frame import Image
    from realtime.tells import Tell

_log = logging.getLogger(__name__)

FOUND, NOT_FOUND, BROKEN = 0, 1, 3
"""Exit codes; 2, as always: it could not be checked."""
LOOK_S = 60.0
"""How much of a file is looked at."""
LIVE_S = 12.0
"""How long a camera or stream is watched."""

HINTS = (
    "Hints, not proof: a real film may be unusual, and a made-up one natural. No exit code depends "
    "on them."
)

Verdict = Literal["found", "not found", "broken", "not checked"]
"""broken: there, but it does not hold, e.g. the file was changed after it was signed."""
WORST_FIRST: tuple[Verdict, ...] = ("broken", "found", "not found", "not checked")
"""What a folder is told to be: the first of these that one of its files is."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one layer says."""

    layer: str
    verdict: Verdict
    text: str
    """For people, without the layer's name."""
    details: dict[str, object] = field(default_factory=dict)
    """For scripts: what JSON can hold."""
    lines: tuple[str, ...] = ()
    """More for people, below ``text``."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "verify",
        help="look for the marks that say a picture is made by AI",
        epilog=f"exit code: {FOUND} a layer says AI, {NOT_FOUND} none does, 2 it could not be "
        f"checked, {BROKEN} a layer is there but does not hold",
    )
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="a video or picture, an address (http://, rtsp://), camera:N, or a folder of "
        "screenshots",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="N",
        help=f"how much to look at (default: {LOOK_S:g} of a file, {LIVE_S:g} of what is live)",
    )
    parser.add_argument(
        "--tells",
        action="store_true",
        help="measure also what people look for: blinks, edges, light, mouth and sound, flicker; "
        "hints, not proof",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in YAML")
    parser.add_argument(
        "settings", nargs="*", metavar="group.key=value", help="e.g. credentials.trust=FILE.pem"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    seconds: float | None = arguments.seconds
    if seconds is not None and not 0 < seconds < math.inf:
        raise SettingsError(f"--seconds must be above 0, found {seconds:g}")
    from config.schema import load_settings
    from puppetcam.status import StatusLine

    target: str = arguments.target
    settings = load_settings(arguments.config, arguments.settings)
    tells: list[Tell] | None = None
    with StatusLine():  # shows what the readers warn of
        findings = [check_credentials(target, settings.credentials)]
        try:
            findings.append(check_watermark(target, seconds))
        except (SourceError, AvatarError) as error:
            if findings[0].verdict not in ("found", "broken"):
                raise
            findings.append(Finding("watermark", "not checked", str(error)))
        if arguments.tells:
            tells = measure_tells(target, seconds, settings.tracking)
    if arguments.json:
        told = _as_json(target, findings)
        if tells is not None:
            told["tells"] = {"note": HINTS, "measures": [one.values() for one in tells]}
        print(json.dumps(told, indent=2))
    else:
        print(f"{target}: {_conclusion(findings)}")
        for one in findings:
            print(f"  {one.layer}: {one.verdict}; {one.text}")
            print("".join(f"    {line}\n" for line in one.lines), end="")
        if tells is not None:
            print("\n".join(tell_lines(tells)))
    return _exit_code(findings)


def _exit_code(findings: list[Finding]) -> int:
    verdicts = {one.verdict for one in findings}
    if "broken" in verdicts:
        return BROKEN
    return FOUND if "found" in verdicts else NOT_FOUND


def _conclusion(findings: list[Finding]) -> str:
    if any(one.verdict == "found" for one in findings):
        return "made by AI"
    if any(one.verdict == "broken" for one in findings):
        return "it carries marks that do not hold: it was changed"
    return "no mark found, which does not prove that it is real"


def _as_json(target: str, findings: list[Finding]) -> dict[str, object]:
    layers = {one.layer: {"verdict": one.verdict, **one.details} for one in findings}
    made = any(one.verdict == "found" for one in findings)
    return {"target": target, "made_by_ai": made, "layers": layers}


# --- Content Credentials ------------------------------------------------------------------------


def check_credentials(target: str, settings: "CredentialsSettings") -> Finding:
    """The signed metadata of a file, or of all pictures of a folder. Raises CredentialsError."""
    from provenance.credentials import read_credentials
    from provenance.identity import trusted_certificates
    from realtime.assembly import PICTURES

    name, path = "credentials", Path(target)
    trust = trusted_certificates(settings)
    if path.is_dir():
        files = [one for one in sorted(path.iterdir()) if one.suffix.lower() in PICTURES]
        found = {one.name: read_credentials(one, trust) for one in files}
        verdicts = {file: _verdict(one) for file, one in found.items()}
        counts = {
            one: list(verdicts.values()).count(one) for one in dict.fromkeys(verdicts.values())
        }
        worst: Verdict = next((one for one in WORST_FIRST if one in counts), "not checked")
        text = ", ".join(f"{count} {one}" for one, count in counts.items()) or "no picture in it"
        return Finding(
            name, worst, text, {"files": {file: one.as_dict() for file, one in found.items()}}
        )
    if not path.is_file():
        return Finding(name, "not checked", "only files carry them")
    one = read_credentials(path, trust)
    verdict, text = _verdict(one), f"{one.state}: {one.detail}"
    if one.state == "valid" and verdict == "not found":
        text += "; they do not say AI"
    return Finding(name, verdict, text, one.as_dict(), tuple(one.lines()[1:]))


def _verdict(credentials: "Credentials") -> Verdict:
    match credentials.state:
        case "valid":
            return "found" if credentials.says_ai else "not found"
        case "invalid":
            return "broken"
        case "absent":
            return "not found"
        case _:
            return "not checked"


# --- the watermark ------------------------------------------------------------------------------


def check_watermark(target: str, seconds: float | None) -> Finding:
    """The imperceptible mark in the pictures. Raises SourceError, AvatarError."""
    from provenance.detector import SHORTEST_S, THRESHOLD

    reading = _read(target, seconds)
    details: dict[str, object] = {"z": round(reading.z, 2), "threshold": THRESHOLD}
    details |= {"seconds": round(reading.seconds, 2), "pictures": reading.pictures}
    looked = f"{reading.seconds:.1f} s" if reading.seconds else _count(reading.pictures)
    if not reading.blocks:
        text = f"{looked} are too little, give at least {SHORTEST_S:g} s or two screenshots"
        return Finding("watermark", "not checked", text, details)
    sure = f"z {reading.z:.1f} where {THRESHOLD:g} is needed"
    if not reading.found:
        more = (
            "; two of the same film, in a folder, show it better" if reading.pictures == 1 else ""
        )
        return Finding("watermark", "not found", f"{sure}, in {looked}{more}", details)
    payload = reading.payload
    details["recording"] = str(payload) if payload else None
    details["day"] = payload.date.isoformat() if payload else None
    details["marked"] = [
        {"start_s": round(one.start_s, 2), "end_s": round(one.end_s, 2), "z": round(one.z, 2)}
        | {"recording": str(one.payload) if one.payload else None, "place": asdict(one.place)}
        for one in reading.blocks
        if one.place
    ]
    several = dict.fromkeys(str(one.payload) for one in reading.blocks if one.payload)
    which = f"recording {payload}" if payload else "which recording cannot be read"
    if len(several) > 1:
        which = f"recordings {', '.join(several)}"
    marked = sum(block.place is not None for block in reading.blocks)
    where = f"{marked} of {_count(len(reading.blocks), 'part')}" if reading.seconds else looked
    return Finding("watermark", "found", f"{which}; {sure}, in {where}", details)


# --- tells --------------------------------------------------------------------------------------


def measure_tells(target: str, seconds: float | None, tracking: "TrackingSettings") -> "list[Tell]":
    """What people look for in a made-up film. Raises SourceError, BundleError."""
    from realtime.assembly import PICTURES
    from realtime.face import open_tracker
    from realtime.speech import sound_of
    from realtime.tells import Watcher

    path = Path(target)
    if path.is_dir() or path.suffix.lower() in PICTURES:
        raise SourceError(f"--tells wants a film, {target} is still pictures; leave --tells away")
    tracker, watcher = open_tracker(tracking), Watcher()
    with closing(_open(target)) as source:
        for image, at_s in _pictures(source, seconds or (LIVE_S if source.live else LOOK_S)):
            face = tracker.track(image, at_s)
            watcher.see(image, face.landmarks if face else None, at_s)
    return watcher.tells(sound_of(path) if path.is_file() else None)


def tell_lines(tells: "list[Tell]") -> list[str]:
    """For people: value, verdict, natural range and its source."""
    lines = [f"  tells: {HINTS}"]
    for one in tells:
        unit = f" {one.unit}" if one.unit else ""
        value = "" if math.isnan(one.value) else f" {one.value:.3g}{unit},"
        lines.append(f"    {one.name}:{value} {one.verdict}")
        if not math.isnan(one.low):
            lines.append(f"      natural {one.low:.3g} to {one.high:.3g}{unit} ({one.source})")
    return lines


def _read(target: str, seconds: float | None) -> "Reading":
    from provenance.detector import read_stills, read_video
    from realtime.assembly import PICTURES
    from realtime.avatar import read_picture

    path = Path(target)
    if path.is_file() and path.suffix.lower() in PICTURES:
        return read_stills([read_picture(path)])
    with closing(_open(target)) as source:
        if path.is_dir():
            return read_stills(image for image, _ in _pictures(source, math.inf))
        length_s = seconds or (LIVE_S if source.live else LOOK_S)
        return read_video(_pictures(source, length_s), length_s)


def _open(target: str) -> "Source":
    from config.schema import CameraSettings
    from realtime.camera import open_source

    settings = CameraSettings()
    if target == "camera" or target.startswith("camera:"):
        # As it comes: a virtual camera has one size.
        settings = replace(settings, width=1280, height=720)
    return open_source(target, settings)


def _pictures(source: "Source", length_s: float) -> "Iterator[tuple[Image, float]]":
    """Pictures and their times, from 0 on, for this long, with a progress bar on a terminal. A
    stream that breaks off is told, and was seen until then."""
    from tqdm import tqdm

    first_s = None
    with tqdm(desc="looking", unit=" pictures", leave=False, disable=None) as bar:
        while True:
            try:
                frame = source.read()
            except SourceError as error:
                if first_s is None:
                    raise
                _log.warning("%s", error)
                return
            if frame is None:
                return
            first_s = frame.captured_at if first_s is None else first_s
            if frame.captured_at - first_s > length_s:
                return
            yield frame.image, frame.captured_at - first_s
            bar.update()


def _count(number: int, what: str = "picture") -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
