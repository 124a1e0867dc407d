"""Jobs that fail, are stopped, or never run: each shows rightly in every place, on a real mount."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.consoles import console_log
from tests.mounted.account import MountedAccount

FAILED = "Completed, but the command ended with exit code 2 (see outputs/process_output.log)"
STOPPED = "Completed, but stopped by a user"
NEVER_RAN = "Completed, but failed: could not allocate compute resources from the compute provider"


@dataclass(frozen=True)
class Case:
    """One drop, and all that has to be said of its end."""

    name: str
    command: str
    core_type: str
    words: str
    outcome: str
    state: str
    view: str
    exit_codes: list[int] | None


CASES = (
    Case("good", "echo it went well", "granite", "Completed", "succeeded", "completed", "Completed", [0]),
    Case("bad", "echo no licence >&2; exit 2", "granite", FAILED, "failed", "failed", "Failed", [2]),
    Case("halted", "sleep 1000", "granite", STOPPED, "stopped", "stopped", "Stopped", [143]),
    Case("lost", "true", "onyx", NEVER_RAN, "failed", "failed", "Failed", None),
)


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountedAccount]:
    """An account in which all of them have ended, with a command that tells what it was told of each."""
    work = tmp_path_factory.mktemp("endings")
    account = MountedAccount(work)
    try:
        (work / "told").mkdir()
        tell = 'env > "told/$RESCALEFS_NAME.part" && mv "told/$RESCALEFS_NAME.part" "told/$RESCALEFS_NAME"'
        account.environment["RESCALEFS_ON_FINISHED"] = f"cd {work} && {tell}"
        account.mount()
        for case in CASES:
            drop(account, case)
        halted = account.root / "submit" / "halted"
        account.wait_for_status(halted, "Executing")
        (halted / "control").write_text("stop\n")
        told = {case.name for case in CASES}
        account.wait_for(lambda: {path.name for path in (work / "told").iterdir()} == told)
        yield account
    finally:
        account.close()


def drop(account: MountedAccount, case: Case) -> None:
    cores = 2 if case.core_type == "granite" else 1
    analysis = {
        "analysis": {"code": "user_included", "version": "0"},
        "command": case.command,
        "hardware": {"coreType": case.core_type, "coresPerSlot": cores},
        "inputFiles": [],
    }
    folder = account.root / "submit" / case.name
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps({"name": case.name, "jobanalyses": [analysis]}))


def listed(account: MountedAccount, command: str, key: str) -> dict[str, Any]:
    return {each[key]: each for each in json.loads(account.run(command, "--json").stdout)}


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    assert isinstance(request.param, Case)
    return request.param


def test_the_drop_says_how_its_job_ended(endings: MountedAccount, case: Case) -> None:
    folder = endings.root / "submit" / case.name
    assert (folder / "status").read_text() == case.words + "\n"
    log = [line.split("\t")[1] for line in (folder / "status.log").read_text().splitlines()]
    assert (case.words in log) is (case.name != "good")
    assert ("| no licence" in log) is (case.name == "bad")


def test_the_jobs_folder_and_the_views_agree(endings: MountedAccount, case: Case) -> None:
    job = (endings.root / "submit" / case.name / "job").resolve()
    assert (job / "status").read_text() == case.words + "\n"
    assert (job / "status").stat().st_size == len(case.words) + 1
    views = endings.root / "by-status"
    assert {view.name for view in views.iterdir() if job.name in {each.name for each in view.iterdir()}} == {
        case.view
    }


def test_listings_agree(endings: MountedAccount, case: Case) -> None:
    dropped = listed(endings, "drops", "drop")[case.name]
    assert (dropped["state"], dropped["status"]) == (case.state, case.words)
    job = listed(endings, "jobs", "id")[dropped["job"]]
    assert job["status"] == "Completed"
    for told in (dropped, job):
        assert (told["outcome"], told["ending"], told["exit_codes"]) == (
            case.outcome,
            case.words,
            case.exit_codes,
        )
    done = endings.run("statuses", dropped["job"])
    assert done.stderr == f"rescalefs: job {dropped['job']}: {case.words}\n"


def test_a_command_at_the_end_is_told(endings: MountedAccount, case: Case) -> None:
    told = dict(
        line.split("=", 1)
        for line in (endings.work / "told" / case.name).read_text().splitlines()
        if line.startswith("RESCALEFS_")
    )
    assert told["RESCALEFS_STATUS"] == "Completed"
    assert (told["RESCALEFS_OUTCOME"], told["RESCALEFS_ENDING"]) == (case.outcome, case.words)
    assert told["RESCALEFS_EXIT_CODE"] == (str(case.exit_codes[0]) if case.exit_codes else "")


def test_to_wait_for_a_job_that_fails_is_a_failure(endings: MountedAccount, tmp_path: Path) -> None:
    folder = tmp_path / "wing"
    folder.mkdir()
    source = (endings.root / "submit" / "bad" / "job.json").read_text()
    (folder / "job.json").write_text(source)
    done = endings.run("submit", str(folder), "--wait", check=False)
    assert done.returncode == 1
    assert f"did not succeed: {FAILED}" in done.stderr


def test_a_job_of_others_shows_how_it_ended_when_its_status_is_read(endings: MountedAccount) -> None:
    log = console_log((["reading mesh"] * 5000, 1))
    world = endings.simulator.world
    bad = world.add_finished_job("swallowed", {"process_output.log": log, "a": b"x"}).id
    folder = endings.root / "jobs" / bad
    endings.wait_for(folder.is_dir)
    endings.simulator.traffic.clear()
    words = "Completed, but the command ended with exit code 1 (see outputs/process_output.log)\n"
    assert (folder / "status").read_text() == words
    assert (folder / "status").read_text() == words
    (request,) = [each for each in endings.simulator.traffic.entries() if "/contents/" in each.path]
    assert request.sent <= 800
    assert (endings.root / "by-status" / "Failed" / bad).exists()


def test_a_reason_in_the_history_moves_a_job_out_of_the_completed_ones_unread(
    endings: MountedAccount,
) -> None:
    stopped = endings.simulator.world.add_finished_job("stopped", {"a": b"x"}, stopping="User Terminated").id
    endings.wait_for((endings.root / "by-status" / "Stopped" / stopped).exists)
