"""Descriptors: how many blocks are open, and what becomes of readers that are many, or idle."""

from __future__ import annotations

import errno
import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rescalefs.descriptors import Descriptors
from rescalefs.errors import NoDescriptors, Unreachable
from rescalefs.reading import ReadEngine, ReadingSettings, blocks, schedule
from rescalefs.reading.content import Content
from rescalefs.reading.ranges import Grid, Span
from rescalefs.reading.room import Room
from tests.fakes import FakeClock, Fault, MemorySource
from tests.reading.engines import BLOCK, LEAF, read, read_all, remote, running, settled

TEXT = bytes(range(251)) * 8
CROWD = Path(__file__).with_name("crowd.py")


def crowd(cache: Path, readers: int, size: int, limit: int) -> dict[str, Any]:
    words = [str(cache), str(readers), str(size), str(limit)]
    ended = subprocess.run(
        [sys.executable, str(CROWD), *words],
        check=False,
        capture_output=True,
        timeout=110,
        env={**os.environ, "PYTHONPATH": str(CROWD.parents[2])},
    )
    assert ended.returncode == 0, ended.stderr.decode()
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


def test_many_readers_of_much_data_stay_within_the_descriptors_there_are(tmp_path: Path) -> None:
    told = crowd(tmp_path, readers=50, size=1 << 20, limit=256)
    assert told["errors"] == []
    assert told["right"] == 50
    # Half of the cache's 64 blocks more for readers that wait, and a few for the index and the process.
    assert told["known"] <= 64 + 40 + 16
    assert told["most"] <= told["known"] + 24


def test_more_readers_than_descriptors_all_get_their_bytes(tmp_path: Path) -> None:
    told = crowd(tmp_path, readers=120, size=1 << 18, limit=100)
    assert told["errors"] == []
    assert told["right"] == 120


