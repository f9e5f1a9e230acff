"""What a call needs to show the avatar: the virtual camera, PipeWire, browsers' rights, OBS.

Each check is a function of what was read, so that a machine can be imagined; ``examine`` reads this
one. Whether a call's program really lists the camera is not known here.
"""

import os
import platform
import plistlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from config.errors import SinkError
from config.schema import OutputSettings
from puppetcam.finding import Finding
from realtime import loopback, pipewire
from realtime.virtual_camera import VirtualCamera, advice

Ask = Callable[..., str | None]
"""Runs a command, given as words, and returns its output; None: it failed or is not there."""

SNAPS = ("firefox", "chromium", "brave", "opera", "vivaldi", "zoom-client", "discord",
         "teams-for-linux", "obs-studio")  # fmt: skip
FLATPAKS = ("org.mozilla.firefox", "org.chromium.Chromium", "com.google.Chrome",
            "com.brave.Browser", "com.microsoft.Edge", "us.zoom.Zoom", "com.discordapp.Discord",
            "com.github.IsmaelMartinez.teams_for_linux", "com.obsproject.Studio")  # fmt: skip
OBS_FLATPAK = "com.obsproject.Studio"
OBS_CLSID = r"CLSID\{A3FCE0F5-3493-419F-958A-ABA1250EC20B}"
"""Under HKEY_CLASSES_ROOT once OBS has registered its virtual camera."""
OBS_EXTENSION = "com.obsproject.obs-studio.mac-camera-extension"
_MANAGERS = ("wireplumber", "pipewire-media-session")
_PORTALS = ("usr/libexec/xdg-desktop-portal", "usr/lib/xdg-desktop-portal")


def examine(settings: OutputSettings) -> Iterator[Finding]:
    """All checks for this system."""
    if sys.platform == "linux":
        yield kernel_camera(loopback.look())
        yield pipewire_camera(os.environ, ask)
        yield from confined(Path("/"), Path.home(), ask)
        yield obs_on_linux(Path("/"), Path.home(), ask)
    elif sys.platform == "win32":
        yield obs_on_windows(_obs_registered())
        yield opened(settings)
    elif sys.platform == "darwin":
        yield obs_on_macos(Path("/Applications/OBS.app"), platform.mac_ver()[0], ask)
        yield opened(settings)


