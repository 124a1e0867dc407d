"""A disk of the cache that does not answer: reads go on without it, and use it again when it is back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rescalefs.reading.blocks import BlockStore
from tests.fakes import HastyClock, MemorySource
from tests.reading.engines import read, read_all, remote, running

TEXT = bytes(range(251)) * 8
PATIENCE = 60.0
METHODS = ("open", "recorded", "record", "get", "put")


class HangingDisk:
    """Holds the thread that owns the store, in the methods that touch the disk, while it hangs."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.answers.set()
        self.asked = threading.Event()  # since it hangs
        self.back = threading.Event()  # it has answered since

    def hang(self) -> None:
        self.asked.clear()
        self.back.clear()
        self.answers.clear()

    def holding(self, usual: Callable[..., Any]) -> Callable[..., Any]:
        def held(store: BlockStore, *arguments: Any) -> Any:
            self.asked.set()
            assert self.answers.wait(PATIENCE)
            self.back.set()
            return usual(store, *arguments)

        return held


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[HangingDisk]:
    disk = HangingDisk()
    for method in METHODS:
        monkeypatch.setattr(BlockStore, method, disk.holding(getattr(BlockStore, method)))
    yield disk
    disk.answers.set()


def test_reads_go_on_while_the_disk_hangs_and_use_it_again_afterwards(
    tmp_path: Path, disk: HangingDisk, caplog: pytest.LogCaptureFixture
) -> None:
    source = MemorySource({"f": TEXT, "g": TEXT[::-1]})
    with running(source, tmp_path) as engine:
        assert read_all(engine.open(remote(TEXT))) == TEXT
    with running(source, tmp_path, clock=HastyClock(20), deadline=600.0) as engine:
        disk.hang()
        for number, content in (("f", TEXT), ("g", TEXT[::-1])):
            file = engine.open(remote(content, number))
            assert read(file, 500, 510) == content[500:510]
            assert read_all(file) == content
        assert [line for line in caplog.messages if "has not answered for" in line]
        disk.answers.set()
        assert disk.back.wait(PATIENCE)
    asked = len(source.requests)
    with running(source, tmp_path) as engine:
        assert read_all(engine.open(remote(TEXT))) == TEXT
    assert len(source.requests) == asked


def test_a_disk_that_hangs_from_the_start_keeps_no_read(tmp_path: Path, disk: HangingDisk) -> None:
    disk.hang()
    with running(MemorySource({"f": TEXT}), tmp_path, clock=HastyClock(20), deadline=600.0) as engine:
        assert read_all(engine.open(remote(TEXT))) == TEXT
        assert disk.asked.is_set()
        disk.answers.set()
