"""Parts: each belongs to one process, survives it, and never becomes a wrong file."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rescalefs import exclusion
from rescalefs.background import Background
from rescalefs.clock import SystemClock
from rescalefs.errors import UserError
from rescalefs.mirror import Transfers, claims
from rescalefs.mirror.claims import PartTaken, make_folder
from rescalefs.mirror.fetch import Fetch
from rescalefs.mirror.part import Part, sweep
from rescalefs.model import RemoteFile
from tests.fakes import MemorySource
from tests.mirror.account import PATIENCE, ROOT
from tests.mirror.rounds import shelf_in

KEY = "a.bin\nversion"
LONG_AGO, NEVER = 0.0, float("inf")
SIZE = (1 << 20) + 70_000  # large enough to be resumed
CONTENT = random.Random(4).randbytes(SIZE)
FILE = RemoteFile("f", "f", "a.bin", SIZE, sha512=hashlib.sha512(CONTENT).hexdigest())
HOLDS = """
import sys
from pathlib import Path
from rescalefs.mirror.part import Part
part = Part(Path(sys.argv[1]), sys.argv[2], resumable=True)
part.write(b"bytes of the other", 0)
part.note(0, 18)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_by_another(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process writes the part, until it is killed or the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder), KEY],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


@pytest.mark.parametrize("resumable", [True, False])
def test_a_part_that_another_process_writes_is_neither_had_nor_cut(tmp_path: Path, resumable: bool) -> None:
    with held_by_another(tmp_path):
        with pytest.raises(PartTaken, match="another rescalefs process"):
            Part(tmp_path, KEY, resumable)
        sweep(tmp_path, NEVER)
        (part,) = tmp_path.glob("*.part")
        assert part.read_bytes() == b"bytes of the other"


def test_the_part_of_a_process_that_was_killed_is_taken_up(tmp_path: Path) -> None:
    with held_by_another(tmp_path) as process:
        process.kill()
        process.wait()
        with Part(tmp_path, KEY, resumable=True) as part:
            assert part.there(100) == [(0, 18)]
            assert b"".join(part.chunks(0, 18)) == b"bytes of the other"


def test_two_threads_do_not_share_a_part_either(tmp_path: Path) -> None:
    with Part(tmp_path, KEY, resumable=False), pytest.raises(PartTaken):
        Part(tmp_path, KEY, resumable=False)
    assert list(tmp_path.iterdir()) == []  # what cannot be gone on from is not left


def test_a_part_is_finished_where_no_descriptor_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with Part(tmp_path, "key", True) as part:
        part.write(b"bytes", 0)
        monkeypatch.setattr(os, "dup", refuse)
        assert part.finish(None).st_size == 5


def test_a_part_that_has_a_second_name_is_left_to_it(tmp_path: Path) -> None:
    """A kill between the two steps that name a file leaves it with both names."""
    with Part(tmp_path, KEY, resumable=True) as part:
        part.write(b"finished", 0)
    finished = tmp_path / "moved elsewhere"
    os.link(part.path, finished)
    for resumable in (True, False):
        with Part(tmp_path, KEY, resumable) as again:
            again.write(b"OTHER!!!", 0)
    assert finished.read_bytes() == b"finished"


def test_a_link_in_the_place_of_a_part_or_of_its_list_is_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"precious")
    with Part(tmp_path, KEY, resumable=True) as part:
        path = part.path
    for suffix in (".part", ".spans"):
        path.with_suffix(suffix).unlink(missing_ok=True)
        path.with_suffix(suffix).symlink_to(mine)
    with Part(tmp_path, KEY, resumable=True) as part:
        part.write(b"12345678", 0)
        part.note(0, 8)
    assert mine.read_bytes() == b"precious"


def test_a_link_in_the_place_of_the_folder_of_parts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "parts").symlink_to("elsewhere")
    with pytest.raises(UserError, match="is a symbolic link"):
        make_folder(tmp_path / "parts")


