"""Without what only Linux, or only POSIX, has."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rescalefs.reading import positioned
from tests.consoles import printed
from tests.mirror.account import PATIENCE, ROOT, Account
from tests.mirror.test_mirror_sync import wait_for

FILES = {"a.log": b"one\n", "deep/b.bin": b"two" * 999, "big.bin": random.Random(3).randbytes((9 << 20) + 7)}


def test_download_sync_drops_and_fsspec_need_nothing_that_linux_alone_has(
    account: Account, tmp_path: Path
) -> None:
    job = account.add_job("wing", FILES)
    account.folder.mkdir()
    downloaded, read = tmp_path / "downloaded", tmp_path / "read"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.mirror.elsewhere", job, downloaded, read, account.folder],
        cwd=ROOT,
        env=account.environment,
        stderr=subprocess.PIPE,
    )
    try:
        drop = account.folder / "submit" / "small"
        wait_for("the drop folder", lambda: drop.parent.is_dir() or process.poll() is not None)
        definition = {
            "name": "small",
            "jobanalyses": [
                {
                    "analysis": {"code": "user_included", "version": "0"},
                    "command": "cat in.txt",
                    "hardware": {"coreType": "granite", "coresPerSlot": 2},
                }
            ],
        }
        drop.mkdir(parents=True)  # if it has ended, that is said below
        (drop / "in.txt").write_text("hello\n")
        (drop / "job.json").write_text(json.dumps(definition))
        log = drop / "job" / "outputs" / "process_output.log"
        wait_for("an output", lambda: log.is_file() or process.poll() is not None)
        wait_for("the rest", lambda: account.outputs(job) == FILES or process.poll() is not None)
    finally:
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, complaints.decode()
    assert printed(log.read_bytes()) == b"hello\n"
    assert read.read_bytes() == FILES["big.bin"]
    assert {path: (downloaded / path).read_bytes() for path in FILES} == FILES


@pytest.mark.parametrize(
    ("read_into", "read_at", "write_at"),
    [
        (positioned._preadv, os.pread, os.pwrite),
        (positioned.read_at_once, os.pread, os.pwrite),
        (positioned._seek_and_read, positioned._seek_and_get, positioned._seek_and_write),
    ],
)
def test_all_ways_to_read_and_write_at_an_offset_agree(
    tmp_path: Path, read_into: object, read_at: object, write_at: object
) -> None:
    assert callable(read_into)
    assert callable(read_at)
    assert callable(write_at)
    buffer = memoryview(bytearray(4))
    with (tmp_path / "file").open("w+b", buffering=0) as file:
        assert write_at(file.fileno(), memoryview(b"wxyz"), 6) == 4
        assert write_at(file.fileno(), b"ab", 0) == 2
        assert read_at(file.fileno(), 9, 5) == b"\0wxyz"
        assert read_into(file.fileno(), buffer, 7) == 3
        assert bytes(buffer[:3]) == b"xyz"
        assert read_into(file.fileno(), buffer, 10) == 0
        assert read_into(file.fileno(), buffer[:0], 0) == 0
        assert read_into(file.fileno(), buffer, 6) == 4
        assert bytes(buffer) == b"wxyz"
