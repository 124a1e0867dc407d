"""`rescalefs demo --without-fuse`, as a new user runs it in a plain container."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_without_fuse_the_demo_does_its_whole_round_on_sync_and_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rescalefs", "demo", "--without-fuse"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for sign in (
        "without FUSE",
        "$ rescalefs sync Rescale",
        "residuals.log",
        "pi_estimate.bin: OK",
        "$ rescalefs download",
        "$ kill",
    ):
        assert sign in done.stdout
    assert "rescalefs mount" not in done.stdout
    assert list(tmp_path.iterdir()) == []
