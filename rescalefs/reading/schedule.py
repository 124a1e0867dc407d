"""Pure, over what the board knows: which leaves to ask for next, and how many at once."""

from __future__ import annotations

from collections.abc import Iterator

from rescalefs.reading.block import Block
from rescalefs.reading.content import Content, Extent, Stream
from rescalefs.reading.ranges import Span, lowest
from rescalefs.reading.readahead import SMALLEST_EXTENT, extent_length

# Blocks that are at hand in front of a reader, or that the store was asked for, until we look further ahead:
# a file that is in the store need not be opened in full at once.
_AHEAD = 16


def unasked(content: Content, span: Span) -> Iterator[int]:
    """The blocks of a span that the store should be asked for now."""
    ahead = 0
    unbroken = True  # so far the reader would not have to wait for anything
    for number in content.grid.numbers(span):
        block = content.blocks.get(number)
        if block is None:
            yield number
            ahead += 1
        elif not block.looked_up:
            ahead += 1
        elif block.present != block.full:
            unbroken = False
        else:
            ahead += unbroken
        if ahead >= _AHEAD:
            return


def carve(stream: Stream, span: Span, connections: int, urgent: bool) -> Extent | None:
    """The next request to make for ``span``: its first missing leaves, and more of the window behind them.

    None while nothing is missing, or while it is not known yet what the store has.
    """
    content = stream.content
    start = _first_missing(content, span)
    if start is None:
        return None
    window = stream.window
    end = max(span.stop, window.stop) if window.start <= start < window.stop else span.stop
    limit = min(end, start + _length(content, start, connections))
    whole_blocks = limit // content.grid.block_size * content.grid.block_size
    if start < whole_blocks and limit < end:
        limit = whole_blocks  # so that it can be stored when this request is done
    blocks, stop = _run(content, start, limit)
    if not blocks or (stop < limit and _is_unknown(content, stop, urgent)):
        return None  # the store answers in a tenth of a millisecond; a request for a crumb takes a round trip
    extent = Extent(content, Span(start, stop), blocks, stream)
    for number, block in blocks.items():
        block.pending |= content.grid.mask(number, extent.span)
    return extent


def _length(content: Content, start: int, connections: int) -> int:
    """Doubling from the start of the file on: what comes first should not wait for one long request."""
    length = extent_length(content.size - start, content.size, connections)
    return min(length, max(SMALLEST_EXTENT, start))


def _first_missing(content: Content, span: Span) -> int | None:
    grid = content.grid
    for number in grid.numbers(span):
        block = content.blocks.get(number)
        if block is None or not block.looked_up:
            return None
        missing = grid.mask(number, span) & ~(block.present | block.pending)
        if missing:
            return number * grid.block_size + lowest(missing) * grid.leaf_size
    return None


def _run(content: Content, start: int, stop: int) -> tuple[dict[int, Block], int]:
    """The blocks from ``start`` on in which no leaf is there or on its way, and where that ends."""
    grid = content.grid
    blocks: dict[int, Block] = {}
    for number in grid.numbers(Span(start, stop)):
        origin = number * grid.block_size
        block = content.blocks.get(number)
        if block is None or not block.looked_up:
            return blocks, origin
        taken = grid.mask(number, Span(start, stop)) & (block.present | block.pending)
        if taken:
            end = origin + lowest(taken) * grid.leaf_size
            if end > max(start, origin):
                blocks[number] = block
            return blocks, end
        blocks[number] = block
    return blocks, min(content.size, -(-stop // grid.leaf_size) * grid.leaf_size)


def _is_unknown(content: Content, offset: int, urgent: bool) -> bool:
    """Whether to wait for what the store has here; not for a question nobody has asked if somebody waits."""
    block = content.blocks.get(offset // content.grid.block_size)
    return not urgent if block is None else not block.looked_up
