"""`sync` of 10,000 small files, again with nothing new, and `download` of one large file beside aria2c.

    python -m benchmarks.mirror [--size 1024] [--json FILE]

Over a relay with a round trip of 40 ms, as in benchmarks/far.py.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.origin import SMALL_FILES, Origin, build, serving

MIB = 1 << 20
ROUND_TRIP = 0.040  # seconds
PER_CONNECTION, TOTAL = 20e6, 150e6  # bytes per second


@contextlib.contextmanager
def relayed(origin: Origin, per_connection: float = 0.0, total: float = 0.0) -> Iterator[str]:
    """The origin's address, behind a round trip and limits."""
    command = [sys.executable, "-m", "benchmarks.far", "--to", f"127.0.0.1:{origin.port}"]
    link = {"round-trip": ROUND_TRIP, "per-connection": per_connection, "total": total}
    for name, value in link.items():
        command += [f"--{name}", str(value)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as relay:
        assert relay.stdout is not None
        yield f"http://127.0.0.1:{relay.stdout.readline().strip()}"
        relay.terminate()


def run(url: str, work: Path, *words: str) -> float:
    """Seconds that `rescalefs` takes with these words, its start included."""
    kinds = ("CACHE", "CONFIG", "DATA", "STATE")
    homes = {f"XDG_{kind}_HOME": str(work / kind.lower()) for kind in kinds}
    environment = {**os.environ, **homes, "RESCALE_API_URL": url, "RESCALE_API_KEY": "0" * 40}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "rescalefs", *words], env=environment, check=True, stdout=2)
    return time.perf_counter() - began


def many_small(origin: Origin, work: Path) -> dict[str, Any]:
    """Sync 10,000 small files, twice."""
    with relayed(origin) as url:
        words = ("sync", str(work / "mirror"), "--once", "--jobs", "many")
        origin.traffic()
        first = run(url, work, *words)
        fetched = origin.traffic().content_requests
        second = run(url, work, *words)
        again = origin.traffic().content_requests
    return {
        "files": SMALL_FILES,
        "first_s": round(first, 2),
        "files_per_s": round(SMALL_FILES / first, 1),
        "content_requests": fetched,
        "second_s": round(second, 2),
        "content_requests_again": again,
    }


def one_large(origin: Origin, work: Path, size: int, runs: int) -> dict[str, Any]:
    """Download one file, and the same with aria2c and ten connections, alternately."""
    ours, theirs = [], []
    with relayed(origin, PER_CONNECTION, TOTAL) as url:
        for _ in range(runs):
            ours.append(run(url, work, "download", "big", "--to", str(work / "big")))
            shutil.rmtree(work / "big")
            began = time.perf_counter()
            command = [
                "aria2c",
                "-q",
                "-x10",
                "-s10",
                "-k1M",
                "-d",
                str(work / "aria"),
                f"{url}/plain/big.bin",
            ]
            subprocess.run(command, check=True, stdout=2)
            theirs.append(time.perf_counter() - began)
            shutil.rmtree(work / "aria")
    floor = size / TOTAL + ROUND_TRIP
    best = min(ours)
    return {
        "mib": size // MIB,
        "download_s": [round(each, 2) for each in ours],
        "aria2c_x10_s": [round(each, 2) for each in theirs],
        "floor_s": round(floor, 2),
        "of_the_floor": round(floor / best, 3),
    }


def add_catalogue(root: Path) -> None:
    """What a mount does not ask for and a mirror does: empty lists."""
    for path in ("users/me/projects", "coretypes", "analyses"):
        folder = root / "api" / "v2" / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.json").write_text('{"count": 0, "next": null, "previous": null, "results": []}')
    prices = root / "api" / "v2" / "billing" / "computeprices"
    prices.mkdir(parents=True, exist_ok=True)
    (prices / "index.json").write_text("[]")


def measured(size: int, runs: int = 3) -> dict[str, Any]:
    """All figures of this module."""
    with tempfile.TemporaryDirectory(prefix="rescalefs-bench-") as folder:
        work = Path(folder)
        build(work / "origin", size)
        add_catalogue(work / "origin")
        with serving(work / "origin") as origin:
            return {"sync": many_small(origin, work), "download": one_large(origin, work, size, runs)}


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=1024, help="MiB of the large file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    args = parser.parse_args()
    text = json.dumps(measured(args.size * MIB), indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
