"""What the board has for the thread that owns the store."""

from __future__ import annotations

import threading
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
