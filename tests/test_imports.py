"""The import arrow, the optional packages, and that nothing names the machine it was written on."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ARROW = (
    "config",
    "models",
    "provenance",
    "drawing",
    "realtime",
    "control",
    "export",
    "training",
    "bench",
    "puppetcam",
)
"""A package may import itself and those before it."""

OPTIONAL = ("torch", "onnxruntime", "openvino", "onnx", "face_alignment")

# The live path: these work with the base install alone. (export and training need torch.)
RUNTIME = ("config", "provenance", "drawing", "realtime", "control", "bench", "puppetcam")
RUNTIME_MODELS = (
    "models.bundle",
    "models.download",
    "models.keypoints",
    "models.landmarks",
    "models.published",
)


def imports(source: str) -> set[str]:
    """Every module that a source text imports, at the top, in functions, for types alone."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def against_the_arrow(package: str, source: str) -> set[str]:
    later = ARROW[ARROW.index(package) + 1 :]
    return {name for name in imports(source) if name.split(".")[0] in later}


def modules(package: str) -> dict[str, Path]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((ROOT / package).rglob("*.py"))
    }


@pytest.mark.parametrize("package", ARROW)
def test_imports_follow_the_arrow(package: str) -> None:
    found = modules(package)
    assert found
    wrong = {
        name: names
        for name, path in found.items()
        if (names := against_the_arrow(package, path.read_text(encoding="utf-8")))
    }
    assert wrong == {}


def test_the_check_of_the_arrow_sees_every_kind_of_import() -> None:
    source = (
        "import puppetcam.cli\n"
        "import models.bundle\n"
        "from config.load import build\n"
        "def late():\n"
        "    from bench import report as r\n"
        "    if TYPE_CHECKING:\n"
        "        from export.onnx import write\n"
    )
    assert against_the_arrow("realtime", source) == {
        "puppetcam.cli",
        "bench.report",
        "export.onnx.write",
    }


def test_the_arrow_has_all_packages() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"tests"} == set(ARROW)


def test_nothing_imports_the_tests() -> None:
    for package in ARROW:
        for path in modules(package).values():
            assert not any(
                name.split(".")[0] == "tests" for name in imports(path.read_text("utf-8"))
            )


def top_level(path: Path) -> set[str]:
    """Packages that are imported as soon as the file is."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = ast.Module([n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))], [])
    return {name.split(".")[0] for name in imports(ast.unparse(top))}


def without(packages: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a Python in which ``packages`` are not installed."""
    blocker = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {packages!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    return subprocess.run(
        [sys.executable, "-c", blocker + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


EXPORTING_BENCH = [
    f"bench.{name}" for name in ("figures", "gpu", "reference", "scaling", "synthetic")
]
"""They make networks to measure, and want the extra [export]."""


def test_the_runtime_imports_without_the_optional_packages() -> None:
    names = [*RUNTIME_MODELS]
    for package in RUNTIME:
        for name, path in modules(package).items():
            if name.endswith("__main__"):
                continue
            if name in ("realtime.onnx_engine", "realtime.torchscript_engine"):
                continue  # one for each runtime, imported once it is chosen
            if name in EXPORTING_BENCH:
                continue  # started by name, from a checkout
            assert not top_level(path) & set(OPTIONAL), name
            names.append(name)
    found = without(OPTIONAL, f"import importlib\nfor n in {names!r}: importlib.import_module(n)")
    assert found.returncode == 0, found.stderr


def test_the_block_of_the_test_above_works() -> None:
    found = without(("yaml",), "import config.load")
    assert "No module named 'yaml'" in found.stderr


def test_the_command_line_starts_without_the_heavy_packages() -> None:
    heavy = ("numpy", "cv2", "av", "pyvirtualcam", *OPTIONAL)
    found = without(heavy, "from puppetcam.cli import main\nmain(['--help'])")
    assert found.returncode == 0, found.stderr
    assert "models" in found.stdout


TEXT = (".py", ".md", ".yaml", ".yml", ".toml", ".json", ".sh", ".cfg", "")
# Written with "~" in the words, so that this file does not find itself.
PATTERNS = (
    r"(?<![\w.])/(?:wo~rk|ro~ot|Us~ers)/",
    r"/ho~me/(?!you\b|user\b)",
    r"[A-Z]:\\Us~ers",
    r"py~pi\.org|python~hosted|download\.py~torch",
)
MACHINE = re.compile("|".join(PATTERNS).replace("~", ""))


def test_nothing_names_a_machine_or_a_package_host() -> None:
    places = [ROOT, ROOT / ".ci", *(ROOT / name for name in (*ARROW, "tests", "docs"))]
    files = {path for place in places[:2] for path in place.iterdir() if path.is_file()}
    files |= {path for place in places[2:] for path in place.rglob("*") if path.is_file()}
    wrong = []
    for path in sorted(files):
        if path.suffix not in TEXT or path.name == ".git" or "__pycache__" in path.parts:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if MACHINE.search(line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert wrong == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("open('/wo~rk/shared/x')", True),
        ("at /ho~me/anna/puppetcam", True),
        ("https://example.org/works/fine", False),
        ("from puppetcam/work", False),
        ("network/worker", False),
    ],
)
def test_the_search_for_machine_paths_finds_them(line: str, found: bool) -> None:
    assert bool(MACHINE.search(line.replace("~", ""))) is found
