"""`rescalefs submit`: the command itself, on a simulator in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from rescalefs.api import ApiSettings, RescaleClient
from rescalefs.assembly.drops import known_drops
from rescalefs.cli import submit as submit_module
from rescalefs.cli.main import main
from rescalefs.clock import SystemClock
from rescalefs.simulator import Fault, Simulator, SimulatorSettings
from rescalefs.simulator.faults import Status
from rescalefs.submit import DropReport
from rescalefs.submit.machine import State

SHORT: dict[str, Any] = {
    "command": "cat mesh.msh > copy",
    "software": "miniconda",
    "coretype": "granite",
    "hours": 3,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One for all tests here: each has an account of folders of its own, and looks at its own jobs."""
    settings = SimulatorSettings(port=0, data=tmp_path_factory.mktemp("simulator"))
    with Simulator(settings) as running:
        yield running


@pytest.fixture(autouse=True)
def _account(server: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("CACHE", "CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    monkeypatch.setenv("RESCALE_API_URL", server.url)
    monkeypatch.setenv("RESCALE_API_KEY", server.api_key)
    monkeypatch.setenv("RESCALEFS_POLL_EVERY", "0.05")


@pytest.fixture
def client(server: Simulator) -> Iterator[RescaleClient]:
    settings = ApiSettings(server.url, server.api_key)
    with closing(RescaleClient(settings, SystemClock())) as connected:
        yield connected


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Submit = Callable[..., Outcome]


@pytest.fixture
def submit(capsys: pytest.CaptureFixture[str]) -> Submit:
    def run(*words: object) -> Outcome:
        code = main(["submit", *map(str, words)])
        return Outcome(code, *capsys.readouterr())

    return run


def folder_with(where: Path, job: Any = SHORT, **files: str) -> Path:
    """A folder called as the test is, so that its job can be told from those of other tests."""
    where.mkdir()
    for name, text in (files or {"mesh.msh": "1 2 3\n"}).items():
        (where / name).write_text(text)
    if job is not None:
        (where / "job.json").write_text(json.dumps(job))
    return where


@pytest.fixture
def wing(tmp_path: Path) -> Path:
    return folder_with(tmp_path / "wing")


def jobs_called(client: RescaleClient, name: str) -> int:
    return sum(job.name == name for job in client.jobs())


def test_it_prints_the_id_of_the_job_and_says_on_standard_error_what_happened(
    wing: Path, submit: Submit, client: RescaleClient
) -> None:
    done = submit(wing)
    assert done.code == 0
    (job_id,) = done.out.split()
    assert client.job(job_id).job.name == "wing"
    assert "2 cores of granite: 0.058 USD an hour on demand, at most 0.174 USD" in done.err.splitlines()
    assert f"job {job_id} submitted" in done.err.splitlines()
    assert done.err.splitlines()[-1].endswith(f"(job {job_id})")


def test_a_submission_whose_answer_was_lost_and_that_is_then_refused_is_looked_up(
    wing: Path, submit: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SimulatorSettings(port=0, data=tmp_path / "server", refuse_resubmit=True)
    with Simulator(settings) as strict:
        monkeypatch.setenv("RESCALE_API_URL", strict.url)
        monkeypatch.setenv("RESCALE_API_KEY", strict.api_key)
        strict.faults.add(Fault(Status(504, acted=True), "/submit/$", method="POST"))
        done = submit(wing, "--wait")
        submissions = [each.status for each in strict.traffic.entries() if each.path.endswith("/submit/")]
    assert (done.code, submissions) == (0, [504, 400])
    assert "rejected" not in done.err


def test_with_wait_it_returns_when_the_job_has_ended(
    wing: Path, submit: Submit, client: RescaleClient
) -> None:
    done = submit(wing, "--wait")
    assert done.code == 0
    assert client.statuses(done.out.strip())[-1].status == "Completed"
    (ended,) = [line for line in done.err.splitlines() if line.startswith("ended after ")]
    assert ended.endswith(f", `rescalefs download {done.out.strip()} --to DIR` fetches them")


def test_with_wait_a_job_that_does_not_complete_is_a_failure(
    tmp_path: Path, submit: Submit, client: RescaleClient, server: Simulator
) -> None:
    folder = folder_with(tmp_path / "endless", {**SHORT, "command": "sleep 600"})
    held = submit(folder, "--hold")
    job_id = held.out.strip()
    client.submit_job(job_id)
    client.stop_job(job_id)
    done = submit(folder, "--wait")
    assert done.code == 1
    assert f"rescalefs: job {job_id} did not succeed: " in done.err


def test_a_folder_that_has_its_job_is_not_submitted_again(
    wing: Path, submit: Submit, client: RescaleClient
) -> None:
    before = jobs_called(client, "wing")
    first = submit(wing)
    second = submit(wing)
    assert (second.code, second.out) == (0, first.out), second.err
    assert second.err.splitlines()[0].startswith(f"{wing}: ")  # nothing happened
    assert jobs_called(client, "wing") == before + 1


def test_with_hold_the_job_is_saved_and_without_it_submitted(
    wing: Path, submit: Submit, client: RescaleClient
) -> None:
    held = submit(wing, "--hold")
    job_id = held.out.strip()
    assert held.code == 0
    assert client.statuses(job_id) == ()
    released = submit(wing)
    assert released.out.strip() == job_id
    assert client.statuses(job_id) != ()


def test_a_dry_run_prints_what_would_be_sent_and_sends_nothing(
    wing: Path, submit: Submit, client: RescaleClient
) -> None:
    jobs = len(client.jobs())
    (wing / "empty.dat").touch()
    plan = submit(wing, "--dry-run").json
    assert plan["job"]["jobanalyses"][0]["inputFiles"] == [
        {"id": "<id of empty.dat>"},
        {"id": "<id of mesh.msh>"},
    ]
    assert plan["uploads"] == [{"name": "empty.dat", "size": 0}, {"name": "mesh.msh", "size": 6}]
    assert plan["estimate"].endswith("at most 0.174 USD")
    assert plan["warnings"] == ["empty: empty.dat"]
    assert plan["hold"] is False
    assert len(client.jobs()) == jobs
    assert known_drops(None).reports == ()


def test_a_dry_run_tells_what_the_other_flags_would_do(wing: Path, submit: Submit) -> None:
    plan = submit(wing, "--dry-run", "--hold", "--name", "wing 43").json
    assert plan["hold"] is True
    assert plan["job"]["name"] == "wing 43"
    refused = submit(wing, "--dry-run", "--max-cost", "0.1", "--json")
    assert refused.code == 1
    (problem,) = refused.json["problems"]
    assert problem.startswith(
        "hours is 3: 2 cores of granite may cost 0.174 USD in that time, and the setting"
    )


def test_a_name_from_the_command_line_goes_before_that_of_job_json(
    tmp_path: Path, submit: Submit, client: RescaleClient
) -> None:
    folder = folder_with(tmp_path / "named", {**SHORT, "name": "from job.json"})
    done = submit(folder, "--hold", "--name", "wing 42")
    assert client.job(done.out.strip()).job.name == "wing 42"


def test_the_outcome_as_json_says_where_it_is(wing: Path, submit: Submit) -> None:
    done = submit(wing, "--hold", "--json")
    assert done.err == ""
    assert done.json == {
        "folder": str(wing),
        "state": "saved",
        "status": (
            f"held: job {done.json['job']} is saved; "
            '`rescalefs submit` without --hold submits it, unless job.json says "hold": true'
        ),
        "job": done.json["job"],
        "job_status": "",
        "outcome": None,
        "ending": None,
        "exit_codes": None,
        "problems": [],
    }


def test_a_job_that_job_json_holds_stays_held_until_the_key_is_removed(
    tmp_path: Path, submit: Submit, client: RescaleClient
) -> None:
    folder = folder_with(tmp_path / "held", {**SHORT, "hold": True})
    job_id = submit(folder).out.strip()
    assert submit(folder).out.strip() == job_id
    assert client.statuses(job_id) == ()
    (folder / "job.json").write_text(json.dumps(SHORT))
    assert submit(folder).out.strip() == job_id
    assert client.statuses(job_id) != ()


@pytest.mark.parametrize("name", [b"bad\xff", b"new\nline"])
def test_a_folder_whose_path_nothing_can_hold_is_refused_in_one_line(
    tmp_path: Path, submit: Submit, name: bytes
) -> None:
    folder = folder_with(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)))
    done = submit(folder)
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.endswith("has control characters or broken letters in its path; rename or move it")


BAD = {**SHORT, "software": "minconda", "cores": 3}


def test_what_is_wrong_is_told_at_once_and_fails(
    tmp_path: Path, submit: Submit, client: RescaleClient
) -> None:
    folder = folder_with(tmp_path / "bad", BAD)
    done = submit(folder)
    assert (done.code, done.out) == (1, "")
    last = done.err.splitlines()[-1]
    assert last.startswith("rescalefs: not submitted; mend this, and submit it again: ")
    assert len(done.err.splitlines()) == 1
    assert 'software is "minconda": no such software: did you mean "miniconda"?' in last
    assert "cores is 3: granite offers 2, 4, 8" in last
    as_json = submit(folder, "--json")
    assert as_json.code == 1
    assert [each.split(" is ")[0] for each in as_json.json["problems"]] == ["software", "cores"]
    assert jobs_called(client, "bad") == 0


def test_mended_it_is_submitted(tmp_path: Path, submit: Submit) -> None:
    folder = folder_with(tmp_path / "mended", BAD)
    assert submit(folder).code == 1
    (folder / "job.json").write_text(json.dumps(SHORT))
    assert submit(folder, "--hold").code == 0


def test_a_named_file_that_is_not_there_is_told_and_not_waited_for(tmp_path: Path, submit: Submit) -> None:
    folder = folder_with(tmp_path / "late", {**SHORT, "inputFiles": ["late.msh"]})
    done = submit(folder)
    assert done.code == 1
    assert done.err.splitlines()[-1].endswith("waiting for late.msh, named in job.json")
    planned = submit(folder, "--dry-run", "--json")
    assert planned.code == 1
    assert planned.json == {"problems": [], "missing": ["late.msh"], "waiting": []}


def test_a_folder_that_looks_unfinished_is_refused_with_what_to_do(
    tmp_path: Path, submit: Submit, client: RescaleClient
) -> None:
    folder = folder_with(tmp_path / "unfinished", SHORT, **{"other.txt": "1"})
    said = "for mesh.msh, which the command names and the folder lacks. If that is meant, write"
    for flags in ([], ["--dry-run"]):
        done = submit(folder, *flags)
        assert done.code == 1
        assert f'{said} "inputFiles": ["."] into job.json' in done.err
    assert submit(folder, "--dry-run", "--json").json["waiting"][0].startswith(said)
    (folder / "job.json").write_text(json.dumps({**SHORT, "inputFiles": ["."]}))
    planned = submit(folder, "--dry-run").json
    assert planned["warnings"] == ["the command names mesh.msh, which is not sent"]
    (folder / "job.json").write_text(json.dumps(SHORT))
    (folder / "mesh.msh").write_text("1 2 3")
    assert submit(folder, "--hold").code == 0
    assert jobs_called(client, "unfinished") == 1


def test_a_dry_run_lists_what_is_left_out_and_why(wing: Path, submit: Submit) -> None:
    (wing / ".DS_Store").write_text("")
    (wing / "mesh.msh:Zone.Identifier").write_text("")
    assert submit(wing, "--dry-run").json["left_out"] == [
        {"path": ".DS_Store", "why": "macOS keeps it in folders"},
        {"path": "mesh.msh:Zone.Identifier", "why": "Windows keeps it in folders"},
    ]


def test_a_folder_without_job_json_and_a_bad_one_are_told_apart(tmp_path: Path, submit: Submit) -> None:
    empty = folder_with(tmp_path / "empty", None)
    for flags in ([], ["--dry-run"]):
        done = submit(empty, *flags)
        assert done.code == 1
        assert f"{empty} has no job.json, which says what to run" in done.err
    (empty / "job.json").mkdir()
    done = submit(empty, "--dry-run")
    assert done.code == 1
    assert "job.json is a folder, and a file of this name says what to run" in done.err


@pytest.mark.parametrize("words", [["not-there"], [], ["job.json"], ["--max-cost", "free"]])
def test_what_cannot_be_meant_fails_and_says_why(
    wing: Path, submit: Submit, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(wing)
    if "--max-cost" in words:
        done = submit(".", *words)
        assert done.code == 2
        assert "max_cost = 'free' (flag --max-cost) needs none, or an amount above 0" in done.err
    else:
        done = submit(*words)
        assert done.code == 2
        assert "FOLDER" in done.err


def test_max_cost_refuses_and_none_takes_the_setting_back(
    wing: Path, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESCALEFS_MAX_COST", "0.1")
    assert "the setting max_cost is 0.1" in submit(wing).err
    assert submit(wing, "--max-cost", "0.2", "--dry-run").code == 0
    assert submit(wing, "--max-cost", "none", "--dry-run").code == 0


def test_a_folder_is_one_job_whatever_profile_of_the_account_it_is_submitted_with(
    tmp_path: Path, server: Simulator, monkeypatch: pytest.MonkeyPatch, submit: Submit, client: RescaleClient
) -> None:
    """With the key from the environment, from one profile, and from another one of the same account."""
    folder = folder_with(tmp_path / "wing-of-profiles")
    job = submit(folder).out
    monkeypatch.delenv("RESCALE_API_KEY")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = tmp_path / "home" / ".config" / "rescale" / "apiconfig"
    config.parent.mkdir(parents=True)
    config.write_text(f"[default]\napikey = {server.api_key}\n[again]\napikey = {server.api_key}\n")
    config.chmod(0o600)
    assert submit(folder).out == job
    assert submit(folder, "--profile", "again").out == job
    assert jobs_called(client, "wing-of-profiles") == 1


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State.RUNNING, "job aBc goes on, and `rescalefs stop aBc` stops it"),
        (State.UPLOADING, "goes on where it was"),
    ],
)
def test_a_user_who_interrupts_it_is_told_what_becomes_of_the_job(
    capsys: pytest.CaptureFixture[str], state: State, words: str
) -> None:
    now = datetime.now(timezone.utc)
    report = DropReport("1", "/wing", state, "under way", "aBc", "", True, (), now, now)

    def interrupted() -> None:
        with submit_module._display("https://server", quiet=False) as tell:
            tell(report)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert words in capsys.readouterr().err
