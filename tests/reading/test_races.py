"""Transfers that straggle, and readers that share connections."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rescalefs.errors import NotFound, Throttled, TimedOut, WrongBytes
from rescalefs.model import RemoteFile
from rescalefs.reading import ReadEngine
from rescalefs.reading.straggling import Progress, is_straggler
from tests.fakes import Fault, MemoryBody, MemorySource
from tests.reading.engines import read, read_all, remote, running

MIB = 1 << 20
CONTENT = Random(5).randbytes(24 * MIB)
SLOW = len(CONTENT) - 10  # the request for this byte straggles, wherever it begins


class Straggling(MemorySource):
    """The n-th request for the byte `SLOW` meets the n-th fault."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__({"f": CONTENT}, chunk=1 << 18)
        self._meets = list(faults)
        self._meeting = threading.Lock()  # guards _meets
        self.met = 0
        self.bodies: list[MemoryBody] = []  # of these requests

    @contextmanager
    def open_range(self, file: RemoteFile, start: int, stop: int) -> Iterator[MemoryBody]:
        with self._meeting:
            fault = Fault()
            meets = start <= SLOW < stop
            if meets:
                self.met += 1
                fault = self._meets.pop(0) if self._meets else fault
            body = MemoryBody(CONTENT, start, stop, fault, self.chunk)
            if meets:
                self.bodies.append(body)
        with super().open_range(file, start, stop):
            pass  # which notes the request
        yield body


class Stalling(MemorySource):
    """Whatever is asked for from 8 MiB on hangs, when it is asked for the first time."""

    def __init__(self, hang: threading.Event, *faults: Fault) -> None:
        super().__init__({"f": CONTENT}, faults)
        self._hang = hang
        self._asking = threading.Lock()  # guards _asked
        self._asked: set[int] = set()

    @contextmanager
    def open_range(self, file: RemoteFile, start: int, stop: int) -> Iterator[MemoryBody]:
        with self._asking:
            again = start in self._asked
            self._asked.add(start)
        with super().open_range(file, start, stop) as body:
            hangs = start >= 8 * MIB and not again
            yield MemoryBody(CONTENT, start, stop, Fault(hang=self._hang), self.chunk) if hangs else body


@contextmanager
def engine_for(source: MemorySource, cache: Path, **chosen: Any) -> Iterator[ReadEngine]:
    sizes: dict[str, Any] = {"block_size": MIB, "leaf_size": 1 << 16, "deadline": 60.0}
    with running(source, cache, **{**sizes, **chosen}) as engine:
        yield engine


@pytest.mark.parametrize("came", [0, 700_000])
def test_a_request_that_straggles_is_outrun_by_a_second_one(tmp_path: Path, came: int) -> None:
    never = threading.Event()
    source = Straggling(Fault(after=came, hang=never))
    with engine_for(source, tmp_path) as engine:
        try:
            file = engine.open(remote(CONTENT))
            assert read_all(file, MIB) == CONTENT
            assert engine.counters().races >= 1
            assert source.met >= 2
        finally:
            never.set()
        while file._content.extents:
            pass  # until the loser has noticed
        assert source.bodies[0].sent <= came + source.chunk


def test_a_request_that_was_given_up_and_hangs_is_outrun_when_its_bytes_are_wanted_again(
    tmp_path: Path,
) -> None:
    never, sent = threading.Event(), threading.Event()
    source = Straggling(Fault(after=0, hang=never, sent=sent))
    with engine_for(source, tmp_path) as engine:
        try:
            file = engine.open(remote(CONTENT))
            for start in range(0, 12 * MIB, MIB):
                assert read(file, start, start + MIB) == CONTENT[start : start + MIB]
            assert sent.wait(20)
            assert read(file, 2 * MIB, 2 * MIB + 10) == CONTENT[2 * MIB : 2 * MIB + 10]
            assert read(file, SLOW, SLOW + 10) == CONTENT[SLOW : SLOW + 10]
        finally:
            never.set()


