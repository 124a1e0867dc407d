"""The account through fsspec in other people's processes: forked, spawned, ended."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rescalefs.fsspec import RescaleFile, RescaleFileSystem
from rescalefs.simulator.faults import Fault, Latency, Status
from tests.mirror.account import PATIENCE, ROOT, Account

LINES = b"".join(b"%d,%s\n" % (number, b"x" * (number % 50)) for number in range(30_000)) + b"no line end"
FILES = {"a.txt": b"first", "b.txt": b"second", "lines.csv": LINES, "big.bin": os.urandom(6 << 20)}

HEAD = """
import os, sys, threading
from rescalefs.fsspec import RescaleFileSystem
files = RescaleFileSystem()
top = sys.argv[1]
"""


@pytest.fixture
def fs(account: Account) -> Iterator[RescaleFileSystem]:
    with mock.patch.dict(os.environ, account.environment, clear=True):
        RescaleFileSystem.clear_instance_cache()
        system = RescaleFileSystem()
        yield system
        system.close()
        RescaleFileSystem.clear_instance_cache()


def run(account: Account, job: str, program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", HEAD + program, f"jobs/{job}/outputs"],
        cwd=ROOT,
        env=account.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


FORKING = """
import hashlib, time
from rescalefs.errors import OtherProcess
shared = files.open(top + "/big.bin")
digest = hashlib.sha512(shared.read()).hexdigest()
client = files._library._client
client.user()
ended = threading.Event()
def read():
    while not ended.is_set():
        files.cat_file(top + "/lines.csv")
        files.ls("jobs")
        files.invalidate_cache()
readers = [threading.Thread(target=read, daemon=True) for _ in range(4)]
for each in readers: each.start()
tree, engine = files._library.tree, files._library._engine

def links():
    for each in os.listdir("/proc/self/fd"):
        try: yield os.readlink(f"/proc/self/fd/{each}")
        except FileNotFoundError: pass  # of this very listing

assert [each for each in links() if each.startswith("socket:")]

def child():
    assert not [each for each in links() if each.startswith("socket:")], "sockets are the parent's"
    begun = time.monotonic()
    for act in (lambda: tree.jobs() and tree.forget(), lambda: engine.open(None)):
        try: act()
        except OtherProcess: pass
        else: assert False, "it should say at once that it belongs to the parent"
    assert time.monotonic() - begun < 5
    assert client.user().email
    shared.seek(0)
    assert hashlib.sha512(shared.read()).hexdigest() == digest
    assert files.cat_file(top + "/b.txt") == b"second"

for _ in range(5):
    number = os.fork()
    if not number:
        try: child()
        except BaseException:
            import traceback; traceback.print_exc()
            os._exit(1)
        sys.exit(7)  # with all that Python does at the end
    assert os.waitpid(number, 0)[1] >> 8 == 7
ended.set()
for each in readers: each.join(60)
assert not any(each.is_alive() for each in readers)
assert files.cat_file(top + "/a.txt") == b"first"
print("done")
"""


def test_forked_children_read_the_right_bytes_with_their_own_connections_while_the_parent_reads(
    account: Account,
) -> None:
    ended = run(account, account.add_job("wing", FILES), FORKING)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")


ENDING = """
def read():
    while True: files.cat_file(top + "/big.bin")
