"""What is done with each contender: one function for each kind of use."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from benchmarks import contenders, measure
from benchmarks.bench import DISTANT, NEAR, Bench, Run, relayed
from benchmarks.contenders import Mount, Mounted, RescaleMount
from benchmarks.far import Link
from benchmarks.measure import Cost
from benchmarks.origin import PAGE, SMALL_FILES

HEAD = 1000  # bytes that `head` asks for
RANDOM_READS = 200
ATTRIBUTES = 1.5  # seconds
IDLE = 6.0  # seconds after which a fresh mount has settled


def cold(
    bench: Bench, scenario: str, link: Link, mounts: Sequence[Mount], downloads: Sequence[str] = ()
) -> None:
    """`cat` of the big file with nothing cached. ``downloads``: tools that fetch it to disk, by name."""
    with relayed(bench.origin, link) as url:
        runs = {mount.name: _cold(bench, mount, url, _cat) for mount in mounts}
        runs |= {name: _download(bench, name, url) for name in downloads}
        bench.alternate(scenario, runs, bench.size)


def warm(bench: Bench, scenario: str, mounts: Sequence[Mount]) -> None:
    """`cat` of it in a fresh mount, from the contender's own cache, the kernel's dropped."""
    with relayed(bench.origin, NEAR) as url:
        for mount in mounts:
            _cold(bench, mount, url, _cat)()
        runs = {mount.name: _fresh(mount, url, _work(bench, mount), _cat) for mount in mounts}
        bench.alternate(scenario, runs, bench.size)


def again(bench: Bench, scenario: str, mounts: Sequence[Mount]) -> None:
    """`cat` of it again in the same mount; and of a local file in the page cache."""
    local = bench.origin.root / "plain" / "big.bin"
    _seconds_of_cat(local)
    with relayed(bench.origin, NEAR) as url, contextlib.ExitStack() as mounted:
        runs: dict[str, Run] = {"local file": lambda: Cost(_seconds_of_cat(local))}
        for mount in mounts:
            contenders.forget(_work(bench, mount))
            there = mounted.enter_context(mount.mounted(url, _work(bench, mount)))
            _seconds_of_cat(there.big)
            runs[mount.name] = _again(there)
        bench.alternate(scenario, runs, bench.size, max(bench.runs, 5))


def two_readers(bench: Bench, scenario: str, mount: Mount) -> None:
    """Two `cat` of it at the same time, cold."""
    with relayed(bench.origin, NEAR) as url:
        bench.alternate(scenario, {mount.name: _cold(bench, mount, url, _two_cats)}, bench.size)


def head(bench: Bench, scenario: str, mount: Mount) -> None:
    """The first bytes of it, cold."""
    with relayed(bench.origin, DISTANT) as url:
        bench.alternate(scenario, {mount.name: _cold(bench, mount, url, _head)}, HEAD, max(3, bench.runs))


def random_reads(bench: Bench, scenario: str, mount: Mount, jobs: int) -> None:
    """4 KiB here and there, cold: ``seconds`` is the median latency of one read."""
    with relayed(bench.origin, DISTANT) as url:
        bench.alternate(
            scenario,
            {mount.name: _cold(bench, mount, url, lambda there: _fio(there, jobs).latency)},
        )


def random_rate(bench: Bench, mount: Mount, jobs: int) -> float:
    """Reads a second of 4 KiB here and there by so many readers at once, cold."""
    with relayed(bench.origin, DISTANT) as url:
        contenders.forget(_work(bench, mount))
        with mount.mounted(url, _work(bench, mount)) as there:
            there.big.stat()
            return _fio(there, jobs).rate


def listing(bench: Bench, first: str, second: str, ours: Mount, peer: Mount) -> None:
    """`ls -lR` of 10,000 files: the first time, beside a mere fetching of their pages, and the second.

    The peer's first time is left out: it asks for the size of each file, which takes a minute.
    """
    with relayed(bench.origin, DISTANT) as url:
        bench.alternate(
            first,
            {"pages, 10 at once": lambda: _pages(url), ours.name: _first_listing(bench, ours, url)},
            runs=max(3, bench.runs),
        )
    with relayed(bench.origin, NEAR) as url, contextlib.ExitStack() as mounted:
        runs: dict[str, Run] = {}
        for mount in (ours, peer):
            there = mounted.enter_context(mount.mounted(url, _work(bench, mount)))
            _ls(there)
            runs[mount.name] = lambda there=there: _ls_later(there)  # type: ignore[misc]
        bench.alternate(second, runs, runs=max(3, bench.runs))


def idle_memory(bench: Bench, mount: RescaleMount) -> float:
    """MiB resident in a mount that nobody has used yet."""
    with relayed(bench.origin, NEAR) as url:
        contenders.forget(_work(bench, mount))
        with mount.mounted(url, _work(bench, mount)) as there:
            time.sleep(IDLE)
            return measure.resident(there.pid) / (1 << 20)


def _work(bench: Bench, mount: Mount) -> Path:
    return bench.work / mount.name.replace(" ", "-")


def _cold(bench: Bench, mount: Mount, url: str, use: Callable[[Mounted], float]) -> Run:
    work = _work(bench, mount)

    def run() -> Cost:
        contenders.forget(work)
        return _fresh(mount, url, work, use)()

    return run


def _fresh(mount: Mount, url: str, work: Path, use: Callable[[Mounted], float]) -> Run:
    def run() -> Cost:
        with mount.mounted(url, work) as there:
            there.big.stat()  # the listing is known
            measure.drop_kernel_cache()
            before = measure.cpu_seconds(there.pid)
            wall = use(there)
            return Cost(wall, measure.cpu_seconds(there.pid) - before, measure.peak_memory(there.pid))

    return run


def _again(there: Mounted) -> Run:
    return lambda: Cost(_seconds_of_cat(there.big), 0.0, measure.peak_memory(there.pid))


def _cat(there: Mounted) -> float:
    return _seconds_of_cat(there.big)


def _seconds_of_cat(path: Path) -> float:
    return measure.timed(["cat", str(path)])


def _two_cats(there: Mounted) -> float:
    with ThreadPoolExecutor(2) as readers:
        return max(readers.map(_seconds_of_cat, [there.big, there.big]))


def _head(there: Mounted) -> float:
    return measure.timed(["head", "-c", str(HEAD), str(there.big)])


def _ls(there: Mounted) -> Cost:
    return Cost(measure.timed(["ls", "-lR", str(there.many)]), 0.0, measure.peak_memory(there.pid))


def _ls_later(there: Mounted) -> Cost:
    """Once the kernel has forgotten the attributes, which it believes for a second."""
    time.sleep(ATTRIBUTES)
    return _ls(there)


def _first_listing(bench: Bench, mount: Mount, url: str) -> Run:
    work = _work(bench, mount)

    def run() -> Cost:
        contenders.forget(work)
        with mount.mounted(url, work) as there:
            return _ls(there)

    return run


def _pages(url: str) -> Cost:
    """What nothing but the requests takes."""
    addresses = [f"{url}/api/v2/jobs/many/files/?page={page}" for page in range(1, SMALL_FILES // PAGE + 1)]
    began = time.perf_counter()
    with ThreadPoolExecutor(10) as pool:
        for answer in pool.map(lambda address: requests.get(address, timeout=30), addresses):
            answer.raise_for_status()
    return Cost(time.perf_counter() - began)


class _Reads:
    def __init__(self, read: dict[str, object]) -> None:
        latency = read["clat_ns"]["percentile"]["50.000000"]  # type: ignore[index]
        self.latency = float(latency) / 1e9
        self.rate = float(read["iops"])  # type: ignore[arg-type]


def _fio(there: Mounted, jobs: int) -> _Reads:
    command = [
        *["fio", "--name=random", f"--filename={there.big}", "--readonly", "--rw=randread", "--bs=4k"],
        *[f"--number_ios={RANDOM_READS}", f"--numjobs={jobs}", "--group_reporting", "--randrepeat=0"],
        *["--norandommap", "--thread", "--output-format=json", "--invalidate=0"],
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return _Reads(json.loads(done.stdout)["jobs"][0]["read"])


def _download(bench: Bench, name: str, url: str) -> Run:
    tool, _, connections = name.partition(" x")

    def run() -> Cost:
        to = bench.work / "downloads"
        contenders.forget(to)
        to.mkdir(parents=True)
        os.sync()  # whoever brings its file to the disk would wait for what others left to be written
        return measure.cost_of(
            contenders.download(tool, url, to, int(connections or 0)), contenders.environment(url, to)
        )

    return run
