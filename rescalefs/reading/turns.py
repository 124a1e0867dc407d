"""Which readers may want something fetched, and whose turn it is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from rescalefs.reading.content import Content, Extent, Stream
from rescalefs.reading.ranges import Span


class Turns:
    """Streams in the order in which they are served. Not thread-safe: the board's, under its lock.

    A stream that was found to want nothing leaves, and comes back with the event that changes this: its
    reader goes on, the store answers, a request ends, a block is lost. So a choice costs the same with ten
    thousand idle files open as with one.
    """

    def __init__(self) -> None:
        self._waited_for: OrderedDict[Stream, None] = OrderedDict()  # a reader waits
        self._ahead: OrderedDict[Stream, None] = OrderedDict()

    def add(self, stream: Stream) -> None:
        """Look at a stream when it is its turn."""
        if stream.demands:
            self._waited_for.setdefault(stream)
        if stream.window:
            self._ahead.setdefault(stream)

    def add_all(self, content: Content, span: Span) -> None:
        """Look again at all streams that want bytes of a span soon, or wait for any: a request for what they
        wait for may depend on what is known of the blocks behind it."""
        for stream in (*content.streams, content.full_read):
            if stream.demands or stream.window.overlaps(span):
                self.add(stream)

    def discard(self, stream: Stream) -> None:
        """Look at a stream no more."""
        self._waited_for.pop(stream, None)
        self._ahead.pop(stream, None)

    def first_waited_for(
        self, carve: Callable[[Stream, Span], Extent | None], left_out: Callable[[Stream], bool]
    ) -> Extent | None:
        """What a reader waits for; the next one's turn comes after it."""
        for stream in list(self._waited_for):
            if left_out(stream):
                continue
            del self._waited_for[stream]
            extent = next((each for span in stream.demands.values() if (each := carve(stream, span))), None)
            if extent is not None:
                self._waited_for[stream] = None
                return extent
        return None

    def first_ahead(self, carve: Callable[[Stream], Extent | None]) -> Extent | None:
        """What a reader will want soon."""
        for stream in self._each_ahead():
            extent = carve(stream)
            if extent is not None:
                self._ahead[stream] = None
                return extent
        return None

    def _each_ahead(self) -> Iterator[Stream]:
        while self._ahead:
            yield self._ahead.popitem(last=False)[0]
