"""Read engines for the tests of this room: small blocks, real threads, no network."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rescalefs.background import Background
from rescalefs.clock import Clock, SystemClock
from rescalefs.model import RemoteFile
from rescalefs.reading import OpenFile, ReadEngine, ReadingSettings
from rescalefs.reading.source import Source

LEAF = 16
BLOCK = 64


def remote(content: bytes, name: str = "f", checksum: str | None = "right") -> RemoteFile:
    """A file as the listing shows it; ``checksum`` None: it has none."""
    sha512 = hashlib.sha512(content).hexdigest() if checksum == "right" else checksum
    return RemoteFile(id=name, name=name, path=f"out/{name}", size=len(content), sha512=sha512)


@contextmanager
def running(
    source: Source, cache: Path, clock: Clock | None = None, started: bool = True, **settings: Any
) -> Iterator[ReadEngine]:
    """An engine with its threads; they are joined at the end, and a crash of one is raised."""
    clock = clock or SystemClock()
    background = Background()
    chosen: dict[str, Any] = {
        "block_size": BLOCK,
        "leaf_size": LEAF,
        "connections": 4,
        "retry_pause": 0.0,
        "deadline": 20.0,
        "cache_size": 64 << 20,
        **settings,
    }
    engine = ReadEngine(source, ReadingSettings(cache, **chosen), clock, background)
    try:
        if started:
            engine.start()
        yield engine
    finally:
        engine.close()
        background.close()


def read(file: OpenFile, start: int, stop: int) -> bytes:
    """The bytes ``[start, stop)``, as one read gives them."""
    buffer = bytearray(stop - start)
    count = file.read_into(memoryview(buffer), start)
    return bytes(buffer[:count])


def read_all(file: OpenFile, step: int = 50) -> bytes:
    """The whole file, in sequence."""
    return b"".join(read(file, start, start + step) for start in range(0, max(file.size, 1), step))


def settled(condition: Callable[[], bool]) -> None:
    """Wait until the threads have done what they do anyway."""
    waiting = threading.Event()
    for _ in range(2000):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it does not come to rest")