def test_a_folder_that_leads_out_is_not_written_to(tmp_path: Path) -> None:
    for name in ("to", "elsewhere", "to/parts"):
        (tmp_path / name).mkdir()
    (tmp_path / "to" / "out").symlink_to(tmp_path / "elsewhere")
    shelf = shelf_in(tmp_path / "to")
    with pytest.raises(UserError, match="leads out of"):
        shelf.write("out/deep/a", b"text", None)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_leftovers_go_and_what_may_be_gone_on_from_stays_for_a_while(tmp_path: Path) -> None:
    keys = {name: f"{name}\n1" for name in ("young", "old", "useless", "busy")}
    kept: dict[str, set[str]] = {}
    for name in ("young", "old"):
        with Part(tmp_path, keys[name], resumable=True) as part:
            part.write(b"x", 0)
            part.note(0, 1)
        kept[name] = {part.path.name, part.path.with_suffix(".spans").name}
    os.utime(part.path, (LONG_AGO, LONG_AGO))
    with Part(tmp_path, keys["useless"], resumable=True) as part:
        part.write(b"x", 0)  # nothing is noted of it
    (tmp_path / "ab.link").symlink_to("nowhere")
    (tmp_path / "ab.spans").write_text("0 9\n")
    with Part(tmp_path, keys["busy"], resumable=False) as busy:
        sweep(tmp_path, time.time() - 1000)
        assert {path.name for path in tmp_path.iterdir()} == {*kept["young"], busy.path.name}


# --- a file system without locks


def no_locks(_: int) -> None:
    raise OSError(errno.ENOSYS, "Function not implemented")


def test_without_locks_each_process_has_a_part_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_lock", no_locks)
    with Part(tmp_path, KEY, resumable=True) as part:
        with pytest.raises(PartTaken):
            Part(tmp_path, KEY, resumable=True)
        part.write(b"0123456789", 0)
        part.note(0, 10)
        living = part.path.with_name(part.path.name.replace(exclusion._PROCESS, "0" * 12))
        living = living.with_name(living.name.replace(f".{os.getpid()}.", ".1."))  # process 1 lives
        living.write_bytes(b"another's")
        sweep(tmp_path, NEVER)
        assert part.path.exists()
    assert living.read_bytes() == b"another's"
    # After this process, another one of the same number: only one can have it at a time.
    monkeypatch.setattr(exclusion, "_PROCESS", "f" * 12)
    with Part(tmp_path, KEY, resumable=True) as again:
        assert again.there(100) == [(0, 10)]
        assert b"".join(again.chunks(0, 10)) == b"0123456789"
    assert sorted(tmp_path.glob("*.part")) == sorted([again.path, living])


# --- bytes from before


def fetched(folder: Path, file: RemoteFile = FILE, content: bytes = CONTENT) -> tuple[bytes | Exception, int]:
    """Transfer a file; return its bytes, or why there are none, and how many bytes were asked for."""
    source, background = MemorySource({file.id: content}), Background()
    transfers = Transfers(source, folder, SystemClock(), background, 2)
    ended: list[bytes | Exception] = []

    def done(part: Part | None, failure: Exception | None) -> None:
        assert failure is not None or part is not None
        ended.append(failure or part.path.read_bytes())  # type: ignore[union-attr]
        if part is not None:
            part.discard()

    transfers.start()
    try:
        transfers.add(file, KEY, done)
        transfers.drain()
    finally:
        transfers.close()
        background.close()
    (result,) = ended
    return result, source.bytes_sent


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes, bytes]:
    """The name, bytes and list of a part of which two thirds had come."""
    folder = tmp_path_factory.mktemp("interrupted")
    with Part(folder, KEY, resumable=True) as part:
        part.write(CONTENT[:300_000], 0)
        part.note(0, 300_000)
        part.write(CONTENT[600_000:], 600_000)
        part.note(600_000, SIZE)
    return part.path.stem, part.path.read_bytes(), part.path.with_suffix(".spans").read_bytes()


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_part_or_its_list_cut_or_flipped_at_any_byte_ends_in_the_right_file(
    tmp_path_factory: pytest.TempPathFactory, interrupted: tuple[str, bytes, bytes], data: st.DataObject
) -> None:
    name, part, spans = interrupted
    what = data.draw(st.sampled_from(["part", "spans"]))
    how = data.draw(st.sampled_from(["cut", "flip", "insert"]))
    bad = bytearray(part if what == "part" else spans)
    at = data.draw(st.integers(0, len(bad) - 1))
    if how == "cut":
        del bad[at:]
    elif how == "flip":
        bad[at] ^= data.draw(st.integers(1, 255))
    else:
        bad[at:at] = data.draw(st.sampled_from([b"9" * 5000, b"\n", b" ", b"0 1048576\n", b"\xff\x00", b"-"]))
    folder = tmp_path_factory.mktemp("resumed")
    (folder / f"{name}.part").write_bytes(bytes(bad) if what == "part" else part)
    (folder / f"{name}.spans").write_bytes(bytes(bad) if what == "spans" else spans)
    result, sent = fetched(folder)
    assert result == CONTENT
    assert sent <= 2 * SIZE
    assert list(folder.iterdir()) == []


