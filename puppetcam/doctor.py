"""``puppetcam doctor``: what works here, what does not, and one line that mends it."""

import argparse
import json
import math
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from config.errors import PuppetcamError
from puppetcam.finding import Finding

if TYPE_CHECKING:
    from config.schema import Settings
    from realtime.devices import CameraInfo

LEAST_FREE_GB = 1.0
OPENCV_FIX = (
    "pip uninstall -y opencv-python opencv-python-headless, then "
    'pip install "opencv-python>=4.10,<5"'
)
OVERRIDE = "Otherwise: engine.runtime=, engine.precision=, engine.threads="
FALLEN_FIX = (
    "update onnxruntime-gpu, or export the bundle again with this version; if it stays, "
    "engine.provider=cpu may be faster"
)
NO_CAMERA_FIX = "plug one in, or try puppetcam run --source performer"
ESSENTIAL = ("OpenCV", "PyAV", "runtime", "bundle", "networks")
"""Without these nothing moves; everything else is only needed for some uses."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of this command."""
    parser = commands.add_parser("doctor", help="check this machine, with one fix per problem")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in YAML")
    parser.add_argument("settings", nargs="*", metavar="group.key=value")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from config.schema import load_settings

    settings = load_settings(arguments.config, arguments.settings)
    findings: list[Finding] = []
    for finding in examine(settings):
        findings.append(finding)
        if not arguments.json:
            print(f"{finding.state:8} {finding.name}: {finding.detail}", flush=True)
            if finding.fix:
                print(f"{'':8}   fix: {finding.fix}", flush=True)
    broken = [one for one in findings if one.state == "broken"]
    if arguments.json:
        print(
            json.dumps({"ok": not broken, "findings": [asdict(one) for one in findings]}, indent=2)
        )
    return 1 if broken else 0


def examine(settings: "Settings") -> Iterator[Finding]:
    """All checks, in the order in which things depend on each other. Never raises: a check that
    fails in an unforeseen way is a finding itself."""
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("Python", _python),
        ("OpenCV", _opencv),
        ("PyAV", _pyav),
        ("runtime", _runtime),
        ("bundle", lambda: _bundle(settings)),
        ("networks", lambda: _networks(settings)),
        ("cameras", _cameras),
        ("virtual camera", lambda: _calls(settings)),
        ("window", _window),
        ("credentials", lambda: _credentials(settings)),
        ("weights", _weights),
        ("disk", _disk),
    )
    blocked = False
    for name, check in checks:
        if name == "networks" and blocked:
            continue  # they cannot run, and why is told already
        for finding in _findings(name, check):
            blocked = blocked or finding.state == "broken"
            yield finding


