"""The largest drops: 100,000 small files, flat and in a subfolder, and one file of 50 GB.

`python -m benchmarks.bigdrops [flat] [folder] [large] [--files N] [--size BYTES]`. Each is a
`rescalefs submit` of its own, whose memory the kernel accounts, against a server that answers as Rescale
does and forgets what it is sent. The file of 50 GB is a hole, so it takes no room; to hash it takes minutes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

from benchmarks import measure
from benchmarks.bench import MIB
from benchmarks.contenders import environment
from rescalefs.simulator import Simulator, SimulatorSettings

MOST_MEMORY = 200 * MIB
_JOB = {
    "name": "big",
    "jobanalyses": [
        {
            "analysis": {"code": "user_included", "version": "0"},
            "command": "true",
            "hardware": {"coreType": "granite", "coresPerSlot": 2, "slots": 1, "walltime": 1},
        }
    ],
}


class Sink(ThreadingHTTPServer):
    """Knows what a simulator knows of software and hardware; takes files and a job, and keeps neither."""

    daemon_threads = True

    def __init__(self, catalogue: Simulator) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.catalogue = catalogue
        self.numbers = itertools.count(1)
        self.inputs = 0  # of the job


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Sink

    def do_GET(self) -> None:
        if self.path.split("?")[0].endswith("/statuses/"):
            self._say(200, {"count": 0, "next": None, "previous": None, "results": []})
            return
        there = self.server.catalogue
        answer = requests.get(
            f"{there.url}{self.path}", headers={"Authorization": f"Token {there.api_key}"}, timeout=30
        )
        self._say(answer.status_code, answer.json())

    def do_POST(self) -> None:
        body = self._body(keep=self.path.endswith("/jobs/"))
        if self.path.endswith("/contents/"):
            file = f"{next(self.server.numbers):06}"
            self._say(201, {"id": file, "name": "x", "path": "x", "isUploaded": True, "typeId": 1})
        elif body:
            job = json.loads(body)
            self.server.inputs = len(job["jobanalyses"][0]["inputFiles"])
            self._say(201, {"id": "abcde", "name": job["name"]})
        else:
            self._say(200, {})

    def _body(self, keep: bool) -> bytes:
        left, kept, buffer = int(self.headers.get("Content-Length") or 0), [], memoryview(bytearray(MIB))
        while left:
            count = self.rfile.readinto(buffer[: min(left, MIB)])  # type: ignore[attr-defined]
            if not count:
                raise ConnectionResetError
            left -= count
            if keep:
                kept.append(bytes(buffer[:count]))
        return b"".join(kept)

    def _say(self, status: int, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(work: Path) -> Iterator[Sink]:
    with Simulator(SimulatorSettings(port=0, data=work / "simulator")) as simulator:
        sink = Sink(simulator)
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        try:
            yield sink
        finally:
            sink.shutdown()
            sink.server_close()


def lay_out(drop: Path, which: str, files: int, size: int) -> int:
    """Make the drop; return how many input files its job is to have."""
    drop.mkdir()
    (drop / "job.json").write_text(json.dumps(_JOB))
    if which == "large":
        with (drop / "large.bin").open("wb") as file:
            file.truncate(size)
        return 1
    folder = drop / "cases" if which == "folder" else drop
    folder.mkdir(exist_ok=True)
    for number in range(files):
        (folder / f"case-{number:06}.dat").write_bytes(b"%d\n" % number)
    return 1 if which == "folder" else files


def run(which: str, files: int, size: int) -> bool:
    """Submit one of them; tell whether it took no more memory than it may."""
    with tempfile.TemporaryDirectory(prefix="rescalefs-big-") as root, serving(Path(root)) as sink:
        drop = Path(root) / "drop"
        inputs = lay_out(drop, which, files, size)
        command = [sys.executable, "-m", "rescalefs.cli.main", "submit", str(drop)]
        cost = measure.cost_of(command, environment(sink.url, Path(root)))
        if sink.inputs != inputs:
            raise SystemExit(f"benchmarks: the job has {sink.inputs} input files, not {inputs}")
    memory = cost.peak_memory / MIB
    print(f"{which}: {memory:.0f} MiB at most, {cost.wall:.0f} s, {cost.cpu:.0f} s of CPU", flush=True)
    return cost.peak_memory <= MOST_MEMORY


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bigdrops")
    parser.add_argument("which", nargs="*", choices=["flat", "folder", "large", []])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=50 * 10**9)
    asked = parser.parse_args()
    fits = [run(each, asked.files, asked.size) for each in asked.which or ("flat", "folder", "large")]
    return 0 if all(fits) else 1


if __name__ == "__main__":
    sys.exit(main())