def ask(*command: str) -> str | None:
    """``Ask`` on this machine."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=False, errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout + done.stderr if done.returncode == 0 else None


def opened(settings: OutputSettings) -> Finding:
    """The virtual camera, opened for a moment: where that can be done as often as one likes."""
    try:
        camera = VirtualCamera(settings)
    except SinkError as error:
        return Finding("virtual camera", "problem", str(error).partition("; ")[0], advice()[1])
    camera.close()
    return Finding("virtual camera", "ok", f"{camera.name} opens")


def kernel_camera(found: loopback.Loopback) -> Finding:
    """v4l2loopback, which every program on Linux sees. Not opened: that may work once only."""
    wrong = loopback.trouble(found)
    if wrong is not None:
        return Finding("virtual camera", "problem", *wrong)
    detail = f"v4l2loopback, {', '.join(one.path for one in found.devices)}"
    if not found.exclusive:
        fault = f"{detail}: browsers do not list it without exclusive_caps=1"
        return Finding("virtual camera", "problem", fault, loopback.RELOAD)
    return Finding("virtual camera", "ok", f"{detail}, exclusive_caps on")


def pipewire_camera(environment: Mapping[str, str], ask: Ask, root: Path = Path("/")) -> Finding:
    """What ``--sink pipewire`` needs, and what those who look at it need."""
    name = "PipeWire camera"
    try:
        pipewire.check_session(environment, "linux")
    except SinkError as error:
        fault, _, fix = str(error).removeprefix("pipewire: ").partition("; ")
        return Finding(name, "problem", fault, fix)
    install = f"sudo apt install {pipewire.PACKAGES}"
    if ask("gst-launch-1.0", "--version") is None:
        return Finding(name, "problem", "PipeWire runs, GStreamer is not installed", install)
    for element in ("fdsrc", "rawvideoparse", "videoconvert", "pipewiresink"):
        if ask("gst-inspect-1.0", element) is None:
            fault = f"PipeWire runs, GStreamer has no {element}"
            return Finding(name, "problem", fault, install)
    running = {_text(comm).strip() for comm in (root / "proc").glob("[0-9]*/comm")}
    if not running & set(_MANAGERS):
        fix = "sudo apt install wireplumber, then systemctl --user start wireplumber"
        return Finding(name, "problem", "nothing connects cameras: WirePlumber does not run", fix)
    if not any((root / portal).exists() for portal in _PORTALS):
        fault = "ready for OBS; browsers ask the desktop's portal for it, which is not installed"
        fix = "sudo apt install xdg-desktop-portal xdg-desktop-portal-gtk"
        return Finding(name, "problem", fault, fix)
    return Finding(name, "ok", "--sink pipewire makes one, for browsers and OBS")


def confined(root: Path, home: Path, ask: Ask) -> Iterator[Finding]:
    """Programs from Snap and Flatpak, which need a right to see cameras."""
    for name in SNAPS:
        if not (root / "snap" / name).is_dir():
            continue
        said = ask("snap", "connections", name)
        slots = re.findall(rf"^camera\s+{re.escape(name)}:\S+\s+(\S+)", said or "", re.MULTILINE)
        if said is not None and (not slots or "-" in slots):
            fix = f"sudo snap connect {name}:camera, and start it again"
            yield Finding("Snap", "problem", f"{name} may not see cameras", fix)
        else:
            yield Finding("Snap", "ok", f"{name} may see cameras" if said else f"{name} is there")
    for name in FLATPAKS:
        places = (root / "var/lib/flatpak/app", home / ".local/share/flatpak/app")
        if not any((place / name).is_dir() for place in places):
            continue
        said = ask("flatpak", "info", "--show-permissions", name)
        devices = re.search(r"^devices=(.*)$", said or "", re.MULTILINE)
        if said is not None and not (devices and "all" in devices[1].split(";")):
            fix = f"flatpak override --user --device=all {name}, and start it again"
            yield Finding("Flatpak", "problem", f"{name} may not see /dev/video*", fix)
        else:
            yield Finding(
                "Flatpak", "ok", f"{name} may see /dev/video*" if said else f"{name} is there"
            )


def obs_on_linux(root: Path, home: Path, ask: Ask) -> Finding:
    """OBS; it is no necessity on Linux."""
    version = re.search(r"\d+(\.\d+)+", ask("obs", "--version") or "")
    if version:
        return Finding("OBS", "ok", f"{version[0]}, which can show --sink mjpeg")
    flatpaks = (root / "var/lib/flatpak/app", home / ".local/share/flatpak/app")
    if any((place / OBS_FLATPAK).is_dir() for place in flatpaks):
        return Finding("OBS", "ok", "as Flatpak, which can show --sink mjpeg")
    return Finding("OBS", "ok", "not installed; calls do not need it")


def obs_on_windows(registered: bool) -> Finding:
    """OBS's virtual camera, the one that calls see on Windows."""
    if registered:
        return Finding("OBS", "ok", "its virtual camera is registered")
    return Finding(
        "OBS", "problem", "its virtual camera is not registered", advice(None, "win32")[1]
    )


def _obs_registered() -> bool:
    if sys.platform != "win32":
        return False
    import winreg

    try:
        winreg.CloseKey(winreg.OpenKey(winreg.HKEY_CLASSES_ROOT, OBS_CLSID))
    except OSError:
        return False
    return True


def obs_on_macos(app: Path, system: str, ask: Ask) -> Finding:
    """OBS's camera extension, the one that calls see on macOS 13 and later. ``system``: e.g.
    "13.6.1"."""
    fix = advice(None, "darwin")[1]
    try:
        plist = plistlib.loads((app / "Contents" / "Info.plist").read_bytes())
        version = str(plist["CFBundleShortVersionString"])
    except (OSError, KeyError, plistlib.InvalidFileException, ValueError):
        return Finding("OBS", "problem", f"is not in {app.parent}", fix)
    if _major(system) < 13:
        fault = f"{version}, but macOS {system} has no camera extensions"
        return Finding("OBS", "problem", fault, "update to macOS 13 or newer")
    if _major(version) < 30:
        fault = f"{version} has no camera extension, which macOS 13 and later want"
        return Finding("OBS", "problem", fault, fix)
    lines = (ask("systemextensionsctl", "list") or "").splitlines()
    state = " ".join(line for line in lines if OBS_EXTENSION in line)
    if "[activated enabled]" in state:
        return Finding("OBS", "ok", f"{version}, its camera extension is on")
    if "waiting for user" in state:
        fault = f"{version}, its camera extension waits for your consent"
        return Finding(
            "OBS", "problem", fault,
            "System Settings, General, Login Items & Extensions, Camera Extensions: switch OBS on "
            "(macOS 13 and 14: Privacy & Security, Allow), and start the call's program again",
        )  # fmt: skip
    fault = f"{version}, its camera extension is not installed"
    return Finding(
        "OBS", "problem", fault,
        "in OBS press Start Virtual Camera, allow it, and press Stop Virtual Camera",
    )  # fmt: skip


def _major(version: str) -> int:
    number = re.match(r"\d+", version)
    return int(number[0]) if number else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
