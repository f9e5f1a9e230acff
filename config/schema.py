"""Every setting of the app: typed, with its unit and its default."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from config.errors import SettingsError
from config.load import build, read_yaml, with_overrides

ZOOM_RANGE = (0.5, 2.0)
"""Least and largest ``tracking.zoom``."""


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """What is asked of a webcam; what it really gives is read back and told."""

    width: int = 640
    """Pixels."""
    height: int = 480
    """Pixels."""
    fps: float = 30.0
    """Frames per second."""
    mirror: bool = False
    """Flip the driving picture left-right (key F)."""
    stall_s: float = 1.5
    """Seconds without a frame after which the camera counts as gone."""
    retry_s: float = 0.5
    """First wait before reopening a lost camera, seconds; doubles up to 8 s."""
    denoise: bool = False
    """Calm the noise of a dark picture before the keypoints are read; takes about 1 ms."""

    def __post_init__(self) -> None:
        _picture(self)
        _positive(self, "stall_s", "retry_s")


@dataclass(frozen=True, slots=True)
class TrackingSettings:
    """Finding and following the driver's face."""

    tracker: Literal["landmarks", "face-alignment"] = "landmarks"
    """The default bundle's landmark network, or the optional package face-alignment."""
    min_face_px: int = 40
    """Smallest face to look for, pixels of its box."""
    lost_s: float = 0.3
    """Seconds without the face before it counts as lost; until then the last pose is held."""
    ease_s: float = 1.0
    """Seconds in which a lost face eases to the neutral avatar."""
    zoom: float = 1.0
    """Size of the crop against the network's usual framing (keys W and S), 0.5 to 2."""

    def __post_init__(self) -> None:
        _positive(self, "min_face_px", "lost_s", "ease_s")
        _between(self, "zoom", *ZOOM_RANGE)


@dataclass(frozen=True, slots=True)
class SmoothingSettings:
    """One-Euro filter on the driving keypoints (Casiez et al. 2012)."""

    enabled: bool = True
    min_cutoff_hz: float = 2.5
    """Cut-off at rest, hertz, 0.001 to 1000: lower is calmer and later."""
    beta: float = 16.0
    """Rise of the cut-off with speed, hertz per (coordinate unit per second), 0 to 1000."""

    def __post_init__(self) -> None:
        _between(self, "min_cutoff_hz", 0.001, 1000.0)
        _between(self, "beta", 0.0, 1000.0)


@dataclass(frozen=True, slots=True)
class MotionSettings:
    """How driving keypoints move the avatar."""

    relative: bool = True
    """Move the avatar from its own pose by the driver's change of pose; false: take the pose."""
    adapt_scale: bool = True
    """Scale the motion by the sizes of the two faces."""
    recentre_s: float = 3.0
    """Seconds in which the best neutral frame is looked for at start and after a recentre, 0.1 to
    60."""
    limit: float = 0.3
    """Largest travel of a keypoint from the avatar's, in face widths, 0.01 to 10; motion eases
    into it."""
    expression: float = 1.3
    """How far lips, brows and gaze move for the driver's, 0 to 2. Networks make a movement smaller
    than its keypoints say; 1 hands on the keypoints as they are. For bundles whose keypoints are
    landmarks."""
    turn: float = 1.1
    """The same for turns of the head."""
    nod: float = 1.2
    """The same for nods, of which networks lose more than of turns."""
    body: float = 0.3
    """How far shoulders and hair go along with the driver's, 0 to 1: 0 leaves them to what the
    movements of a face tell, and takes less time."""

    def __post_init__(self) -> None:
        _between(self, "recentre_s", 0.1, 60.0)
        _between(self, "expression", 0.0, 2.0)
        _between(self, "turn", 0.0, 2.0)
        _between(self, "nod", 0.0, 2.0)
        _between(self, "body", 0.0, 1.0)
        _between(self, "limit", 0.01, 10.0)


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """The visible AI label, there from the first frame on."""

    enabled: bool = True
    """false: then you owe those who watch a clear notice that the picture is made by AI, when they
    first see it (in the EU: AI Act, Article 50). The invisible mark cannot be switched off."""
    text: Literal["AI", "AI GENERATED", "AI MODIFIED"] = "AI"
    position: Literal["top-left", "top-right", "bottom-left", "bottom-right"] = "bottom-right"
    """Where the avatar's face is there, the label goes to the nearest corner where it is not."""
    size: float = 0.07
    """Height of the label against the picture's shorter side, 0.03 to 0.3."""
    opacity: float = 0.85
    """0.3 to 1."""

    def __post_init__(self) -> None:
        _between(self, "size", 0.03, 0.3)
        _between(self, "opacity", 0.3, 1.0)

    @property
    def notice(self) -> str:
        """One line for the start: what is shown, or what is owed without it."""
        if self.enabled:
            return f'AI label on: "{self.text}", {self.position}'
        return (
            "AI label off: you owe those who watch a clear notice that the picture is made by AI, "
            "when they first see it (in the EU: AI Act, Article 50); the invisible mark stays"
        )


