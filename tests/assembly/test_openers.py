"""Bytes are fetched on behalf of those who opened the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rescalefs import requester
from rescalefs.assembly.openers import SourceByOpeners
from rescalefs.model import RemoteFile
from rescalefs.reading.source import Body


class NotedSource:
    """Notes for whom each range is asked for."""

    def __init__(self) -> None:
        self.asked_for: list[requester.Requesters] = []

    @contextmanager
    def open_range(self, file: RemoteFile, start: int, stop: int) -> Iterator[Body]:
        self.asked_for.append(requester.current())
        yield NoBody()


class NoBody:
    start = stop = 0
    total = None

    def __iter__(self) -> Iterator[bytes]:
        return iter(())


def test_a_range_is_asked_for_on_behalf_of_the_programs_that_opened_the_file() -> None:
    openers, noted = requester.Openers(), NotedSource()
    source = SourceByOpeners(noted, openers)
    file, other = RemoteFile("f", "f", "f", 1), RemoteFile("g", "g", "g", 1)
    with requester.on_behalf_of((7,)):
        openers.opened("f")
    for each in (file, other):
        with source.open_range(each, 0, 1):
            pass
    assert noted.asked_for == [(7,), ()]
    assert requester.current() == ()
