"""What the board has for the thread that owns the store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from rescalefs.reading.block import Block
from rescalefs.reading.content import Content


@dataclass(frozen=True, slots=True)
class LookUp:
    """Open a block if the store has it; check all of it at once if it is ahead of a sequential reader."""

    content: Content
    epoch: int
    block: Block
    check: bool


@dataclass(frozen=True, slots=True)
class Keep:
    """Store the leaves that a block has."""

    content: Content
    epoch: int
    block: Block


@dataclass(frozen=True, slots=True)
class Touch:
    """A block was used until now, though from an open descriptor."""

    key: str


@dataclass(frozen=True, slots=True)
class Drop:
    """A stored block turned out wrong."""

    key: str


@dataclass(frozen=True, slots=True)
class DropFile:
    """All stored blocks of a version turned out wrong."""

    version: str


@dataclass(frozen=True, slots=True)
class Record:
    """A file was verified: save the digests of its leaves."""

    content: Content


@dataclass(frozen=True, slots=True)
class Park:
    """Close the index, set ``parked``, and go on once ``resumed`` is set: the process is about to fork."""

    parked: threading.Event
    resumed: threading.Event


Chore = LookUp | Keep | Touch | Drop | DropFile | Record | Park


class Lookups:
    """The blocks that the store is to be asked for, each once. Not thread-safe: the board's, under its lock.

    A block that left the board leaves this, too: while it was queued here a second time, behind others that
    were always more urgent, its descriptor stayed open.
    """

    def __init__(self) -> None:
        self._urgent: OrderedDict[Block, LookUp] = OrderedDict()  # a reader waits
        self._others: OrderedDict[Block, LookUp] = OrderedDict()

    def add(self, chore: LookUp, *, urgent: bool) -> None:
        """Ask for a block; what was asked for before becomes urgent where it is so now."""
        if urgent:
            self._urgent.setdefault(chore.block, self._others.pop(chore.block, chore))
        elif chore.block not in self._urgent:
            self._others.setdefault(chore.block, chore)

    def discard(self, block: Block) -> None:
        """Do not ask for a block."""
        self._urgent.pop(block, None)
        self._others.pop(block, None)

    def take_all(self) -> list[LookUp]:
        """All of them."""
        found = [*self._urgent.values(), *self._others.values()]
        self._urgent.clear()
        self._others.clear()
        return found

    def take(self) -> LookUp | None:
        """The next one."""
        queue = self._urgent or self._others
        return queue.popitem(last=False)[1] if queue else None
