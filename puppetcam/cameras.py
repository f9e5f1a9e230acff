"""``puppetcam cameras``: every camera, what it can, who uses it, and a still of each if asked."""

import argparse
import json
import re
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from config.errors import PuppetcamError, SourceError

if TYPE_CHECKING:
    from config.schema import CameraSettings
    from realtime.devices import CameraInfo, Mode

SETTLE_S = 1.0
"""A camera's first pictures are dark: a still is taken after this time."""
WIDTH = 100
"""Characters of a line."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of this command."""
    parser = commands.add_parser("cameras", help="list the cameras: names, sizes, who uses them")
    parser.add_argument(
        "--preview", type=Path, metavar="DIR", help="write a still of each camera: your real face"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in YAML")
    parser.add_argument("settings", nargs="*", metavar="group.key=value")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from config.schema import load_settings
    from realtime.choice import recall
    from realtime.devices import find_again, known, list_cameras

    settings = load_settings(arguments.config, arguments.settings).camera
    cameras = list_cameras(detailed=True)
    before = recall()
    chosen = find_again(before, cameras) if before else None
    stills: dict[int, str] = {}
    failed = False
    if arguments.preview:
        if not cameras:
            raise SourceError(known([]))
        stills, failed = _preview(cameras, settings, arguments.preview)
    if arguments.json:
        entries = [
            {**asdict(camera), "source": source(camera, cameras), "chosen": camera == chosen,
             "still": stills.get(camera.index)}
            for camera in cameras
        ]  # fmt: skip
        missing = before.name if before and not chosen else None
        print(json.dumps({"cameras": entries, "chosen_but_missing": missing}, indent=2))
    else:
        for camera in cameras:
            print("\n".join(describe(camera, cameras, camera == chosen, stills)))
        if before and not chosen:
            print(f"chosen last and not connected: {before.name}")
        if not cameras:
            print(known([]) if _listed() else "this system does not tell its cameras; try camera:0")
    return 2 if failed else 0


def _listed() -> bool:
    return sys.platform == "linux"


def source(camera: "CameraInfo", cameras: "list[CameraInfo]") -> str:
    """What to give ``--source`` so that it stays the same camera: its name, where that is its own,
    else what its plug is called."""
    names = [one.name for one in cameras]
    if names.count(camera.name) == 1:
        return f"camera:{camera.name}"
    return f"camera:{camera.serial or camera.port or camera.index}"


def describe(
    camera: "CameraInfo", cameras: "list[CameraInfo]", chosen: bool, stills: dict[int, str]
) -> list[str]:
    """A camera for people, lines of the terminal."""
    from realtime.camera import VIDEO_GROUP, in_use

    lines = [f"camera:{camera.index}  {camera.name}" + ("  (chosen last)" if chosen else "")]
    lines.append(f'  --source "{source(camera, cameras)}"')
    if camera.path or camera.serial:
        lines.append("  " + ", ".join(filter(None, (camera.path, camera.serial or camera.port))))
    if camera.virtual:
        lines.append(
            "  a virtual camera, made by software"
            + ("" if camera.fed else "; nothing sends to it now: nothing to be seen")
        )
    if not camera.allowed:
        lines.append(f"  not allowed to this user; {VIDEO_GROUP}")
    if camera.users:
        lines.append(f"  in use by {in_use(camera.users)}")
    for text in _modes(camera.modes):
        lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")
    if camera.index in stills:
        lines.append(f"  {stills[camera.index]}")
    return lines


def _modes(modes: "tuple[Mode, ...]") -> list[str]:
    """Pixel formats with their sizes, MJPG first, formats with the same sizes together; of the
    rates the highest (all of them are in the JSON)."""
    sizes: dict[str, dict[str, list[str]]] = {}
    for mode in sorted(modes, key=lambda mode: mode.letters != "MJPG"):
        size = f"{mode.width}x{mode.height}"
        if (mode.least_width, mode.least_height) != (mode.width, mode.height):
            size = f"{mode.least_width}x{mode.least_height} to {size}"
        rate = f" up to {mode.fps[0]:.4g} fps" if mode.fps else ""
        sizes.setdefault(mode.letters, {}).setdefault(rate, []).append(size)
    formats: dict[str, list[str]] = {}
    for letters, by_rate in sizes.items():
        text = "; ".join(f"{', '.join(one)}{rate}" for rate, one in by_rate.items())
        formats.setdefault(text, []).append(letters)
    return [f"{', '.join(letters)}: {text}" for text, letters in formats.items()]


def _preview(
    cameras: "list[CameraInfo]", settings: "CameraSettings", folder: Path
) -> tuple[dict[int, str], bool]:
    """Stills into ``folder``. (by camera: the file, or why there is none; whether one failed)"""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(f"--preview {folder}: {error.strerror}; name a folder") from error
    print(
        f"The stills in {folder} ARE the raw picture of your cameras, your real face: no avatar, "
        "no label. They are for you alone; delete them afterwards.",
        file=sys.stderr,
    )
    stills, failed = {}, False
    for camera in cameras:
        if not camera.fed:
            continue
        slug = re.sub(r"\W+", "-", camera.name).strip("-") or "camera"
        file = folder / f"{camera.index}-{slug}.png"
        try:
            stills[camera.index] = _still(camera, settings, file)
        except PuppetcamError as error:
            stills[camera.index], failed = f"no still: {error}", True
    return stills, failed


def _still(camera: "CameraInfo", settings: "CameraSettings", file: Path) -> str:
    """Write one picture of the camera; what it is. Raises SourceError."""
    import cv2

    from realtime.camera import open_webcam
    from realtime.watched import Watched

    opened = Watched(lambda: open_webcam(camera, settings), settings.stall_s)
    try:
        frame = opened.read()
        started = frame.captured_at if frame else 0.0
        while frame is not None and frame.captured_at - started < SETTLE_S:
            frame = opened.read()
    finally:
        opened.close()
    if frame is None:
        raise SourceError(f"{opened.name} gave no picture")
    data = cv2.imencode(".png", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))[1]
    try:
        file.write_bytes(data.tobytes())
    except OSError as error:
        raise SourceError(f"{file} cannot be written: {error.strerror}") from error
    return f"still: {file} ({opened.width}x{opened.height} at {opened.fps:.4g} fps)"
