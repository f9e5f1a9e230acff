"""``python tests/broken_run.py FOLDER ARGUMENTS``: puppetcam whose parts break when it is told to.

Files in FOLDER tell: ``engine`` names the exception that the networks raise from then on,
``camera`` makes the virtual camera, which is a fake of pyvirtualcam's, refuse pictures.
"""

import sys
from pathlib import Path
from typing import Any

import pyvirtualcam

from config.errors import EngineError
from puppetcam.cli import main
from realtime.onnx_engine import OnnxEngine

ERRORS: dict[str, Exception] = {
    "failed": EngineError("ONNX Runtime failed: the node Conv_3 gave no result"),
    "memory": MemoryError(),
    "mistake": ValueError("shapes (1, 2) and (3, 4)\nof a mistake of ours"),
}


def main_with_faults(folder: Path, arguments: list[str]) -> int:
    """Run the command line with the parts that break."""

    class Camera:
        """What puppetcam uses of ``pyvirtualcam.Camera``."""

        device = "/dev/video77"

        def __init__(self, width: int, height: int, fps: float, device: str | None) -> None:
            self.width, self.height = width, height

        def send(self, image: Any) -> None:
            if (folder / "camera").exists():
                raise RuntimeError("No such device")

        def close(self) -> None:
            pass

    generate = OnnxEngine.generate

    def breaking(self: OnnxEngine, *given: Any) -> Any:
        told = folder / "engine"
        if told.exists():
            raise ERRORS[told.read_text(encoding="utf-8")]
        return generate(self, *given)

    pyvirtualcam.Camera = Camera  # type: ignore[misc, assignment]
    OnnxEngine.generate = breaking  # type: ignore[method-assign]
    return main(arguments)


if __name__ == "__main__":
    raise SystemExit(main_with_faults(Path(sys.argv[1]), sys.argv[2:]))
