"""A second request for what a straggler still owes, into files of its own.

Two connections never write to the same place: the rival gets a twin of every block that the straggler has not
brought yet, and the twins take the blocks' places on the board. Whoever completes a block first has its file
kept; what both bring must have the same digests, as with any leaf that is fetched twice.

All functions but `twins` are called with the board's lock held.
"""

from __future__ import annotations

from rescalefs.reading.block import Block
from rescalefs.reading.blocks import BlockStore
from rescalefs.reading.content import Content, Extent, Stream
from rescalefs.reading.positioned import read_at
from rescalefs.reading.ranges import Span, lowest, runs
from rescalefs.reading.trailer import DIGEST

Ready = dict[int, tuple[Block, int]]  # the blocks to be twinned, and their leaves that are to be copied


def owed(extent: Extent) -> Span | None:
    """What the straggler has still to bring; None where its blocks are not its alone to bring."""
    content = extent.content
    start = None
    for number, block in sorted(extent.blocks.items()):
        mine = content.grid.mask(number, extent.span)
        if not block.pending & mine:
            continue
        if start is None:
            start = number * content.grid.block_size + lowest(block.pending & mine) * content.grid.leaf_size
        if (
            content.blocks.get(number) is not block
            or block.pending & ~mine
            or block.keeping
            or block.present != block.ready
        ):
            return None
    return None if start is None else Span(start, extent.span.stop)


def leaves_to_copy(extent: Extent, rest: Span) -> Ready:
    """The blocks of what is owed, with the leaves that they have already."""
    numbers = extent.content.grid.numbers(rest)
    return {number: (extent.blocks[number], extent.blocks[number].ready) for number in numbers}


def twins(ready: Ready, leaf_size: int, store: BlockStore) -> dict[int, Block]:
    """Other files with the same leaves, which don't change any more. Reads and writes: without the lock."""
    made = {}
    for number, (block, leaves) in ready.items():
        twin = made[number] = Block(number, block.length, leaf_size)
        for first, behind in runs(leaves):
            start, stop = first * leaf_size, min(behind * leaf_size, block.length)
            twin.write(memoryview(read_at(block.fd, stop - start, start)), start, store)
            twin.digests[first * DIGEST : behind * DIGEST] = block.digests[first * DIGEST : behind * DIGEST]
        twin.present = twin.ready = leaves
        twin.saved = block.saved & leaves
        twin.looked_up = True
    return made


def begin(extent: Extent, rest: Span, made: dict[int, Block], stream: Stream) -> Extent:
    """Make the rival; its blocks are not on the board yet."""
    rival = Extent(extent.content, rest, made, stream)
    for number, twin in made.items():
        twin.pending = extent.content.grid.mask(number, rest) & ~twin.present
    rival.rival, extent.rival = extent, rival
    stream.race = rival
    return rival


def is_twin(extent: Extent, block: Block, current: Block | None) -> bool:
    """Whether ``current`` is on the board in the place of a racer's block."""
    return (
        current is not None
        and extent.rival is not None
        and extent.rival.blocks.get(block.number) is current
        and extent.blocks.get(block.number) is block
    )


def has_won(extent: Extent, block: Block, current: Block) -> bool:
    """Whether a racer's block has all that it was to bring, and all that its twin on the board has."""
    mine = extent.content.grid.mask(block.number, extent.span)
    return not (
        mine & ~block.ready
        or current.ready & ~block.ready
        or current.ready == block.ready
        or current.pending & ~mine
        or current.keeping
    )


def end(extent: Extent) -> bool:
    """One of the two is over; tell whether it was the rival. The other goes on if something is missing."""
    other, extent.rival = extent.rival, None
    assert other is not None
    other.rival = None
    is_rival = extent.stream.race is extent
    if is_rival:
        extent.stream.race = None
        other.cancelled = True
    else:
        other.stream.race = None
        other.cancelled = other.cancelled or _is_there(extent.content, other)
    return is_rival


def _is_there(content: Content, extent: Extent) -> bool:
    rest = Span(extent.position // content.grid.leaf_size * content.grid.leaf_size, extent.span.stop)
    for number in content.grid.numbers(rest):
        block = content.blocks.get(number)
        if block is None or content.grid.mask(number, rest) & ~block.ready:
            return False
    return True
