"""The C2PA library, loaded from where it was installed and kept off the network."""

import importlib.util
import os
import sys
import threading
from pathlib import Path
from typing import Any

LABEL = "org.puppetcam.generation"
"""Of our own assertion: which networks, which avatars, and whose faces they are."""
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = SOURCE_TYPES + "trainedAlgorithmicMedia"
COMPOSITE = SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"
"""The generated picture beside or over pictures of another origin."""

KINDS = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}
"""Suffix -> MIME type of the files that puppetcam writes and signs."""
OFFLINE: dict[str, Any] = {
    # A file that is looked at must not call anybody.
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
    # A recording of hours is spooled to disk instead of into memory.
    "core": {"backing_store_memory_threshold_in_mb": 8},
}
"""Settings of the library for everything that is done here."""

_import_lock = threading.Lock()


def load_c2pa() -> Any:
    """The library. Raises ImportError with one line where it is not there or does not load."""
    with _import_lock:
        if "c2pa" in sys.modules:
            return sys.modules["c2pa"]
        found = importlib.util.find_spec("c2pa")
        if found is None or found.origin is None:
            raise ImportError("the package c2pa-python is not installed (pip install c2pa-python)")
        # Left alone it looks for its native part in the current folder first, which may be one
        # of downloads: the name with its whole path makes it take the one it came with.
        files = sorted((Path(found.origin).parent / "libs").glob("*c2pa_c.*"))
        native = [file for file in files if file.suffix in (".so", ".dylib", ".dll")]
        if not native:
            raise ImportError("c2pa-python has no native part for this system")
        variable = "C2PA_LIBRARY_NAME"
        before = os.environ.get(variable)
        os.environ[variable] = str(native[0].resolve())
        try:
            import c2pa
        except (OSError, RuntimeError) as error:
            raise ImportError(f"c2pa-python does not load: {one_line(str(error))}") from error
        finally:
            if before is None:
                del os.environ[variable]
            else:
                os.environ[variable] = before
        return c2pa


def one_line(value: Any) -> str:
    """A short printable line: texts in files may hold anything, also what moves a cursor."""
    text = value if isinstance(value, str) else ""
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= 200 else f"{text[:197]}..."
