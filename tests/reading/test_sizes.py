"""Sizes that a listing does not give: never 0 in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from rescalefs.errors import NotYetUploaded, SizeUnknown, Unreachable
from rescalefs.model import LARGEST_SIZE, RemoteFile
from rescalefs.reading.sizes import Sizes
from tests.fakes import FakeClock, Fault, MemoryBody, MemorySource
from tests.reading.engines import read_all, remote, running

CONTENT = b"0123456789" * 1000


class Claiming(MemorySource):
    """A server that claims a size, or tells none."""

    total: int | None = None

    @contextmanager
    def open_range(self, file: RemoteFile, start: int, stop: int) -> Iterator[MemoryBody]:
        with super().open_range(file, start, stop) as body:
            body.total = self.total
            yield body


def test_a_size_that_is_not_listed_is_asked_for_once_and_the_file_can_be_read(tmp_path: Path) -> None:
    file = replace(remote(CONTENT), size=None)
    source = MemorySource({file.id: CONTENT})
    with running(source, tmp_path) as engine:
        assert [engine.size(file) for _ in range(3)] == [len(CONTENT)] * 3
        assert source.requests == [(file.id, 0, 1)]
        opened = engine.open(file)
        assert read_all(opened, 4000) == CONTENT
        opened.close()


def test_a_file_that_is_empty_is_empty(tmp_path: Path) -> None:
    file = replace(remote(b""), size=None)
    with running(MemorySource({file.id: b""}), tmp_path) as engine:
        assert engine.size(file) == 0
        assert engine.size(replace(file, size=0)) == 0


@pytest.mark.parametrize("total", [None, -1, LARGEST_SIZE + 1])
def test_a_size_that_the_server_does_not_tell_is_an_error_until_it_does(total: int | None) -> None:
    file = replace(remote(CONTENT), size=None)
    source, clock = Claiming({file.id: CONTENT}), FakeClock()
    source.total = total
    sizes = Sizes(source, clock)
    for _ in range(3):
        with pytest.raises(SizeUnknown, match="does not tell how large it is"):
            sizes.size(file)
    assert len(source.requests) == 1, "a server that does not tell is left alone for a while"
    source.total = len(CONTENT)
    clock.advance(11)
    assert sizes.size(file) == len(CONTENT)


def test_a_failure_to_ask_is_not_remembered() -> None:
    file = replace(remote(CONTENT), size=None)
    source = MemorySource({file.id: CONTENT})

    class Failing(MemorySource):
        fails = True

        @contextmanager
        def open_range(self, file: RemoteFile, start: int, stop: int) -> Iterator[MemoryBody]:
            if self.fails:
                raise Unreachable("cut")
            with source.open_range(file, start, stop) as body:
                yield body

    failing = Failing({}, [Fault()])
    sizes = Sizes(failing, FakeClock())
    with pytest.raises(Unreachable):
        sizes.size(file)
    failing.fails = False
    assert sizes.size(file) == len(CONTENT)


@pytest.mark.parametrize("size", [None, 0])
def test_what_is_not_uploaded_is_not_taken_for_an_empty_file(tmp_path: Path, size: int | None) -> None:
    file = replace(remote(CONTENT), size=size, is_uploaded=False)
    source = MemorySource({file.id: CONTENT})
    with running(source, tmp_path) as engine, pytest.raises(NotYetUploaded):
        engine.size(file)
    assert source.requests == []
