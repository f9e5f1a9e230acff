"""The folder of a new bundle: written aside, and moved into its place once it is whole."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.errors import BundleError, ExportError
from models.bundle import MANIFEST, read_manifest


@contextmanager
def new_bundle(output: Path) -> Iterator[Path]:
    """A scratch folder to write a bundle into; on leaving, what it holds becomes ``output``.

    ``output`` may be new, empty, or a bundle: its graphs are then replaced, other files in it (a
    model card) stay. On any error ``output`` stays as it was. Raises ExportError where ``output``
    is something else, or cannot be written.
    """
    try:
        _check_target(output)
        output.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the renames at the end stay on one disk.
        with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as scratch:
            # One folder deeper: the outer one is private to the user, a bundle need not be.
            folder = Path(scratch, "bundle")
            folder.mkdir()
            yield folder
            _move(folder, output)
    except OSError as error:
        raise ExportError(f"cannot write the bundle {output}: {error}") from error


def _check_target(output: Path) -> None:
    if not output.exists():
        return
    if not output.is_dir():
        raise ExportError(f"{output} is a file; name a new folder, or a bundle to replace")
    if not any(output.iterdir()):
        return
    try:
        read_manifest(output)
    except BundleError as error:
        raise ExportError(
            f"{output} exists and is no bundle, nothing was touched; name a new folder ({error})"
        ) from error


def _move(folder: Path, output: Path) -> None:
    if not output.exists() or not any(output.iterdir()):
        if output.exists():
            output.rmdir()  # Windows renames onto no folder, not even an empty one
        folder.rename(output)
        return
    old = read_manifest(output)
    # The manifest last: cut short here, opening the bundle tells that its hashes are wrong.
    for file in sorted(folder.iterdir(), key=lambda file: file.name == MANIFEST):
        os.replace(file, output / file.name)
    new = read_manifest(output)
    for name in old.files.keys() - new.files.keys():
        (output / name).unlink(missing_ok=True)
