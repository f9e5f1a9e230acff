"""Settings: what is accepted, and that each mistake is one line that names the place."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from config.errors import SettingsError
from config.load import build, with_overrides
from config.schema import (
    CameraSettings,
    EngineSettings,
    LabelSettings,
    MotionSettings,
    OutputSettings,
    Settings,
    load_settings,
)


def message(*overrides: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(None, overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


def file_message(tmp_path: Path, content: str | bytes) -> str:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


# ---- what is accepted


def test_defaults_are_valid_and_frozen() -> None:
    settings = load_settings()
    assert settings == Settings()
    assert settings.label.enabled
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.camera = CameraSettings()  # type: ignore[misc]


def test_file_then_overrides_in_order(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("camera:\n  width: 1280\n  height: 720\nlabel: {position: top-left}\n")
    settings = load_settings(path, ["camera.width=800", "camera.width=960", "motion.limit=1"])
    assert (settings.camera.width, settings.camera.height) == (960, 720)
    assert settings.label.position == "top-left"
    assert settings.motion.limit == 1.0
    assert type(settings.motion.limit) is float
    assert settings.output == OutputSettings()


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing\n")
    assert load_settings(path) == Settings()


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("motion.relative=false", False),
        ("motion.relative=no", False),
        ("motion.relative=on", True),
        ("motion.relative= true ", True),
    ],
)
def test_yaml_words_for_booleans(override: str, value: bool) -> None:
    assert load_settings(None, [override]).motion.relative is value


@pytest.mark.parametrize("text", ["10", "1e1", "1.0e+1", "10.0", "0x0A"])
def test_numbers_as_people_write_them(text: str) -> None:
    assert load_settings(None, [f"camera.fps={text}"]).camera.fps == 10.0


def test_a_path_with_an_equals_sign_is_kept() -> None:
    assert load_settings(None, ["engine.bundle=/a/b=c"]).engine.bundle == "/a/b=c"


def test_overrides_leave_the_given_values_alone() -> None:
    given_values = {"camera": {"width": 1}}
    assert with_overrides(given_values, ["camera.width=2"]) == {"camera": {"width": 2}}
    assert given_values == {"camera": {"width": 1}}


# ---- names


@pytest.mark.parametrize(
    ("override", "wrong", "nearest"),
    [
        ("camera.widht=3", "camera.widht", "camera.width"),
        ("labl.size=0.1", "labl", "label"),
        ("smoothing.min_cutoff=1", "smoothing.min_cutoff", "smoothing.min_cutoff_hz"),
        ("motion.limits=1", "motion.limits", "motion.limit"),
        ("Camera.width=3", "Camera", "camera"),
        ("width=3", "width", "camera.width"),
        ("mirror=true", "mirror", "camera.mirror"),
    ],
)
def test_an_unknown_name_is_told_with_its_path_and_the_nearest(
    override: str, wrong: str, nearest: str
) -> None:
    text = message(override)
    assert f"unknown setting '{wrong}'" in text
    assert f"'{nearest}'" in text


def test_a_key_that_is_no_text_is_told(tmp_path: Path) -> None:
    assert "unknown setting 'camera.3'" in file_message(tmp_path, "camera: {3: 4}")
    assert "a very large number" in file_message(tmp_path, f"? 0x{'F' * 9000}\n: 4")


# ---- types


@pytest.mark.parametrize(
    ("override", "texts"),
    [
        ("camera.width=wide", ["'camera.width'", "a whole number", "'wide'"]),
        ("camera.width=640.0", ["'camera.width'", "a whole number", "640.0"]),
        ("camera.width=true", ["'camera.width'", "a whole number", "true"]),
        ("camera.fps=true", ["'camera.fps'", "a number", "true"]),
        ("camera.fps=fast", ["'camera.fps'", "a number", "'fast'"]),
        ("camera.fps=", ["'camera.fps'", "a number", "nothing"]),
        ("camera.mirror=1", ["'camera.mirror'", "true or false", "1"]),
        ("camera.mirror='true'", ["'camera.mirror'", "true or false", "'true'"]),
        ("engine.bundle=5", ["'engine.bundle'", "a text", "5"]),
        ("camera=5", ["'camera'", "a group", "5"]),
        ("camera=[1, 2]", ["'camera'", "a group", "a list"]),
        ("camera.width={a: 1}", ["'camera.width'", "a whole number", "a group"]),
        ("label.text=ai", ["'label.text'", "AI, AI GENERATED, AI MODIFIED", "'ai'"]),
        ("label.text=[AI]", ["'label.text'", "AI, AI GENERATED, AI MODIFIED", "a list"]),
        ("engine.provider=gpu", ["'engine.provider'", "auto, cpu, cuda", "'gpu'"]),
    ],
)
def test_a_wrong_type_names_path_wish_and_finding(override: str, texts: list[str]) -> None:
    found = message(override)
    for text in texts:
        assert text in found


# ---- ranges


@pytest.mark.parametrize(
    ("override", "texts"),
    [
        ("camera.width=0", ["'camera.width'", "from 16 to 8192", "found 0"]),
        ("output.height=-480", ["'output.height'", "from 16 to 8192", "found -480"]),
        ("output.width=8194", ["'output.width'", "from 16 to 8192", "found 8194"]),
        ("camera.fps=1001", ["'camera.fps'", "from 0.1 to 1000", "found 1001.0"]),
        ("camera.stall_s=0", ["'camera.stall_s'", "above 0", "found 0.0"]),
        (f"camera.width=1{'0' * 400}", ["'camera.width'", "too large"]),
        (f"camera.fps=0x{'F' * 9000}", ["'camera.fps'", "too large"]),
        (f"label.text=0x{'F' * 9000}", ["'label.text'"]),
        ("camera.fps=.nan", ["'camera.fps'", "finite", "nan"]),
        ("camera.fps=.inf", ["'camera.fps'", "finite", "inf"]),
        ("camera.fps=1e999", ["'camera.fps'", "finite"]),
        ("smoothing.beta=-1", ["'smoothing.beta'", "from 0.0 to 1000.0"]),
        ("smoothing.beta=.nan", ["'smoothing.beta'", "finite"]),
        ("label.size=.nan", ["'label.size'", "finite"]),
        ("label.size=0.31", ["'label.size'", "from 0.03 to 0.3", "0.31"]),
        ("label.opacity=0.2", ["'label.opacity'", "from 0.3 to 1.0", "0.2"]),
        ("output.width=641", ["'output.width'", "even", "641"]),
        ("engine.threads=-1", ["'engine.threads'", "from 0 to 256", "-1"]),
    ],
)
def test_a_value_out_of_range_names_path_and_range(override: str, texts: list[str]) -> None:
    found = message(override)
    for text in texts:
        assert text in found


def test_ranges_hold_in_code_too() -> None:
    for make in (
        lambda: CameraSettings(fps=math.nan),
        lambda: MotionSettings(limit=0.0),
        lambda: LabelSettings(size=math.nan),
        lambda: EngineSettings(threads=-1),
    ):
        with pytest.raises(ValueError, match="must be"):
            make()


# ---- the form of overrides and files


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("camera.width", "not of the form key=value"),
        ("=3", "not of the form key=value"),
        ("", "not of the form key=value"),
        ("camera..width=3", "not of the form key=value"),
        (".=3", "not of the form key=value"),
        ("camera.width=[1", "not valid YAML"),
        ("camera.width=!!python/object:os.system x", "not valid YAML"),
        ("camera.width=2001-99-99", "not valid YAML"),
    ],
)
def test_a_malformed_override_quotes_it(override: str, text: str) -> None:
    found = message(override)
    assert text in found
    assert f"'{override}'" in found


def test_an_override_cannot_go_into_a_value() -> None:
    assert (
        message("camera.width.pixels=3") == "'camera.width' must be a whole number, found a group"
    )
    with pytest.raises(SettingsError, match="'camera' holds 3, not a group of settings"):
        with_overrides({"camera": 3}, ["camera.width=4"])


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        load_settings(tmp_path / "none.yaml")
    with pytest.raises(SettingsError, match="cannot read"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("camera: [1, 2", "line 1"),
        ("camera:\n  width: 3\n bad: 4\n", "line 3"),
        ("camera:\n\twidth: 3\n", "line 2"),
        ("- camera\n", "found a list"),
        ("just a text\n", "found 'just a text'"),
        (b"\xff\xfe\x00", "not a text file"),
        (b"camera: \x00", "not valid YAML"),
        ("a: !!python/name:os.system\n", "not valid YAML"),
        ("a: 2001-99-99\n", "not valid YAML"),
        ("a: &a [*a]\n", "unknown setting 'a'"),
        ("camera: {width: 3, width: 4}\n", "'width' is there twice"),
        ("--- {}\n--- {}\n", "not valid YAML"),
        ("[" * 1000, "not valid YAML"),
        ("camera:\n  width: x\n", "'camera.width'"),
        ("? [1, 2]\n: 3\n", "not valid YAML"),
        ("a: !!timestamp x\n", "not valid YAML"),
        ("a: !!int ''\n", "not valid YAML"),
        ("a: !!bool x\n", "not valid YAML"),
        ("camera: &a {width: *a}\n", "'camera.width' must be a whole number, found a group"),
    ],
)
def test_a_bad_file_is_one_line_with_the_place(
    tmp_path: Path, content: str | bytes, text: str
) -> None:
    assert text in file_message(tmp_path, content)


# ---- other shapes of settings


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    points: tuple[Point, ...]
    size: tuple[int, int] = (1, 2)
    note: str | None = None


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "missing setting 'points'"),
        ({"points": [{}]}, "missing setting 'points.0.x'"),
        ({"points": [{"x": 1}, {"x": "a"}]}, "'points.1.x' must be a number"),
        ({"points": 3}, "'points' must be a list"),
        ({"points": [], "size": [1]}, "'size' must have 2 items, found 1"),
        ({"points": [], "size": [1, 2.5]}, "'size.1' must be a whole number"),
        ({"points": [], "note": 3}, "'note' must be a text"),
    ],
)
def test_lists_and_required_settings_name_the_place(values: dict[str, Any], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        build(Shape, values)


def test_lists_become_tuples_and_null_is_none() -> None:
    shape = build(Shape, {"points": [{"x": 1}], "size": [3, 4], "note": None})
    assert shape == Shape((Point(1.0),), (3, 4), None)


# ---- anything at all: settings or SettingsError, nothing else

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)
groups = st.sampled_from([field.name for field in dataclasses.fields(Settings)])
names = st.sampled_from(
    [
        inner.name
        for field in dataclasses.fields(Settings)
        for inner in dataclasses.fields(field.default_factory)  # type: ignore[arg-type]
    ]
)


def told(error: SettingsError) -> None:
    assert "\n" not in str(error)


FUZZ = hypothesis.settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)


@FUZZ
@given(st.dictionaries(groups, st.dictionaries(names, leaves, max_size=3) | anything, max_size=3))
def test_any_values_are_settings_or_a_settings_error(values: dict[str, Any]) -> None:
    try:
        settings = build(Settings, values)
    except SettingsError as error:
        return told(error)
    for group in dataclasses.fields(settings):
        for field in dataclasses.fields(getattr(settings, group.name)):
            value = getattr(getattr(settings, group.name), field.name)
            assert not isinstance(value, float) or math.isfinite(value)


@FUZZ
@given(st.lists(st.text(max_size=12) | st.builds("{}.{}={}".format, groups, names, st.text())))
def test_any_overrides_are_settings_or_a_settings_error(overrides: list[str]) -> None:
    try:
        load_settings(None, overrides)
    except SettingsError as error:
        told(error)


@FUZZ
@given(content=st.binary(max_size=40) | anything.map(lambda v: yaml.safe_dump(v).encode()))
def test_any_file_is_settings_or_a_settings_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(content)
    try:
        load_settings(path)
    except SettingsError as error:
        told(error)
