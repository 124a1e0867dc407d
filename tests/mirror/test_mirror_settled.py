"""Every file that was asked for is settled, once, whatever is raised wherever, and whenever it is closed."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rescalefs.background import Background
from rescalefs.clock import SystemClock
from rescalefs.mirror import Transfers, parts_of
from rescalefs.mirror.part import Part
from rescalefs.model import RemoteFile
from tests.fakes import Fault, MemorySource
from tests.mirror.rounds import NoTails, output, rounds

MIB = 1 << 20
SMALL, LARGE = b"small", random.Random(5).randbytes(3 * MIB)
PATIENCE = 60.0


class Asked:
    """Files that were asked for, and how each of them ended."""

    def __init__(self, transfers: Transfers) -> None:
        self.transfers = transfers
        self.ended: dict[str, list[Exception | None]] = {}
        self._lock = threading.Lock()

    def add(self, count: int, raising: bool = False) -> None:
        first = len(self.ended)
        for number in range(first, first + count):
            for kind, content in (("small", SMALL), ("large", LARGE)):
                name = f"{kind}{number}"
                self.ended[name] = []
                file = RemoteFile(kind, name, name, len(content) if number % 3 else None)
                self.transfers.add(file, name, partial(self._done, name, raising))

    def _done(self, name: str, raising: bool, part: Part | None, why: Exception | None) -> None:
        with self._lock:
            self.ended[name].append(why)
        if part is not None:
            part.discard()
        if raising:
            raise ValueError("what follows on a file failed")

    def failures(self) -> int:
        assert {name: len(ended) for name, ended in self.ended.items()} == dict.fromkeys(self.ended, 1)
        return sum(why is not None for (why,) in self.ended.values())


@contextmanager
def asked(folder: Path, source: MemorySource, connections: int = 3) -> Iterator[Asked]:
    background = Background()
    transfers = Transfers(source, folder, SystemClock(), background, connections, pause=0.0)
    transfers.start()
    try:
        yield Asked(transfers)
    finally:
        transfers.close()
        background.close()


def drained(transfers: Transfers) -> bool:
    done = threading.Event()

    def drain() -> None:
        transfers.drain()
        done.set()

    threading.Thread(target=drain, daemon=True).start()
    return done.wait(PATIENCE)


STEPS = ("__init__", "there", "write", "chunks", "flush", "note", "size", "start_over", "discard", "let_go")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", [ValueError("odd"), OSError(5, "Input/output error")], ids=["odd", "disk"])
def test_whatever_a_part_raises_each_file_ends_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
) -> None:
    usual: Any = getattr(Part, step)
    calls, lock = Counter[str](), threading.Lock()
    call: Any = usual.fget if isinstance(usual, property) else usual

    def sometimes(self: Part, *values: object) -> object:
        with lock:
            calls["n"] += 1
            bad = calls["n"] % 3 == 1
        if bad:
            raise error
        return call(self, *values)

    monkeypatch.setattr(Part, step, property(sometimes) if isinstance(usual, property) else sometimes)
    with asked(tmp_path, MemorySource({"small": SMALL, "large": LARGE})) as files:
        files.add(6)
        assert drained(files.transfers)
        files.failures()


def test_whatever_the_server_raises_each_file_ends_once(tmp_path: Path) -> None:
    faults = [Fault(error=ValueError("odd"), after=number * 1000) for number in range(5)]
    with asked(tmp_path, MemorySource({"small": SMALL, "large": LARGE}, faults)) as files:
        files.add(6)
        assert drained(files.transfers)
        assert 0 < files.failures() <= 5


def test_what_follows_on_a_file_may_raise(tmp_path: Path) -> None:
    with asked(tmp_path, MemorySource({"small": SMALL, "large": LARGE})) as files:
        files.add(6, raising=True)
        assert drained(files.transfers)
        assert files.failures() == 0


@pytest.mark.parametrize("seed", range(8))
def test_closed_at_any_moment_each_file_ends_once_and_no_part_stays_open(tmp_path: Path, seed: int) -> None:
    chance, source = random.Random(seed), MemorySource({"small": SMALL, "large": LARGE}, chunk=1 << 14)
    enough = chance.randrange(20 * MIB)
    with asked(tmp_path, source) as files:
        files.add(8)
        while source.bytes_sent < enough and any(not ended for ended in files.ended.values()):
            pass
        files.transfers.close()
        files.add(2)  # too late
    files.failures()
    here = {os.path.realpath(descriptor) for descriptor in Path("/proc/self/fd").iterdir()}
    assert not [path for path in here if path.startswith(str(tmp_path))]


def test_all_who_wait_for_one_file_are_told_when_telling_one_of_them_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = output("in", b"shared")
    with rounds(tmp_path / "to", {"in": b"shared"}, NoTails()) as here:
        for job in "abcd":
            here.service.add(job)
            here.service.inputs[job] = (shared,)
        usual = here.mirror._arrived

        def arrived(path: str, *rest: object) -> None:
            usual(path, *rest)  # type: ignore[arg-type]
            if path.startswith("jobs/b"):
                raise ValueError("told, and not pleased")

        monkeypatch.setattr(here.mirror, "_arrived", arrived)
        here.round()
        assert {path.read_bytes() for path in here.folder.glob("jobs/*/inputs/in")} == {b"shared"}
        assert len(list(here.folder.glob("jobs/*/inputs/in"))) == 4
        assert here.mirror._flying == {}


def test_a_job_that_asks_between_the_fetch_of_a_shared_file_and_its_naming_does_not_fetch_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_placing, has_asked = threading.Event(), threading.Event()
    with rounds(tmp_path / "to", {"in": b"shared"}, NoTails()) as here:
        for job in "ab":
            here.service.add(job)
            here.service.inputs[job] = (output("in", b"shared"),)
        get, place = here.mirror._get, here.shelf.place
        asked: list[str] = []

        def get_in_turn(file: RemoteFile, path: str, arrival: Any) -> None:
            asked.append(path)
            if len(asked) == 2:  # the other job's
                assert is_placing.wait(PATIENCE)
            get(file, path, arrival)
            if len(asked) == 2:
                has_asked.set()

        def place_in_turn(path: str, *rest: Any) -> bool:
            if path == asked[0]:
                is_placing.set()
                assert has_asked.wait(PATIENCE)
            return place(path, *rest)

        monkeypatch.setattr(here.mirror, "_get", get_in_turn)
        monkeypatch.setattr(here.shelf, "place", place_in_turn)
        here.round()
        assert here.of("fetch") == asked[:1]
        assert here.of("copy") == asked[1:]
        assert here.source.requests == [("in", 0, len(b"shared"))]
        assert here.mirror._flying == {}


def test_users_who_share_a_folder_have_parts_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".rescalefs-download").mkdir()
    assert parts_of(tmp_path).name == ".rescalefs-download"
    monkeypatch.setattr(os, "geteuid", lambda: (tmp_path / ".rescalefs-download").stat().st_uid + 7)
    assert parts_of(tmp_path).name == f".rescalefs-download-{os.geteuid()}"
