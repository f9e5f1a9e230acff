"""What a bundle's graphs take and give, checked before anything is fed to them.

A bundle comes from anywhere. Its hashes say that nothing was changed since it was written, not that
who wrote it meant well: names and shapes are checked here, so that a wrong one is told and a huge
one takes no memory. Whether the networks are any good is not looked at.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from config.errors import EngineError
from models.bundle import Bundle

LARGEST = 1 << 28
"""Numbers in an input or output; a gigabyte."""

Ports = Mapping[str, Sequence[Any]]
"""Name -> shape."""


def check_ports(bundle: Bundle, graph: str, inputs: Ports, outputs: Ports | None = None) -> None:
    """Raises EngineError where ``graph`` ("keypoints", "avatar" or "frame") does not have the
    inputs and, where they are known, the outputs of ``models.bundle``."""
    points = bundle.num_keypoints
    keypoints: dict[str, Sequence[int]] = {"value": (1, points, 2), "jacobian": (1, points, 2, 2)}
    of_avatar = {f"avatar_{name}": shape for name, shape in keypoints.items()}
    side = {"keypoints": bundle.keypoint_size, "avatar": bundle.size}.get(graph, 0)
    takes = {"image": (1, 3, side, side)} if side else keypoints | of_avatar
    _check(bundle, f"{graph} must take", takes, inputs)
    if side and set(inputs) != {"image"}:
        raise _wrong(bundle, f"{graph} must take 'image' alone, found {_some(inputs)}")
    if outputs is not None:
        check_results(bundle, graph, outputs)


def check_results(bundle: Bundle, graph: str, outputs: Ports) -> None:
    """Raises EngineError where these are not what ``graph`` gives."""
    points = bundle.num_keypoints
    gives: dict[str, Sequence[int | None]] = {}
    match graph:
        case "keypoints":
            gives = {"value": (1, points, 2), "jacobian": (1, points, 2, 2)}
            if "presence" in outputs:
                gives["presence"] = (1,)
        case "frame" if bundle.family == "compact":
            gives = {"displacement": (1, 2, None, None), "rgba": (1, 4, None, None)}
        case "frame":
            gives = {"image": (1, 3, bundle.output_size, bundle.output_size)}
    _check(bundle, f"{graph} must give", gives, outputs)


def check_joint(bundle: Bundle, frame_inputs: Ports, avatar_outputs: Ports) -> None:
    """Raises EngineError where the frame graph wants what the avatar graph does not give."""
    known = ("value", "jacobian", "avatar_value", "avatar_jacobian")
    wanted = {name: shape for name, shape in frame_inputs.items() if name not in known}
    _check(bundle, "avatar must give what frame takes:", wanted, avatar_outputs)


def _check(bundle: Bundle, what: str, wanted: Mapping[str, Sequence[Any]], found: Ports) -> None:
    for name, shape in wanted.items():
        if name not in found:
            raise _wrong(bundle, f"{what} '{name}', found {_some(found)}")
        if not _fits(found[name], shape):
            shown = ", ".join("any" if length is None else str(length) for length in shape)
            raise _wrong(bundle, f"{what} '{name}' as ({shown}), found {list(found[name])!s:.60}")
    for name, shape in found.items():
        lengths = [length for length in shape if isinstance(length, int)]
        if (
            len(lengths) != len(shape)
            or min(lengths, default=1) < 1
            or math.prod(lengths) > LARGEST
        ):
            raise _wrong(bundle, f"{name!r:.60} has the impossible shape {list(shape)!s:.60}")


def _fits(found: Sequence[Any], wanted: Sequence[Any]) -> bool:
    return len(found) == len(wanted) and all(
        length is None or length == one for one, length in zip(found, wanted, strict=True)
    )


def _some(names: Ports) -> str:
    shown = ", ".join(f"{name!r:.40}" for name in sorted(names)[:6])
    return shown or "nothing"


def _wrong(bundle: Bundle, what: str) -> EngineError:
    return EngineError(f"bundle {bundle.path}: {what}; export the bundle again")