for _ in range(3): threading.Thread(target=read, daemon=True).start()
files.glob("jobs/*/outputs/*")
left_open = files.open(top + "/lines.csv")
left_open.read(10)
print("done")
sys.exit(5)
"""


def test_a_script_ends_silently_with_its_own_exit_code_while_threads_read(account: Account) -> None:
    job = account.add_job("wing", FILES)
    account.simulator.faults.add(Fault(Latency(0.1), "jobs/", times=None))
    ended = run(account, job, ENDING)
    assert (ended.returncode, ended.stdout, ended.stderr) == (5, "done\n", "")


def rest(file: Any) -> bytes:
    content: bytes = file.read()
    file.close()
    return content


def lines_of(packed: bytes) -> int:
    with pickle.loads(packed) as file:
        return sum(1 for _ in file)


@pytest.mark.parametrize("way", ["spawn", "forkserver"])
def test_an_open_file_goes_on_where_it_was_in_another_process(
    account: Account, fs: RescaleFileSystem, way: str
) -> None:
    job = account.add_job("wing", FILES)
    with fs.open(f"jobs/{job}/outputs/lines.csv") as file:
        file.seek(100)
        with multiprocessing.get_context(way).Pool(1) as pool:
            assert pool.apply_async(rest, (file,)).get(PATIENCE) == LINES[100:]
            file.seek(0)
            packed = pickle.dumps(file)
            assert pool.apply_async(lines_of, (packed,)).get(PATIENCE) == 30_001
    assert account.simulator.api_key.encode() not in packed


def test_a_pickled_file_is_the_version_that_was_open(account: Account, fs: RescaleFileSystem) -> None:
    job = account.add_job("wing", FILES)
    with fs.open(f"jobs/{job}/outputs/a.txt") as file:
        again = pickle.loads(pickle.dumps(file))
    assert again._node == file._node
    assert again.read() == b"first"
    again.close()


def test_a_loop_over_lines_reads_each_byte_once(account: Account, fs: RescaleFileSystem) -> None:
    job = account.add_job("wing", FILES)
    asked: list[int] = []

    class Counted(RescaleFile):
        def _fetch_range(self, start: int, end: int) -> bytes:
            found = super()._fetch_range(start, end)
            asked.append(len(found))
            return found

    with fs.open(f"jobs/{job}/outputs/lines.csv") as file:
        file.__class__ = Counted
        assert list(file) == LINES.splitlines(keepends=True)
    assert sum(asked) == len(LINES)
    assert len(asked) <= len(LINES) // (256 << 10) + 1


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["seek", "read", "readline", "readuntil"]), st.integers(0, len(LINES) + 5)),
        max_size=12,
    )
)
def test_lines_reads_and_seeks_mix_as_in_a_local_file(
    lines: tuple[Any, io.BytesIO], steps: list[tuple[str, int]]
) -> None:
    file, local = lines
    for act, number in steps:
        if act == "seek":
            assert file.seek(number) == local.seek(number)
        elif act == "read":
            assert file.read(number // 3) == local.read(number // 3)
        elif act == "readline":
            assert file.readline() == local.readline()
        else:
            assert file.readuntil(b",1") == _until(local, b",1")
        assert file.tell() == local.tell()
    file.seek(0)
    local.seek(0)


@pytest.fixture
def lines(account: Account, fs: RescaleFileSystem) -> Iterator[tuple[Any, io.BytesIO]]:
    job = account.add_job("wing", FILES)
    with fs.open(f"jobs/{job}/outputs/lines.csv", block_size=1000) as file:
        yield file, io.BytesIO(LINES)


def _until(local: io.BytesIO, mark: bytes) -> bytes:
    start = local.tell()
    rest = local.read()
    found = rest.find(mark)
    local.seek(start + (len(rest) if found < 0 else found + len(mark)))
    return rest if found < 0 else rest[: found + len(mark)]


def test_the_first_look_of_a_new_process_asks_the_server(account: Account) -> None:
    account.environment["RESCALEFS_POLL_EVERY"] = "1000"
    first = account.add_job("first", FILES)
    program = "print(sorted(files.glob('jobs/*/outputs/a.txt')))"
    assert run(account, first, program).stdout == f"['jobs/{first}/outputs/a.txt']\n"
    second = account.add_job("second", FILES)
    both = sorted(f"jobs/{job}/outputs/a.txt" for job in (first, second))
    assert run(account, first, program).stdout == f"{both}\n"


def test_where_the_server_is_gone_the_first_look_has_what_is_stored(account: Account) -> None:
    job = account.add_job("first", FILES)
    program = "print(files.ls('jobs', detail=False), files.size(top + '/a.txt'))"
    assert run(account, job, program).stdout == f"['jobs/{job}'] 5\n"
    account.environment["RESCALEFS_PATIENCE"] = "0.2"
    account.simulator.faults.add(Fault(Status(503), "", times=None))
    assert run(account, job, program).stdout == f"['jobs/{job}'] 5\n"
