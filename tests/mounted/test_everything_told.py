"""Every text, table and JSON output, told by a daemon with jobs, drops and reads of every kind under way.

Made-up values are easier to print than real ones: `rescalefs top` once failed with the first drop.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from prometheus_client.parser import text_string_to_metric_families

from rescalefs.cli.main import rescalefs
from rescalefs.simulator.faults import Fault, Hang
from tests.mounted.account import ROOT, MountedAccount

pytestmark = pytest.mark.fuse

JOB = {"command": "true", "software": "miniconda", "coretype": "cheapest", "cores": 2, "hours": 1}
RUNNING = "echo 0.5 > residuals.log; while [ ! -e GO ]; do sleep 0.05; done"
DROPS = {
    "done": {**JOB, "name": "done", "inputFiles": []},
    "running": {**JOB, "name": "running", "command": RUNNING, "inputFiles": []},
    "wrong": {**JOB, "name": "wrong", "coretype": "granite", "cores": 1},
    "held": {**JOB, "name": "held", "hold": True, "inputFiles": []},
    "lacking": {**JOB, "name": "lacking", "inputFiles": ["mesh.msh"]},
    "odd \x1b[2J\nname": {**JOB, "name": "odd", "inputFiles": []},
}
STATES = {
    "done": "Completed",
    "running": "Executing",
    "wrong": "rejected",
    "held": "held: job",
    "lacking": "waiting for mesh.msh",
}


@pytest.fixture(scope="module")
def busy(shared_account: MountedAccount) -> Iterator[MountedAccount]:
    """An account in which everything there can be is there."""
    account, world = shared_account, shared_account.simulator.world
    read = world.add_finished_job("read", {"log": b"1\n", "fields/p.bin": bytes(100_000)}).id
    world.add_finished_job("failed", {}, status="Failed", project_id="wGtPc")
    world.add_finished_job("a name\twith\x1b[2J", {"a\tb.txt": b"", "c\nd.txt": b"x"})
    for name, job in DROPS.items():
        drop = account.root / "submit" / name
        drop.mkdir()
        (drop / "job.json").write_text(json.dumps(job))
    (account.root / "submit" / "empty").mkdir()
    for name, status in STATES.items():
        account.wait_for_status(account.root / "submit" / name, status)
    outputs = account.root / "jobs" / read / "outputs"
    account.wait_for(lambda: (outputs / "log").read_bytes() == b"1\n")
    account.simulator.faults.add(Fault(Hang(), path="contents", times=None))
    with subprocess.Popen(["cat", outputs / "fields" / "p.bin"], stderr=subprocess.DEVNULL) as reader:
        try:
            account.wait_for(lambda: counters(account)["connections"])
            account.simulator.faults.clear()
            yield account
        finally:
            reader.kill()
            (account.root / "submit" / "running" / "control").write_text("stop\n")


def counters(account: MountedAccount) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((account.root / ".rescalefs" / "counters.json").read_bytes())
    return found


def test_every_text_of_the_tree_can_be_read_and_is_of_its_form(busy: MountedAccount) -> None:
    seen = set()
    for folder, _, names in os.walk(busy.root):
        if "outputs" in Path(folder).parts or "live" in Path(folder).parts:
            continue
        for name in names:
            path = Path(folder, name)
            text = path.read_bytes().decode()
            seen.add(name)
            if path.suffix == ".json":
                json.loads(text)
            elif path.suffix == ".tsv":
                assert len({line.count("\t") for line in text.splitlines()}) == 1, path
            elif name in ("statuses", "cluster_statuses"):
                assert {line.count("\t") for line in text.splitlines()} <= {2}, path
    assert seen >= {"job.json", "files.tsv", "SHA512SUMS", "statuses", "status.log", "coretypes.tsv"}


def test_the_daemons_own_texts_tell_of_drops_reads_and_jobs(busy: MountedAccount) -> None:
    own = busy.root / ".rescalefs"
    now = counters(busy)
    assert now["drops"]["rejected"] == 1
    assert now["under_way"]["running"] == "Executing"
    assert now["jobs"] >= 5
    metrics = {each.name: each for each in text_string_to_metric_families((own / "metrics").read_text())}
    states = {sample.labels["state"]: sample.value for sample in metrics["rescalefs_drops"].samples}
    assert states == now["drops"]
    status = dict(line.split(": ", 1) for line in (own / "status").read_text().splitlines())
    assert "1 rejected" in status["drops"]
    assert {line.count("\t") for line in (own / "config").read_text().splitlines()} == {2}
    assert (own / "log").read_text()


def commands_with_json() -> list[str]:
    """Every command that has ``--json``, as its words."""

    def found(group: click.Group, words: tuple[str, ...]) -> Iterator[str]:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                yield from found(command, (*words, name))
            elif command is not None and any("--json" in each.opts for each in command.params):
                yield " ".join((*words, name))

    return list(found(rescalefs, ()))


ARGUMENTS = {
    "sync": ("DIR", "--dry-run"),
    "download": ("JOB", "--to", "DIR"),
    "submit": ("PI", "--dry-run"),
    "statuses": ("JOB",),
    "ssh": ("running",),
    "tag": ("JOB",),
    "top": ("--every", "1"),
    "drops": ("--all",),
}
MAY_FAIL = {"doctor"}  # it may have something to say about the machine of the test


def words_of(command: str, account: MountedAccount, folder: Path) -> list[str]:
    job_id = (account.root / "by-name" / "read").readlink().name
    given = {"DIR": str(folder), "PI": str(ROOT / "examples" / "pi"), "JOB": job_id}
    return [*command.split(), *(given.get(word, word) for word in ARGUMENTS.get(command, ()))]


@pytest.mark.parametrize("command", commands_with_json())
def test_every_listing_is_json_and_a_table(busy: MountedAccount, command: str, tmp_path: Path) -> None:
    words = words_of(command, busy, tmp_path / "there")
    told = busy.run(*words, "--json", check=command not in MAY_FAIL)
    assert "Traceback" not in told.stderr
    json.loads(told.stdout)
    shutil.rmtree(tmp_path / "there", ignore_errors=True)
    shown = in_terminal(busy, words)
    assert "Traceback" not in shown
    assert "\x1b[2J" not in shown.replace("\x1b[?1049h", "")
    shutil.rmtree(tmp_path / "there", ignore_errors=True)


def in_terminal(account: MountedAccount, words: list[str]) -> str:
    """What a command shows on a terminal, until it ends; `top`, until it has shown something."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "rescalefs", *words]
    environment = {**account.environment, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    shown = b""
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        with contextlib.suppress(OSError):  # EIO: the command has ended
            while part := os.read(ours, 65536):
                shown += part
                if words[0] == "top" and b"drops" in shown:
                    process.terminate()
        os.close(ours)
        assert process.wait(60) is not None
    return shown.decode(errors="replace")
