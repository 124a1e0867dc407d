"""What was written in a run's last moment reaches whoever follows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from rescalefs.assembly.tails import FromOutput, Tails
from rescalefs.errors import ApiError, InvalidRequest, NotFound, Unreachable
from rescalefs.model import LiveFile, RemoteFile
from rescalefs.reading.live import TailBody
from tests.fakes import FakeClock, MemorySource
from tests.tree.account import FakeService, file, tree_of

LOG = LiveFile("run", "1", "a/log")
OUTPUT = RemoteFile("o", "log", "a/log", 12, None, 5)


class Gone:
    """A server on which the run has ended."""

    def __init__(self, error: ApiError) -> None:
        self.error = error
        self.requests = 0

    @contextmanager
    def open_tail(self, file: LiveFile, start: int) -> Iterator[TailBody]:
        self.requests += 1
        raise self.error
        yield


def rest(tails: Tails, start: int) -> bytes:
    with tails.open_tail(LOG, start) as body:
        assert (body.start, body.total, body.is_final) == (start, 12, True)
        return b"".join(body)


@pytest.mark.parametrize("error", [NotFound("404"), InvalidRequest("400")])
def test_a_live_file_goes_on_as_the_output_of_its_path(error: ApiError) -> None:
    gone, source = Gone(error), MemorySource({"o": b"step 1\nlast\n"})
    tails = Tails(gone, source, lambda _: OUTPUT, FakeClock())
    assert rest(tails, 7) == b"last\n"
    assert rest(tails, 12) == b""
    assert (gone.requests, len(source.requests)) == (1, 1), "and it costs nothing to go on looking"


def test_an_output_that_is_shorter_than_what_was_seen_comes_whole() -> None:
    source = MemorySource({"o": b"step 1\nlast\n"})
    tails = Tails(Gone(NotFound("404")), source, lambda _: OUTPUT, FakeClock())
    with tails.open_tail(LOG, 20) as body:
        assert (body.start, b"".join(body)) == (0, b"step 1\nlast\n")


@pytest.mark.parametrize("error", [NotFound("404"), Unreachable("cut")])
def test_without_an_output_the_error_stays(error: ApiError) -> None:
    def fails(_: LiveFile) -> RemoteFile | None:
        raise Unreachable("cut, too")

    for output_of in (lambda _: None, fails):
        tails = Tails(Gone(error), MemorySource({}), output_of, FakeClock())
        with pytest.raises(type(error), match=str(error)), tails.open_tail(LOG, 7):
            pass


def test_the_output_is_that_of_the_run_and_complete() -> None:
    service = FakeService()
    service.add("run")
    tree = tree_of(service, FakeClock())
    tree.jobs()
    service.files["run"] = (file("1", "log"), file("2", "a/log", uploaded=False))
    assert tree.output_of(LOG) is None
    assert tree.output_of(replace(LOG, path="log")) == file("1", "log")


def test_an_output_whose_size_is_not_listed_is_asked_for_its_size() -> None:
    source = MemorySource({"o": b"step 1\nlast\n"})
    tails = Tails(Gone(NotFound("404")), source, lambda _: replace(OUTPUT, size=None), FakeClock())
    assert rest(tails, 7) == b"last\n"


def test_one_404_does_not_end_a_live_file_for_good() -> None:
    class Flaky(Gone):
        @contextmanager
        def open_tail(self, file: LiveFile, start: int) -> Iterator[TailBody]:
            self.requests += 1
            if self.requests == 1:
                raise self.error
            body = MemorySource({"live": b"step 1\nlast\nand more\n"})
            with body.open_range(replace(OUTPUT, id="live"), start, 1000) as more:
                yield FromOutput(more, 22)

    clock = FakeClock()
    tails = Tails(Flaky(NotFound("404")), MemorySource({"o": b"step 1\nlast\n"}), lambda _: OUTPUT, clock)
    assert rest(tails, 7) == b"last\n"
    clock.advance(31)
    with tails.open_tail(LOG, 12) as body:
        assert b"".join(body) == b"and more\n"
