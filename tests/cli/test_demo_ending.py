"""A demo that is not watched to its end leaves nothing behind. (What it shows is in tests/mounted.)"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rescalefs.cli import demo


def test_a_command_that_takes_too_long_is_named_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_PATIENCE", 1.0)
    own, other = os.pipe()  # who has the other end open still runs
    os.set_inheritable(other, True)
    command = f"true >&{other}; until false; do sleep 0.1; done | cat"
    monkeypatch.setattr(subprocess, "Popen", functools.partial(subprocess.Popen, pass_fds=(other,)))
    with pytest.raises(demo.DemoFailed, match="longer than 1 s: true"):
        demo.Stage(tmp_path).run(command)
    os.close(other)
    assert os.read(own, 1) == b""
    os.close(own)


def test_a_command_that_is_broken_off_may_undo_what_it_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_PATIENCE", 1.0)
    command = """exec sh -c 'trap "sleep 0.2; echo undone > note; exit" TERM; while :; do sleep 0.05; done'"""
    with pytest.raises(demo.DemoFailed, match="longer than 1 s"):
        demo.Stage(tmp_path).run(command)
    assert (tmp_path / "note").read_text() == "undone\n"


@pytest.mark.parametrize("ending", ["its reader goes away", "it is told to end"])
def test_whatever_ends_the_demo_it_removes_what_it_made(tmp_path: Path, ending: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "rescalefs", "demo", "--without-fuse"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        while "rescalefs simulator" not in running.stdout.readline():
            pass  # from here on there is a process to be ended
        if ending == "it is told to end":
            running.stdout.readline()
            running.send_signal(signal.SIGTERM)
        else:
            running.stdout.close()
        expected = 128 + signal.SIGTERM if ending == "it is told to end" else 1
        assert running.stderr is not None
        assert running.wait(60) == expected, running.stderr.read()
    assert list(tmp_path.iterdir()) == []
