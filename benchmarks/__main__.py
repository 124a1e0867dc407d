"""Measure rescalefs and its peers side by side, and print a table: `make bench`.

Each scenario runs its contenders alternately, so that a machine that is slow for a while is slow for all of
them. What counts are the ratios within one run. Needs root, because the kernel's cache is dropped in between.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import contenders, listing, measure
from benchmarks.contenders import RcloneMount, RescaleMount
from benchmarks.far import Link
from benchmarks.measure import Cost
from benchmarks.origin import Origin, build, serving

MIB = 1 << 20
FAR = Link(round_trip=0.040, per_connection=20e6)
CAPPED = Link(round_trip=0.040, per_connection=20e6, total=150e6)
NEAR = Link()

Mount = RescaleMount | RcloneMount


@dataclass(frozen=True)
class Result:
    """One contender in one scenario: medians of several runs."""

    scenario: str
    contender: str
    seconds: float
    mb_per_second: float
    cpu_seconds: float
    peak_mib: float
    requests: int
    fetched_share: float  # bytes of content sent, as a share of the file's size; 0 where not counted


class Bench:
    """Runs scenarios on one origin, and collects results."""

    def __init__(self, origin: Origin, size: int, runs: int, work: Path) -> None:
        self._origin = origin
        self._size = size
        self._runs = runs
        self._work = work
        self.results: list[Result] = []

    def cold(self, scenario: str, link: Link, mounts: Sequence[Mount], commands: Sequence[str] = ()) -> None:
        """Read the big file with nothing cached. ``commands``: downloads to compare with, by name."""
        with relayed(self._origin, link) as url:
            self._alternate(
                scenario,
                {
                    **{mount.name: self._cold_mount(mount, url) for mount in mounts},
                    **{name: self._download(name, url) for name in commands},
                },
            )

    def warm(self, scenario: str, mounts: Sequence[Mount]) -> None:
        """Read it again in a fresh mount, from the contender's own cache."""
        with relayed(self._origin, NEAR) as url:
            for mount in mounts:
                self._cold_mount(mount, url)()
            self._alternate(scenario, {mount.name: self._warm_mount(mount, url) for mount in mounts})

    def second(self, scenario: str, mounts: Sequence[Mount]) -> None:
        """Read it again in the same mount; and a local file, to compare with."""
        local = self._origin.root / "plain" / "big.bin"
        with relayed(self._origin, NEAR) as url, contextlib.ExitStack() as mounted:
            reads: dict[str, Callable[[], Cost]] = {"local file": lambda: Cost(read(local))}
            for mount in mounts:
                there = mounted.enter_context(mount.mounted(url, self._work / mount.name.replace(" ", "-")))
                read(there.big)
                reads[mount.name] = lambda there=there: Cost(read(there.big))  # type: ignore[misc]
            self._alternate(scenario, reads)

    def listing(self, scenario: str, link: Link, mounts: Sequence[Mount]) -> None:
        """`ls -lR` of 10,000 files, the first time."""
        with relayed(self._origin, link) as url:
            self._alternate(scenario, {mount.name: self._first_listing(mount, url) for mount in mounts})

    def _alternate(self, scenario: str, contestants: dict[str, Callable[[], Cost]]) -> None:
        costs: dict[str, list[Cost]] = {name: [] for name in contestants}
        traffic: dict[str, tuple[int, int]] = {}
        for _ in range(self._runs):
            for name, run in contestants.items():
                self._origin.traffic()
                costs[name].append(run())
                sent = self._origin.traffic()
                traffic[name] = (sent.requests, sent.content_bytes)
        for name, each in costs.items():
            self._add(scenario, name, each, *traffic[name])

    def _add(self, scenario: str, name: str, costs: list[Cost], requests: int, sent: int) -> None:
        seconds = statistics.median(cost.wall for cost in costs)
        result = Result(
            scenario,
            name,
            round(seconds, 3),
            round(self._size / seconds / 1e6, 1),
            round(statistics.median(cost.cpu for cost in costs), 2),
            round(max(cost.peak_memory for cost in costs) / MIB, 1),
            requests,
            round(sent / self._size, 3),
        )
        self.results.append(result)
        print(f"{scenario}: {name}: {seconds:.2f} s", file=sys.stderr, flush=True)

    def _cold_mount(self, mount: Mount, url: str) -> Callable[[], Cost]:
        work = self._work / mount.name.replace(" ", "-")

        def run() -> Cost:
            contenders.forget(work)
            return self._in_fresh_mount(mount, url, work)

        return run

    def _warm_mount(self, mount: Mount, url: str) -> Callable[[], Cost]:
        return lambda: self._in_fresh_mount(mount, url, self._work / mount.name.replace(" ", "-"))

    def _in_fresh_mount(self, mount: Mount, url: str, work: Path) -> Cost:
        with mount.mounted(url, work) as mounted:
            mounted.big.stat()  # the listing is known
            measure.drop_kernel_cache()
            before = measure.cpu_seconds(mounted.pid)
            wall = read(mounted.big)
            return Cost(wall, measure.cpu_seconds(mounted.pid) - before, measure.peak_memory(mounted.pid))

    def _first_listing(self, mount: Mount, url: str) -> Callable[[], Cost]:
        work = self._work / mount.name.replace(" ", "-")

        def run() -> Cost:
            contenders.forget(work)
            with mount.mounted(url, work) as mounted:
                return Cost(
                    measure.timed(["ls", "-lR", str(mounted.many)]), 0.0, measure.peak_memory(mounted.pid)
                )

        return run

    def _download(self, name: str, url: str) -> Callable[[], Cost]:
        tool, _, connections = name.partition(" x")

        def run() -> Cost:
            if tool == "aria2c":
                return measure.cost_of(contenders.aria2c(url, self._work, int(connections)))
            return measure.cost_of(contenders.curl(url, self._work))

        return run