@dataclass(frozen=True, slots=True)
class CredentialsSettings:
    """Who signs the Content Credentials of films and snapshots, and whose are trusted."""

    key: str = ""
    """PEM file of the private key that signs; empty: one that is made at first use."""
    certificate: str = ""
    """PEM file of its certificate, followed by those that vouch for it; empty like ``key``."""
    trust: str = ""
    """PEM file of certificates whose signatures count as trusted when files are read."""

    def __post_init__(self) -> None:
        if self.key and not self.certificate:
            raise ValueError("certificate' must be given where credentials.key is")
        if self.certificate and not self.key:
            raise ValueError("key' must be given where credentials.certificate is")


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """The picture that sinks get."""

    width: int = 640
    """Pixels, even."""
    height: int = 480
    """Pixels, even."""
    fps: float = 30.0
    """Rate of virtual cameras and video files, frames per second."""
    mirror: bool = False
    """Flip the output left-right (key T); the label stays readable."""
    compose: Literal["fit", "crop", "place"] = "fit"
    """The animated square whole, before a blurred copy; filling the output, cut; or back in its
    place in the avatar's whole picture."""
    background: str = "avatar"
    """Behind the person: "avatar" (its own), "green" (chroma key), "alpha" (transparent in .mov and
    .webm files, green elsewhere), or the path of a picture."""

    @property
    def composite(self) -> bool:
        """Other pictures show beside the animated one: behind the person, or around the square."""
        return self.compose == "place" or self.background not in ("avatar", "green", "alpha")

    def __post_init__(self) -> None:
        _picture(self)
        for name in ("width", "height"):
            if getattr(self, name) % 2:
                raise ValueError(f"{name}' must be even, found {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What runs the networks."""

    bundle: str = "default"
    """"default" or, for slow processors, "small", both shipped; or the path of a bundle folder."""
    runtime: Literal["auto", "onnxruntime", "openvino", "torchscript"] = "auto"
    """What runs the networks; auto: what the first start measured as fastest. openvino is an
    optional package for the CPU; torchscript is for bundles exported as that."""
    precision: Literal["auto", "fp32", "int8", "fp16"] = "auto"
    """Of the networks; auto: what the first start measured as fastest of the bundle itself and of
    those made of it, which lie beside it under the same name with "-int8" or "-fp16" behind."""
    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    """Where the networks run; auto takes CUDA where it works. tensorrt: NVIDIA's compiler in ONNX
    Runtime, a minute's work at the first start."""
    threads: int = 0
    """CPU threads of the runtime, up to 256; 0: what the first start measured as fastest."""

    adapt: bool = True
    """Step down to lighter networks and a slower camera while frames come too late."""
    age_budget_ms: float = 80.0
    """Frame age that is too late, milliseconds: from the camera's picture to the avatar's."""
    smaller: str = "auto"
    """Bundle with the same landmarks and sizes to step down to, or none; auto: from default to
    small."""

    def __post_init__(self) -> None:
        _between(self, "threads", 0, 256)
        _positive(self, "age_budget_ms")


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """The local HTTP and WebSocket interface; ``puppetcam ctl`` speaks to it."""

    enabled: bool = True
    host: str = "127.0.0.1"
    """Address to listen on; another one than this machine's own opens it to the network."""
    port: int = 0
    """0: any free one; ``puppetcam ctl`` finds it."""
    token: str = ""
    """What a client must know, 16 characters or more; empty: made anew for each run."""

    def __post_init__(self) -> None:
        _between(self, "port", 0, 65535)
        if not re.fullmatch(r"([\w-]{16,})?", self.token, re.ASCII):
            raise ValueError("token' must have 16 or more letters, digits, - and _")


@dataclass(frozen=True, slots=True)
class HotkeySettings:
    """The keys of the window from anywhere, with modifiers held."""

    enabled: bool = False
    modifiers: str = "ctrl+alt"
    """ctrl, alt, shift, cmd (the Windows or command key), joined by +."""

    def __post_init__(self) -> None:
        names = self.modifiers.split("+")
        if not set(names) <= {"ctrl", "alt", "shift", "cmd"} or len(set(names)) < len(names):
            raise ValueError(
                "modifiers' must be some of ctrl, alt, shift, cmd joined by +, "
                f"found {self.modifiers}"
            )


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. YAML groups have the names of these fields."""

    camera: CameraSettings = field(default_factory=CameraSettings)
    tracking: TrackingSettings = field(default_factory=TrackingSettings)
    smoothing: SmoothingSettings = field(default_factory=SmoothingSettings)
    motion: MotionSettings = field(default_factory=MotionSettings)
    label: LabelSettings = field(default_factory=LabelSettings)
    credentials: CredentialsSettings = field(default_factory=CredentialsSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    hotkeys: HotkeySettings = field(default_factory=HotkeySettings)


def load_settings(
    path: Path | None = None,
    overrides: Sequence[str] = (),
    profile: Settings | None = None,
) -> Settings:
    """Settings from a profile, a YAML file (both optional) and ``group.key=value`` texts, each
    laid over the one before."""
    values = read_yaml(path) if path else {}
    try:
        build(Settings, values)  # alone, so that a mistake in the file is told with its name
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
    if profile is not None:
        kept = asdict(profile)
        values = {group: {**kept[group], **values.get(group, {})} for group in kept}
    return build(Settings, with_overrides(values, overrides))


# Messages start with the name and its closing quote: config.load puts "setting 'group." before it.
def _picture(settings: object) -> None:
    _between(settings, "width", 16, 8192)
    _between(settings, "height", 16, 8192)
    _between(settings, "fps", 0.1, 1000)


def _positive(settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name}' must be above 0, found {value}")


def _between(settings: object, name: str, low: float, high: float) -> None:
    value = getattr(settings, name)
    if not low <= value <= high:
        raise ValueError(f"{name}' must be from {low} to {high}, found {value}")
