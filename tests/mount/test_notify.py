from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import pytest

from rescalefs.mount.notify import VARIABLE, Notifier


@pytest.mark.parametrize("abstract", [True, False])
def test_it_speaks_systemds_protocol(tmp_path: Path, abstract: bool) -> None:
    name = f"@rescalefs-{os.urandom(8).hex()}" if abstract else str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1) if abstract else name)
        notifier = Notifier(name)
        notifier.ready("mounted on /x")
        assert listener.recv(1000) == b"READY=1\nSTATUS=mounted on /x"
        notifier.stopping("bye")
        assert listener.recv(1000) == b"STOPPING=1\nSTATUS=bye"


def test_what_we_start_does_not_inherit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/somewhere")
    Notifier.from_environment()
    assert VARIABLE not in os.environ


def test_nobody_listening_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    Notifier.from_environment().ready("fine")
    assert caplog.records == []
    with caplog.at_level(logging.DEBUG):
        Notifier(str(tmp_path / "nobody")).ready("fine")
    assert "nobody listens for READY=1" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


def test_an_address_that_cannot_be_one_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    Notifier("/" + "x" * 300).ready("fine")
    assert "cannot tell" in caplog.text
