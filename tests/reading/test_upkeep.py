"""The cache as the person sees it whose disk it is on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rescalefs.clock import SystemClock
from rescalefs.errors import UserError
from rescalefs.reading import CacheUpkeep, CacheVerdict
from rescalefs.reading.blocks import BlockStore
from tests.fakes import MemorySource
from tests.reading.engines import BLOCK, read, read_all, remote, running

TEXT = bytes(range(251)) * 2
BLOCKS = -(-len(TEXT) // BLOCK)


def keeper(cache: Path) -> CacheUpkeep:
    return CacheUpkeep(cache, 64 << 20, SystemClock())


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A cache with one verified file, and a piece of another."""
    with running(MemorySource({"f": TEXT, "g": TEXT}), tmp_path / "kept") as engine:
        read_all(engine.open(remote(TEXT)))
        read(engine.open(remote(TEXT, "g")), 100, 110)
    return tmp_path / "kept"


def values(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.val"))


def test_info_counts_blocks_files_and_verified_ones(kept: Path) -> None:
    info = keeper(kept).info()
    assert (info.blocks, info.files, info.verified) == (BLOCKS + 1, 2, 1)
    assert info.used >= sum(path.stat().st_size for path in values(kept / "blocks"))
    assert info.folder == str(kept)


def test_a_cache_that_never_was_is_empty_and_is_not_made(tmp_path: Path) -> None:
    nowhere = keeper(tmp_path / "cache")
    assert nowhere.info().used == nowhere.clear().blocks == 0
    assert nowhere.verify() == CacheVerdict(0, 0, 0, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_sound_cache_is_found_sound_and_stays(kept: Path) -> None:
    before = values(kept)
    info = keeper(kept).info()
    assert keeper(kept).verify() == CacheVerdict(info.blocks, info.records, 0, 0)
    assert (info.blocks, info.records) == (BLOCKS + 1, 1)
    assert values(kept) == before


def test_every_flipped_byte_is_found_and_its_block_removed(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every byte of a whole block, of a piece, and of a record."""
    paths = [values(kept / "blocks")[0], *sorted(values(kept), key=lambda path: path.stat().st_size)[::8]]
    dropped: list[str] = []
    for name in ("drop", "drop_record"):
        monkeypatch.setattr(BlockStore, name, lambda _, key: dropped.append(key))
    for path in paths:
        raw = path.read_bytes()
        for at in range(0, len(raw), 5):
            path.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << at % 8]) + raw[at + 1 :])
            assert keeper(kept).verify().bad == len(dropped) == 1, (path, at)
            dropped.clear()
        path.write_bytes(raw)
    monkeypatch.undo()
    paths[0].write_bytes(paths[0].read_bytes()[:-1])
    assert keeper(kept).verify().bad == 1
    assert not paths[0].exists()
    assert keeper(kept).verify().bad == 0


def test_what_a_killed_process_left_is_removed_once_nobody_can_be_about_to_index_it(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stray = kept / "blocks" / "ab" / "cd" / "stray.val"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"of a block that was never indexed")
    assert keeper(kept).verify().strays == 0
    monkeypatch.setattr("rescalefs.reading.upkeep._STRAY_AFTER", 0.0)
    assert keeper(kept).verify().strays == 1
    assert not stray.exists()


def test_clear_while_an_engine_reads_costs_fetches_and_nothing_else(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT})
    with running(source, tmp_path) as engine:
        read_all(engine.open(remote(TEXT)))
    # Another engine, which has nothing left to store: what is put in after clearing, stays.
    with running(source, tmp_path) as engine:
        file = engine.open(remote(TEXT))
        assert read_all(file) == TEXT
        assert keeper(tmp_path).clear().blocks > 0
        assert read_all(file) == TEXT
        file.close()
    assert values(tmp_path) == []
    with running(source, tmp_path) as engine:
        assert read_all(engine.open(remote(TEXT))) == TEXT
    assert source.bytes_sent == 2 * len(TEXT)


def test_verifying_is_no_use_of_a_block(kept: Path) -> None:
    """Or the least recently used one would be another after every look at the cache."""
    database = kept / "blocks" / "cache.db"

    def uses() -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(database)) as index:
            return index.execute("SELECT key, access_time FROM Cache ORDER BY key").fetchall()

    before = uses()
    assert len(before) == BLOCKS + 1
    keeper(kept).verify()
    assert uses() == before


def test_a_cache_that_cannot_be_read_is_an_error_and_not_an_empty_one(kept: Path) -> None:
    index = kept / "blocks" / "cache.db"
    index.unlink()
    index.mkdir()  # root, too, cannot read it as a file
    with pytest.raises(UserError, match="cannot be used"):
        keeper(kept).info()


def test_a_cache_in_the_place_of_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "blocks").write_text("in the way")
    with pytest.raises(UserError, match="cannot be used"):
        keeper(tmp_path / "cache").verify()
