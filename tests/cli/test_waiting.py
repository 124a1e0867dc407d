"""What a person hears while a command waits for the server, and at its end."""

from __future__ import annotations

import io
import logging
import sys
import threading
from typing import Any, cast

import pytest

from rescalefs.cli.main import main
from rescalefs.cli.waiting import NoRetries, waiting_shown, watched
from rescalefs.errors import Stopping, TimedOut, Unreachable
from tests.api.scripted import KEY, refused_url
from tests.cli.test_main import failing
from tests.fakes import FakeClock

PATIENCE = 30.0
SAID = "rescalefs: waiting for https://server; Ctrl-C ends it\n"


class Terminal(io.StringIO):
    """Standard error that a person looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.said = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        count = super().write(text)
        if "\n" in self.getvalue():
            self.said.set()
        return count


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal from now on. Not a fixture, because pytest puts its own stream there before each test."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


class Slow:
    """A client whose calls last until the terminal says something."""

    base_url = "https://server"

    def __init__(self, said: threading.Event) -> None:
        self.said = said
        self.closed = False

    def user(self, name: str, *, upper: bool) -> str:
        assert self.said.wait(PATIENCE)
        return name.upper() if upper else name

    def close(self) -> None:
        self.closed = True


def test_a_command_that_waits_says_so_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    clock = FakeClock()
    with waiting_shown("https://server", clock=clock):
        assert terminal.said.wait(PATIENCE)
    assert terminal.getvalue() == SAID
    assert clock.waits == [2.5]


def test_a_command_that_is_quick_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    with waiting_shown("https://server"):
        pass
    assert terminal.getvalue() == ""


def test_a_script_hears_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    clock = FakeClock()
    with waiting_shown("https://server", clock=clock):
        pass
    assert clock.waits == []
    client = cast("Any", Slow(threading.Event()))
    assert watched(client) is client


def test_a_client_says_once_that_it_waits_and_gives_what_the_server_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = terminal_of(monkeypatch)
    monkeypatch.setattr("rescalefs.cli.waiting.SystemClock", FakeClock)
    slow = Slow(terminal.said)
    client = cast("Any", watched(cast("Any", slow)))
    assert [client.user("anna", upper=True), client.user("anna", upper=False)] == ["ANNA", "anna"]
    assert client.base_url == "https://server"
    client.close()
    assert slow.closed
    assert terminal.getvalue() == SAID


def test_a_command_without_a_server_ends_with_one_line_that_names_it_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    url = refused_url()
    monkeypatch.setenv("RESCALE_API_URL", url)
    monkeypatch.setenv("RESCALE_API_KEY", KEY)
    monkeypatch.setenv("RESCALEFS_PATIENCE", "0.1")
    for command in (["jobs"], ["whoami"], ["coretypes"], ["download", "aBc", "--to", "here"]):
        assert main(command) == 1
        (line,) = capfd.readouterr().err.splitlines()
        assert f"the server at {url.partition('//')[2]} is not reached (Connection refused). Check" in line


def test_attempts_that_failed_are_left_out_of_what_a_person_sees() -> None:
    def shown(name: str, level: int) -> bool:
        record = logging.LogRecord(name, level, "", 0, "text", (), None)
        return bool(NoRetries().filter(record))

    assert not shown("rescalefs.api.transport", logging.WARNING)
    assert shown("rescalefs.api.transport", logging.ERROR)
    assert shown("rescalefs.mirror.transfers", logging.WARNING)


@pytest.mark.parametrize(
    ("error", "advises"),
    [(Unreachable("gone"), True), (TimedOut("late"), True), (Stopping("we end"), False)],
)
def test_only_the_network_is_looked_at_for_what_the_network_did(
    error: Exception, advises: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["jobs"], failing(error)) == 1
    assert ("`rescalefs doctor`" in capsys.readouterr().err) is advises
