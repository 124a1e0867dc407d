"""A far network on one machine: a relay that adds a round trip and limits how fast bytes come back.

What it models: half a round trip each way for every byte, one more round trip for the handshake of a
new connection, a limit on each connection and, optionally, on all of them together, downstream only.
What it does not model: TCP's slow start, loss, and jitter.

    python -m benchmarks.far --to 127.0.0.1:8080 --round-trip 0.04 --per-connection 20e6 [--total 150e6]

prints the port that it listens on, and serves until it is terminated.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

CHUNK = 1 << 18  # bytes; at most: a slow link gets smaller ones, so that its pace stays even
PACE = 0.005  # seconds of one link's traffic that a chunk holds
CREDIT = (
    0.02  # seconds; a sleep that overshot is made good by the next chunks, or a busy loop would slow the link
)


@dataclass(frozen=True)
class Link:
    """What lies between the client and the server. Rates in bytes per second; 0 is no limit."""

    round_trip: float = 0.0  # seconds
    per_connection: float = 0.0
    total: float = 0.0


class Lane:
    """A limit on throughput: hands out the moment at which so many more bytes have passed."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free_at = 0.0

    def passed_at(self, now: float, count: int) -> float:
        """Reserve ``count`` bytes; return the loop time at which they are through."""
        if not self._rate:
            return now
        self._free_at = max(self._free_at, now - CREDIT) + count / self._rate
        return self._free_at


class Relay:
    """Listens on a loopback port and forwards each connection over the link."""

    def __init__(self, target: tuple[str, int], link: Link) -> None:
        self._target = target
        self._link = link
        self._total = Lane(link.total)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Serve while the block runs; yield the port."""
        with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
            listener.setblocking(False)
            accepting = asyncio.create_task(self._accept(listener))
            try:
                yield listener.getsockname()[1]
            finally:
                accepting.cancel()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connections: set[asyncio.Task[None]] = set()
        while True:
            client, _ = await loop.sock_accept(listener)
            task = asyncio.create_task(self._connection(client))
            connections.add(task)
            task.add_done_callback(connections.discard)

    async def _connection(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        server = socket.socket()
        with client, server:
            for each in (client, server):
                each.setblocking(False)
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(server, self._target)
            await asyncio.sleep(self._link.round_trip)  # the handshake
            lanes = [Lane(self._link.per_connection), self._total]
            ways = [
                asyncio.create_task(self._way(client, server, [])),
                asyncio.create_task(self._way(server, client, lanes)),
            ]
            # One side that closes ends both: HTTP has no use for half-open connections.
            _, rest = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in rest:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _way(self, source: socket.socket, target: socket.socket, lanes: list[Lane]) -> None:
        """Carry bytes one way; each chunk arrives half a round trip after it passed the lanes."""
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivering = asyncio.create_task(self._deliver(under_way, target))
        rate = self._link.per_connection if lanes else 0
        size = min(CHUNK, int(rate * PACE)) if rate else CHUNK
        try:
            while chunk := await loop.sock_recv(source, size):
                now = loop.time()
                passed = max([now, *(lane.passed_at(now, len(chunk)) for lane in lanes)])
                under_way.put_nowait((passed + self._link.round_trip / 2, chunk))
                if passed > now:
                    await asyncio.sleep(passed - now)
            under_way.put_nowait((loop.time() + self._link.round_trip / 2, b""))
            await delivering
        finally:
            delivering.cancel()

    @staticmethod
    async def _deliver(under_way: asyncio.Queue[tuple[float, bytes]], target: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            at, chunk = await under_way.get()
            if (left := at - loop.time()) > 0:
                await asyncio.sleep(left)
            if not chunk:
                return
            await loop.sock_sendall(target, chunk)


async def _serve(target: tuple[str, int], link: Link) -> None:
    async with Relay(target, link).listening() as port:
        print(port, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--to", required=True, metavar="HOST:PORT")
    parser.add_argument("--round-trip", type=float, default=0.0, help="seconds")
    parser.add_argument("--per-connection", type=float, default=0.0, help="bytes per second")
    parser.add_argument("--total", type=float, default=0.0, help="bytes per second")
    args = parser.parse_args()
    host, _, port = args.to.rpartition(":")
    link = Link(args.round_trip, args.per_connection, args.total)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve((host, int(port)), link))


if __name__ == "__main__":
    main()
