"""The text files of a job hold what their readers, people and tools, expect."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from rescalefs.model import JobStatus, RemoteFile
from rescalefs.tree.tables import (
    FILE_COLUMNS,
    Row,
    checksum_list,
    files_table,
    iso,
    status_line,
    status_table,
)
from tests.tree.account import file, minutes


@pytest.mark.parametrize(
    ("status", "line"), [("Completed", b"Completed\n"), ("", b"Not submitted\n"), ("a\nb\t", b"a b\n")]
)
def test_a_status_is_one_line(status: str, line: bytes) -> None:
    assert status_line(status) == line


def test_a_history_has_three_columns_oldest_first() -> None:
    history = (JobStatus("Pending", minutes(0)), JobStatus("Completed", minutes(1), "line one\nline two"))
    assert status_table(history).decode().splitlines() == [
        "2026-11-01T12:00:00.000000Z\tPending\t-",
        "2026-11-01T12:01:00.000000Z\tCompleted\tline one line two",
    ]


def test_no_history_is_an_empty_file() -> None:
    assert status_table(()) == b""


def test_times_are_in_utc_and_of_one_length() -> None:
    pacific = timezone(timedelta(hours=-7))
    assert iso(datetime(2016, 4, 21, 10, 24, 34, 898495, pacific)) == "2016-04-21T17:24:34.898495Z"
    assert iso(datetime(2016, 4, 21, 10, 24, 34, 0, pacific)) == "2016-04-21T17:24:34.000000Z"
    assert iso(None) == "-"


def test_the_table_of_files_has_a_header_and_every_cell_filled() -> None:
    known = file("XkpTse", "fields/p 1.vtk", size=1234)
    bare = RemoteFile("q", "n", "n", None)
    odd = RemoteFile("r", "x", "a\tb\\c\nd\x01\u2028", 0, type_id=99)
    rows = [(Row("fields/p 1.vtk", known), "yes"), (Row("n", bare), "unavailable"), (Row("a_b", odd), "no")]
    lines = [line.split("\t") for line in files_table(rows).decode().removesuffix("\n").split("\n")]
    assert tuple(lines[0]) == FILE_COLUMNS
    date = "2026-11-01T12:01:00.000000Z"
    assert lines[1] == [
        "1234",
        "output",
        "ab" * 64,
        "yes",
        "XkpTse",
        date,
        "fields/p 1.vtk",
        "fields/p 1.vtk",
    ]
    assert lines[2] == ["-", "-", "-", "unavailable", "q", "-", "n", "n"]
    assert lines[3] == ["0", "99", "-", "no", "r", "-", "a_b", r"a\tb\\c\nd\x01\u2028"]


def test_awk_reads_the_table_of_files() -> None:
    rows = [(Row(f"f{size}", file(f"f{size}", size=size)), "no") for size in (5, 70, 600)]
    total = subprocess.run(
        ["awk", "-F\t", "NR > 1 { sum += $1 } END { print sum }"],
        input=files_table(rows),
        capture_output=True,
        check=True,
    )
    assert total.stdout == b"675\n"


def test_sha512sum_accepts_the_checksums_of_all_names_there_can_be(tmp_path: Path) -> None:
    names = [
        "plain",
        "two words",
        "-",
        "-n",
        "back\\slash",
        "new\nline",
        "re\rturn",
        "sub/ä\\\n",
        "*star",
        " lead",
    ]
    rows = []
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
        rows.append(Row(name, file("i", name, sha512=hashlib.sha512(name.encode()).hexdigest())))
    rows.append(Row("not there", file("i", "not there", sha512=None)))
    done = subprocess.run(
        ["sha512sum", "--strict", "-c", "-"],
        cwd=tmp_path,
        input=checksum_list(rows),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b": OK") == len(names)


def test_sha512sum_itself_would_have_written_the_same(tmp_path: Path) -> None:
    names = ["plain", "back\\slash", "new\nline"]
    for name in names:
        (tmp_path / name).write_text(name)
    rows = [Row(name, file("i", name, sha512=hashlib.sha512(name.encode()).hexdigest())) for name in names]
    written = subprocess.run(["sha512sum", *names], cwd=tmp_path, capture_output=True, check=True)
    assert checksum_list(rows) == written.stdout
