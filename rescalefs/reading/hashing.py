"""The threads that run SHA-512 behind the arriving blocks, in order."""

from __future__ import annotations

import logging
import threading
from typing import Any

from rescalefs.containment import contained
from rescalefs.reading.board import Board, Hashing
from rescalefs.reading.positioned import read_into
from rescalefs.reading.settings import MIB
from rescalefs.reading.trailer import DIGEST, digest

log = logging.getLogger(__name__)

# hashlib frees the interpreter for as long as it takes: the more at once, the fewer waits to get it back.
_AT_ONCE = MIB


class Hasher:
    """Feeds blocks to their file's hash, and tells the board what came out.

    Each leaf's digest is taken again from the very bytes that SHA-512 gets: what it confirms are the digests,
    and by them everything that was ever served.
    """

    def __init__(self, board: Board, leaf_size: int) -> None:
        self._board = board
        self._leaf_size = leaf_size
        self._at_once = max(1, _AT_ONCE // leaf_size) * leaf_size

    def run(self, stop: threading.Event) -> None:  # noqa: ARG002  (the board ends it)
        """Hash until the board closes."""
        scratch = memoryview(bytearray(self._at_once))
        while (job := self._board.take_hashing()) is not None:
            if job.block is None:
                self._board.judge(job, job.hash.hexdigest())
                continue
            grown = None  # as for bytes that are not those they were: they are fetched again
            with contained(log, "hashing a block", job.content.file.path):
                grown = self._grown(job, scratch)
            self._board.hashed(job, grown)
            del job  # while the next one is waited for, its block is not held open

    def _grown(self, job: Hashing, scratch: memoryview) -> Any | None:
        """The hash with the block's bytes added; None when they are not those they were."""
        block = job.block
        assert block is not None
        grown = job.hash.copy()
        for start in range(0, block.length, self._at_once):
            part = scratch[: min(self._at_once, block.length - start)]
            if not _read(block.fd, part, start) or not self._is_whole(part, block.digests, start):
                return None
            grown.update(part)
        return grown

    def _is_whole(self, part: memoryview, digests: bytearray, start: int) -> bool:
        first = start // self._leaf_size
        for index, at in enumerate(range(0, len(part), self._leaf_size), first):
            if digest(part[at : at + self._leaf_size]) != digests[index * DIGEST : (index + 1) * DIGEST]:
                return False
        return True


def _read(fd: int, part: memoryview, start: int) -> bool:
    try:
        return read_into(fd, part, start) == len(part)
    except OSError:
        return False
