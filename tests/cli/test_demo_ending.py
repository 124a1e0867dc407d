"""A demo that is not watched to its end leaves nothing behind. (What it shows is in tests/mounted.)"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("ending", ["its reader goes away", "it is told to end"])
def test_whatever_ends_the_demo_it_removes_what_it_made(tmp_path: Path, ending: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "rescalefs", "demo", "--without-fuse"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        while "rescalefs simulator" not in demo.stdout.readline():
            pass  # from here on there is a process to be ended
        if ending == "it is told to end":
            demo.stdout.readline()
            demo.send_signal(signal.SIGTERM)
        else:
            demo.stdout.close()
        expected = 128 + signal.SIGTERM if ending == "it is told to end" else 1
        assert demo.stderr is not None
        assert demo.wait(60) == expected, demo.stderr.read()
    assert list(tmp_path.iterdir()) == []
