"""Real processes, killed with SIGKILL at every event and every request: always exactly one job.

The points are those that the same drop passes in a life without a kill. Each is a drop, a journal and a
process of its own, on one simulator; after the kill a new process goes on from what is on the disk.
"""

from __future__ import annotations

import io
import json
import os
import queue
import random
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from rescalefs.simulator import Fault, Simulator, SimulatorSettings, faults
from rescalefs.submit.spec import TOKEN
from tests.submit.rig import GOOD, drop_files

ROOT = Path(__file__).parents[2]
AT_ONCE = 8  # lives: they mostly wait
ANALYSIS = {
    **GOOD["jobanalyses"][0],
    "analysis": {"code": "user_included", "version": "0"},
    "command": "true",
}


@dataclass(frozen=True)
class Scenario:
    """What is dropped: folders by name, each with its files; and what a person puts right later."""

    drops: dict[str, dict[str, bytes]]
    analyses: tuple[dict[str, Any], ...] = (ANALYSIS,)
    first: dict[str, Any] = field(default_factory=dict)  # in job.json until a person takes it out
    jobs_inputs: tuple[tuple[str, ...], ...] = ()  # of each analysis; empty: all files to the only one

    def lay_out(self, root: Path, name: str) -> None:
        for drop, files in self.drops.items():
            job = {"name": f"{name}-{drop}", "jobanalyses": list(self.analyses)}
            drop_files(root / "submit" / drop, {**job, **self.first}, files)
            if self.first:
                (root / f"{drop}.mended.json").write_text(json.dumps(job))


SCENARIOS = {
    "one-input": Scenario({"wing": {"a.txt": b"a"}}),
    "subfolder": Scenario({"wing": {"a.txt": b"a", "mesh/b.dat": b"b", "mesh/deep/c.dat": b""}}),
    "two-analyses": Scenario(
        {"wing": {"a.txt": b"a", "b.txt": b"b", "c.txt": b"c"}},
        analyses=(
            {**ANALYSIS, "inputFiles": ["a.txt", "c.txt"]},
            {**ANALYSIS, "inputFiles": ["b.txt"]},
        ),
        jobs_inputs=(("a.txt", "c.txt"), ("b.txt",)),
    ),
    "mended": Scenario({"wing": {"a.txt": b"a"}}, first={"jobanalyses": [{**ANALYSIS, "command": 7}]}),
    "held": Scenario({"wing": {"a.txt": b"a"}}, first={"hold": True}),
    "same-bytes": Scenario({"wing": {"a.txt": b"a"}, "wing-2": {"a.txt": b"a"}}),
}


class Lives:
    """Runs lives in processes that die, several at once."""

    def __init__(self, simulator: Simulator, root: Path, held: ExitStack) -> None:
        self.simulator = simulator
        self._root = root
        self._idle: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
        # Not measured: who is killed writes no coverage. With the tracer in it, a life once ended by SIGSEGV.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        for _ in range(AT_ONCE):
            process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-m", "tests.submit.mortal"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            held.callback(self._end, process)
            self._idle.put(process)

    @staticmethod
    def _end(process: subprocess.Popen[str]) -> None:
        process.communicate()

    def run(self, root: Path, drops: int, fatal: str | None = None, full: str = "") -> int:
        """One life; return how the process ended."""
        order = {
            "root": str(root),
            "url": self.simulator.url,
            "key": self.simulator.api_key,
            "fatal": fatal,
            "drops": drops,
            "full": full,
        }
        process = self._idle.get()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{json.dumps(order)}\n")
            process.stdin.flush()
            return int(process.stdout.readline())
        finally:
            self._idle.put(process)

    def case(
        self, which: str, name: str, fatals: Iterable[str] = (), full: str = ""
    ) -> tuple[list[str], Path]:
        """Drop, be killed at each of ``fatals``, live to the end, check; tell which of the kills happened."""
        scenario, root = SCENARIOS[which], self._root / name
        scenario.lay_out(root, name)
        ends = {fatal: self.run(root, len(scenario.drops), fatal) for fatal in fatals}
        assert self.run(root, len(scenario.drops), full=full) == 0, f"{name} {list(fatals)}"
        check(self.simulator, scenario, name)
        return [fatal for fatal, end in ends.items() if end == -signal.SIGKILL], root

    def points(self, which: str) -> list[str]:
        """All points of a life without a kill."""
        _, root = self.case(which, which)
        return (root / "points").read_text().splitlines()


def check(simulator: Simulator, scenario: Scenario, name: str) -> None:
    """For each drop there is one job, it ran once, and has the files that were dropped."""
    ours = [job for job in simulator.world.jobs() if job.name.startswith(f"{name}-wing")]
    assert sorted(job.name for job in ours) == sorted(f"{name}-{drop}" for drop in scenario.drops)
    for job in ours:
        assert [each.status for each in job.statuses].count("Completed") == 1
        assert [each.status for each in job.statuses].count("Pending") == 1
        files = scenario.drops[job.name.removeprefix(f"{name}-")]
        wanted = scenario.jobs_inputs or (tuple(files),)
        analyses = job.definition["jobanalyses"]
        for analysis, names in zip(analyses, wanted, strict=True):
            assert unpacked(simulator, analysis["inputFiles"]) == {each: files[each] for each in names}
    tokens = [job.definition["jobanalyses"][0]["envVars"][TOKEN] for job in ours]
    assert len(set(tokens)) == len(ours)


