"""A large upload beside `curl -F`: how fast, and in how much memory.

The receiver takes a form and answers as Rescale does, without parsing what it is sent: whatever it does
costs all contenders the same, and a server that parses would be what is measured. It also holds the clock,
from the connection to the answer: a daemon that uploads has long started. For drops two times are told: until
the last byte is received, and until the sender knows the SHA-512 of what it sent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import measure
from benchmarks.bench import MIB, Bench
from benchmarks.contenders import environment
from benchmarks.measure import Cost

GIGABIT = 125e6  # bytes a second
CURL = "curl -F"
SENT = "rescalefs: bytes alone"
DROPPED = "rescalefs: as drops are sent"
HASHED = "rescalefs: until the SHA-512 is known"

# Each run is a process of its own, so that its memory is its own.
_SEND = """
import sys
from rescalefs.assembly.client import open_client
client = open_client()
with open(sys.argv[1], "rb", buffering=0) as content:
    client.upload("big.bin", content, int(sys.argv[2]))
"""
_DROP = """
import sys, time
from contextlib import closing
from pathlib import Path
from rescalefs.assembly.client import open_client
from rescalefs.clock import SystemClock
from rescalefs.submit.folder import look
from rescalefs.submit.parcels import Parcel
from rescalefs.submit.streams import ParcelStream, TrailingHash
client, path = open_client(), Path(sys.argv[1])
parcel = Parcel(path.name, (look(path.parent, 1000).by_path[path.name],))
trail = TrailingHash(parcel, path.parent, SystemClock())
with ParcelStream(parcel, path.parent) as stream, closing(trail):
    client.upload(parcel.name, stream, parcel.size, progress=trail.follow)
    trail.sha512_of(stream)
    Path(sys.argv[2]).write_text(str(time.monotonic()))
"""


class Receiver:
    """Takes uploads on a loopback port, in all at ``rate`` bytes a second where that is set."""

    def __init__(self, rate: float = 0.0) -> None:
        self._rate = rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.received = 0  # bytes of the newest body
        self.began = 0.0  # when it came; in the time that all processes of a machine share
        self.seconds = 0.0  # that it took
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
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        self.began = time.monotonic()
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(65536)
            if not piece:
                return
            head += piece
        head, _, body = head.partition(b"\r\n\r\n")
        if b"100-continue" in head.lower():
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        self.received = len(body)
        self._take(connection, (int(length[1]) if length else 0) - len(body))
        file = {"id": "big", "name": "big.bin", "path": "big.bin", "decryptedSize": 1, "isUploaded": True}
        answer = json.dumps({**file, "typeId": 1}).encode()
        self.seconds = time.monotonic() - self.began
        connection.sendall(
            b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(answer), answer)
        )

    def _take(self, connection: socket.socket, left: int) -> None:
        buffer = bytearray(MIB)
        while left > 0:
            count = connection.recv_into(buffer, min(left, MIB))
            if not count:
                return
            left -= count
            self.received += count
            if self._rate:
                time.sleep(max(0.0, self.received / self._rate - (time.monotonic() - self.began)))


@contextlib.contextmanager
def receiving(rate: float = 0.0) -> Iterator[Receiver]:
    receiver = Receiver(rate)
    try:
        yield receiver
    finally:
        receiver.close()


def contestants(file: Path, receiver: Receiver, work: Path) -> dict[str, Callable[[], Cost]]:
    """The ways to send ``file``, each as a process that is measured."""
    size, told = file.stat().st_size, work / "hashed"

    def sender(command: list[str], hashed: bool = False) -> Callable[[], Cost]:
        def run() -> Cost:
            cost = measure.cost_of(command, environment(receiver.url, work))
            if receiver.received < size:
                raise SystemExit(f"benchmarks: {command[0]} sent {receiver.received} of {size} bytes")
            wall = float(told.read_text()) - receiver.began if hashed else receiver.seconds
            return dataclasses.replace(cost, wall=wall)

        return run

    there = f"{receiver.url}/api/v2/files/contents/"
    return {
        SENT: sender([sys.executable, "-c", _SEND, str(file), str(size)]),
        DROPPED: sender([sys.executable, "-c", _DROP, str(file), str(told)]),
        HASHED: sender([sys.executable, "-c", _DROP, str(file), str(told)], hashed=True),
        CURL: sender(["curl", "--silent", "--fail", "-F", f"file=@{file}", there]),
    }


@contextlib.contextmanager
def noise(size: int) -> Iterator[Path]:
    """A file of ``size`` bytes, in the kernel's cache and alone in its folder."""
    with tempfile.TemporaryDirectory(prefix="rescalefs-upload-") as folder:
        file = Path(folder) / "big.bin"
        dd = ["dd", "if=/dev/urandom", f"of={file}", "bs=1M", f"count={size // MIB}", "status=none"]
        subprocess.run(dd, check=True)
        yield file


def scenario(bench: Bench, name: str, size: int, rate: float = 0.0) -> None:
    """Send ``size`` bytes every way in turn."""
    with noise(size) as file, receiving(rate) as receiver:
        bench.alternate(name, contestants(file, receiver, bench.work), size)
