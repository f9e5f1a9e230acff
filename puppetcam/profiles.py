"""``puppetcam profiles``, and how ``puppetcam run --profile NAME`` begins with one and keeps it."""

import argparse
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from config.schema import Settings
    from control.actions import Actions
    from control.profiles import Profile
    from realtime.assembly import Assembly
    from realtime.devices import CameraInfo


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "profiles", help="list, show or delete what run --profile NAME keeps"
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="all profiles")
    listing.set_defaults(run=_list)
    for name, help_text, run in (
        ("show", "what is in one, and in which file", _show),
        ("delete", "forget one, with its calibration", _delete),
    ):
        action = actions.add_parser(name, help=help_text)
        action.add_argument("name", metavar="NAME")
        action.set_defaults(run=run)


def _list(arguments: argparse.Namespace) -> int:
    from config.errors import SettingsError
    from control.profiles import Profile, load_profile, profile_file, profile_names

    names = profile_names()
    if not names:
        print("no profiles yet; make one: puppetcam run --profile NAME")
    width = max((len(name) for name in names), default=0)
    for name in names:
        changed = datetime.fromtimestamp(profile_file(name).stat().st_mtime)
        try:
            profile = load_profile(name) or Profile()
            what = f"avatar {profile.avatar}, source {profile.source}, " + (
                "calibrated" if profile.calibration else "not calibrated"
            )
        except SettingsError:
            what = f"cannot be read; see puppetcam profiles show {name}"
        print(f"{name:{width}}  {changed:%Y-%m-%d %H:%M}  {what}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    import dataclasses

    import yaml

    from control.profiles import load_profile, plain_values, profile_file, unknown

    profile = load_profile(arguments.name)
    if profile is None:
        raise unknown(arguments.name)
    print(f"# {profile_file(arguments.name)}")
    values = plain_values(dataclasses.replace(profile, calibration=None))
    print(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), end="")
    if profile.calibration is not None:
        print(
            f"calibration: the driver's neutral face, {len(profile.calibration.landmarks)} points"
        )
    return 0


def _delete(arguments: argparse.Namespace) -> int:
    from control.profiles import delete_profile

    delete_profile(arguments.name)
    print(f"deleted: {arguments.name}")
    return 0


def begin(arguments: argparse.Namespace) -> "Profile":
    """The profile of ``--profile``, a new one if there is none of this name, and what it has put
    into those arguments of ``run`` that were not given. Raises SettingsError."""
    from control.profiles import Profile, load_profile

    profile = load_profile(arguments.profile) or Profile()
    if not arguments.avatar:
        arguments.avatar = [Path(one) for one in profile.avatars]
        arguments.loaded = [Path(one) for one in profile.loaded if Path(one).is_file()]
    arguments.source = arguments.source or profile.source
    arguments.sink = arguments.sink or list(profile.sinks)
    return profile


def resume(profile: "Profile", assembly: "Assembly", settings: "Settings") -> tuple[int, str]:
    """Before the run: show the avatar and take the driver's neutral face as they were left.
    Returns the avatar's index, and what to tell."""
    names = [avatar.name for avatar in assembly.avatars]
    shown = names.index(profile.avatar) if profile.avatar in names else 0
    if shown:
        assembly.puppeteer.set_avatar(assembly.avatars[shown])
    return shown, _calibrate(profile, assembly, settings)


def _calibrate(profile: "Profile", assembly: "Assembly", settings: "Settings") -> str:
    from control.profiles import from_neutral, reader

    known = profile.calibration
    if known is None:
        return "not calibrated yet"
    bundle = assembly.engine.bundle
    if known.read_by != reader(bundle, settings) or len(known.value) != bundle.num_keypoints:
        return "to be calibrated anew: another network or tracker reads the face now"
    if known.mirror != settings.camera.mirror:
        return "to be calibrated anew: the camera is mirrored otherwise now"
    assembly.puppeteer.resume(from_neutral(known))
    return "calibrated; X recentres"


def gather(
    arguments: argparse.Namespace,
    before: "Profile",
    assembly: "Assembly",
    actions: "Actions",
    camera: "CameraInfo | None",
) -> "Profile":
    """The profile as the run stands; ``camera``: the one that was opened."""
    from control.profiles import Profile, reader, to_neutral

    settings, calibration = actions.settings, assembly.puppeteer.calibration
    known = before.calibration
    if calibration is not None:
        known = to_neutral(
            calibration, reader(assembly.engine.bundle, settings), settings.camera.mirror
        )
    loaded = [*arguments.loaded]
    loaded += [one.path for one in actions.avatars[len(assembly.avatars) :] if one.path]
    source = arguments.source
    if camera is not None and camera.name:
        source = f"camera:{camera.serial or camera.name}"
    elif Path(source).exists():
        source = str(Path(source).absolute())
    return Profile(
        avatars=tuple(str(path.absolute()) for path in arguments.avatar),
        loaded=tuple(str(path.absolute()) for path in loaded),
        avatar=actions.avatar.name,
        source=source,
        sinks=tuple(text for text in arguments.sink if not text.startswith("file:")),
        settings=settings,
        calibration=known,
    )
