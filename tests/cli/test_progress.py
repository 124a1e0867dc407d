"""The bar: on a terminal alone, on standard error alone."""

from __future__ import annotations

import io
import re
import sys

import pytest

from rescalefs.cli.progress import byte_bar

MIB = 1 << 20


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_a_terminal_sees_bytes_rate_and_time_left_and_nothing_else_sees_anything(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", stream)
    with byte_bar() as bar:
        bar.advance(MIB)  # before a total is known, nothing is shown
        bar.expect("wing", 4 * MIB)
        bar.advance(MIB)
        bar.advance(MIB)
    shown = stream.getvalue()
    if stream.isatty():
        words = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
        assert re.search(r"wing .*3\.0/4\.0 MiB +[0-9.]+ .B/s +\d:\d\d:\d\d", words), words
    else:
        assert shown == ""
    assert capsys.readouterr().out == ""


def test_nothing_is_shown_where_nobody_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with byte_bar(wanted=False) as bar:
        bar.expect("wing", MIB)
        bar.advance(MIB)
    assert terminal.getvalue() == ""
