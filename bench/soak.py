"""``python -m bench.soak --minutes 60``: does a long run stay as it began?

The real pipeline at 30 fps, with what happens in a long call: other avatars, a picture read anew,
recentring, a camera that is unplugged, a driver that hangs, somebody who looks at the stream. Says
each minute what it holds (memory, threads, files) and how old its frames are. The viewer is a
thread of the same process, so its few buffers are counted with it.
"""

import argparse
import os
import secrets
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ledger import Ledger, Row, Soak
from bench.report import as_json, check_target, write_text
from config.errors import PuppetcamError, SettingsError, SinkError, SourceError

if TYPE_CHECKING:
    from config.schema import Settings
    from control.actions import Actions
    from realtime.camera import Source
    from realtime.frame import Frame
    from realtime.puppeteer import Step

SAMPLE_S = 1.0
LOSS_STALLS = 2.0
"""How long the camera is away, in units of ``camera.stall_s``."""
EVENTS = (
    (0.08, "load"),
    (0.20, "recentre"),
    (0.30, "next"),
    (0.55, "next"),
    (0.65, "lose"),
    (0.85, "next"),
)
"""What happens in each row's time, and when in it, 0..1."""


class Cable:
    """The performer's loop as a camera that can be pulled out, and whose driver can hang."""

    def __init__(self) -> None:
        self.unplugged = False
        self.answers = threading.Event()
        """Clear: a read does not come back."""
        self.answers.set()

    def open(self) -> "Source":
        """See ``Source``. Raises SourceError while it is unplugged."""
        from realtime.loop import Loop, drawn_pictures

        if self.unplugged:
            raise SourceError("the camera of the soak is unplugged")
        return _Plugged(Loop(drawn_pictures()), self)


class _Plugged:
    """What hangs on the cable."""

    def __init__(self, source: "Source", cable: Cable) -> None:
        self.name, self.live, self.fps = source.name, source.live, source.fps
        self.width, self.height = source.width, source.height
        self._source, self._cable = source, cable

    def read(self) -> "Frame | None":
        frame = self._source.read()
        self._cable.answers.wait()
        if self._cable.unplugged:
            raise SourceError("the camera of the soak was unplugged")
        return frame

    def close(self) -> None:
        self._source.close()


class Viewer:
    """Somebody who looks at the stream, as fast as it comes."""

    def __init__(self, url: str) -> None:
        self.pictures = 0
        self._answer = urllib.request.urlopen(f"{url}stream.mjpg", timeout=30)  # noqa: S310
        self._thread = threading.Thread(target=self._look, name="viewer", daemon=True)
        self._thread.start()

    def _look(self) -> None:
        try:
            for line in self._answer:
                if line.startswith(b"Content-Length: "):
                    self._answer.readline()
                    self.pictures += len(self._answer.read(int(line[16:]))) > 0
        except (OSError, ValueError):
            pass  # closed, here or there

    def close(self) -> None:
        """Look away; the server ends the connection first."""
        self._thread.join(10)
        self._answer.close()


def soak(settings: "Settings", seconds: float, every_s: float, tell: Callable[[Row], None]) -> Soak:
    """Run for ``seconds`` from the first picture on; ``tell`` gets each row when it is over. Raises
    SourceError, SinkError."""
    from control.actions import Actions
    from realtime.assembly import assemble
    from realtime.face import open_tracker
    from realtime.loop import drawn_pictures
    from realtime.metrics import Metrics
    from realtime.mjpeg import MjpegServer
    from realtime.pipeline import Pipeline
    from realtime.sinks import MemorySink
    from realtime.watched import Watched

    class Clocked(MemorySink):
        """Wants a steady rate, as a virtual camera does; knows its longest wait."""

        sent_at: float | None = None
        gap_s = 0.0

        def send(self, frame: "Frame") -> None:
            super().send(frame)
            now = time.perf_counter()
            self.gap_s = max(self.gap_s, now - (self.sent_at or now))
            self.sent_at = now

    drawn_pictures()
    cable, ledger = Cable(), Ledger()
    rows: list[Row] = []
    clocked = Clocked(keep=1, repeat_fps=settings.output.fps)
    server = MjpegServer("127.0.0.1:0", secrets.token_urlsafe(16))
    with assemble(settings) as assembly, closing(Viewer(server.url)) as viewer, closing(server):
        metrics = Metrics()
        pipeline = Pipeline(
            lambda: Watched(cable.open, settings.camera.stall_s),
            assembly.puppeteer,
            [clocked, server],
            metrics,
            settings.camera,
        )
        actions = Actions(
            pipeline.post,
            metrics,
            assembly.avatars,
            settings,
            assembly.puppeteer.prepare,
            open_finder=lambda: open_tracker(settings.tracking),
            avatar_size=assembly.engine.bundle.output_size,
        )
        visitor = _Visitor(actions, cable, ledger, settings.camera.stall_s)
        started, ended = threading.Event(), threading.Event()

        def follow() -> None:
            started.wait()
            began = time.perf_counter()
            events = list(EVENTS)
            viewed = 0
            while not ended.wait(SAMPLE_S if every_s >= 10 * SAMPLE_S else every_s / 10):
                ledger.sample()
                elapsed = time.perf_counter() - began
                place = (elapsed - len(rows) * every_s) / every_s
                while events and events[0][0] <= place:
                    visitor.do(events.pop(0)[1])
                visitor.mend()
                if place >= 1:
                    gap_s, clocked.gap_s = clocked.gap_s, 0.0
                    rows.append(ledger.row(elapsed, gap_s, viewer.pictures - viewed))
                    viewed = viewer.pictures
                    tell(rows[-1])
                    events = list(EVENTS)
                    if elapsed >= seconds:
                        break

        follower = threading.Thread(target=follow, name="soak", daemon=True)

        def watch(step: "Step") -> None:
            started.set()
            actions.see(step)
            ledger.see(step, time.perf_counter())

        follower.start()
        try:
            pipeline.run(until=lambda: not follower.is_alive(), watch=watch)
        finally:
            ended.set()
            started.set()
            cable.answers.set()
            follower.join()
    if not rows:
        raise SinkError("the soak ended before its first row")
    return Soak(
        tuple(rows), visitor.changes, visitor.recentres, ledger.losses, ledger.returns,
        tuple(ledger.failed),
    )  # fmt: skip


