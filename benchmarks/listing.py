"""What listings and idling cost: `python -m benchmarks.listing` prints the targets and what was measured.

10,000 jobs, 500 to a page, behind a round trip of 40 ms. The floor of a first listing is all its pages
fetched 10 at once by curl, which knows their number beforehand; a client has to learn it from the first one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import measure
from benchmarks.contenders import RescaleMount, forget
from benchmarks.far import Link
from benchmarks.origin import Origin, serving
from rescalefs.api import ApiSettings, RescaleClient
from rescalefs.clock import SystemClock

JOBS = 10_000
FOUND = 2_500  # for `find`
PAGE = 500
FAR = Link(round_trip=0.040)
RUNS = 5
SETTLING = 5.0  # seconds after which all that mounting began has ended
SETTLING_AGAIN = 25.0  # the same after a restart: all pages are asked for at the second look, 15 s after it
MIB = 1 << 20


@dataclass(frozen=True)
class Line:
    """One target, and what was measured."""

    scenario: str
    target: str
    measured: str
    met: bool


def main() -> None:
    """Measure all, or with ``--idle SECONDS`` idle for so long."""
    parser = argparse.ArgumentParser(description="Measure listings and idling.")
    parser.add_argument("--idle", type=float, default=60.0, metavar="SECONDS", help="how long to idle")
    args = parser.parse_args()
    show(measured(args.idle))


def measured(idle: float) -> list[Line]:
    """All lines; ``idle`` is how long to watch an idle daemon, in seconds."""
    with tempfile.TemporaryDirectory(prefix="rescalefs-bench-") as folder:
        work = Path(folder)
        _build(work / "origin", JOBS)
        _build(work / "few", FOUND)
        with serving(work / "origin") as server:
            with relay(server) as url:
                lines = [*_listings(url, work), *_idle(url, server, work, idle)]
            lines.append(_offline(url, work))
        with serving(work / "few") as server, relay(server) as url:
            lines.append(_find(url, work))
    return lines


def show(lines: list[Line]) -> None:
    """Print them as a table."""
    table = Table("scenario", "target", "measured", "met")
    for line in lines:
        table.add_row(*map(str, asdict(line).values()))
    Console(width=120).print(table)


def _listings(url: str, work: Path) -> Iterator[Line]:
    pages = [f"{url}/api/v2/jobs/?page={number}" for number in range(1, JOBS // PAGE + 1)]
    parallel = [
        "curl",
        "-s",
        "-S",
        "-f",
        "-Z",
        "--no-progress-meter",
        "--parallel-immediate",
        "--parallel-max",
        "10",
    ]
    fetch = [*parallel, *(word for page in pages for word in ("-o", "/dev/null", page))]
    floor = statistics.median(measure.timed(fetch) for _ in range(RUNS))
    listed = statistics.median(_client_lists(url) for _ in range(RUNS))
    yield Line(
        f"list of {JOBS:,} jobs, first",
        f"<= 2.5 x {floor:.2f} s",
        f"{listed:.2f} s ({listed / floor:.1f} x)",
        listed <= 2.5 * floor,
    )
    ours = RescaleMount("rescalefs")
    forget(work / "ours")
    with ours.mounted(url, work / "ours") as mounted:
        first = measure.timed(["ls", str(mounted.root / "jobs")])
        yield Line("`ls jobs/` right after the first mount", "-", f"{first:.2f} s", met=True)
        yield _again(mounted.root / "jobs", "`ls jobs/`, later")
    with ours.mounted(url, work / "ours") as mounted:
        yield _again(mounted.root / "jobs", "`ls jobs/`, after a restart", runs=1)


def _client_lists(url: str) -> float:
    with closing(RescaleClient(ApiSettings(url, "0" * 40), SystemClock())) as client:
        began = time.perf_counter()
        assert len(client.jobs()) == JOBS
        return time.perf_counter() - began


def _again(jobs: Path, scenario: str, runs: int = RUNS) -> Line:
    seconds = statistics.median(measure.timed(["ls", str(jobs)]) for _ in range(runs))
    return Line(scenario, "<= 0.1 s", f"{seconds:.3f} s", seconds <= 0.1)


def _offline(url: str, work: Path) -> Line:
    """With nobody at the address any more, and what was known from before."""
    with RescaleMount("rescalefs").mounted(url, work / "ours") as mounted:
        return _again(mounted.root / "jobs", "`ls jobs/`, offline", runs=1)


def _find(url: str, work: Path) -> Line:
    forget(work / "ours")
    with RescaleMount("rescalefs").mounted(url, work / "ours") as mounted:
        command = ["find", str(mounted.root / "jobs"), "-maxdepth", "2"]
        measure.timed(command)
        seconds = statistics.median(measure.timed(command) for _ in range(RUNS))
    return Line(
        f"`find jobs -maxdepth 2` of {FOUND:,} jobs, warm", "<= 1.5 s", f"{seconds:.2f} s", seconds <= 1.5
    )


def _idle(url: str, server: Origin, work: Path, seconds: float) -> Iterator[Line]:
    ours = RescaleMount("rescalefs")
    forget(work / "ours")
    with ours.mounted(url, work / "ours") as mounted:
        measure.timed(["ls", str(mounted.root / "jobs")])
        time.sleep(SETTLING)
        yield _memory("idle, first mount", mounted.pid)
    with ours.mounted(url, work / "ours") as mounted:
        jobs = mounted.root / "jobs"
        measure.timed(["ls", str(jobs)])
        time.sleep(SETTLING_AGAIN)
        server.traffic()
        cpu = measure.cpu_seconds(mounted.pid)
        time.sleep(seconds)
        share = (measure.cpu_seconds(mounted.pid) - cpu) / seconds
        # All pages are asked for twice an hour, beside the polling.
        hourly = server.traffic().requests * 3600 / seconds + 2 * JOBS / PAGE
        yield _memory("idle, after a restart", mounted.pid)
        yield Line("idle: share of a core", "<= 0.5 %", f"{100 * share:.2f} %", share <= 0.005)
        yield Line("idle: requests an hour", "<= 250", f"{hourly:.0f}", hourly <= 250)
        late = _appears(server.root, jobs)
        yield Line("a job made elsewhere shows after", "<= 30 s", f"{late:.1f} s", late <= 30)


def _memory(scenario: str, pid: int) -> Line:
    memory = measure.resident(pid) / MIB
    return Line(f"{scenario}: memory", "<= 80 MiB", f"{memory:.1f} MiB", memory <= 80)


def _appears(root: Path, jobs: Path) -> float:
    """Seconds until a job that the server has now is in `ls jobs/`."""
    _write_jobs(root, JOBS + 1)
    began = time.perf_counter()
    while f"j{JOBS:05}" not in subprocess.check_output(["ls", str(jobs)], text=True).split():
        time.sleep(0.2)
    return time.perf_counter() - began


@contextlib.contextmanager
def relay(server: Origin) -> Iterator[str]:
    """The server's address behind the round trip."""
    command = [sys.executable, "-m", "benchmarks.far", "--to", f"127.0.0.1:{server.port}"]
    command += ["--round-trip", str(FAR.round_trip)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def _build(root: Path, count: int) -> None:
    """Write an account of so many jobs, each of one run, below ``root``."""
    (root / "tmp").mkdir(parents=True)
    _write_jobs(root, count)
    runs = _page([{"id": "1", "dateStarted": None, "dateCompleted": None, "variables": []}])
    for number in range(count):
        _write(root / "api" / "v2" / "jobs" / f"j{number:05}" / "runs" / "index.json", runs)
    _write(root / "api" / "v2" / "users" / "me" / "index.json", {"email": "bench@example.com"})


def _write_jobs(root: Path, count: int) -> None:
    """The list of jobs, newest first, a minute apart."""
    first = datetime(2026, 1, 1, tzinfo=timezone.utc)
    jobs = [
        {
            "id": f"j{number:05}",
            "name": f"wing {number % 1000}",
            "owner": "bench@example.com",
            "dateInserted": (first + timedelta(minutes=number)).isoformat(),
            "jobStatus": {"content": "Completed"},
            "clusterStatusDisplay": {"content": "Stopped"},
            "analysisNames": ["OpenFOAM"],
        }
        for number in reversed(range(count))
    ]
    folder = root / "api" / "v2" / "jobs"
    for number, start in enumerate(range(0, count, PAGE), 1):
        _write(folder / f"page-{number}.json", _page(jobs[start : start + PAGE], count))
    _write(folder / "index.json", _page(jobs[:PAGE], count))


def _page(results: list[dict[str, Any]], count: int | None = None) -> dict[str, Any]:
    """One page of a list."""
    return {
        "count": len(results) if count is None else count,
        "next": None,
        "previous": None,
        "results": results,
    }


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


if __name__ == "__main__":
    main()
