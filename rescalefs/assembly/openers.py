"""Fetches the bytes of a file on behalf of the programs that have opened it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rescalefs import requester
from rescalefs.model import RemoteFile
from rescalefs.reading.source import Body, Source
from rescalefs.requester import Openers


class SourceByOpeners:
    """A source of bytes whose requests count for those who opened the file. Thread-safe."""

    def __init__(self, source: Source, openers: Openers) -> None:
        self._source = source
        self._openers = openers

    @contextmanager
    def open_range(self, file: RemoteFile, start: int, stop: int) -> Iterator[Body]:
        """See `Source.open_range`."""
        with (
            requester.on_behalf_of(self._openers.of(file.id)),
            self._source.open_range(file, start, stop) as body,
        ):
            yield body
