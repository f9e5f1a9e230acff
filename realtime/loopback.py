"""v4l2loopback, the kernel module of Linux's virtual cameras: what stands in its way, and the fix.

Nothing is opened here for writing: with ``exclusive_caps=1`` some versions of the module let a
program do that once until the module is loaded again.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from realtime.camera import VIDEO_GROUP, in_use
from realtime.devices import CameraInfo, list_cameras

MODPROBE = "sudo modprobe v4l2loopback devices=1 exclusive_caps=1 card_label=puppetcam"
"""The line that makes a virtual camera on Linux."""
RELOAD = f"sudo modprobe -r v4l2loopback && {MODPROBE}"
INSTALL = f"sudo apt install v4l2loopback-dkms, then {MODPROBE}"
_KEYS = ("/var/lib/shim-signed/mok/MOK.der", "/var/lib/dkms/mok.pub")
"""Where Ubuntu and Debian keep the public key with which DKMS signs modules."""


@dataclass(frozen=True, slots=True)
class Loopback:
    """What was found of the module."""

    installed: bool = False
    """It lies among the modules of the running kernel."""
    loaded: bool = False
    exclusive: bool = False
    """Loaded with ``exclusive_caps=1``: browsers list its devices."""
    devices: Sequence[CameraInfo] = ()
    secure_boot: bool = False
    """The kernel refuses modules that are not signed with a key enrolled in the firmware."""
    mok: str = ""
    """The public key to enrol, "" where none was found."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where Linux tells of it."""

    module: Path = Path("/sys/module/v4l2loopback")
    modules: Path = field(default_factory=lambda: Path("/lib/modules") / os.uname().release)
    firmware: Path = Path("/sys/firmware/efi/efivars")
    keys: Sequence[Path] = tuple(Path(key) for key in _KEYS)


def look(places: Places | None = None, devices: Sequence[CameraInfo] | None = None) -> Loopback:
    """The state of this machine. ``devices``: None asks the system."""
    places = places or Places()
    loaded = places.module.exists()
    if devices is None:
        virtual = [one for one in list_cameras(detailed=True) if one.virtual] if loaded else []
        devices = [one for one in virtual if one.driver in ("", "v4l2 loopback")]
    try:
        caps = (places.module / "parameters" / "exclusive_caps").read_text(encoding="ascii")
    except OSError:
        caps = ""
    return Loopback(
        installed=loaded or any(places.modules.rglob("v4l2loopback.ko*")),
        loaded=loaded,
        exclusive="Y" in caps,
        devices=devices,
        secure_boot=secure_boot(places.firmware),
        mok=next((str(key) for key in places.keys if key.exists()), ""),
    )


def secure_boot(folder: Path) -> bool:
    """True where the firmware's variables say so."""
    for variable in folder.glob("SecureBoot-*"):
        try:
            return variable.read_bytes()[-1:] == b"\x01"
        except OSError:
            return False
    return False


def trouble(found: Loopback, device: str | None = None) -> tuple[str, str] | None:
    """(why nothing can be written to ``device``, or to any of them; what to do); None: nothing
    speaks against it."""
    if not found.loaded:
        fault = "v4l2loopback is not loaded" if found.installed else "v4l2loopback is not installed"
        fix = MODPROBE if found.installed else INSTALL
        if not found.secure_boot:
            return fault, fix
        enrol = f"sudo mokutil --import {found.mok or 'the key that signs it'}"
        return (
            f"{fault}, and Secure Boot is on, which refuses modules whose key it does not know",
            f"{fix}; at 'Key was rejected': {enrol}, restart, and choose Enroll MOK",
        )
    asked = [one for one in found.devices if device in (None, one.path)]
    if not found.devices:
        return (
            "v4l2loopback is loaded without a device that takes pictures (with exclusive_caps=1 "
            "one that was written to before takes none)",
            RELOAD,
        )
    if not asked:
        there = ", ".join(one.path for one in found.devices)
        fix = f"give virtualcam:{found.devices[0].path}"
        return f"{device} is no device of v4l2loopback, those are {there}", fix
    if not any(one.allowed for one in asked):
        names = ", ".join(one.path for one in asked)
        return f"{names} may not be opened by this user", VIDEO_GROUP
    for one in asked:
        if one.allowed and not (one.fed and (found.exclusive or one.users)):
            return None
    busy = next(one for one in asked if one.allowed)
    if busy.users:
        who = in_use(busy.users)
        return (
            f"{busy.path} is in use by {who}",
            f"close it there, and if that is not enough: {RELOAD}",
        )
    return (
        f"{busy.path} was written to before, and exclusive_caps=1 allows that once",
        f"close the programs that show it, then {RELOAD}",
    )
