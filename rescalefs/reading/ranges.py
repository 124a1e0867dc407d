"""Pure: byte ranges, the blocks that cover them, and the leaves within a block.

A *block* is the unit that is cached; a *leaf* is the unit that becomes readable and has a digest of its own.
Which leaves of a block are meant is written as a bit mask, leaf 0 in the lowest bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes ``[start, stop)``; empty where stop <= start."""

    start: int
    stop: int

    def __len__(self) -> int:
        return max(0, self.stop - self.start)

    def __bool__(self) -> bool:
        return self.stop > self.start

    def overlaps(self, other: Span) -> bool:
        """Whether they have a byte in common."""
        return max(self.start, other.start) < min(self.stop, other.stop)

    def clipped(self, size: int) -> Span:
        """What of it lies in a file of ``size`` bytes."""
        return Span(min(self.start, size), min(self.stop, size))

    def widened(self, step: int) -> Span:
        """The smallest span around it whose ends are multiples of ``step``."""
        return Span(self.start // step * step, -(-self.stop // step) * step)

    def split(self, step: int) -> Iterator[Span]:
        """Its parts, cut at every multiple of ``step``."""
        start = self.start
        while start < self.stop:
            stop = min(self.stop, (start // step + 1) * step)
            yield Span(start, stop)
            start = stop


NOWHERE = Span(0, 0)


@dataclass(frozen=True, slots=True)
class Grid:
    """How a file of ``size`` bytes is cut into blocks, and these into leaves."""

    size: int
    block_size: int
    leaf_size: int

    @property
    def blocks(self) -> int:
        return -(-self.size // self.block_size)

    @property
    def leaves(self) -> int:
        return -(-self.size // self.leaf_size)

    @property
    def leaves_per_block(self) -> int:
        return self.block_size // self.leaf_size

    def length(self, number: int) -> int:
        """How long block ``number`` is: the last one ends with the file."""
        return min(self.block_size, self.size - number * self.block_size)

    def full(self, number: int) -> int:
        """The mask of all leaves of block ``number``."""
        return (1 << -(-self.length(number) // self.leaf_size)) - 1

    def numbers(self, span: Span) -> range:
        """The blocks that have a byte of ``span``."""
        if not span:
            return range(0)
        return range(span.start // self.block_size, -(-span.stop // self.block_size))

    def mask(self, number: int, span: Span) -> int:
        """The leaves of block ``number`` that have a byte of ``span``."""
        origin = number * self.block_size
        start = max(0, span.start - origin)
        stop = min(self.length(number), span.stop - origin)
        if start >= stop:
            return 0
        return leaves_between(start, stop, self.leaf_size)


def leaves_between(start: int, stop: int, leaf_size: int) -> int:
    """The mask of the leaves that have a byte of ``[start, stop)`` of their block; not for an empty span."""
    return (2 << ((stop - 1) // leaf_size)) - (1 << (start // leaf_size))


def lowest(mask: int) -> int:
    """The number of the first leaf in a mask that is not empty."""
    return (mask & -mask).bit_length() - 1


def each_leaf(mask: int) -> Iterator[int]:
    """The leaves of a mask, in order."""
    while mask:
        leaf = lowest(mask)
        yield leaf
        mask &= mask - 1


def runs(mask: int) -> Iterator[tuple[int, int]]:
    """The mask's unbroken runs of leaves, each as ``(first, behind the last)``."""
    while mask:
        first = lowest(mask)
        behind = first + lowest(~(mask >> first))
        yield first, behind
        mask &= -1 << behind
