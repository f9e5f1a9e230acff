"""The line at the bottom of the terminal, and the signals that end a command."""

import io
import logging
import signal
import threading

import pytest

from puppetcam.status import StatusLine, stop_signals


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_one_line_and_messages_above_it() -> None:
    terminal = Terminal()
    with StatusLine(terminal) as status:
        status.show("live, 30 fps")
        status.show("live, 29 fps")
        status.say("camera back")
    assert terminal.getvalue() == (
        "\r\x1b[Klive, 30 fps"
        "\r\x1b[Klive, 29 fps"
        "\r\x1b[Kcamera back\nlive, 29 fps"
        "\n"
    )  # fmt: skip


def test_a_log_file_gets_a_line_only_where_something_changes() -> None:
    file = io.StringIO()
    with StatusLine(file) as status:
        for text in ("live, 30 fps", "live, 29 fps", "no face, 29 fps", "live, 30 fps"):
            status.show(text)
    assert file.getvalue().splitlines() == ["live, 30 fps", "no face, 29 fps", "live, 30 fps"]


def test_warnings_of_the_log_appear_while_the_line_is_there() -> None:
    file = io.StringIO()
    log = logging.getLogger("realtime.pipeline")
    with StatusLine(file):
        log.warning("camera lost: %s", "unplugged")
        log.info("not for the user")
    log.warning("after the end")
    assert file.getvalue() == "puppetcam: camera lost: unplugged\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_to_stop_and_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_signals() as stopped:
        assert not stopped.is_set()
        signal.raise_signal(number)
        assert stopped.is_set()
    assert signal.getsignal(number) is before


def test_a_second_interrupt_does_not_wait() -> None:
    with stop_signals() as stopped:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert stopped.is_set()


def test_other_threads_have_no_signals() -> None:
    found: list[bool] = []

    def work() -> None:
        with stop_signals() as stopped:
            found.append(stopped.is_set())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
