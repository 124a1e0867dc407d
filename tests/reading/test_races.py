"""Transfers that straggle, and readers that share connections."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rescalefs.errors import NotFound, WrongBytes
from rescalefs.model import RemoteFile
from rescalefs.reading import ReadEngine
from rescalefs.reading.straggling import Progress, is_straggler
from tests.fakes import Fault, MemoryBody, MemorySource
from tests.reading.engines import read_all, remote, running

MIB = 1 << 20
CONTENT = Random(5).randbytes(24 * MIB)
SLOW = 17 * MIB  # the request for this byte straggles


class Straggling(MemorySource):
    """The n-th request for the byte `SLOW` meets the n-th fault."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__({"f": CONTENT}, chunk=1 << 18)
        self._meets = list(faults)
        self._meeting = threading.Lock()  # guards _meets
        self.met = 0

    @contextmanager
    def open_range(self, file: RemoteFile, start: int, stop: int) -> Iterator[MemoryBody]:
        with self._meeting:
            fault = Fault()
            if start <= SLOW < stop:
                self.met += 1
                fault = self._meets.pop(0) if self._meets else fault
        with super().open_range(file, start, stop):
            pass  # which notes the request
        yield MemoryBody(CONTENT, start, stop, fault, self.chunk)


@contextmanager
def engine_for(source: Straggling, cache: Path, **chosen: Any) -> Iterator[ReadEngine]:
    sizes: dict[str, Any] = {"block_size": MIB, "leaf_size": 1 << 16, "deadline": 60.0}
    with running(source, cache, **sizes, **chosen) as engine:
        yield engine


@pytest.mark.parametrize("came", [0, 700_000])
def test_a_request_that_straggles_is_outrun_by_a_second_one(tmp_path: Path, came: int) -> None:
    never = threading.Event()
    source = Straggling(Fault(after=came, hang=never))
    with engine_for(source, tmp_path) as engine:
        try:
            assert read_all(engine.open(remote(CONTENT)), MIB) == CONTENT
            assert engine.counters().races >= 1
            assert source.met >= 2
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
        reader = threading.Thread(target=lambda: result.append(read_all(engine.open(remote(CONTENT)), MIB)))
        reader.start()
        assert sent.wait(20)
        slow.set()
        reader.join(20)
        rival.set()
        reader.join(20)
        assert result == [CONTENT]


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
