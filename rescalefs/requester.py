"""Which programs a thread works for, so that what one of them uses up can be limited.

A program is known by its process group, which the commands of one line in a shell share. Work that no program
asked for, such as following drops, has no requester.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

Requesters = tuple[int, ...]  # numbers of process groups
OURSELVES: Requesters = ()

_MOST_FILES = 4096
_MOST_OF_A_FILE = 8  # requesters that are remembered for a file

_who: ContextVar[Callable[[], Requesters]] = ContextVar("requester", default=lambda: OURSELVES)


def current() -> Requesters:
    """The programs that this thread works for now."""
    return _who.get()()


def ask(who: Callable[[], Requesters]) -> None:
    """Have `current` call ``who`` on this thread from now on."""
    _who.set(who)


@contextmanager
def on_behalf_of(requesters: Requesters) -> Iterator[None]:
    """Work for these programs within the block."""
    token = _who.set(lambda: requesters)
    try:
        yield
    finally:
        _who.reset(token)


def carried(act: Callable[[], T]) -> Callable[[], T]:
    """``act`` for another thread, on behalf of the programs that this one works for."""
    requesters = current()

    def carried_out() -> T:
        with on_behalf_of(requesters):
            return act()

    return carried_out


class Openers:
    """Which programs opened a remote file last: other threads fetch its bytes. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the table
        self._openers: dict[str, Requesters] = {}

    def opened(self, file_id: str) -> None:
        """The programs that this thread works for open a file."""
        requesters = current()
        with self._lock:
            known = self._openers.pop(file_id, OURSELVES)  # so that it is put in again as the newest
            self._openers[file_id] = tuple(dict.fromkeys((*requesters, *known)))[:_MOST_OF_A_FILE]
            if len(self._openers) > _MOST_FILES:
                del self._openers[next(iter(self._openers))]

    def of(self, file_id: str) -> Requesters:
        return self._openers.get(file_id, OURSELVES)
