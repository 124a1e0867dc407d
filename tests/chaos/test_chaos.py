"""The storm itself, for a minute; and that each mutant still finds the place that it breaks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
LONGEST = 600  # seconds; a storm in which nothing is wrong takes some two minutes


@contextlib.contextmanager
def storm(work: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A storm below ``work``, ended by a signal at the latest: it then cleans up, as a killed one cannot."""
    command = [sys.executable, "-m", "tests.chaos", "--report", str(work / "report"), *words]
    with (work / "said").open("wb") as said:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "TMPDIR": str(work)}, stdout=said, stderr=said
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(120)
        finally:
            process.kill()
            process.wait()


def mounts_below(folder: Path) -> list[str]:
    """What is mounted there."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [path for path in mounts if path.startswith(f"{folder}/")]


def processes_of(folder: Path) -> list[str]:
    """Those whose temporary files are there."""
    mark, found = f"TMPDIR={folder}".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if any(each.startswith(mark) for each in path.read_bytes().split(b"\0")):
                found.append(path.parent.name)
    return found


@pytest.mark.fuse
@pytest.mark.timeout(LONGEST + 200)
def test_a_storm_of_a_minute_ends_without_a_violation(tmp_path: Path) -> None:
    with storm(tmp_path, "--minutes", "1", "--seed", "1", "--readers", "1") as process:
        code = process.wait(LONGEST)
    record = json.loads((tmp_path / "report" / "report.json").read_text())
    assert record["violations"] == [], (tmp_path / "said").read_text()
    assert record["operations_in_all"] > 100
    assert record["weather"]
    assert code == 0
    assert mounts_below(tmp_path) == []
    assert processes_of(tmp_path) == []


@pytest.mark.fuse
@pytest.mark.timeout(300)
def test_a_storm_that_is_interrupted_leaves_nothing_behind(tmp_path: Path) -> None:
    with storm(tmp_path, "--minutes", "5") as process:
        ends = time.monotonic() + 120
        while not any(path.endswith("/Rescale") for path in mounts_below(tmp_path)):
            assert time.monotonic() < ends, (tmp_path / "said").read_text()
            assert process.poll() is None, (tmp_path / "said").read_text()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 1
    assert mounts_below(tmp_path) == []
    assert processes_of(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "said"]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_breaks_is_there(mutant: Mutant) -> None:
    source = mutant.file.read_text(encoding="utf-8")
    assert mutant.broken(source) != source
