"""``puppetcam run``: the webcam drives an avatar, live, into a virtual camera."""

import argparse
import math
import time
from contextlib import ExitStack, closing
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from config.errors import SettingsError, SinkError
from puppetcam import __version__
from puppetcam.composition import add_output_arguments, output_settings
from puppetcam.consent import add_avatar_arguments, settled
from puppetcam.profiles import begin, gather, resume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.schema import EngineSettings, OutputSettings, Settings
    from models.bundle import Bundle
    from provenance.signer import Signer
    from puppetcam.status import StatusLine
    from realtime.assembly import Assembly
    from realtime.avatar import Avatar
    from realtime.metrics import Metrics
    from realtime.pipeline import Pipeline
    from realtime.puppeteer import Step
    from realtime.sinks import Sink

DEFAULT_SINKS = ("auto", "window")
SHOW_EVERY_S = 0.25
"""Between two updates of the status line."""
MEANING = {
    "calibrating": "calibrating: look ahead, mouth closed",
    "live": "live",
    "holding": "holding: your face is hidden",
    "lost": "no face: look into the camera",
    "no camera": "no picture from the camera: waiting for it",
    "panic": "paused: P goes on",
}
"""Of ``realtime.puppeteer.Status``, for the user."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of this command."""
    parser = commands.add_parser("run", help="drive an avatar live, into a virtual camera")
    add_avatar_arguments(
        parser,
        "picture or folder of pictures, may be given several times (keys 1-9, A, D); "
        "default: those that come with puppetcam",
    )
    parser.add_argument(
        "--source",
        help='camera:0, camera:"name", camera:/dev/..., rtsp:// or http://..., a video file, '
        "a folder of pictures, or performer; default: the camera chosen last",
    )
    parser.add_argument(
        "--sink",
        action="append",
        default=[],
        help="auto (the first that opens of virtualcam, pipewire, mjpeg), virtualcam:DEVICE, "
        "mjpeg:PORT, udp://HOST:PORT, srt://HOST:PORT, rtmp://HOST/APP/KEY, window, file:NAME.mp4 "
        "(or .mov, .webm); may be given several times; default: auto, and window where there is a "
        "display",
    )
    parser.add_argument(
        "--delay-mic",
        metavar="auto|MS",
        help="make a microphone that is as late as the picture (auto), or so many milliseconds",
    )
    add_output_arguments(parser, "of the output, WIDTHxHEIGHT in pixels, e.g. 1280x720")
    parser.add_argument("--seconds", type=float, metavar="N", help="end after this time")
    parser.add_argument(
        "--profile",
        metavar="NAME",
        help="begin with what was kept under this name, and keep there what this run has: avatar, "
        "camera, crop, calibration, output, settings; what is given beside it wins",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in YAML")
    parser.add_argument(
        "settings", nargs="*", metavar="group.key=value", help="e.g. label.size=0.1"
    )
    parser.set_defaults(run=_run, loaded=[])


def _run(arguments: argparse.Namespace) -> int:
    from config.schema import load_settings
    from control.actions import Actions
    from control.api import Api
    from control.hotkeys import Hotkeys
    from control.keys import HELP, Keys
    from control.profiles import Autosave, Profile
    from control.server import Server
    from provenance.signer import open_signer
    from puppetcam.microphone import DelayedMicrophone, advice, asked
    from puppetcam.status import StatusLine, stop_signals
    from realtime.assembly import SHIPPED, assemble
    from realtime.camera import CameraOpener, Source, source_opener
    from realtime.choice import remember
    from realtime.face import open_tracker
    from realtime.heap import few_arenas
    from realtime.metrics import Metrics
    from realtime.pipeline import Pipeline
    from realtime.recording import VideoWriter
    from realtime.window import Window

    few_arenas()
    seconds: float = math.inf if arguments.seconds is None else arguments.seconds
    if not seconds > 0:
        raise SettingsError(f"--seconds must be above 0, found {seconds:g}")
    profile = begin(arguments) if arguments.profile else None
    settings = load_settings(
        arguments.config,
        [*arguments.settings, *output_settings(arguments)],
        profile.settings if profile else None,
    )
    arguments.source = arguments.source or "camera"
    mic_delay_ms = asked(arguments.delay_mic) if arguments.delay_mic else None
    _check_files(arguments.source, arguments.sink)
    with StatusLine() as status, stop_signals() as stopped, ExitStack() as stack:
        settle = partial(settled, said=arguments.consent)
        pictures = arguments.avatar
        if arguments.loaded:
            pictures = [*(pictures or [SHIPPED]), *arguments.loaded]
        assembly = stack.enter_context(assemble(settings, pictures, settle))
        _introduce(assembly, settings, status)

        opener = source_opener(arguments.source, settings.camera)

        def opened() -> Source:
            source = opener()
            size = f"{source.width}x{source.height}"
            status.say(f"source: {source.name}, {size} at {source.fps:.4g} fps")
            return source

        bundle = assembly.engine.bundle
        signing = cache(partial(open_signer, settings.credentials, bundle, __version__))
        if any(text.startswith("file:") for text in arguments.sink):
            signing()  # a key that will not do is told before anything is recorded
        # Before the sinks: a virtual camera may be opened once only, not for a missing webcam.
        first = [stack.enter_context(closing(opened()))]
        if isinstance(opener, CameraOpener) and opener.camera and arguments.source != "camera":
            remember(opener.camera)
        shown = _Shown()
        recordings: list[VideoWriter] = []

        def sign() -> None:
            for one in recordings:
                if one.has_pictures and (signer := signing()) is not None:
                    networks = signer.of(shown.networks.values())
                    networks.sign(one.path, shown.avatars.values(), shown.composite)

        def signing_now() -> "Signer | None":
            signer = signing()
            return signer and signer.of([assembly.engine.bundle])

        stack.callback(sign)  # once the sinks below are closed, whatever ends the run
        sinks = [
            stack.enter_context(closing(sink))
            for sink in _open_sinks(arguments.sink, settings.output, status)
        ]
        recordings += [sink for sink in sinks if isinstance(sink, VideoWriter)]
        status.say(f"output: {', '.join(sink.name for sink in sinks)}")
        metrics = Metrics()
        pipeline = Pipeline(
            lambda: first.pop() if first else opened(),
            assembly.puppeteer,
            sinks,
            metrics,
            settings.camera,
        )
        window = next((sink for sink in sinks if isinstance(sink, Window)), None)
        shown_first = 0
        if profile is not None:
            shown_first, told = resume(profile, assembly, settings)
            status.say(f"profile {arguments.profile}: {told}")
        actions = Actions(
            pipeline.post,
            metrics,
            assembly.avatars,
            settings,
            assembly.puppeteer.prepare,
            open_finder=lambda: open_tracker(settings.tracking),
            avatar_size=bundle.output_size,
            shown=shown_first,
        )
        keys = Keys(actions, window) if window else None
        status.say(f"keys in the window: {HELP}" if keys else "Ctrl-C ends it")
        if settings.api.enabled:
            about = {
                "source": arguments.source,
                "sinks": [sink.name for sink in sinks],
                "profile": arguments.profile,
            }
            api = Api(actions, about, __version__, signing_now)
            server = stack.enter_context(Server(api, settings.api))
            status.say(f"control: puppetcam ctl --help, or {server.url} (docs/control.md)")
        if settings.hotkeys.enabled:
            stack.enter_context(Hotkeys(actions, settings.hotkeys))
            status.say(f"global hotkeys: {settings.hotkeys.modifiers} and 1-9 A D X W S P F T")
        if profile is not None:

            def kept() -> Profile:
                camera = opener.camera if isinstance(opener, CameraOpener) else None
                return gather(arguments, profile, assembly, actions, camera)

            stack.enter_context(Autosave(arguments.profile, kept))
        screen = _Screen(status, metrics)
        quality = _Quality(settings.engine, assembly, pipeline, status)
        microphone: DelayedMicrophone | None = None
        if arguments.delay_mic:
            try:
                microphone = stack.enter_context(closing(DelayedMicrophone(mic_delay_ms)))
            except SinkError as error:
                status.say(f"note: {error}")
        ends_at = time.perf_counter() + seconds

        def over() -> bool:
            late = stopped.is_set() or time.perf_counter() >= ends_at
            return late or actions.ended or (keys is not None and keys.poll())

        def watch(step: "Step") -> None:
            actions.see(step)
            shown.see(assembly, actions.settings)
            if keys is not None:
                keys.show(step)
            screen.show(step)
            quality.follow(step)
            if microphone is not None and (told := microphone.follow(metrics)):
                status.say(told)

        try:
            pipeline.run(until=over, watch=watch)
        finally:
            status.end()
            if metrics.delivered:
                summary = metrics.summary()
                print(summary.table())
                print("\n".join(advice(summary.age.p50_ms)))
            else:
                status.say("it ended before the first picture was ready")
    return 0


class _Shown:
    """What a recording shows: all of it goes into its credentials."""

    def __init__(self) -> None:
        self.avatars: dict[str, Avatar] = {}
        self.networks: dict[Path, Bundle] = {}
        self.composite = False

    def see(self, assembly: "Assembly", settings: "Settings") -> None:
        """After each delivered step."""
        if (avatar := assembly.puppeteer.avatar) is not None:
            self.avatars[avatar.sha256] = avatar
        self.networks[assembly.engine.bundle.path] = assembly.engine.bundle
        self.composite = self.composite or settings.output.composite


class _Screen:
    """The status line of a run."""

    def __init__(self, status: "StatusLine", metrics: "Metrics") -> None:
        self._status = status
        self._metrics = metrics
        self._shown_at = -math.inf

    def show(self, step: "Step") -> None:
        now = time.perf_counter()
        if now - self._shown_at < SHOW_EVERY_S:
            return
        self._shown_at = now
        fps, age_s = self._metrics.recent()
        text = MEANING[step.status.value]
        self._status.show(f"{text}, {fps:.0f} fps, frame age {1000 * age_s:.0f} ms")


class _Quality:
    """Lighter networks and fewer frames while they come too late."""

    def __init__(
        self,
        settings: "EngineSettings",
        assembly: "Assembly",
        pipeline: "Pipeline",
        status: "StatusLine",
    ) -> None:
        """Raises BundleError for a smaller bundle that is none."""
        from realtime.adaptive import Adaptive, ladder

        self._engine, self._pipeline, self._status = assembly.engine, pipeline, status
        self._ladder = ladder(settings, assembly.engine.settings) if settings.adapt else []
        self._budget_ms = settings.age_budget_ms
        self._adaptive = Adaptive(len(self._ladder), settings.age_budget_ms / 1000)

    def follow(self, step: "Step") -> None:
        """After each delivered step."""
        now = time.perf_counter()
        before = self._adaptive.rung
        if not self._ladder or not self._adaptive.observe(now, now - step.frame.captured_at):
            return
        rung = self._ladder[self._adaptive.rung]
        reason = f"frames are later than {self._budget_ms:g} ms"
        if self._adaptive.rung < before:
            reason = "there is room again"
        self._status.say(f"{reason}: {rung.name}")
        self._pipeline.every = rung.every
        if rung.engine != self._engine.settings:
            self._engine.switch(rung.engine)


def _introduce(assembly: "Assembly", settings: "Settings", status: "StatusLine") -> None:
    """What is animated, by what, and under which label."""
    for number, avatar in enumerate(assembly.avatars, start=1):
        status.say(f"avatar {number}: {avatar.name}")
        for note in avatar.notes:
            status.say(f"  note: {note}")
    bundle = assembly.engine.bundle
    status.say(
        f"networks: {bundle.name} ({bundle.family}, {bundle.output_size} px) "
        f"in {bundle.precision} on {assembly.engine.provider}"
    )
    status.say(settings.label.notice)


def _check_files(source: str, sinks: "Sequence[str]") -> None:
    """Raises SinkError where an output would be written twice, or over the source."""
    for number, text in enumerate(sinks):
        if text in sinks[:number]:
            raise SinkError(f"--sink {text} is given twice; give it once")
        kind, _, name = text.partition(":")
        file = Path(name)
        if kind == "file" and file.exists() and Path(source).exists() and file.samefile(source):
            raise SinkError(f"--sink {text} is the source itself; give it another name")


def _open_sinks(
    texts: "Sequence[str]", settings: "OutputSettings", status: "StatusLine"
) -> "list[Sink]":
    """The sinks asked for; without any, the best for calls and a window, or one of them. Raises
    SinkError."""
    from realtime.sinks import open_best, open_sink

    sinks: list[Sink] = []
    missing: list[SinkError] = []
    for text in texts or DEFAULT_SINKS:
        try:
            if text == "auto":
                sink, reasons = open_best(settings)
                sinks.append(sink)
                missing += reasons
            else:
                sinks.append(open_sink(text, settings))
        except SinkError as error:
            if texts:
                for sink in sinks:
                    sink.close()
                raise
            missing.append(error)
    if not sinks:
        told = "; ".join(str(one) for one in missing)
        raise SinkError(f"nowhere to show the avatar: {told}; or record with --sink file:me.mp4")
    for one in missing:
        status.say(f"note: {one}")
    return sinks
