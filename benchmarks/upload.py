"""A large upload beside `curl -F`: what we send, to whom, and what it takes.

The receiver takes a form and answers as Rescale does, without parsing what it is sent: whatever it does
costs both contenders the same, and a server that parses would be what is measured.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import measure
from benchmarks.contenders import environment
from benchmarks.measure import Cost

_CHUNK = 1 << 20

# Each run is a process of its own, so that its memory is its own.
_CLIENT = """
import sys
from rescalefs.assembly.client import open_client
client = open_client()
path, size = sys.argv[1], int(sys.argv[2])
with open(path, "rb") as content:
    client.upload("big.bin", content, size)
client.close()
"""


class Receiver:
    """Takes uploads on a loopback port; counts the bytes of their bodies."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.received = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(ConnectionError):
                while self._answer(connection):
                    pass

    def _answer(self, connection: socket.socket) -> bool:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(65536)
            if not piece:
                return False
            head += piece
        head, _, body = head.partition(b"\r\n\r\n")
        if b"100-continue" in head.lower():
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        left = (int(length[1]) if length else 0) - len(body)
        self.received += len(body)
        buffer = bytearray(_CHUNK)
        while left > 0:
            count = connection.recv_into(buffer, min(left, _CHUNK))
            if not count:
                return False
            left -= count
            self.received += count
        file = {"id": "big", "name": "big.bin", "path": "big.bin", "decryptedSize": 1, "isUploaded": True}
        answer = json.dumps({**file, "typeId": 1}).encode()
        connection.sendall(
            b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(answer), answer)
        )
        return True


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()


def contestants(file: Path, receiver: Receiver, work: Path) -> dict[str, Callable[[], Cost]]:
    """Both ways to send ``file``, each as a process that is measured."""
    there = f"{receiver.url}/api/v2/files/contents/"
    ours = [sys.executable, "-c", _CLIENT, str(file), str(file.stat().st_size)]
    curl = ["curl", "--silent", "--fail", "-F", f"file=@{file}", there]

    def run(command: list[str], size: int = file.stat().st_size) -> Cost:
        before = receiver.received
        cost = measure.cost_of(["env", *_assigned(environment(receiver.url, work)), *command])
        if receiver.received - before < size:
            raise SystemExit(f"benchmarks: {command[0]} sent {receiver.received - before} of {size} bytes")
        return cost

    return {"rescalefs": lambda: run(ours), "curl -F": lambda: run(curl)}


def _assigned(variables: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in variables.items()]


def compare(file: Path, work: Path, runs: int) -> dict[str, list[Cost]]:
    """Send ``file`` both ways in turn, ``runs`` times each; the first one of each only warms up."""
    with receiving() as receiver:
        ways = contestants(file, receiver, work)
        costs: dict[str, list[Cost]] = {name: [] for name in ways}
        for number in range(runs + 1):
            for name, way in ways.items():
                cost = way()
                if number:
                    costs[name].append(cost)
        return costs


def main(size: int = 1 << 30, runs: int = 5) -> None:
    """`python -m benchmarks.upload [BYTES [RUNS]]`: print both, and how they compare."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="rescalefs-upload-") as folder:
        file = Path(folder) / "big.bin"
        dd = ["dd", "if=/dev/urandom", f"of={file}", "bs=1M", f"count={size >> 20}", "status=none"]
        subprocess.run(dd, check=True)
        costs = compare(file, Path(folder), runs)
    walls = {name: statistics.median(cost.wall for cost in each) for name, each in costs.items()}
    for name, each in costs.items():
        peak = max(cost.peak_memory for cost in each) / (1 << 20)
        print(f"{name}: {walls[name]:.2f} s, {size / walls[name] / 1e6:.0f} MB/s, peak {peak:.0f} MiB")
    print(f"speed of curl -F: {walls['curl -F'] / walls['rescalefs']:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
