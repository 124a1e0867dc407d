"""Whatever the network, the disk, other threads and other processes do: the right bytes, or an error."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rescalefs.clock import SystemClock
from rescalefs.errors import FileChanged, RescaleFSError, TimedOut, Unreachable
from rescalefs.reading import CacheUpkeep, ReadEngine
from tests.fakes import Fault, MemorySource
from tests.reading.engines import read, remote, running

ROOT = Path(__file__).parents[2]
TEXT = bytes(range(251)) * 8

FAULTS = st.builds(
    Fault,
    after=st.integers(0, 200),
    error=st.sampled_from([None, Unreachable("cut"), TimedOut("slow"), FileChanged("other")]),
    short=st.booleans(),
    flip=st.booleans(),
)
READS = st.lists(st.tuples(st.integers(0, 900), st.integers(1, 400)), max_size=5)
HARM = st.sampled_from(["none", "forget", "shorten", "clear"])


def does_harm(cache: Path, kind: str, gone: threading.Event) -> None:
    """What may happen to a cache under those who read: until the readers have gone, once at least."""
    while True:
        # Not rglob: it raises where a folder goes away under it.
        paths = [Path(folder, name) for folder, _, names in os.walk(cache / "blocks") for name in names]
        for number, path in enumerate(sorted(path for path in paths if path.suffix == ".val")):
            with contextlib.suppress(FileNotFoundError):
                if kind == "forget" and number % 2:
                    path.unlink()
                elif kind == "shorten" and number % 3 == 0:
                    os.truncate(path, path.stat().st_size // 2)
        if kind == "clear":
            with contextlib.suppress(RescaleFSError):
                CacheUpkeep(cache, 64 << 20, SystemClock()).clear()
        if gone.wait(0):
            return


def reads_right(engine: ReadEngine, content: bytes, name: str, reads: list[tuple[int, int]]) -> str:
    """One reader: here and there, then all of it. "wrong" means that the promise was broken."""
    file = engine.open(remote(content, name))
    wrong = False
    try:
        for start, length in [*reads, (0, 450), (450, 500)]:
            got = read(file, start, start + length)
            wrong = wrong or got != content[start : start + length]
    except RescaleFSError:
        return "error"
    else:
        return "wrong" if wrong else "right"
    finally:
        file.close()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_readers_at_once_get_the_right_bytes_or_an_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With faults, flipped bytes, little room, restarts, and a cache that others damage meanwhile."""
    contents = {"f": TEXT[: data.draw(st.integers(0, 900), label="size")], "g": TEXT[::-1][:700]}
    leaf = data.draw(st.sampled_from([16, 40]), label="leaf")
    source = MemorySource(contents, chunk=data.draw(st.integers(5, 90), label="chunk"))
    cache = tmp_path_factory.mktemp("cache")
    verify: Literal["eof", "strict"] = data.draw(st.sampled_from(["eof", "strict"]), label="verify")
    for _ in range(data.draw(st.integers(1, 2), label="runs")):
        source.misbehave(*data.draw(st.lists(st.none() | FAULTS, max_size=8), label="faults"))
        readers = data.draw(
            st.lists(st.tuples(st.sampled_from("fg"), READS), min_size=1, max_size=3), label="readers"
        )
        harm = data.draw(HARM, label="harm")
        gone = threading.Event()
        with (
            ThreadPoolExecutor(4) as threads,
            running(
                source,
                cache,
                verify=verify,
                leaf_size=leaf,
                block_size=leaf * data.draw(st.sampled_from([1, 4]), label="leaves in a block"),
                open_blocks=data.draw(st.sampled_from([2, 64]), label="open blocks"),
                cache_size=data.draw(st.sampled_from([1, 64 << 20]), label="cache size"),
            ) as engine,
        ):
            doing = threads.submit(does_harm, cache, harm, gone)
            futures = [
                threads.submit(reads_right, engine, contents[name], name, reads) for name, reads in readers
            ]
            try:
                outcomes = [future.result() for future in futures]
            finally:
                gone.set()
            doing.result()
        assert "wrong" not in outcomes


def test_processes_that_share_a_cache_with_too_little_room_all_read_right(tmp_path: Path) -> None:
    body = "import pathlib, sys; from tests.reading.killed import use; use(pathlib.Path(sys.argv[1]), 60_000)"
    command = [sys.executable, "-c", body, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    keeper = CacheUpkeep(tmp_path, 60_000, SystemClock())
    assert keeper.verify()[2:] == (0, 0)
    assert 0 < keeper.info().used <= 60_000 + 3 * 4096


def test_a_process_that_is_killed_at_any_write_leaves_nothing_wrong(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.reading.killed", str(tmp_path / "cache"), "61"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    killed, found = map(int, done.stdout.split())
    assert killed > 5
    assert found > 0