def test_what_is_there_is_not_fetched_again(tmp_path: Path, interrupted: tuple[str, bytes, bytes]) -> None:
    name, part, spans = interrupted
    (tmp_path / f"{name}.part").write_bytes(part + b"and more than the file has")
    (tmp_path / f"{name}.spans").write_bytes(spans)
    assert fetched(tmp_path) == (CONTENT, 300_000)


def test_a_file_that_comes_by_another_process_is_waited_for_and_not_fetched(tmp_path: Path) -> None:
    source, background, ended = MemorySource({"f": CONTENT}), Background(), threading.Event()
    transfers = Transfers(source, tmp_path, SystemClock(), background, 2)
    told: list[object] = []
    looked = threading.Event()

    def is_here() -> bool:
        looked.set()
        return True

    def done(part: Part | None, failure: Exception | None) -> None:
        told.append((part, failure))
        ended.set()

    def thrown_away(part: Part | None, _: Exception | None) -> None:
        assert part is not None
        part.discard()

    transfers.start()
    try:
        with held_by_another(tmp_path) as process:
            transfers.add(FILE, KEY, done, is_here)
            transfers.add(RemoteFile("f", "f", "b.bin", SIZE), "another", thrown_away)
            wait_until = time.monotonic() + PATIENCE
            while source.bytes_sent < SIZE:  # the other file does not wait with it
                assert time.monotonic() < wait_until
                time.sleep(0.01)
            assert not looked.is_set()
            process.kill()
        assert ended.wait(PATIENCE)
        transfers.drain()
    finally:
        transfers.close()
        background.close()
    assert told == [(None, None)]
    assert source.bytes_sent == SIZE
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_holds_a_part_and_writes_no_more_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rescalefs.mirror.transfers._TAKEN_FOR", 0.2)
    monkeypatch.setattr("rescalefs.mirror.transfers._TAKEN_EVERY", 0.05)
    with held_by_another(tmp_path):
        result, sent = fetched(tmp_path)
    assert isinstance(result, PartTaken)
    assert sent == 0


def test_a_descriptor_is_waited_for_as_long_as_other_files_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No limit of its own: 60 files with ten descriptors take as long as they take."""
    monkeypatch.setattr("rescalefs.mirror.transfers._TAKEN_FOR", 0.0)
    monkeypatch.setattr("rescalefs.mirror.transfers._TAKEN_EVERY", 0.0)
    source, background = MemorySource({FILE.id: CONTENT}), Background()
    transfers = Transfers(source, tmp_path, SystemClock(), background, 1)
    others = (Fetch(FILE, f"other {number}", lambda *_: None, lambda: False) for number in range(5))
    tries: list[str] = []
    ended: list[Exception | None] = []

    def refused(folder: Path, key: str, resumable: bool) -> Part:
        if not key.startswith(KEY):
            raise AssertionError(key)
        tries.append(key)
        other = next(others, None)
        if other is None:
            return Part(folder, key, resumable)
        with transfers._lock:
            transfers._pending += 1
        transfers._finish(other, None)  # another file ends meanwhile
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def done(part: Part | None, failure: Exception | None) -> None:
        ended.append(failure)
        if part is not None:
            part.discard()

    monkeypatch.setattr("rescalefs.mirror.transfers.Part", refused)
    transfers.start()
    try:
        transfers.add(FILE, KEY, done)
        transfers.drain()
    finally:
        transfers.close()
        background.close()
    assert ended == [None]
    assert len(tries) == 6


def test_a_part_ends_though_no_descriptor_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with Part(tmp_path, KEY, resumable=True) as part:
        part.write(b"bytes", 0)
        monkeypatch.setattr("os.dup", none_left)
        assert part.finish(None).st_size == 5
        part.placed()
