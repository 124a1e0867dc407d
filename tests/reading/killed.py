"""A process that reads and is killed at its n-th write, for many n; the body of a test, run by itself.

Each kill happens in a fork, at the moment before the n-th pwrite, link or statement to an index. Then the
cache is opened again and held against the truth.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rescalefs.clock import SystemClock
from rescalefs.reading import CacheUpkeep
from tests.fakes import MemorySource
from tests.reading.engines import read, read_all, remote, running

TEXT = bytes(range(251)) * 8
FILES = {"f": TEXT, "g": TEXT[::-1]}


class _Executioner:
    """Counts what writes, and kills this very process at its n-th write."""

    def __init__(self, number: int) -> None:
        self._left = number
        self._pwrite, self._link, self._connect = os.pwrite, os.link, sqlite3.connect

    def count(self, *_: object) -> None:
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        def pwrite(*arguments: Any) -> int:
            self.count()
            return self._pwrite(*arguments)

        def link(*arguments: Any, **named: Any) -> None:
            self.count()
            self._link(*arguments, **named)

        def connect(*arguments: Any, **named: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = self._connect(*arguments, **named)
            connection.set_trace_callback(self.count)
            return connection

        os.pwrite, os.link, sqlite3.connect = pwrite, link, connect  # type: ignore[assignment]


def use(cache: Path, cache_size: int) -> None:
    """Two readers at once, one of them here and there; anything wrong ends the process with an error."""
    with running(MemorySource(FILES, chunk=33), cache, cache_size=cache_size) as engine:

        def whole(name: str) -> None:
            file = engine.open(remote(FILES[name], name))
            for start in (1500, 70, 800):
                assert read(file, start, start + 100) == FILES[name][start : start + 100]
            assert read_all(file) == FILES[name]
            file.close()

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(whole, FILES))


def main(cache: Path, step: int) -> None:
    """Print how many processes were killed, and how many blocks were found in all."""
    killed = found = 0
    for number in range(3, 900, step):
        cache_size = 64 << 20 if number % 2 else 60_000  # the smaller one evicts all the time
        child = os.fork()
        if not child:
            _Executioner(number).watch()
            use(cache, cache_size)
            os._exit(0)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        keeper = CacheUpkeep(cache, cache_size, SystemClock())
        found += keeper.info().blocks
        assert keeper.verify().bad == 0, f"half a block after a kill at write {number}"
        use(cache, cache_size)
    print(killed, found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
