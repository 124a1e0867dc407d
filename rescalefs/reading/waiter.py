"""How a thread that reads waits for others to bring what it needs."""

from __future__ import annotations

import copy
import threading
from typing import TypeVar

from rescalefs.errors import RescaleFSError

E = TypeVar("E", bound=RescaleFSError)


def without_frames(error: E) -> E:
    """Forget the tracebacks of an error and of its causes, and return it.

    They refer to frames, and those to blocks, which would stay open for as long as the error is kept.
    """
    each: BaseException | None = error
    seen: set[int] = set()
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        each.__traceback__ = None
        each = each.__cause__ or each.__context__
    return error


def again(error: E) -> E:
    """The error for one more thread to raise.

    A copy, because what is raised gets that thread's frames; one of them would refer to the waiter, and the
    waiter to the error: a ring that keeps blocks open until the collector finds it.
    """
    made = copy.copy(error)
    made.__cause__ = error.__cause__
    return made


class Waiter:
    """One thread that waits; woken when it should look again, or with the error that ends its wait."""

    __slots__ = ("error", "event", "mask")

    def __init__(self, mask: int = 0) -> None:
        self.mask = mask  # the leaves of a block that it waits for
        self.event = threading.Event()
        self.error: RescaleFSError | None = None

    def wake(self, error: RescaleFSError | None = None) -> None:
        """End the wait."""
        if error is not None:
            self.error = error
        self.event.set()
