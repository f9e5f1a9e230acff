"""Voice and lips together: how late the picture is, and a microphone that is as late.

The picture's delay is measured from the moment a camera's frame was read to its result being given
to the outputs. What the camera takes before that, and what is done to the picture after, is not
known: where a clap shows that it is more, it is to be added.
"""

import shutil
import subprocess

from config.errors import SettingsError, SinkError
from realtime.child import Child
from realtime.metrics import Metrics
from realtime.pipewire import check_session

NAME = "puppetcam-mic"
"""What calls have the delayed microphone under."""
UNNOTICED_MS = 45.0
"""Sound that is so much early is not noticed (ITU-R BT.1359)."""
LONGEST_MS = 5000.0
_ENOUGH = 90
"""Frames behind a measured delay."""


def advice(delay_ms: float) -> list[str]:
    """What to set where, for a picture that is ``delay_ms`` late."""
    ms = round(delay_ms)
    lines = [f"the picture is {ms} ms late; so that voice and lips agree:"]
    if delay_ms <= UNNOTICED_MS:
        lines = [f"the picture is {ms} ms late: nobody notices; to be exact:"]
    return [
        *lines,
        f"  OBS: Edit, Advanced Audio Properties, Sync Offset of the microphone: {ms} ms",
        f"  calls: puppetcam run --delay-mic {ms}, and choose the microphone '{NAME}' (Linux)",
    ]


def asked(text: str) -> float | None:
    """Of ``--delay-mic``: milliseconds, None for "auto". Raises SettingsError."""
    if text == "auto":
        return None
    try:
        delay_ms = float(text)
    except ValueError:
        delay_ms = -1
    if not 0 < delay_ms <= LONGEST_MS:
        raise SettingsError(
            f"--delay-mic {text} must be auto, or milliseconds above 0 and up to {LONGEST_MS:g}"
        )
    return delay_ms


def measured(metrics: Metrics) -> float | None:
    """The picture's delay of the last seconds, milliseconds; None: not enough pictures yet."""
    if metrics.delivered < _ENOUGH:
        return None
    return 1000 * metrics.recent(_ENOUGH)[1]


class DelayedMicrophone:
    """A microphone of this user's session that gives what the default one heard a while ago. It is
    there from the moment at which its delay is known to ``close``."""

    def __init__(self, delay_ms: float | None) -> None:
        """``delay_ms``: None takes the picture's, once it was measured. Raises SinkError where the
        system has no such thing."""
        self._asked_ms = delay_ms
        self._tried = False
        self._child: Child | None = None
        self._modules: list[str] = []
        self._is_pipewire = shutil.which("pw-loopback") is not None and _pipewire_runs()
        if not self._is_pipewire and _pactl("info") is None:
            raise SinkError(
                "--delay-mic needs PipeWire (sudo apt install pipewire-bin) or PulseAudio (sudo "
                "apt install pulseaudio-utils), found neither; in OBS set the Sync Offset of the "
                "microphone instead, and give its sound to the call through its monitor and a "
                "virtual cable (Windows: VB-CABLE, macOS: BlackHole)"
            )

    def follow(self, metrics: Metrics) -> str:
        """Make the microphone as soon as its delay is known; returns what is to be told, or ""."""
        delay_ms = measured(metrics) if self._asked_ms is None else self._asked_ms
        if self._tried or delay_ms is None:
            return ""
        self._tried = True
        try:
            self._start(delay_ms)
        except SinkError as error:
            return f"note: {error}"
        return f"microphone: '{NAME}' is {delay_ms:.0f} ms behind; choose it in the call"

    def _start(self, delay_ms: float) -> None:
        if self._is_pipewire:
            self._child = Child(loopback_command(delay_ms, _default_source()))
            return
        for arguments in pulse_modules(delay_ms, _default_source()):
            number = _pactl("load-module", *arguments)
            if number is None:
                self.close()
                raise SinkError(f"--delay-mic: PulseAudio refused {arguments[0]}; see 'pactl info'")
            self._modules.append(number)

    def close(self) -> None:
        """Take it away; twice is fine."""
        if self._child is not None:
            self._child.close()
            self._child = None
        while self._modules:
            _pactl("unload-module", self._modules.pop())


def loopback_command(delay_ms: float, source: str) -> list[str]:
    """PipeWire's program that delays. ``source``: the microphone's name, "" for the default."""
    words = ["pw-loopback", "--name", NAME, "--delay", f"{delay_ms / 1000:.4f}"]
    if source:
        words += ["--capture", source]
    if shutil.which("setpriv"):  # it ends with puppetcam, even when that is killed
        words = ["setpriv", "--pdeathsig", "TERM", *words]
    return [
        *words,
        "--capture-props",
        f"node.name={NAME}-in",
        "--playback-props",
        f"media.class=Audio/Source node.name={NAME} node.description={NAME}",
    ]


def pulse_modules(delay_ms: float, source: str) -> list[list[str]]:
    """PulseAudio's modules that delay, in the order in which they are loaded."""
    sink = f"{NAME}-delay"
    return [
        ["module-null-sink", f"sink_name={sink}", f"sink_properties=device.description={sink}"],
        [
            "module-loopback", f"source={source or '@DEFAULT_SOURCE@'}", f"sink={sink}",
            f"latency_msec={round(delay_ms)}", "source_dont_move=true", "sink_dont_move=true",
        ],
        [
            "module-remap-source", f"master={sink}.monitor", f"source_name={NAME}",
            f"source_properties=device.description={NAME}",
        ],
    ]  # fmt: skip


def _default_source() -> str:
    """Its name: asked before, lest the new microphone becomes its own source. "" if unknown."""
    name = _pactl("get-default-source") or ""
    return "" if name.startswith(NAME) else name


def _pipewire_runs() -> bool:
    try:
        check_session()
    except SinkError:
        return False
    return True


def _pactl(*arguments: str) -> str | None:
    """Its answer; None: it is not there, or it failed."""
    try:
        done = subprocess.run(
            ["pactl", *arguments], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
