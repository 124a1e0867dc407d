"""Whatever the server answers, a command ends with 0, 1 or 2 and a line that says why; never a traceback."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given

from rescalefs.clock import SystemClock
from tests.fakes import FakeClock
from tests.fuzz.conftest import OddServer
from tests.fuzz.examples import SEEDS, examples
from tests.fuzz.test_fuzz_tree import client_of
from tests.mirror.account import Account

LONGEST = 30.0  # seconds for one command, on a loaded machine


def commands(job: str, folder: Path) -> list[tuple[str, ...]]:
    drop = folder / "wing"
    if not drop.is_dir():
        drop.mkdir()
        (drop / "job.json").write_text(
            '{"name": "wing", "command": "true", "software": "miniconda", "coretype": "cheapest",'
            ' "cores": 2, "hours": 1, "inputFiles": []}'
        )
    return [
        ("whoami", "--json"),
        ("jobs",),
        ("jobs", "--json"),
        ("jobs", "--failed"),
        ("statuses", job),
        ("coretypes",),
        ("coretypes", "--json", "--sort", "price"),
        ("analyses",),
        ("projects", "--json"),
        ("submit", "--dry-run", str(drop)),
        ("download", job, "--to", str(folder / "results")),
        ("sync", str(folder / "account"), "--once", "--json"),
    ]


@given(SEEDS)
@examples(3)
def test_no_command_ends_with_a_traceback(odd: OddServer, seed: int) -> None:
    with TemporaryDirectory() as folder, closing(client_of(odd, FakeClock())) as client:
        account = Account(odd, Path(folder))  # type: ignore[arg-type]  # it has a url and a key, as a simulator
        account.environment |= {"RESCALEFS_PATIENCE": "0.3", "RESCALEFS_READ_TIMEOUT": "5"}
        job = client.jobs()[0].id
        for number, words in enumerate(commands(job, Path(folder))):
            began = SystemClock().monotonic()
            with odd.being(seed + number):
                done = account.run(*words, check=False)
            said = (done.stdout + done.stderr).decode("utf-8", "replace")
            assert done.returncode in (0, 1, 2), f"{words}: {done.returncode}\n{said}"
            assert "Traceback" not in said, f"{words}\n{said}"
            assert 'File "' not in said, f"{words}\n{said}"
            assert done.returncode == 0 or done.stderr.strip() or done.stdout.strip(), f"{words} says nothing"
            assert SystemClock().monotonic() - began < LONGEST, words
        _all_is_right(account, Path(folder))


def _all_is_right(account: Account, folder: Path) -> None:
    """Nothing lies under its name that is not what the server has, and a next round brings the rest."""
    account.environment |= {"RESCALEFS_PATIENCE": "60"}  # the answers are right by now, if late
    account.run("sync", str(folder / "account"), "--once")
    found = {path.read_bytes() for path in (folder / "account" / "jobs").glob("*/outputs/out.log")}
    assert found == {b"done\n", b"other\n"}


@pytest.mark.parametrize("words", [("jobs",), ("whoami",), ("coretypes",)])
def test_a_command_says_in_a_line_why_an_answer_is_refused(
    odd: OddServer, words: tuple[str], tmp_path: Path
) -> None:
    account = Account(odd, tmp_path)  # type: ignore[arg-type]
    account.environment |= {"RESCALE_API_URL": f"{odd.url}/nowhere"}
    done = account.run(*words, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"rescalefs: ")
    assert done.stderr.count(b"\n") == 1
