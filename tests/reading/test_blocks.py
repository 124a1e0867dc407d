"""The store on its own: what it keeps, what it forgets, what it survives."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rescalefs.clock import SystemClock
from rescalefs.reading.blocks import BlockStore, memory_spool
from rescalefs.reading.positioned import write_fully
from tests.fakes import FakeClock

LIMIT = 64 << 20


@contextlib.contextmanager
def opened(folder: Path, limit: int = LIMIT, clock: FakeClock | None = None) -> Iterator[BlockStore]:
    store = BlockStore(folder, limit, clock or FakeClock())
    store.open()
    try:
        yield store
    finally:
        store.close()


def put(store: BlockStore, key: str, value: bytes, group: str = "g") -> bool:
    fd, _ = store.spool()
    try:
        write_fully(fd, memoryview(value), 0)
        return store.put(key, group, fd)
    finally:
        os.close(fd)


def get(store: BlockStore, key: str) -> bytes | None:
    fd = store.get(key)
    if fd is None:
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read()


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert put(store, "k", b"value" * 1000)
        assert get(store, "k") == b"value" * 1000
    with opened(tmp_path) as store:
        assert get(store, "k") == b"value" * 1000
        assert get(store, "other") is None


def test_bytes_in_memory_are_stored_as_well_as_those_on_disk(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fd = memory_spool()
        write_fully(fd, memoryview(b"abc"), 0)
        assert store.put("k", "g", fd)
        os.close(fd)
        assert get(store, "k") == b"abc"


def test_a_block_that_was_stored_and_evicted_can_be_stored_again(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fd, _ = store.spool()
        write_fully(fd, memoryview(b"abc"), 0)
        assert store.put("k", "g", fd)
        store.drop("k")
        assert store.put("k", "g", fd)
        os.close(fd)
        assert get(store, "k") == b"abc"


def test_a_group_is_dropped_with_its_record_and_others_stay(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put(store, "a", b"1", "one")
        put(store, "b", b"2", "two")
        store.save_record("r1", b"record")
        store.save_record("r2", b"record")
        store.drop_group("one", "r1")
        assert (get(store, "a"), get(store, "b")) == (None, b"2")
        assert store.recorded() == {"r2"}
        assert store.record("r2") == b"record"


def test_the_least_recently_used_goes_first_and_the_limit_is_kept(tmp_path: Path) -> None:
    value = bytes(1 << 20)
    limit = 8 << 20
    with opened(tmp_path, limit) as store:
        for number in range(6):
            put(store, str(number), value)
        for _ in range(20):
            assert get(store, "0") is not None
            put(store, f"{os.urandom(4).hex()}", value)
            assert store.usage.used <= limit + len(value)
        assert get(store, "0") is not None
        assert get(store, "1") is None
        assert sum(path.stat().st_size for path in tmp_path.rglob("*")) <= limit + 2 * len(value)


def test_no_more_is_evicted_than_the_limit_asks_for(tmp_path: Path) -> None:
    piece, limit = 100_000, 1 << 20
    with opened(tmp_path, limit=limit) as store:
        for number in range(9):
            assert put(store, f"small{number}", bytes(piece))
        assert put(store, "large", bytes(3 * piece))
        assert get(store, "large") == bytes(3 * piece)
        assert limit - 2 * piece < store.usage.used <= limit


def test_a_folder_that_another_process_removes_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def link_too_late(source: str, target: str, **options: Any) -> None:
        monkeypatch.setattr(os, "link", link)
        os.removedirs(Path(target).parent)  # as diskcache does where it evicts the last file of a folder
        link(source, target, **options)

    with opened(tmp_path) as store:
        monkeypatch.setattr(os, "link", link_too_late)
        assert put(store, "k", b"abc")
        assert store.trouble is None
        assert get(store, "k") == b"abc"


def test_the_folder_is_the_users_alone(tmp_path: Path) -> None:
    with opened(tmp_path / "cache"):
        for path in (tmp_path / "cache", tmp_path / "cache/blocks", tmp_path / "cache/records"):
            assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("database", ["blocks", "records"])
def test_an_index_that_is_not_one_is_made_anew(tmp_path: Path, database: str) -> None:
    with opened(tmp_path) as store:
        put(store, "k", b"value")
    (tmp_path / database / "cache.db").write_bytes(b"this is no database" * 100)
    with opened(tmp_path) as store:
        assert get(store, "k") is None
        assert put(store, "k", b"new")
        assert get(store, "k") == b"new"


def test_a_damaged_page_of_the_index_costs_no_more_than_the_cache(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for number in range(200):
            put(store, f"key-{number}", b"value")
    database = tmp_path / "blocks/cache.db"
    raw = bytearray(database.read_bytes())
    raw[4096:] = b"\xff" * (len(raw) - 4096)
    database.write_bytes(raw)
    clock = FakeClock()
    with opened(tmp_path, clock=clock) as store:
        assert get(store, "key-1") is None
        clock.advance(60)
        assert put(store, "k", b"new")
        assert get(store, "k") == b"new"


def test_a_disk_that_will_not_have_it_is_no_error_and_is_left_alone_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with opened(tmp_path, clock=clock) as store:
        put(store, "old", b"value")
        with monkeypatch.context() as patch:
            patch.setattr(os, "link", full)
            assert not put(store, "k", b"value")
        fd, in_memory = store.spool()
        os.close(fd)
        assert in_memory
        assert not put(store, "k", b"value")
        assert get(store, "old") == b"value"
        clock.advance(60)
        assert put(store, "k", b"value")


def test_a_folder_that_cannot_be_made_keeps_nothing_and_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with opened(tmp_path / "file/cache") as store:
        assert not put(store, "k", b"value")
        assert get(store, "k") is None
        assert store.record("k") is None
        assert store.recorded() == set()
        store.drop("k")
        store.drop_group("g", "k")
        store.clear()


def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    with opened(tmp_path) as one, opened(tmp_path) as other:
        put(one, "k", b"value")
        assert get(other, "k") == b"value"
        other.drop("k")
        assert get(one, "k") is None


def test_clear_forgets_everything(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put(store, "k", b"value")
        store.save_record("r", b"record")
        store.clear()
        assert get(store, "k") is None
        assert store.recorded() == set()


_ENDLESS = """
import os, sys
from pathlib import Path
from rescalefs.clock import SystemClock
from rescalefs.reading.blocks import BlockStore
from rescalefs.reading.positioned import write_fully
store = BlockStore(Path(sys.argv[1]), 1 << 30, SystemClock())
store.open()
number = 0
while True:
    fd, _ = store.spool()
    for part in range(16):
        write_fully(fd, memoryview(bytes([number % 251]) * 4096), part * 4096)
    store.put(str(number), "g", fd)
    os.close(fd)
    number += 1
    if number == 50:
        print("going", flush=True)
"""


def test_a_kill_at_any_moment_leaves_only_whole_blocks(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _ENDLESS, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    store = BlockStore(tmp_path, 1 << 30, SystemClock())
    store.open()
    number = 0
    while (value := get(store, str(number))) is not None:
        assert value == bytes([number % 251]) * 65536
        number += 1
    assert number >= 50
    assert put(store, "after", b"value")
    store.close()
