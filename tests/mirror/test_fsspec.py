"""The account through fsspec, on a simulator over HTTP."""

from __future__ import annotations

import csv
import gc
import os
import pickle
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import fsspec
import pytest

from rescalefs.fsspec import RescaleFileSystem
from rescalefs.simulator.faults import Corrupt, Fault, Status
from tests.mirror.account import Account

BIG = random.Random(9).randbytes((5 << 20) + 77)
FILES = {"forces.csv": b"t,fx,fy\n0,1.5,2\n1,2.5,3\n", "case/a.csv": b"x\n1\n", "case/big.bin": BIG}


@pytest.fixture
def fs(account: Account) -> Iterator[Any]:
    with mock.patch.dict(os.environ, account.environment, clear=True):
        RescaleFileSystem.clear_instance_cache()
        system = fsspec.filesystem("rescale")
        assert isinstance(system, RescaleFileSystem)
        yield system
        system.close()
        RescaleFileSystem.clear_instance_cache()


def test_it_lists_and_finds_as_a_local_file_system_does(account: Account, fs: Any) -> None:
    job = account.add_job("wing", FILES)
    top = f"jobs/{job}/outputs"
    assert fs.ls(top, detail=False) == [f"{top}/case", f"{top}/forces.csv"]
    assert fs.glob("jobs/*/outputs/**/*.csv") == [f"{top}/case/a.csv", f"{top}/forces.csv"]
    assert [(where, files) for where, _, files in fs.walk(f"rescale://{top}")] == [
        (top, ["forces.csv"]),
        (f"{top}/case", ["a.csv", "big.bin"]),
    ]
    info = fs.info(f"rescale://{top}/case/big.bin")
    assert (info["type"], info["size"]) == ("file", len(BIG))
    assert fs.cat("by-name/wing/outputs/case/a.csv") == b"x\n1\n"
    assert fs.isdir("by-name/wing")
    assert not fs.exists(f"{top}/nothing")
    with pytest.raises(FileNotFoundError):
        fs.info("jobs/nOsuch")
    assert fs.cat(f"jobs/{job}/status") == b"Completed\n"


@pytest.mark.parametrize("status", [403, 500])
def test_what_cannot_be_listed_is_an_error_and_not_an_empty_list(
    account: Account, fs: Any, status: int
) -> None:
    job = account.add_job("wing", FILES)
    top = f"jobs/{job}/outputs"
    account.simulator.faults.add(Fault(Status(status), path="/files/$", times=None))
    acts: list[Callable[[], object]] = [
        lambda: fs.find(top),
        lambda: fs.glob(f"{top}/**/*.csv"),
        lambda: list(fs.walk(top)),
        lambda: fs.exists(f"{top}/forces.csv"),
        lambda: fs.isdir(f"{top}/case"),
        lambda: fs.isfile(f"{top}/forces.csv"),
        lambda: fs.expand_path(top, recursive=True),
    ]
    for act in acts:
        with pytest.raises(OSError, match="files"):
            act()
    account.simulator.faults.clear()
    fs.invalidate_cache(top)  # an error is remembered for some seconds
    assert len(fs.find(top)) == len(FILES)
    assert fs.find("jobs/nOsuch") == []
    assert not fs.isdir("jobs/nOsuch")
    assert not fs.isfile(f"{top}/forces.csv/below")


def test_it_reads_any_range_through_the_engine(account: Account, fs: Any) -> None:
    job = account.add_job("wing", FILES)
    path = f"jobs/{job}/outputs/case/big.bin"
    with fs.open(path) as file:
        file.seek(1_000_000)
        assert file.read(100) == BIG[1_000_000:1_000_100]
        file.seek(-10, os.SEEK_END)
        assert file.read() == BIG[-10:]
    assert fs.cat_file(path, 5, 9) == BIG[5:9]
    assert fs.cat_file(path, -7) == BIG[-7:]
    assert fs.cat_ranges([path, path], [0, 2 << 20], [10, (2 << 20) + 5]) == [
        BIG[:10],
        BIG[2 << 20 : (2 << 20) + 5],
    ]
    assert fs.cat_file(path) == BIG
    with fsspec.open(f"rescale://jobs/{job}/outputs/forces.csv", "rt", newline="") as text:
        assert [row["fx"] for row in csv.DictReader(text)] == ["1.5", "2.5"]


def test_it_copies_out_and_takes_nothing_in(account: Account, fs: Any, tmp_path: Path) -> None:
    job = account.add_job("wing", FILES)
    fs.get(f"jobs/{job}/outputs/", str(tmp_path / "out"), recursive=True)
    assert (tmp_path / "out" / "case" / "big.bin").read_bytes() == BIG
    with pytest.raises(OSError, match="read-only"):
        fs.open(f"jobs/{job}/outputs/new.txt", "wb")


def test_a_pickled_one_works_and_carries_no_key(account: Account, fs: Any) -> None:
    job = account.add_job("wing", FILES)
    fs.ls("jobs")
    packed = pickle.dumps(fs)
    assert account.simulator.api_key.encode() not in packed
    assert pickle.loads(packed).cat_file(f"jobs/{job}/outputs/case/a.csv") == b"x\n1\n"


def test_wrong_bytes_are_an_error(account: Account, fs: Any) -> None:
    job = account.add_job("wing", FILES)
    account.simulator.faults.add(Fault(Corrupt(at=3), "contents", times=None))
    with pytest.raises(OSError, match="SHA-512"):
        fs.cat_file(f"jobs/{job}/outputs/forces.csv")


def test_a_file_system_that_the_collector_finds_ends_its_threads(account: Account, fs: Any) -> None:
    fs.ls("jobs")
    library = fs._library
    RescaleFileSystem.clear_instance_cache()
    with library._engine._board._lock:  # as it is where the collector runs in the middle of a read
        library.abandon()
        assert not library._background.stopping
    for name in ("rescalefs-library", "rescalefs-librarian"):
        for thread in threading.enumerate():
            if thread.name == name:
                thread.join(20)
                assert not thread.is_alive()


def test_files_dropped_in_cycles_are_closed_while_others_are_read(account: Account, fs: Any) -> None:
    job = account.add_job("wing", FILES)
    path = f"jobs/{job}/outputs/case/big.bin"
    threshold = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(7, 1, 1)
    try:
        for turn in range(40):
            forgotten = fs.open(path, block_size=4096, cache_type="none")
            forgotten.itself = forgotten
            forgotten.seek(turn * 100_000)
            assert forgotten.read(10) == BIG[turn * 100_000 : turn * 100_000 + 10]
            del forgotten
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()
