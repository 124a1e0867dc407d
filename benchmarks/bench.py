"""Runs contenders alternately on one origin, and keeps what each took."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.far import Link
from benchmarks.measure import Cost
from benchmarks.origin import Origin

MIB = 1 << 20
GIB = 1 << 30
FAR = Link(round_trip=0.040, per_connection=20e6)
CAPPED = Link(round_trip=0.040, per_connection=20e6, total=150e6)
DISTANT = Link(round_trip=0.040)  # round trips only
NEAR = Link()

Run = Callable[[], Cost]


@dataclass(frozen=True)
class Result:
    """One contender in one scenario: medians of several runs, and the worst of what must not grow."""

    scenario: str
    contender: str
    seconds: float
    mb_per_second: float  # of the scenario's bytes; 0 where it is not about bytes
    cpu_per_gib: float  # seconds of the serving process and its children
    peak_mib: float
    requests: int  # of all kinds, in the last run
    fetched: float  # bytes of contents sent, in MiB, in the last run


class Bench:
    """Takes turns: a machine that is slow for a while is slow for all contenders of a scenario."""

    def __init__(self, origin: Origin, size: int, runs: int, work: Path) -> None:
        self.origin = origin
        self.size = size
        self.runs = runs
        self.work = work
        self.results: list[Result] = []

    def alternate(self, scenario: str, contestants: Mapping[str, Run], size: int = 0, runs: int = 0) -> None:
        """Run each contender in turn, ``runs`` times; ``size`` is how many bytes it reads each time."""
        costs: dict[str, list[Cost]] = {name: [] for name in contestants}
        traffic: dict[str, tuple[int, int]] = {}
        for _ in range(runs or self.runs):
            for name, run in contestants.items():
                self.origin.traffic()
                costs[name].append(run())
                sent = self.origin.traffic()
                traffic[name] = (sent.requests, sent.content_bytes)
        for name, each in costs.items():
            self._add(scenario, name, each, size, *traffic[name])

    def seconds(self, scenario: str, contender: str) -> float:
        """The median of one contender."""
        return self.result(scenario, contender).seconds

    def result(self, scenario: str, contender: str) -> Result:
        """What was measured of one contender."""
        return next(each for each in self.results if (each.scenario, each.contender) == (scenario, contender))

    def best(self, scenario: str, *kinds: str) -> Result:
        """The fastest of those whose names begin with one of ``kinds``."""
        rivals = [each for each in self.results if each.scenario == scenario]
        return min(
            (each for each in rivals if each.contender.startswith(kinds)), key=lambda each: each.seconds
        )

    def _add(self, scenario: str, name: str, costs: list[Cost], size: int, requests: int, sent: int) -> None:
        seconds = statistics.median(cost.wall for cost in costs)
        cpu = statistics.median(cost.cpu for cost in costs)
        self.results.append(
            Result(
                scenario,
                name,
                round(seconds, 4),
                round(size / seconds / 1e6, 1),
                round(cpu * GIB / size, 2) if size else 0.0,
                round(max(cost.peak_memory for cost in costs) / MIB, 1),
                requests,
                round(sent / MIB, 3),
            )
        )
        print(f"{scenario}: {name}: {seconds:.3f} s", file=sys.stderr, flush=True)


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
        try:
            yield f"http://127.0.0.1:{relay.stdout.readline().strip()}"
        finally:
            relay.terminate()
