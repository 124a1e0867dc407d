"""A cache that is damaged, full or gone under a running engine: it costs fetches, never a byte."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import shutil
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rescalefs.reading import ReadEngine, Verification, positioned
from rescalefs.reading import block as block_module
from rescalefs.reading import engine as engine_module
from rescalefs.reading.content import Extent
from tests.fakes import MemorySource
from tests.reading.engines import BLOCK, LEAF, read, read_all, remote, running

TEXT = bytes(range(251)) * 2


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the file in full, verified, and a piece of another."""
    cache = tmp_path_factory.mktemp("kept")
    with running(MemorySource({"f": TEXT, "g": TEXT}), cache) as engine:
        read_all(engine.open(remote(TEXT)))
        read(engine.open(remote(TEXT, "g")), 100, 110)
    return cache


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_anywhere_in_the_cache_is_never_served(
    data: st.DataObject, kept: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = tmp_path_factory.mktemp("cache") / "copy"
    shutil.copytree(kept, cache)
    files = sorted(path for path in cache.rglob("*") if path.is_file() and path.stat().st_size)
    path = data.draw(st.sampled_from(files), label="file")
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3), label="flips")):
        bit = data.draw(st.integers(0, len(raw) * 8 - 1), label="bit")
        raw[bit // 8] ^= 1 << bit % 8
    path.write_bytes(raw)
    with running(MemorySource({"f": TEXT, "g": TEXT}), cache) as engine:
        assert read_all(engine.open(remote(TEXT))) == TEXT
        assert read_all(engine.open(remote(TEXT, "g"))) == TEXT


def test_a_block_under_anothers_name_is_not_taken_for_it(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT})
    with running(source, tmp_path) as engine:
        read_all(engine.open(remote(TEXT)))
    values = sorted((tmp_path / "blocks").rglob("*.val"))
    content = [path.read_bytes() for path in values]
    for path, other in zip(values, content[1:] + content[:1], strict=True):
        path.write_bytes(other)
    with running(source, tmp_path) as engine:
        assert read_all(engine.open(remote(TEXT))) == TEXT


def test_a_block_cut_short_while_it_is_open_is_fetched_again(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT})
    with running(source, tmp_path) as engine:
        read_all(engine.open(remote(TEXT)))
    with running(source, tmp_path) as engine:
        file = engine.open(remote(TEXT))
        read_all(file)
        for block in list(file._content.blocks.values()):
            os.truncate(f"/proc/self/fd/{block.fd}", 5)
        assert read_all(file) == TEXT
        assert source.bytes_sent > len(TEXT)


def is_in_memory(fd: int) -> bool:
    return str(Path(f"/proc/self/fd/{fd}").readlink()).startswith("/memfd:")


@pytest.mark.parametrize("error", [None, OSError(errno.EIO, "Input/output error")])
def test_a_disk_that_never_gives_back_a_whole_block_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError | None
) -> None:
    """Somebody cuts the cache's files short for ever, or the disk is broken: the read ends, and is right."""
    really = positioned.read_at_once

    def read_at_once(fd: int, buffer: memoryview, offset: int) -> int:
        if is_in_memory(fd):
            return really(fd, buffer, offset)
        if error is not None:
            raise error
        return 0

    monkeypatch.setattr(engine_module, "read_at_once", read_at_once)
    source = MemorySource({"f": TEXT})
    with running(source, tmp_path) as engine:
        assert read_all(engine.open(remote(TEXT))) == TEXT
        assert source.bytes_sent <= 4 * len(TEXT)


def test_a_stored_block_that_the_disk_cannot_read_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = MemorySource({"f": TEXT})
    with running(source, tmp_path) as engine:
        read_all(engine.open(remote(TEXT)))
    really = positioned.read_into

    def read_into(fd: int, buffer: memoryview, offset: int) -> int:
        if is_in_memory(fd):
            return really(fd, buffer, offset)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(block_module, "read_into", read_into)
    with running(source, tmp_path) as engine:
        assert read(engine.open(remote(TEXT)), 500, 510) == TEXT[500:510]
        assert source.bytes_sent > len(TEXT)


