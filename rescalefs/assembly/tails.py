"""What running jobs write, also when they have just ended: then it is in their outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rescalefs.errors import ApiError, InvalidRequest, NotFound
from rescalefs.model import LiveFile, RemoteFile
from rescalefs.reading import Source
from rescalefs.reading.live import LiveSource, TailBody

_MANY = 1000  # files that are remembered to have ended


class Nothing:
    """An answer that brings no bytes."""

    def __init__(self, size: int) -> None:
        self.start = size
        self.total: int | None = size

    def __iter__(self) -> Iterator[bytes]:
        return iter(())


class Tails:
    """A `LiveSource` that goes on with the output of the same path once the run has ended.

    So whoever follows a file sees also what was written to it in the last second. Not promised: that these
    bytes are verified, as those of a live file never are. Thread-safe.
    """

    def __init__(
        self, live: LiveSource, source: Source, output_of: Callable[[LiveFile], RemoteFile | None]
    ) -> None:
        self._live = live
        self._source = source
        self._output_of = output_of
        self._ended: dict[LiveFile, RemoteFile] = {}  # each step is one operation on a dict

    @contextmanager
    def open_tail(self, file: LiveFile, start: int) -> Iterator[TailBody]:
        """The bytes from ``start`` on, of the live file or of the output."""
        with ExitStack() as entered:
            yield self._opened(file, start, entered)

    def _opened(self, file: LiveFile, start: int, entered: ExitStack) -> TailBody:
        output = self._ended.get(file)
        if output is None:
            try:
                return entered.enter_context(self._live.open_tail(file, start))
            except (NotFound, InvalidRequest):
                output = self._ending(file)
                if output is None:
                    raise
        size = output.size or 0
        if start == size or not size:
            return Nothing(size)
        if start > size:  # it is another file than the one that was seen
            start = 0
        return entered.enter_context(self._source.open_range(output, start, size))

    def _ending(self, file: LiveFile) -> RemoteFile | None:
        try:
            output = self._output_of(file)
        except ApiError:
            return None  # the first error says more
        if output is not None:
            if len(self._ended) >= _MANY:
                self._ended.clear()
            self._ended[file] = output
        return output
