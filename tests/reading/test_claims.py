"""What the server claims of a file decides neither memory nor time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rescalefs.model import RemoteFile
from rescalefs.reading.board import _IDLE_WEIGHT
from tests.reading.engines import read, running

KIB, MIB, TB = 1 << 10, 1 << 20, 10**12
SIZES: dict[str, Any] = {"block_size": 4 * MIB, "leaf_size": 64 * KIB}


class Zeros:
    """A server whose files are as long as it claims, and all zeros."""

    def __init__(self, start: int, stop: int, total: int) -> None:
        self.start, self.stop = start, stop
        self.total: int | None = total

    def __iter__(self) -> Iterator[bytes]:
        for start in range(self.start, self.stop, 64 * KIB):
            yield bytes(min(64 * KIB, self.stop - start))


class ClaimingSource:
    def __init__(self) -> None:
        self.asked = 0

    @contextmanager
    def open_range(self, file: RemoteFile, start: int, stop: int) -> Iterator[Zeros]:
        assert file.size is not None
        self.asked += stop - start
        yield Zeros(start, stop, file.size)


def claimed(number: int, size: int) -> RemoteFile:
    return RemoteFile(id=f"f{number}", name="f", path=f"f{number}", size=size, sha512="ab" * 64)


def test_opening_files_that_are_said_to_be_huge_takes_memory_for_what_is_read(tmp_path: Path) -> None:
    with running(ClaimingSource(), tmp_path, **SIZES) as engine:
        tracemalloc.start()
        try:
            files = [engine.open(claimed(number, 200 * 10**9)) for number in range(1, 40)]
            files.append(engine.open(claimed(40, 4000 * TB)))
            for file in files:
                assert read(file, 0, 10) == bytes(10)
                assert read(file, file.size - 5, file.size + 5) == bytes(5)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 40 * MIB  # most of it are the answers themselves: 512 KiB for each first read
        board = engine._board
        touched = sum(len(content._known) for content in board._contents.values())
        assert touched <= 3 * len(files)


def test_the_memory_of_closed_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rescalefs.reading.board._IDLE_CONTENTS", 8)
    with running(ClaimingSource(), tmp_path, block_size=4 * KIB, leaf_size=4 * KIB) as engine:
        for number in range(20):
            file = engine.open(claimed(number, 200 * 10**9))
            for block in range(3):
                assert read(file, block * 10**9, block * 10**9 + 10) == bytes(10)
            file.close()
    board = engine._board  # its connections have ended, and with them what was still under way
    assert len(board._idle) <= 8
    assert sum(each.weight for each in board._idle.values()) <= _IDLE_WEIGHT
    assert board._contents.keys() == board._idle.keys() == board._weights.keys()
    assert board._idle_weight == sum(board._weights.values())


def test_closed_files_of_which_much_was_read_are_forgotten_sooner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rescalefs.reading.board._IDLE_WEIGHT", 100_000)
    with running(ClaimingSource(), tmp_path, block_size=256, leaf_size=4) as engine:
        board = engine._board
        for number in range(4):
            file = engine.open(claimed(number, 8 * MIB))
            read(file, 0, 64 * 256)
            (content,) = [each for each in board._contents.values() if each.file.id == f"f{number}"]
            assert content.weight > 40_000
            file.close()
    assert len(board._idle) <= 2
    assert board._idle_weight == sum(each.weight for each in board._idle.values()) <= 100_000
