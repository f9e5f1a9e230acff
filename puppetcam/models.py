"""``puppetcam models``: list, fetch, verify and import published weights."""

import argparse
import dataclasses
import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from config.errors import CheckpointError, DownloadError, MissingPackageError

if TYPE_CHECKING:
    from models.published import Weights

NOT_A_TAR = "in spite of its name it is not a tar archive: do not unpack it"


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of this command."""
    parser = commands.add_parser("models", help="list, fetch, verify and import published weights")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="what is published and what lies in the cache")
    listing.set_defaults(run=_list)

    pull = actions.add_parser("pull", help="download by name; nothing else uses the network")
    pull.add_argument("name", help="a name that 'puppetcam models list' shows")
    pull.add_argument(
        "--accept-unverified",
        action="store_true",
        help="do not ask before fetching a file for which no hash was ever published",
    )
    pull.add_argument(
        "--mirror",
        metavar="URL",
        action="append",
        default=[],
        help="an https address of your own to try first; may be given several times",
    )
    pull.set_defaults(run=_pull)

    verify = actions.add_parser("verify", help="hash what lies in the cache again")
    verify.set_defaults(run=_verify)

    importing = actions.add_parser(
        "import", help="convert a checkpoint that you have (full or pruned) to safetensors"
    )
    importing.add_argument("file", type=Path, metavar="FILE")
    importing.add_argument(
        "--config",
        help="name in config/, or path of a YAML file; default: what name and shapes tell",
    )
    importing.add_argument("--output", type=Path, help="where to; default: the cache folder")
    importing.set_defaults(run=_import)


def _list(_: argparse.Namespace) -> int:
    from models.published import cache_folder, part_of, read_manifest

    folder = cache_folder()
    print(f"cache: {folder}")
    for weights in read_manifest():
        path = folder / weights.file
        if path.is_file():
            where = f"{path} ({_megabytes(path.stat().st_size)})"
        elif part_of(path).is_file():
            where = (
                f"partly downloaded ({_megabytes(part_of(path).stat().st_size)}); pull continues"
            )
        else:
            where = "not downloaded"
        size = _megabytes(weights.size) if weights.size else "size unknown"
        state = "sha256 known" if weights.sha256 else "unverified: no published hash"
        print(f"\n{weights.name}: {weights.shows}")
        print(f"  {weights.file}, {size}, {state}, config {weights.config}")
        print(f"  licence: {weights.licence}")
        print(f"  {where}")
    for path in sorted(folder.glob("*.safetensors")):
        print(f"\nimported: {path} ({_megabytes(path.stat().st_size)})")
    return 0


def _pull(arguments: argparse.Namespace) -> int:
    from models.download import download
    from models.published import allowed, cache_folder, check, read_manifest

    weights = _named(arguments.name, read_manifest())
    for url in arguments.mirror:
        if not allowed(url):
            raise DownloadError(f"a mirror must be an https address, found {url!r}")
    weights = dataclasses.replace(weights, mirrors=(*arguments.mirror, *weights.mirrors))
    folder = cache_folder()
    found = check(weights, folder)
    if found.state == "changed":
        print(f"{found.path} is not what it should be ({found.detail}); fetching it again")
    if found.state in ("verified", "unverified"):
        print(f"{found.path} is already there: {found.detail}")
    else:
        if weights.sha256 is None and not arguments.accept_unverified:
            _ask(weights)
        print(f"{weights.name}: licence: {weights.licence}")
        path = download(weights, folder)
        state = "sha256 as published" if weights.sha256 else "unverified"
        print(f"{path}: complete, {state}")
    print(f"It is a checkpoint; {NOT_A_TAR}.")
    print(f"Next: puppetcam models import {found.path}")
    return 0


def _ask(weights: "Weights") -> None:
    warning = (
        f"{weights.name} is unverified: nobody has published a hash of {weights.file}, so nobody "
        "can tell whether a mirror sends the original"
    )
    if not sys.stdin.isatty():
        raise DownloadError(f"{warning}; add --accept-unverified to fetch it all the same")
    try:
        answer = input(f"{warning}.\nFetch it all the same? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise DownloadError(f"{weights.name} was not fetched: it is unverified and you said no")


def _verify(_: argparse.Namespace) -> int:
    from models.published import cache_folder, check, read_manifest

    folder = cache_folder()
    found = [check(weights, folder) for weights in read_manifest()]
    present = [one for one in found if one.state != "absent"]
    for one in present:
        print(f"{one.state}: {one.path}: {one.detail}")
    if not present:
        print(f"nothing to verify in {folder}")
    changed = [str(one.path) for one in found if one.state == "changed"]
    if changed:
        raise DownloadError(f"not as published or downloaded: {', '.join(changed)}; pull again")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from models.published import cache_folder, file_hash, read_manifest

    path: Path = arguments.file
    if path.is_dir():
        raise CheckpointError(
            f"{path} is a folder; import the checkpoint file itself ({NOT_A_TAR})"
        )
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; 'puppetcam models list' shows the cache")
    try:
        from models.checkpoint import convert
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingPackageError(
            "import needs torch, which is not installed; run pip install '.[export]' in the "
            "folder of puppetcam"
        ) from error
    sha256, md5 = file_hash(path), file_hash(path, "md5")
    known = [w for w in read_manifest() if w.sha256 == sha256 or w.pruned_md5 == md5]
    state = f"the published {known[0].name}" if known else "unverified: no published hash is its"
    print(f"{path}: sha256 {sha256}, {state}")
    config = arguments.config or (known[0].config if known else None)
    stem = path.name.removesuffix(".tar").removesuffix(".pth")
    output = arguments.output or cache_folder() / f"{stem}.safetensors"
    imported = convert(path, config, output)
    print(f"wrote {imported.path}: {imported.config}, {imported.values:,} values")
    print(f"Next: puppetcam export --checkpoint {imported.path} --format onnx --output DIR")
    return 0


def _named(name: str, manifest: "tuple[Weights, ...]") -> "Weights":
    names = {weights.name: weights for weights in manifest}
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
        raise DownloadError(
            f"no published weights are called '{name}'; nearest is '{near[0]}' "
            f"(all: {', '.join(names)})"
        )
    return names[name]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