def _findings(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except PuppetcamError as error:
        fault, _, fix = str(error).partition("; ")
        yield _bad(name, fault, fix)
    except Exception as error:  # noqa: BLE001 - to tell what is wrong is this command's work
        yield _bad(name, f"{type(error).__name__}: {error}", "install puppetcam again")


def _bad(name: str, detail: str, fix: str) -> Finding:
    return Finding(name, "broken" if name in ESSENTIAL else "problem", detail, fix)


def _python() -> Iterator[Finding]:
    from bench.machine import this_machine

    yield Finding("machine", "ok", str(this_machine()))
    yield Finding("Python", "ok", f"{platform.python_version()}, {sys.executable}")


def _opencv() -> Iterator[Finding]:
    packages = ("opencv-python", "opencv-python-headless", "opencv-contrib-python",
                "opencv-contrib-python-headless")  # fmt: skip
    installed = [f"{name} {found}" for name in packages if (found := _version(name))]
    try:
        import cv2
    except ImportError as error:
        if "cannot open shared object file" in str(error):
            yield _bad("OpenCV", str(error), "sudo apt install libgl1 libglib2.0-0")
        else:
            yield _bad("OpenCV", f"cannot be imported: {error}", OPENCV_FIX)
        return
    if len(installed) > 1:
        found = ", ".join(installed)
        yield Finding("OpenCV", "problem", f"several overwrite each other: {found}", OPENCV_FIX)
    else:
        yield Finding("OpenCV", "ok", ", ".join(installed) or cv2.__version__)


def _pyav() -> Iterator[Finding]:
    import av

    libraries = ", ".join(f"{name} {'.'.join(map(str, av.library_versions[name]))}"
                          for name in ("libavcodec", "libavformat"))  # fmt: skip
    missing = []
    for codec in ("libx264", "aac"):
        try:
            av.codec.Codec(codec, "w")
        except ValueError:
            missing.append(codec)
    if missing:
        fix = "pip install --force-reinstall --only-binary :all: av"
        yield _bad("PyAV", f"{av.__version__} cannot write {' and '.join(missing)}", fix)
    else:
        yield Finding("PyAV", "ok", f"{av.__version__}, {libraries}")


def _runtime() -> Iterator[Finding]:
    try:
        import onnxruntime
    except ImportError as error:
        fix = 'in the folder of puppetcam: pip install ".[cpu]", or ".[gpu]" with an NVIDIA card'
        yield _bad("runtime", f"ONNX Runtime cannot be imported: {error}", fix)
        return
    providers = ", ".join(
        name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()
    )
    detail = f"onnxruntime {onnxruntime.__version__}, offers {providers}"
    if _version("onnxruntime") and _version("onnxruntime-gpu"):
        from realtime.onnx_session import CUDA_FIX

        yield Finding("runtime", "problem", f"{detail}; two packages, one module", CUDA_FIX)
    else:
        yield Finding("runtime", "ok", detail)


def _bundle(settings: "Settings") -> Iterator[Finding]:
    from models.bundle import bundle_folder, open_bundle

    bundle = open_bundle(bundle_folder(settings.engine.bundle))
    yield Finding(
        "bundle",
        "ok",
        f"{bundle.name}, {bundle.family}, {bundle.output_size} px, {bundle.precision}; "
        f"{len(bundle.files)} files as their SHA-256 say",
    )


def _networks(settings: "Settings") -> Iterator[Finding]:
    import numpy as np

    from bench.latency import measure_model
    from models.published import cache_folder
    from realtime.engine import open_engine
    from realtime.onnx_session import CUDA_FIX, nvidia_driver_answers
    from realtime.placement import fallen, placement, summary
    from realtime.tuning import BUSY, FILE, choose

    choice = choose(settings.engine, budget_s=math.inf)
    if choice.trials:
        found = "remembered" if choice.remembered else "measured now"
        tried = "; ".join(str(one) for one in choice.trials)
        memory = f"measured anew without {cache_folder() / FILE}"
        if choice.busy >= BUSY:
            memory = f"other programs used {choice.busy:.0%} of the processor: not remembered"
        yield Finding(
            "fastest", "ok", f"{tried} ({found}, {memory}); the first is taken. {OVERRIDE}"
        )
    engine = open_engine(choice.settings)
    try:
        side = engine.bundle.output_size
        grey = np.full((side, side, 3), 128, np.uint8)
        times = measure_model(engine, grey, seconds=0.0)
        placed = placement(engine)
    finally:
        engine.close()
    rate = 1000 / max(times.step.p50_ms, 1e-3)
    detail = (
        f"run in {engine.bundle.precision} on {engine.provider}, {times.step.p50_ms:.0f} ms a frame"
    )
    wanted = settings.engine.provider != "cpu" and nvidia_driver_answers()
    if wanted and engine.bundle.format == "onnx" and engine.provider.endswith("CPU"):
        fault = f"{detail}, although there is an NVIDIA card"
        yield Finding("networks", "problem", fault, CUDA_FIX)
    elif rate < 10:
        fix = "close other programs, or try engine.bundle=small; 'puppetcam bench' tells more"
        yield Finding("networks", "problem", f"{detail}: slow, {rate:.0f} fps", fix)
    else:
        yield Finding("networks", "ok", detail)
    lost = fallen(placed, engine)
    if lost:
        names = ", ".join(sorted({f"{one.operator} of {one.graph}" for one in lost}))
        fault = f"fell from the card to the CPU: {names}"
        yield Finding("placement", "problem", fault, FALLEN_FIX)
    else:
        yield Finding("placement", "ok", summary(placed))


def _cameras() -> Iterator[Finding]:
    from realtime.camera import VIDEO_GROUP, in_use
    from realtime.choice import recall
    from realtime.devices import find_again, list_cameras

    cameras = list_cameras(detailed=True)
    real = [camera for camera in cameras if not camera.virtual]
    for camera in real:
        at = f" ({camera.path})" if camera.path else ""
        detail = f"camera:{camera.index} is {camera.name}{at}"
        compressed = [mode for mode in camera.modes if mode.letters == "MJPG"]
        if not camera.allowed:
            fault = f"{detail}, not allowed to this user"
            yield Finding("camera", "problem", fault, VIDEO_GROUP)
        elif camera.users:
            fix = "close it there before puppetcam starts"
            yield Finding("camera", "problem", f"{detail}, in use by {in_use(camera.users)}", fix)
        elif compressed:
            largest = max(compressed, key=lambda mode: mode.width * mode.height)
            detail += f", MJPG up to {largest.width}x{largest.height}"
            yield Finding("camera", "ok", detail)
        elif camera.modes:
            fix = "stay at 640x480: uncompressed pictures come slowly at large sizes"
            yield Finding("camera", "problem", f"{detail}, gives no MJPG", fix)
        else:
            yield Finding("camera", "ok", detail)
    before = recall()
    if before and find_again(before, cameras) is None:
        fix = "plug it in, or choose another: puppetcam run --source camera:NAME"
        yield Finding("camera", "problem", f"{before.name}, chosen last, is not connected", fix)
    if not real and sys.platform == "linux":
        yield Finding("cameras", "problem", "none is connected", NO_CAMERA_FIX)
    elif sys.platform != "linux":
        yield from _cameras_by_trial(cameras)


def _cameras_by_trial(cameras: "list[CameraInfo]") -> Iterator[Finding]:
    """Where only opening tells whether the system allows it: the first one."""
    from config.schema import CameraSettings
    from realtime.camera import open_webcam
    from realtime.devices import choose, first_of

    first = first_of(cameras) if cameras else choose("0", [], listed=False)
    camera = open_webcam(first, CameraSettings())
    try:
        detail = f"{camera.name} gives {camera.width}x{camera.height} at {camera.fps:g} fps"
    finally:
        camera.close()
    yield Finding("camera", "ok", detail)


def _calls(settings: "Settings") -> Iterator[Finding]:
    from puppetcam import calls

    yield from calls.examine(settings.output)


def _window() -> Iterator[Finding]:
    from realtime.window import Window

    Window().close()
    yield Finding("window", "ok", "opens")


def _credentials(settings: "Settings") -> Iterator[Finding]:
    from provenance.c2pa_library import load_c2pa
    from provenance.identity import open_identity, own_folder

    try:
        load_c2pa()
    except ImportError as error:
        fix = "pip install c2pa-python, on a system that it has a wheel for"
        yield Finding("credentials", "problem", f"films stay unsigned: {error}", fix)
        return
    if not settings.credentials.key and not (own_folder() / "key.pem").exists():
        yield Finding("credentials", "ok", "films are signed; the first one makes the key")
        return
    name = open_identity(settings.credentials).name
    yield Finding("credentials", "ok", f"films are signed with {name}")


def _weights() -> Iterator[Finding]:
    from models.published import cache_folder, check, read_manifest

    folder = cache_folder()
    found = [(one.name, check(one, folder)) for one in read_manifest()]
    for name, state in found:
        if state.state == "changed":
            fix = f"puppetcam models pull {name}"
            yield Finding("weights", "problem", f"{state.path}: {state.detail}", fix)
    present = [f"{name} ({state.state})" for name, state in found if state.state != "absent"]
    yield Finding("weights", "ok", ", ".join(present) or "none downloaded; none is needed")


def _disk() -> Iterator[Finding]:
    from models.published import cache_folder

    folder = cache_folder()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free_gb = shutil.disk_usage(there).free / 1e9
    detail = f"{free_gb:.0f} GB free for {folder}"
    if not os.access(there, os.W_OK):
        fix = "set PUPPETCAM_CACHE to a folder of your own"
        yield Finding("disk", "problem", f"{there} may not be written to", fix)
    elif free_gb < LEAST_FREE_GB:
        yield Finding("disk", "problem", detail, "free some space, or set PUPPETCAM_CACHE")
    else:
        yield Finding("disk", "ok", detail)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