def open_blocks(cache: Path) -> int:
    """Descriptors of this process that are blocks of a cache, with a name or without one."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue  # the one of the scan itself
        found += target.startswith(f"{cache}/blocks/") and ".db" not in target
    return found


def test_the_board_knows_of_every_open_block(tmp_path: Path) -> None:
    descriptors = Descriptors(1024)
    content = bytes(200 * BLOCK)
    with running(MemorySource({"f": content}), tmp_path, open_blocks=32) as engine:
        engine._store.share = engine._board._room._share = descriptors.blocks
        file = engine.open(remote(content))
        for start in range(0, len(content), BLOCK):
            read(file, start, start + BLOCK)
        gc.collect()
        settled(lambda: engine._board._active == 0 and not engine._board._chores)
        engine._board.part(0)
        # Not at once: the librarian may be at one, and close it in a moment.
        settled(lambda: open_blocks(tmp_path) == descriptors.blocks.count)
        assert descriptors.blocks.count <= 32 + 8


def test_a_block_that_was_looked_up_is_not_kept_open_by_a_question_that_waits_behind_others(
    tmp_path: Path,
) -> None:
    """The urgent ones go first, so that the others may wait for as long as there are urgent ones."""
    with running(MemorySource({"f": TEXT}), tmp_path, started=False) as engine:
        board = engine._board
        stream = board.open(remote(TEXT), len(TEXT))
        with board._lock:
            board._room.allot(stream, Span(0, len(TEXT)), 0.0)
            board._look_ahead(stream)
            asked = len(board._lookups._others)
            board._find(stream, 3, 1, Span(3 * BLOCK, 3 * BLOCK + LEAF))
        assert asked == schedule._AHEAD
        assert len(board._lookups._others) == asked - 1
        chore = board._lookups.take()
        assert chore is not None
        assert chore.block.number == 3


def test_idle_files_fetch_nothing_twice_and_then_nothing_at_all(tmp_path: Path) -> None:
    contents = {str(number): TEXT[number : number + 5 * BLOCK] for number in range(80)}
    source = MemorySource(contents)
    with running(source, tmp_path, open_blocks=16) as engine:
        files = [engine.open(remote(content, name)) for name, content in contents.items()]
        for file, content in zip(files, contents.values(), strict=True):
            assert read(file, 0, LEAF) == content[:LEAF]
        board = engine._board
        settled(lambda: board._active == 0 and not board._chores and not board._turns._ahead)
        assert source.bytes_sent <= sum(len(content) for content in contents.values())
        asked = len(source.requests)
        settled(lambda: board._room._share.count <= 16 + 8)
        assert len(source.requests) == asked
        for file, content in zip(files, contents.values(), strict=True):
            assert read_all(file) == content


def test_the_cost_of_a_choice_does_not_depend_on_how_many_files_are_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carved: list[int] = []
    carve = schedule.carve

    def counting(*arguments: Any, **more: Any) -> Any:
        carved.append(1)
        return carve(*arguments, **more)

    monkeypatch.setattr(schedule, "carve", counting)
    contents = {str(number): TEXT[number : number + 5 * BLOCK] for number in range(150)}
    with running(MemorySource({**contents, "f": TEXT}), tmp_path, open_blocks=1000) as engine:
        files = [engine.open(remote(content, name)) for name, content in contents.items()]
        for file in files:
            read(file, 0, LEAF)
        settled(lambda: engine._board._active == 0 and not engine._board._turns._ahead)
        last = engine.open(remote(TEXT))
        carved.clear()
        assert read(last, 1000, 1000 + LEAF) == TEXT[1000 : 1000 + LEAF]
        assert len(carved) <= 20


def test_readahead_takes_no_more_than_half_of_the_blocks_however_many_read(tmp_path: Path) -> None:
    with running(MemorySource({"f": TEXT}), tmp_path, FakeClock(), started=False, open_blocks=16) as engine:
        board = engine._board
        streams = [board.open(remote(TEXT), len(TEXT)) for _ in range(40)]
        for stream in streams:
            board._clock.advance(1.0)  # type: ignore[attr-defined]  # a FakeClock
            board.note_read(stream)
            board.move_window(stream, Span(0, 4 * BLOCK))
        assert board._room._allotted <= 8 + 4 * 3
        assert len(board._room._windows) < 8
        assert board.reach <= 16 * BLOCK


@pytest.fixture
def without_descriptors(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """From now on, so many attempts to open something for a block fail."""
    left = [0]
    counting = threading.Lock()  # guards left, which a test sets while threads count it down
    spools: dict[str, Callable[..., int]] = {
        "_nameless": blocks._nameless,
        "memory_spool": blocks.memory_spool,
    }

    def refusing(name: str) -> Callable[..., int]:
        def spool(*arguments: Any) -> int:
            with counting:
                refused, left[0] = left[0] > 0, max(0, left[0] - 1)
            if refused:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return spools[name](*arguments)

        return spool

    for name in spools:
        monkeypatch.setattr(blocks, name, refusing(name))

    def refuse(times: int) -> None:
        with counting:
            left[0] = times

    return refuse


def test_a_read_for_which_no_descriptor_is_left_closes_some_and_goes_on(
    tmp_path: Path, without_descriptors: Callable[[int], None]
) -> None:
    with running(MemorySource({"f": TEXT, "g": TEXT[::-1]}), tmp_path) as engine:
        file = engine.open(remote(TEXT))
        assert read_all(file) == TEXT
        settled(lambda: not engine._board._chores)
        before = len(engine._board._room.blocks)
        without_descriptors(1)
        assert read(engine.open(remote(TEXT[::-1], "g")), 0, LEAF) == TEXT[::-1][:LEAF]
        assert len(engine._board._room.blocks) < before + 2


def test_a_read_for_which_there_is_none_for_long_says_so(
    tmp_path: Path, without_descriptors: Callable[[int], None]
) -> None:
    with running(MemorySource({"f": TEXT}), tmp_path) as engine:
        file = engine.open(remote(TEXT))
        without_descriptors(10_000)
        with pytest.raises(NoDescriptors, match="ulimit"):
            read(file, 0, LEAF)
        without_descriptors(0)
        # A fetch that was refused one just before may report that only now, to the next one who waits for it.
        settled(lambda: not engine._board._extents)
        assert read_all(file) == TEXT
        assert engine._store.keeps  # the disk is not to blame


def test_errors_of_fetches_keep_no_block_open(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT})
    with running(source, tmp_path) as engine:
        gc.collect()
        gc.disable()
        try:
            file = engine.open(remote(TEXT))
            for turn in range(5):
                # More than one request gives up after: those for what is read ahead take some of them.
                source.misbehave(*[Fault(error=Unreachable("cut")) for _ in range(40)])
                with pytest.raises(Unreachable):
                    read(file, 400 * turn, 400 * turn + 3 * LEAF)
            for body in source._bodies:
                body._fault.error = None  # the fake's own hold on what it raised, and so on the frames
            file.close()
            _close_all(engine)
            assert engine._store.share.count == 0
        finally:
            gc.enable()


def _close_all(engine: ReadEngine) -> None:
    board = engine._board
    settled(lambda: board._active == 0 and not board._chores)
    for _ in range(3):
        settled(lambda: not any(block.keeping for block in list(board._room.blocks)))
        with board._lock:
            board._trim(1000)
        board.part(0)
    settled(lambda: engine._store.share.count == 0)


def test_of_blocks_that_wait_for_the_hash_the_farthest_is_closed_first() -> None:
    descriptors = Descriptors(1024)
    room = Room(ReadingSettings(Path("cache"), block_size=BLOCK, leaf_size=LEAF), descriptors.blocks, 4)
    content = Content(remote(bytes(8 * BLOCK)), Grid(8 * BLOCK, BLOCK, LEAF))
    content.hashed = 2
    for number in range(8):  # read in this order
        block = content.add(number)
        block.looked_up = True
        block.present = block.ready = block.saved = block.full
        block.used = number
        room.add(content, block)
    found = [block.number for block in room.oldest(0.0, in_memory=False, closing=0)]
    assert found == [0, 1, 7, 6, 5, 4, 3, 2]
