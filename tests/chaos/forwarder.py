"""The network between the processes and the simulator: it passes bytes on, or does not."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

_PIECE = 1 << 16


class Forwarder:
    """A TCP port that leads to another. Its ``mode`` is how well: it may be changed at any time.

    ``pass``: as it should be. ``silent``: connections stay open, and nothing comes through. ``refuse``: no
    connection is taken, and those there are end. `cut` ends all that there are, and `strand` silences them.
    """

    def __init__(self, target: Callable[[], tuple[str, int]]) -> None:
        self._target = target
        self._mode = "pass"
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._flows.set()
        self._port = 0
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="forwarder", daemon=True)
        self._thread.start()
        if not ready.wait(20):
            raise RuntimeError("the forwarder did not start")

    @property
    def url(self) -> str:
        """What the processes are told to be the server's address."""
        return f"http://127.0.0.1:{self._port}"

    def set_mode(self, mode: str) -> None:
        """``pass``, ``silent`` or ``refuse``."""
        self._loop.call_soon_threadsafe(self._change, mode)

    def cut(self) -> None:
        """End every connection, in the middle of what it does."""
        self._loop.call_soon_threadsafe(self._abort)

    def strand(self) -> None:
        """Let nothing through any connection that there is, ever again. New ones pass."""
        self._loop.call_soon_threadsafe(self._strand)

    def close(self) -> None:
        """End it all."""
        self._loop.call_soon_threadsafe(self._abort)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _change(self, mode: str) -> None:
        self._mode = mode
        if mode == "silent":
            self._flows.clear()
        else:
            self._flows.set()
        if mode == "refuse":
            self._abort()

    def _strand(self) -> None:
        self._flows.clear()
        self._flows = asyncio.Event()
        self._flows.set()

    def _abort(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        serving = asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)
        server = self._loop.run_until_complete(serving)
        self._port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode == "refuse":
            writer.transport.abort()
            return
        self._writers.add(writer)
        other: asyncio.StreamWriter | None = None
        flows = self._flows
        try:
            from_server, other = await asyncio.open_connection(*self._target())
            self._writers.add(other)
            await asyncio.gather(self._pump(reader, other, flows), self._pump(from_server, writer, flows))
        except OSError:
            pass
        finally:
            for each in (writer, other):
                if each is not None:
                    self._writers.discard(each)
                    each.transport.abort()

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event) -> None:
        while data := await reader.read(_PIECE):
            await flows.wait()
            writer.write(data)
            await writer.drain()
        await flows.wait()
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()