def test_a_disk_that_neither_takes_a_block_nor_gives_it_back_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is broken while a block is half written: what is on it already is fetched again, into memory."""
    write, read_back = positioned.write_fully, positioned.read_at

    def write_fully(fd: int, data: memoryview, offset: int) -> None:
        if offset >= LEAF and not is_in_memory(fd):
            raise OSError(errno.ESTALE, "Stale file handle")
        write(fd, data, offset)

    def read_at(fd: int, count: int, offset: int) -> bytes:
        if not is_in_memory(fd):
            raise OSError(errno.ESTALE, "Stale file handle")
        return read_back(fd, count, offset)

    monkeypatch.setattr(block_module, "write_fully", write_fully)
    monkeypatch.setattr(block_module, "read_at", read_at)
    with running(MemorySource({"f": TEXT}, chunk=LEAF), tmp_path) as engine:
        assert read_all(engine.open(remote(TEXT))) == TEXT
        assert engine.verification(remote(TEXT)) is Verification.YES


def test_a_cache_folder_that_is_removed_while_it_is_used_costs_nothing(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with running(MemorySource({"f": TEXT, "g": TEXT}), cache) as engine:
        read_all(engine.open(remote(TEXT)))
        shutil.rmtree(cache, ignore_errors=True)  # what is being stored meanwhile may survive
        assert read_all(engine.open(remote(TEXT, "g"))) == TEXT
        assert read_all(engine.open(remote(TEXT))) == TEXT


def test_a_cache_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    source = MemorySource({"f": TEXT})
    with running(source, tmp_path / "file" / "cache") as engine:
        assert read_all(engine.open(remote(TEXT))) == TEXT
        assert engine.verification(remote(TEXT)) is Verification.YES
        assert source.bytes_sent == len(TEXT)


def test_a_disk_that_fills_up_under_a_block_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = os.pwrite

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if not is_in_memory(fd) and offset >= LEAF:
            raise OSError(errno.ENOSPC, "No space left on device")
        return really(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    source = MemorySource({"f": TEXT * 10}, chunk=7)
    with running(source, tmp_path) as engine:
        assert read_all(engine.open(remote(TEXT * 10))) == TEXT * 10


def test_blocks_in_memory_are_few(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    content = bytes(200 * BLOCK)
    with running(MemorySource({"f": content}), tmp_path / "file" / "cache") as engine:
        file = engine.open(remote(content))
        for start in range(0, len(content), BLOCK):
            assert read(file, start, start + BLOCK) == content[start : start + BLOCK]
            # and a readahead that was under way, and those that are tried on the disk once more
            assert _in_memory(engine) <= 24 + 12 + 6


def _in_memory(engine: ReadEngine) -> int:
    return engine._board._room.in_memory


def test_descriptors_are_let_go(tmp_path: Path) -> None:
    content = bytes(300 * BLOCK)
    with running(MemorySource({"f": content}), tmp_path, open_blocks=32) as engine:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  (the count is all that is wanted)
        file = engine.open(remote(content))
        assert read_all(file, BLOCK) == content
        assert len(os.listdir("/proc/self/fd")) - before <= 32 + 16 + 16  # noqa: PTH208


def test_the_cache_stays_within_its_limit(tmp_path: Path) -> None:
    size, block, limit = 16 << 20, 1 << 18, 2 << 20
    content = bytes(range(256)) * (size // 256)
    with running(
        MemorySource({"f": content}), tmp_path, cache_size=limit, block_size=block, leaf_size=1 << 16
    ) as engine:
        assert read_all(engine.open(remote(content)), 1 << 16) == content
        assert engine.verification(remote(content)) is Verification.YES
        # What was evicted is on the disk for as long as anyone has it open; open is about what may be kept,
        # and what waits for the librarian and the hashers.
        assert on_disk(tmp_path / "blocks") <= 4 * limit
    kept = sum(path.stat().st_size for path in (tmp_path / "blocks").rglob("*.val"))
    assert 0 < kept <= limit + 4 * block


def extents_of(name: str) -> int:
    """How many extents of a file there are. They are only counted: to have them in hand would keep them."""
    return sum(isinstance(each, Extent) and each.content.file.id == name for each in gc.get_objects())


def test_a_connection_that_waits_for_work_holds_no_block_open(tmp_path: Path) -> None:
    with running(MemorySource({"idle": TEXT}), tmp_path) as engine:
        file = engine.open(remote(TEXT, "idle"))
        assert read_all(file) == TEXT
        file.close()
        for _ in range(200):  # looks, until the last of them is back at the board
            if not extents_of("idle"):
                break
            threading.Event().wait(0.02)  # connections give way to whoever is busy
        else:
            pytest.fail("an extent is held by a connection that has nothing to do")


def on_disk(folder: Path) -> int:
    """How many bytes the values in a folder take, and the files without a name that this process has open."""
    found = [path.stat() for path in folder.rglob("*.val")]
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = str(link.readlink())
            if target.startswith(f"{folder}/") and not target.startswith(f"{folder}/cache.db"):
                found.append(link.stat())
    sizes = {file.st_ino: file.st_size for file in found if stat.S_ISREG(file.st_mode)}
    return sum(sizes.values())


def test_what_was_read_last_is_kept_though_it_was_read_from_an_open_descriptor(tmp_path: Path) -> None:
    block = 1 << 18
    names = ("a", "b", "c")
    contents = {name: name.encode() * (4 * block) for name in names}
    source = MemorySource(contents)
    sizes: dict[str, Any] = {"cache_size": 10 * block, "block_size": block, "leaf_size": 1 << 16}
    with running(source, tmp_path, **sizes) as engine:
        for name in ("a", "b", "a", "c"):  # of which two have room
            file = engine.open(remote(contents[name], name))
            assert read_all(file, block) == contents[name]
            file.close()
            while engine._board._chores:
                pass  # until the librarian has caught up: with so little room, more would not be stored
    sent = source.bytes_sent
    with running(source, tmp_path, **sizes) as engine:
        assert read_all(engine.open(remote(contents["a"], "a")), block) == contents["a"]
        assert source.bytes_sent == sent
        assert read_all(engine.open(remote(contents["b"], "b")), block) == contents["b"]
        assert source.bytes_sent > sent