def test_races_are_few_however_much_straggles(tmp_path: Path) -> None:
    never = threading.Event()
    source = Stalling(never)
    # Few blocks open, hence a short readahead: where all hang at once, nothing is slower than the rest.
    with engine_for(source, tmp_path, connections=8, open_blocks=16, deadline=2.0) as engine:
        try:
            with pytest.raises(TimedOut):
                read_all(engine.open(remote(CONTENT)), MIB)
            counters = engine.counters()
            assert counters.requests <= 16
            assert 0 < counters.races <= 3
        finally:
            never.set()


def test_nothing_is_raced_after_the_server_had_too_many_requests(tmp_path: Path) -> None:
    never = threading.Event()
    source = Stalling(never, Fault(error=Throttled("too many")))
    with engine_for(source, tmp_path, connections=8, deadline=2.0) as engine:
        try:
            with pytest.raises(TimedOut):
                read_all(engine.open(remote(CONTENT)), MIB)
            assert engine.counters().races == 0
        finally:
            never.set()


def test_what_the_two_bring_must_be_the_same(tmp_path: Path) -> None:
    slow, rival, sent = threading.Event(), threading.Event(), threading.Event()
    source = Straggling(
        Fault(after=0, hang=slow, flip=True),
        Fault(after=MIB, hang=rival, sent=sent),
    )
    with engine_for(source, tmp_path) as engine:
        file = engine.open(remote(CONTENT))
        failures: list[Exception] = []

        def reads() -> None:
            try:
                read_all(file, MIB)
            except WrongBytes as failure:
                failures.append(failure)

        reader = threading.Thread(target=reads)
        reader.start()
        assert sent.wait(20)
        slow.set()
        while file.version.endswith("#0"):
            pass  # until the difference was noticed
        rival.set()
        reader.join(20)
        assert len(failures) == 1
        assert read_all(engine.open(remote(CONTENT)), MIB) == CONTENT


def test_a_rival_that_fails_leaves_it_to_others(tmp_path: Path) -> None:
    never = threading.Event()
    source = Straggling(Fault(after=0, hang=never), Fault(after=MIB, error=NotFound("gone")))
    with engine_for(source, tmp_path) as engine:
        try:
            assert read_all(engine.open(remote(CONTENT)), MIB) == CONTENT
        finally:
            never.set()


def test_a_straggler_that_comes_on_again_may_win(tmp_path: Path) -> None:
    slow, rival, sent = threading.Event(), threading.Event(), threading.Event()
    source = Straggling(Fault(after=0, hang=slow), Fault(after=0, hang=rival, sent=sent))
    with engine_for(source, tmp_path) as engine:
        result: list[bytes] = []
        file = engine.open(remote(CONTENT))
        reader = threading.Thread(target=lambda: result.append(read_all(file, MIB)))
        reader.start()
        assert sent.wait(20)
        slow.set()
        reader.join(20)
        rival.set()
        reader.join(20)
        assert result == [CONTENT]
        while file._content.extents:
            pass  # until the loser has noticed
        assert source.bodies[1].sent <= source.chunk


def test_only_what_is_far_slower_than_the_others_straggles() -> None:
    usual = [20e6, 19e6, 21e6]
    assert is_straggler(0.0, usual, (), 4 * MIB, 0.04)
    assert is_straggler(1e6, usual, (), 16 * MIB, 0.04)
    assert not is_straggler(8e6, usual, (), 16 * MIB, 0.04)
    assert not is_straggler(1e6, usual, (), 100_000, 0.04)  # it is there before a second one could be
    assert not is_straggler(1e6, [1.1e6, 0.9e6, 1e6], usual, 16 * MIB, 0.04)  # the network is slow
    assert not is_straggler(0.0, [20e6], (), 16 * MIB, 0.04)  # what is usual is not known
    assert is_straggler(0.0, [20e6], usual, 16 * MIB, 0.04)


def test_a_rate_is_that_of_the_last_moments() -> None:
    progress = Progress()
    assert progress.rate(5.0, 0) is None
    progress.begin(10.0, 0)
    assert progress.rate(10.1, 100) is None
    for tenth in range(21):
        progress.note(10 + tenth / 10, tenth * 1000)
    assert progress.rate(12.0, 20_000) == pytest.approx(10_000)
    assert progress.rate(20.0, 20_000) == 0  # it has come to a halt
    assert progress.is_due(11.0)
    assert not progress.is_due(10.5)