def read(path: Path) -> float:
    """Seconds that `cat` takes."""
    return measure.timed(["cat", str(path)])


@contextlib.contextmanager
def relayed(origin: Origin, link: Link) -> Iterator[str]:
    """The origin's address over a link; without limits, its own."""
    if link == NEAR:
        yield f"http://127.0.0.1:{origin.port}"
        return
    command = [sys.executable, "-m", "benchmarks.far", "--to", f"127.0.0.1:{origin.port}"]
    for flag, value in asdict(link).items():
        command += [f"--{flag.replace('_', '-')}", str(value)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as relay:
        assert relay.stdout is not None
        yield f"http://127.0.0.1:{relay.stdout.readline().strip()}"
        relay.terminate()


def show(results: Sequence[Result]) -> None:
    """Print a table for each scenario."""
    table = Table("scenario", "contender", "s", "MB/s", "CPU s", "peak MiB", "requests", "fetched")
    for before, each in zip([None, *results], results):  # noqa: B905  (one shorter on purpose)
        name = "" if before is not None and before.scenario == each.scenario else each.scenario
        table.add_row(name, *(str(value) for value in list(asdict(each).values())[1:]))
    Console(width=120).print(table)


def main() -> None:
    """Run all scenarios, or with ``--quick`` a smaller file fewer times."""
    parser = argparse.ArgumentParser(description="Measure rescalefs and its peers.")
    parser.add_argument("--quick", action="store_true", help="256 MiB and one run each, in under 3 minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    args = parser.parse_args()
    size, runs = (256 * MIB, 1) if args.quick else (1024 * MIB, 3)
    ours, fixed = RescaleMount("rescalefs"), RescaleMount("rescalefs x10", ("--connections", "10"))
    unverified = RescaleMount("rescalefs off", ("--verify", "off"))
    peers = contenders.rclone_best_candidates(10)[:2] if args.quick else contenders.rclone_best_candidates(10)
    with tempfile.TemporaryDirectory(prefix="rescalefs-bench-") as folder:
        root = Path(folder) / "origin"
        build(root, size)
        with serving(root) as origin:
            bench = Bench(origin, size, runs, Path(folder))
            bench.cold("far, 20 MB/s each", FAR, [ours, fixed, *peers], ["aria2c x10", "aria2c x16"])
            bench.cold("far, 150 MB/s in all", CAPPED, [ours], ["aria2c x16"])
            bench.cold("near", NEAR, [ours, unverified, *peers], ["curl"])
            bench.warm("warm, fresh mount", [ours, peers[1]])
            bench.second("same mount again", [ours, peers[1]])
            bench.listing("ls -lR of 10,000", Link(round_trip=0.040), [ours, peers[1]])
    show(bench.results)
    if not args.quick:
        listing.show(listing.measured(idle=60.0))
    if args.json:
        args.json.write_text(json.dumps([asdict(result) for result in bench.results], indent=2) + "\n")


if __name__ == "__main__":
    main()