class _Visitor:
    """What is done to the run."""

    def __init__(self, actions: "Actions", cable: Cable, ledger: Ledger, stall_s: float) -> None:
        self._actions, self._cable, self._ledger = actions, cable, ledger
        self._away_s = LOSS_STALLS * stall_s
        self._back_at: float | None = None
        self._losses = 0
        self.changes = self.recentres = 0

    def do(self, what: str) -> None:
        """One of ``EVENTS``; what fails is noted."""
        if what == "lose":
            # In turn: a plug that is pulled is told by the system, a driver that hangs is not.
            if self._losses % 2:
                self._cable.answers.clear()
            else:
                self._cable.unplugged = True
            self._losses += 1
            self._back_at = time.perf_counter() + self._away_s
            return
        try:
            if what == "load":
                path = self._actions.avatars[0].path
                self._actions.do("load", str(path)).result(30)
            else:
                self._actions.do(what).result(30)
        except (PuppetcamError, TimeoutError) as error:
            self._ledger.failed.append(f"{what}: {error}")
        else:
            self.changes += what != "recentre"
            self.recentres += what == "recentre"

    def mend(self) -> None:
        """The camera is plugged in again when its time has come."""
        if self._back_at is not None and time.perf_counter() >= self._back_at:
            self._cable.unplugged, self._back_at = False, None
            self._cable.answers.set()


HEAD = "  until  memory MB  threads  files  age p50  p95 ms  frames  longest gap ms  viewed"


def line(row: Row) -> str:
    """A row of the table."""
    minutes, seconds = divmod(round(row.until_s), 60)
    return (
        f"{minutes:4d}:{seconds:02d}  {row.memory_mb:9.1f}  {row.threads:7d}  {row.files:5d}  "
        f"{row.age_p50_ms:7.1f}  {row.age_p95_ms:6.1f}  {row.delivered:6d}  {row.gap_ms:14.0f}  "
        f"{row.viewed:6d}"
    )


def main(argv: list[str] | None = None) -> int:
    """Soak and print; returns the exit code, 1 where the end is not as the start."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak", description="does a long run stay as it began?"
    )
    parser.add_argument("--minutes", type=float, default=60.0, metavar="N", help="default 60")
    parser.add_argument(
        "--every", type=float, default=60.0, metavar="S", help="seconds of a row (default 60)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("settings", nargs="*", metavar="group.key=value")
    arguments = parser.parse_args(argv)
    try:
        return _main(arguments)
    except PuppetcamError as error:
        print(f"bench.soak: {error}", file=sys.stderr)
        return error.exit_code


def _main(arguments: argparse.Namespace) -> int:
    from bench.machine import this_machine
    from config.schema import load_settings
    from realtime.heap import few_arenas

    few_arenas()  # as in a run
    seconds: float = 60 * arguments.minutes
    if not 1 <= arguments.every <= seconds <= 86_400:
        raise SettingsError(
            f"--every must be from 1 s to the whole time, --minutes at most 1440; found "
            f"{arguments.every:g} s of {arguments.minutes:g} minutes"
        )
    if arguments.json is not None:
        check_target("--json", arguments.json)
    settings = load_settings(overrides=arguments.settings)
    machine = str(this_machine())
    print(machine, HEAD, sep="\n", flush=True)
    found = soak(settings, seconds, arguments.every, lambda row: print(line(row), flush=True))
    complaints = found.complaints()
    first, last = found.start, found.rows[-1]
    print(
        f"{found.changes} avatars shown, {found.recentres} recentres, {found.losses} camera "
        f"losses, {found.returns} returns\n"
        f"memory {last.memory_mb - first.memory_mb:+.1f} MB, threads {first.threads} to "
        f"{last.threads}, files {first.files} to {last.files}, frame age p50 "
        f"{first.age_p50_ms:.1f} to {last.age_p50_ms:.1f} ms"
    )
    print("\n".join(f"NOT WELL: {one}" for one in complaints) or "as it began")
    if arguments.json is not None:
        values: dict[str, Any] = {"machine": machine, **asdict(found), "complaints": complaints}
        write_text("--json", arguments.json, as_json(values))
    return 1 if complaints else 0


if __name__ == "__main__":
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    raise SystemExit(main())
