"""Databases and locks on file systems without locks, or without shared mappings: on real mounts."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timezone
from pathlib import Path

import pytest

from rescalefs.clock import SystemClock
from rescalefs.errors import UserError
from rescalefs.exclusion import Taken, exclusive
from rescalefs.filesystems import Ability, ability_of, file_system_of, lack_words
from rescalefs.mirror import Ledger
from rescalefs.mirror.ledger import Mark
from rescalefs.mount import claims
from rescalefs.reading.blocks import BlockStore, memory_spool
from rescalefs.reading.positioned import write_fully
from rescalefs.reading.upkeep import CacheUpkeep
from rescalefs.simulator.store import Store
from rescalefs.submit import machine
from rescalefs.submit.journal import Journal, JournalFailed
from rescalefs.submit.machine import Drop
from tests.otherdisks import ROOT, Disk, mounted

pytestmark = pytest.mark.fuse

NUMBERS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
AT = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


class Mounts:
    """One of each kind for all tests here, made when it is first asked for."""

    def __init__(self, folder: Path, held: ExitStack) -> None:
        self._folder = folder
        self._held = held
        self._made: dict[int, Disk] = {}

    def without_locks(self, number: int) -> Disk:
        """With 0 it has locks, and lacks shared mappings."""
        if number not in self._made:
            disk = mounted(self._folder / str(number), locks=number, direct=not number)
            self._made[number] = self._held.enter_context(disk)
        return self._made[number]


@pytest.fixture(scope="module")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounts]:
    with ExitStack() as held:
        yield Mounts(tmp_path_factory.mktemp("disks"), held)


@pytest.fixture(params=NUMBERS, ids=[errno.errorcode[number] for number in NUMBERS])
def lockless(request: pytest.FixtureRequest, mounts: Mounts) -> Disk:
    return mounts.without_locks(request.param)


@pytest.fixture
def mapless(mounts: Mounts) -> Disk:
    return mounts.without_locks(0)


@pytest.fixture(params=[0, errno.ENOSYS, errno.ENOLCK], ids=["no mappings", "ENOSYS", "ENOLCK"])
def poor(request: pytest.FixtureRequest, mounts: Mounts, tmp_path: Path) -> Path:
    """A folder of this test on one of them."""
    folder = mounts.without_locks(request.param).path / tmp_path.name
    folder.mkdir()
    return folder


def in_another_process(code: str, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


# --- what there is


def test_what_a_file_system_lacks_is_found_out_and_leaves_nothing(
    lockless: Disk, mapless: Disk, tmp_path: Path
) -> None:
    assert ability_of(tmp_path) == Ability()
    assert ability_of(lockless.path) == Ability(locks=False, maps=True, file_locks=False)
    assert ability_of(mapless.path) == Ability(locks=True, maps=False, file_locks=True)
    assert not list(lockless.path.glob(".probe*"))
    assert ability_of(tmp_path / "missing") == Ability()


def test_a_file_system_is_named_with_its_place(lockless: Disk) -> None:
    folder = lockless.path / "deep"
    assert file_system_of(folder) == f"fuse ({lockless.path})"
    assert lack_words(lockless.path, "Do this") == (
        f"{lockless.path} is on fuse ({lockless.path}), which has no file locks. Do this"
    )
    assert file_system_of(Path("/proc/self/fd")) == "proc (/proc)"


# --- one process has it for itself


def test_the_list_of_a_sync_and_the_records_of_the_simulator_need_neither(poor: Path) -> None:
    for _ in range(2):
        with closing(Ledger(poor / "mirror.sqlite")) as ledger:
            ledger.note("a", Mark(1, 2, "v"))
            assert ledger.marks("a") == [Mark(1, 2, "v")]
        with closing(Store(poor / "world.sqlite")) as store:
            assert store.fact("workspace", new=lambda: "first") == "first"


def test_a_list_from_an_ordinary_disk_is_gone_on_with(poor: Path, tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "mirror.sqlite")) as ledger:
        ledger.note("a", Mark(1, 2, "v"))
    (poor / "mirror.sqlite").write_bytes((tmp_path / "mirror.sqlite").read_bytes())
    with closing(Ledger(poor / "mirror.sqlite")) as ledger:
        ledger.note("b", Mark(1, 2, "v"))
        assert ledger.marks("a") == ledger.marks("b") == [Mark(1, 2, "v")]


HOLD = """
import sys
from pathlib import Path
from rescalefs.exclusion import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_and_a_killed_one_is_followed_at_once(poor: Path) -> None:
    first = in_another_process(HOLD, poor / "lock")
    with first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(Taken), exclusive(poor / "lock"):
            pass
        first.kill()
    with exclusive(poor / "lock"), pytest.raises(Taken), exclusive(poor / "lock"):
        pass
    with exclusive(poor / "lock"):
        pass
    assert [path.name for path in poor.iterdir()] in ([], ["lock"])


def test_a_note_of_another_machine_is_believed_and_named(lockless: Disk, tmp_path: Path) -> None:
    folder = lockless.path / tmp_path.name
    folder.mkdir()
    note = folder / "lock.another-host.1234.0123456789ab"
    note.touch()
    with pytest.raises(Taken) as taken, exclusive(folder / "lock"):
        pass
    assert taken.value.note == note
    assert list(folder.iterdir()) == [note]


# --- several processes share it


