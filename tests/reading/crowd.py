"""A program for tests: many readers, more data than the cache holds, in a process that may open few files.

    crowd.py CACHE READERS BYTES-OF-EACH LIMIT

It ends with a line of JSON: the most descriptors that the process had, and that the board knew of, the
errors, and whether each byte was right.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rescalefs.background import Background
from rescalefs.clock import SystemClock
from rescalefs.descriptors import Descriptors
from rescalefs.errors import RescaleFSError
from rescalefs.model import RemoteFile
from rescalefs.reading import ReadEngine, ReadingSettings

FILES = Path("/proc/self/fd")
KIB = 1 << 10
STEP = 32 * KIB
BLOCK = 128 * KIB


def piece(file: str, start: int, stop: int) -> bytes:
    """The bytes of a file: each place has others."""
    first, seed = start // 8, int(file)
    raw = b"".join((seed << 40 | number).to_bytes(8, "little") for number in range(first, -(-stop // 8)))
    return raw[start - first * 8 : stop - first * 8]


class Body:
    def __init__(self, file: RemoteFile, start: int, stop: int) -> None:
        self.start, self.stop, self.total = start, stop, file.size
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        for start in range(self.start, self.stop, STEP):
            yield piece(self._file.id, start, min(self.stop, start + STEP))


class Source:
    @contextmanager
    def open_range(self, file: RemoteFile, start: int, stop: int) -> Iterator[Body]:
        yield Body(file, start, stop)


def main(cache: str, readers: int, size: int, limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    before = len(list(FILES.iterdir()))
    descriptors = Descriptors.of_this_process(raised=True)
    settings = ReadingSettings(Path(cache), cache_size=64 * BLOCK, block_size=BLOCK, leaf_size=STEP)
    background = Background()
    engine = ReadEngine(Source(), settings, SystemClock(), background, descriptors)
    engine.start()
    errors: list[str] = []
    right: list[bool] = []

    def read(number: int) -> None:
        file = RemoteFile(id=str(number), name="f", path=f"f{number}", size=size, sha512=None)
        opened = engine.open(file)
        buffer = bytearray(STEP)
        good = True
        try:
            for start in range(0, size, STEP):
                count = opened.read_into(memoryview(buffer), start)
                good = good and buffer[:count] == piece(file.id, start, start + count)
        except RescaleFSError as error:
            errors.append(repr(error))
        right.append(good)
        opened.close()

    threads = [threading.Thread(target=read, args=(number,)) for number in range(readers)]
    for thread in threads:
        thread.start()
    most = known = 0
    while any(thread.is_alive() for thread in threads):
        try:
            most = max(most, len(list(FILES.iterdir())) - before)
        except OSError:
            most = limit  # not even that could be opened
        known = max(known, descriptors.blocks.count)
        threads[-1].join(0.02)
        threads = [thread for thread in threads if thread.is_alive()]
    engine.close()
    background.close()
    print(json.dumps({"most": most, "known": known, "errors": errors, "right": right.count(True)}))


if __name__ == "__main__":
    main(sys.argv[1], *(int(word) for word in sys.argv[2:]))
