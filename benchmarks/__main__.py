"""Measure rescalefs and its peers side by side: `make bench`.

What counts are the ratios within one run (docs/performance.md). Needs root, because the kernel's cache is
dropped in between.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks import listing, mirror, report, scenarios, upload
from benchmarks.bench import CAPPED, FAR, GIB, MIB, NEAR, Bench
from benchmarks.contenders import RescaleMount, rclones
from benchmarks.origin import build, serving
from benchmarks.report import Target, at_least, at_most

OURS = RescaleMount("rescalefs")
TEN = RescaleMount("rescalefs x10", ("--connections", "10"))
UNVERIFIED = RescaleMount("rescalefs off", ("--verify", "off"))
RANDOM_JOBS = 16


class Plan:
    """All scenarios in order, each with the targets it is held against."""

    def __init__(self, bench: Bench, quick: bool) -> None:
        self._bench = bench
        self._quick = quick
        self.targets: list[Target] = []

    def run(self) -> None:
        """Measure everything."""
        for part in (
            self._far,
            self._capped,
            self._near,
            self._kept,
            self._upload,
            self._small,
            self._listing,
        ):
            part()

    def _far(self) -> None:
        bench, name = self._bench, "far: 40 ms, 20 MB/s a connection"
        peers = [*rclones(10)[1:2], *rclones(32)[1:2]] if self._quick else [*rclones(10), *rclones(32)[:2]]
        downloads = ["rescalefs download", "aria2c x10", "aria2c x16"]
        if not self._quick:
            downloads.append("curl")
        scenarios.cold(bench, name, FAR, [OURS, TEN, *peers], downloads)
        floor = bench.size / (10 * FAR.per_connection)
        ten, ours = bench.seconds(name, TEN.name), bench.result(name, OURS.name)
        tens = min(bench.best(name, "aria2c x10").seconds, bench.best(name, "rclone x10").seconds)
        self.targets += [
            at_least("far, 10 connections: share of the floor's speed", floor / ten, 0.95),
            at_most("far, 10 connections: time over the best peer's with 10", ten / tens, 1.0),
            at_most(
                "far, auto: time over the best peer's",
                ours.seconds / bench.best(name, "aria2c", "rclone").seconds,
                0.75,
            ),
            at_most("requests per GiB", (ours.requests - 8) * GIB / bench.size, 64),
        ]

    def _capped(self) -> None:
        bench, name = self._bench, "capped: 40 ms, 150 MB/s in all"
        download = "rescalefs download"
        scenarios.cold(bench, name, CAPPED, [OURS], [download, "aria2c x16"])
        floor = bench.size / CAPPED.total
        self.targets += [
            at_least("capped: share of the cap", floor / bench.seconds(name, OURS.name), 0.95),
            at_least("capped, download: share of the cap", floor / bench.seconds(name, download), 0.95),
        ]

    def _near(self) -> None:
        bench, name = self._bench, "loopback, no limits"
        peers = rclones(10)[1:3] if self._quick else [*rclones(10), *rclones(4)[:2]]
        scenarios.cold(bench, name, NEAR, [OURS, UNVERIFIED, *peers], ["rescalefs download", "curl"])
        best = bench.best(name, "rclone")
        ours, off = bench.result(name, OURS.name), bench.result(name, UNVERIFIED.name)
        self.targets += [
            at_most("loopback, verified: time over rclone's best", ours.seconds / best.seconds, 1.0),
            at_most("loopback, --verify off: time over rclone's best", off.seconds / best.seconds, 0.85),
            at_most(
                "loopback, --verify off: CPU over rclone's best", off.cpu_per_gib / best.cpu_per_gib, 1.0
            ),
        ]

    def _kept(self) -> None:
        bench, warm, again = self._bench, "warm, fresh mount", "again in the same mount"
        peers = rclones(10)[1:2] if self._quick else rclones(10)[:2]
        scenarios.warm(bench, warm, [OURS, *peers])
        scenarios.again(bench, again, [OURS, *peers])
        ours = bench.seconds(again, OURS.name)
        self.targets += [
            at_least(
                "warm: speed over rclone's",
                bench.best(warm, "rclone").seconds / bench.seconds(warm, OURS.name),
                1.5,
            ),
            at_least("again: speed over a local file's", bench.seconds(again, "local file") / ours, 0.8),
        ]
        two = "two readers at once"
        scenarios.two_readers(bench, two, OURS)
        share = bench.result(two, OURS.name).fetched * MIB / bench.size
        self.targets.append(at_most("two readers: bytes sent over the file's", share, 1.02))

    def _upload(self) -> None:
        bench, near, line = self._bench, "upload, loopback", "upload, 1 Gbit/s"
        upload.scenario(bench, near, bench.size)
        upload.scenario(bench, line, bench.size // 4, upload.GIGABIT)
        for name, way in ((near, upload.SENT), (near, upload.DROPPED), (line, upload.HASHED)):
            speed = bench.seconds(name, upload.CURL) / bench.seconds(name, way)
            self.targets.append(at_least(f"{name}: speed over curl -F's, {way}", speed, 0.9))

    def _small(self) -> None:
        bench, head, random = self._bench, "head -c 1000, 40 ms", "random 4 KiB, 40 ms"
        scenarios.head(bench, head, OURS)
        first = bench.result(head, OURS.name)
        scenarios.random_reads(bench, random, OURS, 1)
        one = bench.result(random, OURS.name)
        rate = scenarios.random_rate(bench, OURS, 1)
        many = scenarios.random_rate(bench, OURS, RANDOM_JOBS)
        self.targets += [
            at_most("head: round trips", first.seconds / FAR.round_trip, 3),
            at_most("head: MiB sent", first.fetched, 1),
            at_most("random: round trips a read, median", one.seconds / FAR.round_trip, 1.3),
            at_most("random: KiB sent a read", one.fetched * 1024 / scenarios.RANDOM_READS, 128),
            at_least("random: reads a second of 16 readers over one's", many / rate, 10),
        ]
        self.targets.append(at_most("MiB resident when idle", scenarios.idle_memory(bench, OURS), 80))
        peak = max(each.peak_mib for each in bench.results if each.contender.startswith("rescalefs"))
        self.targets.append(at_most("MiB resident at most, in all scenarios", peak, 200))

    def _listing(self) -> None:
        bench, first, second = self._bench, "ls -lR of 10,000, first", "ls -lR of 10,000, second"
        peer = rclones(10)[1]
        scenarios.listing(bench, first, second, OURS, peer)
        pages = bench.seconds(first, "pages, 10 at once")
        ours = bench.seconds(second, OURS.name)
        self.targets += [
            at_most("ls -lR, first: time over its pages'", bench.seconds(first, OURS.name) / pages, 2.5),
            at_most("ls -lR, second: time over rclone's", ours / bench.seconds(second, peer.name), 0.5),
        ]


def main() -> None:
    """Run all scenarios, or with ``--quick`` a smaller file fewer times."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure rescalefs and its peers.")
    parser.add_argument("--quick", action="store_true", help="256 MiB and one run each, in under 3 minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw them there (.svg or .png)")
    args = parser.parse_args()
    size, runs = (256 * MIB, 1) if args.quick else (1024 * MIB, 3)
    with tempfile.TemporaryDirectory(prefix="rescalefs-bench-", ignore_cleanup_errors=True) as folder:
        root = Path(folder) / "origin"
        build(root, size)
        with serving(root) as origin:
            bench = Bench(origin, size, runs, Path(folder))
            plan = Plan(bench, args.quick)
            plan.run()
    report.show(bench.results, plan.targets)
    if not args.quick:
        listing.show(listing.measured(idle=60.0))
        print(json.dumps(mirror.measured(size), indent=2))
    if args.json:
        report.save(args.json, bench.results, plan.targets)
    if args.picture:
        report.draw(args.picture, bench.results)


if __name__ == "__main__":
    main()