def unpacked(simulator: Simulator, inputs: Iterable[dict[str, Any]]) -> dict[str, bytes]:
    """What the cluster gets: path -> bytes."""
    found: dict[str, bytes] = {}
    for each in inputs:
        file = simulator.world.file(each["id"])
        data = simulator.world.contents.path(file.id).read_bytes()
        if file.name.endswith(".tar"):
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for member in archive:
                    if member.isfile():
                        body = archive.extractfile(member)
                        assert body is not None
                        assert member.name not in found
                        found[member.name] = body.read()
        else:
            assert file.name not in found
            found[file.name] = data
    return found


@pytest.fixture(scope="module")
def lives() -> Iterator[Lives]:
    # In memory where that can be had: a kill takes nothing from the page cache, so syncs would prove nothing.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with ExitStack() as held:
        root = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="lives-", dir=memory)))
        settings = SimulatorSettings(port=0, data=root / "server", jobs_at_once=16)
        simulator = held.enter_context(Simulator(settings))
        yield Lives(simulator, root, held)


# What a life does every time, however quick it is: all but how often it asks for the job's statuses, and
# whether it lives long enough after the end to note that it told of it.
CERTAIN = re.compile("^(?!.*(Announced|StatusSeen #[2-9]|/statuses/ #[3-9]))")
# What differs between the scenarios. The moments before an event are passed with the first one.
ACTS = re.compile(
    "POST|GET /api/v2/files/|after event (Refused|Changed|Uploaded|CreateBegun|Created|Released|Submitted)"
)
# The points of each scenario: those that it is killed at, and how many there are.
POINTS = {
    "subfolder": (CERTAIN, 50),
    "two-analyses": (ACTS, 17),
    "mended": (ACTS, 15),
    "held": (ACTS, 13),
    "same-bytes": (ACTS, 26),
}


def test_there_are_a_hundred_points_and_more() -> None:
    assert sum(count for _, count in POINTS.values()) >= 100


@pytest.mark.parametrize("which", POINTS)
def test_a_kill_at_any_event_or_request_ends_in_one_job(lives: Lives, which: str) -> None:
    chosen, count = POINTS[which]
    points = [point for point in lives.points(which) if chosen.search(point)]
    assert len(set(points)) == count, points
    # A process that goes on after a kill before the job is created still passes what follows. So one drop is
    # killed at two points, where the order of things is certain: one drop is, two get on beside each other.
    border = points.index("before POST /api/v2/jobs/ #1") if len(SCENARIOS[which].drops) == 1 else 0
    early, late = points[:border], points[border:]
    cases = [[point for point in pair if point] for pair in zip_longest(early, late)]

    def survived(numbered: tuple[int, list[str]]) -> list[str]:
        """Return at which of the points it was killed."""
        number, fatals = numbered
        return lives.case(which, f"{which}-{number}", fatals)[0]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        happened = [point for killed in pool.map(survived, enumerate(cases)) for point in killed]
    assert sorted(happened) == sorted(points)


def test_several_kills_at_random_points_end_in_one_job(lives: Lives) -> None:
    seed = int(os.environ.get("RESCALEFS_TEST_SEED") or random.randrange(1 << 32))
    print(f"RESCALEFS_TEST_SEED={seed}")  # pytest shows it when something fails
    chance = random.Random(seed)
    points = [point for point in lives.points("one-input") if "#1" in point]
    cases = [chance.choices(points, k=3) for _ in range(AT_ONCE)]

    def survived(numbered: tuple[int, list[str]]) -> None:
        number, fatals = numbered
        lives.case("one-input", f"random-{number}", fatals)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(survived, enumerate(cases)))


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("request-lost", faults.Drop()),
        ("answer-lost", faults.Drop(acted=True)),
        ("502-after-success", faults.Status(502, acted=True)),
        ("503", faults.Status(503)),
    ],
    ids=["request-lost", "answer-lost", "502-after-success", "503"],
)
def test_a_cut_network_or_a_lost_answer_ends_in_one_job(
    lives: Lives, name: str, effect: faults.AnyEffect
) -> None:
    for path in ("/files/contents/$", "/jobs/$", "/submit/$"):
        lives.simulator.faults.add(Fault(effect, path, method="POST"))
    lives.case("one-input", name)
    assert not lives.simulator.faults.unused()


def test_a_lost_answer_at_a_server_whose_replicas_lag_ends_in_one_job(lives: Lives) -> None:
    """A new job is missing in lists, and 404, for a second: ten by the clock of the daemon."""
    lives.simulator.faults.add(Fault(faults.Status(504, acted=True), "/jobs/$", method="POST"))
    lives.simulator.faults.add(Fault(faults.Lag(1.0), "/jobs/", method="GET", times=None))
    try:
        lives.case("one-input", "lag")
        assert not lives.simulator.faults.unused()
    finally:
        lives.simulator.faults.clear()


def test_a_disk_that_is_full_while_journalling_ends_in_one_job(lives: Lives) -> None:
    events = ["Accepted", "Uploaded", "CreateBegun", "Created", "Submitted", "Completed"]

    def survived(event: str) -> None:
        lives.case("one-input", f"full-{event}", full=event)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(survived, events))
