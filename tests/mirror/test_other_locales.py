"""Names keep their bytes, whatever the locale: also where it lacks their letters."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.mirror.account import ROOT, Account

NAMES = {"\u00e9t\u00e9.csv": b"1", "\u6d4b\u8bd5/\U0001f600": b"2", "plain": b"3"}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def in_ascii(account: Account, *words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in account.environment.items() if name != "PYTHONIOENCODING"}
    return subprocess.run(account.command(*words), cwd=ROOT, env=environment | ASCII, capture_output=True)


def test_a_sync_brings_names_that_the_locale_cannot_show(account: Account) -> None:
    job = account.add_job("wing \U0001f600", NAMES)
    account.folder = account.folder / os.fsdecode(b"\xc3\xbc \xff")
    done = in_ascii(account, "sync", str(account.folder), "--once")
    assert (done.returncode, done.stderr[:16]) == (0, b"done: 3 fetched,")
    assert account.outputs(job) == NAMES
    assert [path.name for path in (account.folder / "by-name").iterdir()] == ["wing \U0001f600"]


def test_tables_and_json_show_names_in_utf8(account: Account, tmp_path: Path) -> None:
    job = account.add_job("wing \U0001f600", NAMES)
    done = in_ascii(account, "jobs", "--json")
    assert json.loads(done.stdout)[0]["name"] == "wing \U0001f600"
    assert "wing \U0001f600".encode() in in_ascii(account, "jobs").stdout
    done = in_ascii(account, "download", job, "nothing \u6d4b", "--to", str(tmp_path))
    assert done.returncode == 1
    assert "\u6d4b".encode() in done.stderr
