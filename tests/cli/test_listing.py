"""How listings are printed."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from rescalefs.cli.listing import Row, print_record, print_rows, printable

ROWS: list[Row] = [
    {
        "id": "aBc",
        "name": "wing\t42\nnew",
        "inserted": datetime(2026, 11, 24, 13, 0, 5, 250000, tzinfo=timezone(timedelta(hours=1))),
        "price": Decimal("0.125"),
        "cores": (1, 2, 4),
        "project": None,
    }
]
TITLES = ("id", "price", "cores", "inserted", "project", "name")


def test_a_pipe_gets_one_tab_separated_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, as_json=False, titles=TITLES)
    assert capsys.readouterr().out == ("aBc\t0.125\t1,2,4\t2026-11-24T12:00:05Z\t\twing\ufffd42\ufffdnew\n")


def test_json_has_every_key_and_the_name_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, as_json=True, titles=())
    assert json.loads(capsys.readouterr().out) == [
        {
            "id": "aBc",
            "name": "wing\t42\nnew",
            "inserted": "2026-11-24T12:00:05Z",
            "price": 0.125,
            "cores": [1, 2, 4],
            "project": None,
        }
    ]


def test_nothing_to_list_is_an_empty_array_and_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([], as_json=True, titles=TITLES)
    print_rows([], as_json=False, titles=TITLES)
    assert capsys.readouterr().out == "[]\n"


def test_a_record_is_one_line_per_key_or_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    print_record({"email": "jane@example.com", "company": ""}, as_json=False)
    print_record({"email": "jane@example.com", "company": ""}, as_json=True)
    assert capsys.readouterr().out == (
        'email\tjane@example.com\ncompany\t\n{\n  "email": "jane@example.com",\n  "company": ""\n}\n'
    )


def test_a_name_cannot_move_the_cursor_of_a_terminal() -> None:
    assert printable("a\x1b[2Jb\x9b\x7f") == "a\ufffd[2Jb\ufffd\ufffd"
    assert printable("größer 📐") == "größer 📐"


def test_a_terminal_gets_a_table_in_which_names_are_no_markup() -> None:
    program = (
        "from rescalefs.cli.listing import print_rows\n"
        "print_rows([{'job_id': 'a', 'name': '[red]wing[/red]'}], False, ('job_id', 'name'))"
    )
    ours, theirs = pty.openpty()
    try:
        environment = {**os.environ, "TERM": "dumb", "COLUMNS": "80"}
        subprocess.run(
            [sys.executable, "-c", program], stdout=theirs, env=environment, check=True, timeout=60
        )
        printed = os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    header, row = printed.split("\r\n")[:2]
    assert header.split() == ["job", "id", "name"]
    assert row.split() == ["a", "[red]wing[/red]"]


def test_an_id_stays_in_one_piece_on_a_narrow_terminal() -> None:
    program = (
        "from rescalefs.cli.listing import print_rows\n"
        "print_rows([{'id': 'aBcDeF', 'name': 'a wing of some size'}], False, ('id', 'name'))"
    )
    ours, theirs = pty.openpty()
    try:
        environment = {**os.environ, "TERM": "dumb", "COLUMNS": "14"}
        subprocess.run(
            [sys.executable, "-c", program], stdout=theirs, env=environment, check=True, timeout=60
        )
        printed = os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "aBcDeF" in printed
    assert "".join(line[8:].strip() + " " for line in printed.splitlines()[1:]).split() == [
        "a",
        "wing",
        "of",
        "some",
        "size",
    ]
