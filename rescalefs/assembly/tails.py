"""What running jobs write, also when they have just ended: then it is in their outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rescalefs.clock import Clock
from rescalefs.errors import ApiError, ContentError, InvalidRequest, NotFound
from rescalefs.model import LiveFile, RemoteFile
from rescalefs.reading import Source
from rescalefs.reading.live import LiveSource, TailBody
from rescalefs.reading.source import Body, size_of

_MANY = 1000  # files that are remembered to have ended
_AGAIN = 30.0  # seconds after which the live file is asked for again: one 404 may have been a passing one


class FromOutput:
    """An answer that brings the bytes of an output; none where there is no ``body``."""

    is_final = True

    def __init__(self, body: Body | None, size: int) -> None:
        self.start = size if body is None else body.start
        self.total: int | None = size
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return iter(() if self._body is None else self._body)


class Tails:
    """A `LiveSource` that goes on with the output of the same path once the run has ended.

    So a reader that follows a file also sees what was written to it in the last second. Not promised: that
    these bytes are verified, as those of a live file never are. Thread-safe.
    """

    def __init__(
        self,
        live: LiveSource,
        source: Source,
        output_of: Callable[[LiveFile], RemoteFile | None],
        clock: Clock,
    ) -> None:
        self._live = live
        self._source = source
        self._output_of = output_of
        self._clock = clock
        # When it was seen to have ended, and the output. Each step is one operation on a dict.
        self._ended: dict[LiveFile, tuple[float, RemoteFile]] = {}

    @contextmanager
    def open_tail(self, file: LiveFile, start: int) -> Iterator[TailBody]:
        """The bytes from ``start`` on, of the live file or of the output."""
        with ExitStack() as entered:
            yield self._opened(file, start, entered)

    def _opened(self, file: LiveFile, start: int, entered: ExitStack) -> TailBody:
        since, output = self._ended.get(file, (0.0, None))
        if output is None or self._clock.monotonic() - since >= _AGAIN:
            try:
                return entered.enter_context(self._live.open_tail(file, start))
            except (NotFound, InvalidRequest):
                output = self._ending(file)
                if output is None:
                    raise
        size = size_of(self._source, output)
        if start == size or not size:
            return FromOutput(None, size)
        if start > size:  # it is another file than the one that was seen
            start = 0
        return FromOutput(entered.enter_context(self._source.open_range(output, start, size)), size)

    def _ending(self, file: LiveFile) -> RemoteFile | None:
        try:
            output = self._output_of(file)
        except (ApiError, ContentError):
            return None  # the first error says more
        if output is not None:
            if len(self._ended) >= _MANY:
                self._ended.clear()
            self._ended[file] = (self._clock.monotonic(), output)
        return output
