"""Every database that cannot be opened is closed again before its error is reported.

Otherwise the connection lives for as long as something remembers the error, with a descriptor and a lock.
Python 3.13 reports such a connection as well, when it is collected.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from rescalefs.errors import UserError
from rescalefs.mirror.ledger import Ledger
from rescalefs.reading.blocks import BlockStore
from rescalefs.simulator.store import Store
from rescalefs.simulator.world import World
from rescalefs.submit.journal import Journal
from tests.fakes import FakeClock


class Opened(Protocol):
    def close(self) -> None: ...


def blocks(path: Path) -> BlockStore:
    store = BlockStore(path.parent, 1 << 20, FakeClock())
    store.open()
    return store


def world(path: Path) -> World:
    return World(path.parent, FakeClock())


OPENERS: dict[str, Callable[[Path], Opened]] = {
    "journal.sqlite": Journal,
    "mirror.sqlite": Ledger,
    "store.sqlite": Store,
    "world.sqlite": world,
    "blocks/cache.db": blocks,
}


def is_open(folder: Path) -> list[str]:
    """The open files of this process that lie in the folder, also those without a name by now."""
    descriptors = Path("/proc/self/fd").iterdir()
    links = [os.path.realpath(each) for each in descriptors]  # of the one that listed them: its own path
    return [link for link in links if link.startswith(str(folder))]


def try_to_open(name: str, path: Path) -> Exception | None:
    try:
        opened = OPENERS[name](path if "/" not in name else path.parent)
    except Exception as error:  # noqa: BLE001  (each room has its own)
        return error
    opened.close()
    return None


@pytest.mark.parametrize("name", OPENERS)
def test_a_file_that_is_no_database_is_closed_again(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("Dear diary,\n" * 1000)
    error = try_to_open(name, path)  # whose traceback holds all that its frames made
    assert error is not None or name == "blocks/cache.db"  # the cache starts afresh
    assert is_open(tmp_path) == []


@pytest.mark.parametrize("name", OPENERS)
def test_a_database_with_damaged_pages_is_closed_again(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    assert try_to_open(name, path) is None
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    error = try_to_open(name, path)
    assert error is not None or name == "blocks/cache.db"
    assert is_open(tmp_path) == []


def test_a_world_with_a_record_that_cannot_be_read_lets_go_of_its_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "world.sqlite")
    store._connection.execute("INSERT INTO jobs VALUES ('x', 1, 1, 'no JSON')")
    store.close()
    assert try_to_open("world.sqlite", tmp_path / "world.sqlite") is not None
    assert is_open(tmp_path) == []


def test_a_journal_of_a_newer_version_is_closed_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    with journal._engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA user_version = 99")
    journal.close()
    assert isinstance(try_to_open("journal.sqlite", path), UserError)
    assert is_open(tmp_path) == []


def test_a_cache_that_is_opened_twice_is_open_once(tmp_path: Path) -> None:
    store = blocks(tmp_path / "cache")
    before = len(is_open(tmp_path))
    first = store._blocks, store._records  # held, so that nothing else closes them
    store.open()
    assert len(is_open(tmp_path)) == before
    assert store._blocks not in first
    store.close()
    assert is_open(tmp_path) == []
