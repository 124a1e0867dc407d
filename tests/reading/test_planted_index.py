"""A cache index written by an attacker: nothing in it is run, and nothing outside is read or removed."""

from __future__ import annotations

import os
import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from rescalefs.reading.blocks import BlockStore, memory_spool
from rescalefs.reading.positioned import write_fully
from tests.fakes import FakeClock

LIMIT = 100 << 20


class Planted:
    """Unpickling it makes a file."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self._mark),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache with one block and one record in it."""
    folder = tmp_path / "cache"
    folder.mkdir()
    store = BlockStore(folder, LIMIT, FakeClock())
    store.open()
    fd = memory_spool()
    write_fully(fd, memoryview(b"bytes"), 0)
    assert store.put("block", "group", fd)
    store.save_record("record", b"digests")
    os.close(fd)
    store.close()
    return folder


def plant(folder: Path, statement: str, *values: object) -> None:
    for index in folder.rglob("cache.db"):
        with sqlite3.connect(index) as connection:
            connection.execute(statement, values)
        connection.close()


def use_all(folder: Path) -> None:
    """Everything that looks at the whole index."""
    clock = FakeClock()
    for act in ("stored", "recorded", "clear", "open"):
        store = BlockStore(folder, LIMIT, clock)
        store.open()
        getattr(store, act)()
        store.get("block")
        store.record("record")
        store.sweep(0.0)
        store.close()


def test_a_planted_key_is_not_unpickled(folder: Path, tmp_path: Path) -> None:
    key = pickle.dumps(Planted(tmp_path / "pwned"))
    plant(
        folder,
        "INSERT INTO Cache (key, raw, mode, store_time, access_time, size, filename) "
        "VALUES (?, 0, 2, 0, 0, 1, 'aa/bb/' || hex(randomblob(14)) || '.val')",
        sqlite3.Binary(key),
    )
    use_all(folder)
    assert not (tmp_path / "pwned").exists()


def test_a_planted_value_is_not_unpickled(folder: Path, tmp_path: Path) -> None:
    value = pickle.dumps(Planted(tmp_path / "pwned"))
    plant(folder, "UPDATE Cache SET mode = 4, filename = NULL, value = ?", sqlite3.Binary(value))
    use_all(folder)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["../../../precious", "{}/precious"])
def test_a_planted_name_neither_reads_nor_removes_what_lies_outside(
    folder: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "precious").write_text("mine")
    plant(folder, "UPDATE Cache SET filename = ?", name.format(tmp_path))
    store = BlockStore(folder, LIMIT, FakeClock())
    store.open()
    assert store.get("block") is None
    store.close()
    use_all(folder)
    assert (tmp_path / "precious").read_text() == "mine"