def written(journal: Journal) -> Drop:
    return journal.append(Drop("one"), machine.Found("wing", 7, 8), AT)


def test_a_journal_without_shared_mappings_is_shared_by_processes(mapless: Disk, tmp_path: Path) -> None:
    path = mapless.path / tmp_path.name / "journal.sqlite"
    with closing(Journal(path)) as journal, closing(Journal(path)) as other:
        drop = written(journal)
        assert other.replay() == {"one": drop}
        other.note("who", "me")
        assert journal.fact("who") == "me"


def test_a_journal_from_an_ordinary_disk_is_gone_on_with_without_shared_mappings(
    mapless: Disk, tmp_path: Path
) -> None:
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        drop = written(journal)
    path = mapless.path / tmp_path.name / "journal.sqlite"
    path.parent.mkdir()
    path.write_bytes((tmp_path / "journal.sqlite").read_bytes())
    with closing(Journal(path)) as journal:
        assert journal.replay() == {"one": drop}
        journal.note("who", "me")


def test_without_locks_a_journal_shows_what_it_has_and_says_which_setting_to_change(
    lockless: Disk, tmp_path: Path
) -> None:
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        drop = written(journal)
    folder = lockless.path / tmp_path.name
    for path, known in ((folder / "old", {"one": drop}), (folder / "new", {})):
        path.mkdir(parents=True)
        if known:
            (path / "journal.sqlite").write_bytes((tmp_path / "journal.sqlite").read_bytes())
        with closing(Journal(path / "journal.sqlite")) as journal:
            assert journal.replay() == known
            with pytest.raises(JournalFailed, match=r"is on fuse \(.*\), which has no file locks\. Set XDG"):
                journal.note("who", "me")


def put(store: BlockStore, key: str, content: bytes) -> bool:
    descriptor = memory_spool()
    try:
        write_fully(descriptor, content, 0)
        return store.put(key, "group", descriptor)
    finally:
        os.close(descriptor)


def test_a_cache_without_shared_mappings_is_a_cache(mapless: Disk, tmp_path: Path) -> None:
    folder = mapless.path / tmp_path.name
    for key in ("a", "b"):
        with closing(BlockStore(folder, 1 << 20, SystemClock())) as store:
            store.open()
            assert put(store, key, b"content")
            assert store.trouble is None
            assert store.stored()[0] == "a"
    assert CacheUpkeep(folder, 1 << 20, SystemClock()).clear().blocks == 2


def test_a_cache_from_an_ordinary_disk_is_gone_on_with(mapless: Disk, tmp_path: Path) -> None:
    with closing(BlockStore(tmp_path / "cache", 1 << 20, SystemClock())) as store:
        store.open()
        assert put(store, "a", b"content")
    folder = mapless.path / tmp_path.name
    subprocess.run(["cp", "-r", tmp_path / "cache", folder], check=True)
    with closing(BlockStore(folder, 1 << 20, SystemClock())) as store:
        store.open()
        assert store.trouble is None
        assert store.stored() == ["a"]


def test_without_locks_there_is_no_cache_and_one_line_says_which_setting_to_change(
    lockless: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = lockless.path / tmp_path.name
    with closing(BlockStore(folder, 1 << 20, SystemClock())) as store:
        store.open()
        assert store.get("a") is None
        assert not put(store, "a", b"content")
    (line,) = caplog.messages
    assert f"is on fuse ({lockless.path}), which has no file locks. Set cache_dir" in line
    with pytest.raises(UserError, match=r"no file locks\. Set cache_dir \(RESCALEFS_CACHE_DIR\)") as told:
        CacheUpkeep(folder, 1 << 20, SystemClock()).clear()
    assert "remove the folder" not in str(told.value)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_cache_is_cleared_on_a_disk_that_takes_nothing_more(
    mapless: Disk, tmp_path: Path, number: int
) -> None:
    folder = mapless.path / tmp_path.name
    with closing(BlockStore(folder, 1 << 20, SystemClock())) as store:
        store.open()
        assert put(store, "a", b"content")
    mapless.become(direct=True, refuse={"write": number, "create": number})
    try:
        cleared = CacheUpkeep(folder, 1 << 20, SystemClock()).clear()
    finally:
        mapless.become(direct=True)
    assert (cleared.blocks, cleared.used) == (1, len(b"content"))
    assert CacheUpkeep(folder, 1 << 20, SystemClock()).info().used < 100_000
    assert not list(folder.glob("blocks/*/*/*.val"))


# --- which process serves a mountpoint

SERVE = """
import sys
from pathlib import Path
from rescalefs.mount import claims
claims.claim(Path(sys.argv[1]))
print("claimed", flush=True)
sys.stdin.read()
"""


def test_a_daemon_is_found_without_locks_for_as_long_as_it_runs(
    lockless: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(lockless.path / tmp_path.name))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    daemon = in_another_process(SERVE, "/mnt/wing")
    with daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "claimed\n"
        assert claims.daemon_of(Path("/mnt/wing")) == claims.Daemon(daemon.pid, Path("/mnt/wing"))
        daemon.kill()
    assert claims.daemon_of(Path("/mnt/wing")) is None


def test_sqlite_itself_needs_what_these_disks_lack(poor: Path) -> None:
    """If it no longer did, the tests above would show nothing."""
    connection = sqlite3.connect(poor / "plain", timeout=0)
    with closing(connection), pytest.raises(sqlite3.OperationalError):
        connection.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t (a)")
