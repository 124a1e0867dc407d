"""The commands that list, stop and delete, on an account in memory."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from rescalefs.assembly.dropat import DropFound
from rescalefs.assembly.drops import KnownDrops
from rescalefs.belonging import Belonging, Key
from rescalefs.cli.catalogue import cheapest_prices
from rescalefs.cli.connection import Connection
from rescalefs.cli.deleting import delete_once_down
from rescalefs.cli.drops import age_text
from rescalefs.cli.main import main
from rescalefs.errors import InvalidRequest, NotFound, UserError
from rescalefs.model import (
    Analysis,
    AnalysisVersion,
    ComputePrice,
    CoreType,
    Job,
    JobDetail,
    JobStatus,
    Machine,
    Outcome,
    Project,
    RemoteFile,
    Result,
    User,
)
from rescalefs.submit import DropReport
from rescalefs.submit.advice import what_to_do
from rescalefs.submit.machine import State
from tests.consoles import console_log
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from rescalefs.api import RescaleClient

FOLDER = Path("/data/submit")
NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
JOBS = (
    Job("ccc", "wing 43", "Executing", NOON, "jane@example.com", "Started", "p1", ("openfoam",)),
    Job("bbb", "wing 42", "Completed", NOON),
    Job("aaa", "saved\tone"),
)


class FakeAccount:
    """Three jobs and a small catalogue; remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.closed = False
        self.longest_page = 1000
        self.console = console_log((["42"], 0))
        self.clusters = ["Not Started"]  # one goes at each question, but the last one stays
        self.undeletable = ""
        self.document = b"{}"
        self.tagged = ["Good"]
        self.forgets_answers = False

    def jobs(self, state: str | None = None) -> tuple[Job, ...]:
        self.told.append(("jobs", state))
        return tuple(job for job in JOBS if state is None or job.status.lower() == state)

    def newest_jobs(self, count: int) -> tuple[Job, ...]:
        self.told.append(("newest_jobs", count))
        return JOBS[: min(count, self.longest_page)]

    def job(self, job_id: str) -> JobDetail:
        for job in JOBS:
            if job.id == job_id:
                return JobDetail(replace(job, status=""), (), {}, 1, self.document)  # as the server tells it
        raise NotFound(f"GET jobs/{job_id}/: 404, Not found.")

    def statuses(self, job_id: str) -> tuple[JobStatus, ...]:
        self.job(job_id)
        if job_id == "bbb":
            return (JobStatus("Pending", NOON), JobStatus("Completed", NOON, "Completed successfully"))
        return (JobStatus("Pending", NOON), JobStatus("Executing", NOON)) if job_id == "ccc" else ()

    def cluster_statuses(self, job_id: str) -> tuple[JobStatus, ...]:
        if not self.clusters:
            raise NotFound(f"GET jobs/{job_id}/cluster_statuses/: 404, Not found.")
        del self.clusters[: len(self.clusters) > 1]
        return (JobStatus(self.clusters[0], NOON),)

    def output_files(self, job_id: str, search: str | None = None) -> tuple[RemoteFile, ...]:
        log = RemoteFile("log", "process_output.log", "process_output.log", len(self.console))
        return (log,) if search == "process_output.log" else ()

    def end_of(self, file: RemoteFile, most: int) -> bytes:
        return self.console[-most:]

    def user(self) -> User:
        return User("anna@example.com")

    def stop_job(self, job_id: str) -> None:
        self.told.append(("stop_job", job_id))

    def delete_job(self, job_id: str, with_inputs: bool = False) -> None:
        down = ("Stopped", "Not Started", "")
        if self.undeletable or job_id == "ccc" or (*self.clusters, "")[0] not in down:
            raise InvalidRequest(self.undeletable or "400: it runs")
        self.told.append(("delete_job", job_id, with_inputs))

    def machines(self, job_id: str) -> tuple[Machine, ...]:
        self.job(job_id)
        both = (Machine("10.0.0.2", 2222, "uprod", "WORKER"), Machine("10.0.0.1", 22, "uprod", "MASTER"))
        return both if job_id == "ccc" else ()

    def tags(self, job_id: str) -> tuple[str, ...]:
        self.job(job_id)
        return tuple(self.tagged)

    def add_tag(self, job_id: str, name: str) -> None:
        self.told.append(("add_tag", job_id, name))
        self.tagged.append(name)

    def remove_tag(self, job_id: str, name: str) -> None:
        self.told.append(("remove_tag", job_id, name))
        self.tagged.remove(name)
        if self.forgets_answers:
            raise NotFound(f"DELETE jobs/{job_id}/tags/: 404, Not found.")

    def core_types(self) -> tuple[CoreType, ...]:
        return (
            CoreType("onyx", "Onyx", (18, 36), ("hpc",), 5000),
            CoreType("granite", "Granite", (2, 4), ("general",), 2000),
            CoreType("emerald", "Emerald", (1, 2), ("general",), 4000),
            CoreType("slate", "Slate", (1,), ("general",)),
            CoreType("marble", "Marble", (1,), ("general",), is_deprecated=True),
        )

    def prices(self) -> tuple[ComputePrice, ...]:
        return (
            ComputePrice("onyx", "on-demand", "linux", Decimal("0.20"), "USD"),
            ComputePrice("granite", "pro-on-demand", "linux", Decimal("0.10"), "USD"),
            ComputePrice("granite", "on-demand", "linux", Decimal("0.06"), "USD"),
            ComputePrice("granite", "on-demand", "windows", Decimal("0.01"), "USD"),
            ComputePrice("granite", "on-demand", "linux", Decimal("0.02"), "USD", is_active=False),
            ComputePrice("granite", "low-priority", "linux", Decimal("0.03"), "USD"),
            ComputePrice("emerald", "on-demand", "linux", Decimal("0.08"), "USD"),
        )

    def analyses(self) -> tuple[Analysis, ...]:
        versions = (AnalysisVersion("v2306", "2306", ("onyx",)), AnalysisVersion("v2312", "2312"))
        return (
            Analysis("openfoam", "OpenFOAM", "OpenCFD", versions),
            Analysis("miniconda", "Miniconda", "Anaconda", (AnalysisVersion("4.8.4"),)),
        )

    def projects(self) -> tuple[Project, ...]:
        return (Project("p1", "Wings"), Project("p2", "Wheels"))

    def close(self) -> None:
        self.closed = True


class Shell:
    """Runs our commands on a FakeAccount."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.account = FakeAccount()
        self.profiles: list[str | None] = []
        self.drops: tuple[DropReport, ...] = ()
        self.whose: Belonging | None = None
        self.found: dict[tuple[Path, str | None], DropFound] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.code: int | None = None
        self.errors = ""

    def __call__(self, *arguments: str) -> str:
        """What a command prints in a pipe; its exit code and standard error are kept."""
        known = KnownDrops(self.drops, FOLDER, self.whose)
        self.code = main(
            arguments, Connection(self._open_client, lambda _: known, self._drop_at, lambda _: self.outcomes)
        )
        captured = self._capsys.readouterr()
        self.errors = captured.err
        return captured.out

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))

    def _drop_at(self, path: Path, profile: str | None) -> DropFound:
        return self.found[path, profile]

    def _open_client(self, profile: str | None) -> RescaleClient:
        self.profiles.append(profile)
        return cast("RescaleClient", self.account)


@pytest.fixture
def sh(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def test_jobs_are_lines_of_id_status_time_and_name(sh: Shell) -> None:
    assert sh("jobs") == (
        "ccc\tExecuting\t2026-11-24T12:00:00Z\twing 43\t\n"
        "bbb\tCompleted\t2026-11-24T12:00:00Z\twing 42\t\n"
        "aaa\t\t\tsaved\ufffdone\t\n"
    )
    assert sh.code == 0


def test_jobs_as_json_tell_more(sh: Shell) -> None:
    assert sh.json("jobs")[0] == {
        "id": "ccc",
        "name": "wing 43",
        "status": "Executing",
        "cluster_status": "Started",
        "inserted": "2026-11-24T12:00:00Z",
        "owner": "jane@example.com",
        "analyses": ["openfoam"],
        "project": "p1",
        "outcome": None,
        "ending": None,
        "exit_codes": None,
    }


def test_jobs_tell_how_one_ended_where_that_is_known(sh: Shell) -> None:
    words = "Completed, but the command ended with exit code 2 (see outputs/process_output.log)"
    sh.outcomes = {"bbb": Outcome(Result.FAILED, words, (2,), log_seen=True)}
    line = sh("jobs").splitlines()[1].split("\t")
    assert line == ["bbb", "Completed", "2026-11-24T12:00:00Z", "wing 42", "failed"]
    told = sh.json("jobs")[1]
    assert (told["outcome"], told["ending"], told["exit_codes"]) == ("failed", words, [2])


def test_a_limit_asks_for_no_more_than_that(sh: Shell) -> None:
    assert [job["id"] for job in sh.json("jobs", "--limit", "2")] == ["ccc", "bbb"]
    assert sh.account.told == [("newest_jobs", 2)]


def test_a_limit_past_the_servers_longest_page_still_gives_as_many(sh: Shell) -> None:
    sh.account.longest_page = 1
    assert [job["id"] for job in sh.json("jobs", "--limit", "2")] == ["ccc", "bbb"]
    assert len(sh.json("jobs", "--limit", "99")) == 3


def test_a_state_is_asked_of_the_server_and_then_limited(sh: Shell) -> None:
    assert [job["id"] for job in sh.json("jobs", "--state", "completed", "--limit", "5")] == ["bbb"]
    assert sh.account.told == [("jobs", "completed")]


def test_a_profile_reaches_the_client_which_is_closed_at_the_end(sh: Shell) -> None:
    sh("projects", "--profile", "eu")
    sh("projects")
    assert sh.profiles == ["eu", None]
    assert sh.account.closed


def test_statuses_are_a_history(sh: Shell) -> None:
    assert sh("statuses", "bbb") == (
        "2026-11-24T12:00:00Z\tPending\t\n2026-11-24T12:00:00Z\tCompleted\tCompleted successfully\n"
    )
    assert sh.errors == "rescalefs: job bbb: Completed\n"
    assert sh.json("statuses", "bbb")[1]["outcome"] == "succeeded"
    assert sh.json("statuses", "bbb", "--cluster") == [
        {"date": "2026-11-24T12:00:00Z", "status": "Not Started", "reason": None}
    ]


def test_statuses_of_a_job_that_failed_say_so(sh: Shell) -> None:
    sh.account.console = console_log((["no licence"], 3))
    sh("statuses", "bbb")
    words = "Completed, but the command ended with exit code 3 (see outputs/process_output.log)"
    assert sh.errors == f"rescalefs: job bbb: {words}\n"
    pending, completed = sh.json("statuses", "bbb")
    assert (pending["outcome"], completed["outcome"], completed["ending"]) == (None, "failed", words)
    assert completed["exit_codes"] == [3]


def test_an_earlier_analysis_that_failed_is_found_before_a_long_one(sh: Shell) -> None:
    sh.account.console = console_log((["no mesh"], 3), (["residual 0.5"] * 200, 0))
    assert sh.json("statuses", "bbb")[1]["exit_codes"] == [0]
    sh.account.document = b'{"jobanalyses": [{}, {}]}'
    assert sh.json("statuses", "bbb")[1]["exit_codes"] == [3, 0]


def test_a_cluster_that_is_not_there_yet_has_no_history(sh: Shell) -> None:
    sh.account.clusters = []
    assert (sh("statuses", "ccc", "--cluster"), sh.code) == ("", 0)
    sh("statuses", "zzz", "--cluster")
    assert (sh.code, "there is no job 'zzz'" in sh.errors) == (1, True)


def test_delete_waits_for_the_cluster_to_stop(capsys: pytest.CaptureFixture[str]) -> None:
    account, clock = FakeAccount(), FakeClock()
    account.clusters = ["Started", "Stopping", "Stopping", "Stopped"]
    delete_once_down(cast("RescaleClient", account), "bbb", True, clock)
    assert account.told == [("delete_job", "bbb", True)]
    assert capsys.readouterr().err.splitlines() == [
        "rescalefs: waiting for the cluster of job bbb to stop (Stopping)",
        "rescalefs: waiting for the cluster of job bbb to stop (Stopped)",
    ]


def test_delete_waits_for_a_cluster_no_longer_than_its_limit() -> None:
    account, clock = FakeAccount(), FakeClock()
    account.clusters = ["Stopping"]
    began = clock.monotonic()
    with pytest.raises(
        UserError, match=r"job bbb is not deleted: after 15 min, its cluster is Stopping still"
    ):
        delete_once_down(cast("RescaleClient", account), "bbb", False, clock)
    assert 900 <= clock.monotonic() - began < 910


def test_a_refusal_that_has_nothing_to_do_with_the_cluster_is_told() -> None:
    account = FakeAccount()
    account.undeletable = "it is shared"
    account.clusters = []
    with pytest.raises(UserError, match="job bbb is not deleted: it is shared"):
        delete_once_down(cast("RescaleClient", account), "bbb", False, FakeClock())


def test_a_job_that_runs_is_not_deleted_and_not_waited_for(sh: Shell) -> None:
    sh("delete", "ccc", "--yes")
    assert sh.code == 1
    assert sh.errors == (
        "rescalefs: job ccc is not deleted: it still runs (Executing). "
        "Stop it first, `rescalefs stop ccc`, and delete it once it has ended\n"
    )


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Types an answer to the next question."""

    def type_in(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    return type_in


def test_stop_asks_and_then_stops(sh: Shell, answer: Callable[[str], None]) -> None:
    answer("y\n")
    assert sh("stop", "ccc") == "job ccc has been told to stop\n"
    assert "Stop job ccc, 'wing 43' (Executing)? [y/N]" in sh.errors
    assert (sh.code, sh.account.told) == (0, [("stop_job", "ccc")])


@pytest.mark.parametrize("command", [("stop", "ccc"), ("delete", "ccc")])
def test_no_is_an_answer(sh: Shell, answer: Callable[[str], None], command: tuple[str, str]) -> None:
    answer("n\n")
    assert sh(*command) == ""
    assert "job ccc is left as it is" in sh.errors
    assert (sh.code, sh.account.told) == (1, [])


def test_no_answer_is_no(sh: Shell, answer: Callable[[str], None]) -> None:
    answer("")
    sh("delete", "ccc")
    assert "the question got no answer" in sh.errors
    assert (sh.code, sh.account.told) == (1, [])


def test_a_job_that_has_ended_cannot_be_stopped(sh: Shell) -> None:
    sh("stop", "bbb", "--yes")
    assert sh.errors == "rescalefs: job bbb cannot be stopped: it has ended already, as Completed\n"
    assert (sh.code, sh.account.told) == (1, [])


def test_delete_says_what_goes_for_ever(sh: Shell, answer: Callable[[str], None]) -> None:
    answer("y\n")
    assert sh("delete", "aaa", "--with-inputs") == "job aaa is deleted\n"
    assert (
        "Delete job aaa, 'saved\ufffdone' (saved), with its outputs and its input files, for ever?"
        in sh.errors
    )
    assert sh.account.told == [("delete_job", "aaa", True)]


def test_yes_does_not_ask_and_keeps_the_inputs(sh: Shell) -> None:
    assert sh("delete", "bbb", "-y") == "job bbb is deleted\n"
    assert (sh.errors, sh.account.told) == ("", [("delete_job", "bbb", False)])


def test_a_job_that_is_not_there_is_exit_code_1(sh: Shell) -> None:
    for command in (["delete", "zzz", "-y"], ["stop", "zzz", "-y"], ["statuses", "zzz"]):
        sh(*command)
        assert (sh.code, sh.errors) == (
            1,
            "rescalefs: there is no job 'zzz'; `rescalefs jobs` lists what there is\n",
        )


def test_a_folder_named_without_its_path_is_pointed_out(
    sh: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zzz").mkdir()
    monkeypatch.chdir(tmp_path)
    sh("stop", "zzz", "-y")
    assert (sh.code, sh.errors.endswith("; for the folder of this name, write ./zzz\n")) == (1, True)


def drop(name: str, state: State, job_id: str | None = None, **facts: Any) -> DropReport:
    known: dict[str, Any] = {"here": True, "problems": (), "changed": NOON, "found": NOON, **facts}
    return DropReport(f"id of {name}", name, state, state.value, job_id, "", **known)


def test_statuses_are_told_by_the_name_and_by_the_path_of_a_drop(sh: Shell) -> None:
    sh.drops = (drop("wing", State.COMPLETED, "bbb"),)
    sh.found[Path("/mnt/submit/wing"), None] = DropFound(sh.drops[0], None, Key())
    by_id = sh("statuses", "bbb")
    assert by_id
    assert sh("statuses", "wing") == sh("statuses", "/mnt/submit/wing") == by_id


def test_a_job_is_stopped_by_the_name_of_its_drop(sh: Shell) -> None:
    sh.drops = (drop("wing", State.RUNNING, "bbb", here=False), drop("wing", State.RUNNING, "ccc"))
    assert sh("stop", "wing", "--yes") == "job ccc has been told to stop\n"
    assert sh.account.told == [("stop_job", "ccc")]


def test_a_job_is_deleted_by_the_path_of_its_drop_with_the_drops_own_profile(sh: Shell) -> None:
    sh.drops = (drop("wing", State.RUNNING, "ccc"),)  # the default account's of the same name
    sh.found[Path("/mnt/submit/wing"), None] = DropFound(drop("wing", State.COMPLETED, "bbb"), "eu", Key())
    sh("delete", "/mnt/submit/wing", "--with-inputs", "--yes")
    assert sh.account.told == [("delete_job", "bbb", True)]
    assert sh.profiles == ["eu"]


def test_a_drop_of_another_account_is_refused(sh: Shell) -> None:
    theirs = Belonging("", "someone@else.example")
    found = DropFound(drop("wing", State.RUNNING, "ccc"), None, Key(), theirs)
    sh.found[Path("/mnt/submit/wing"), None] = found
    sh("stop", "/mnt/submit/wing", "--yes")
    assert (sh.code, sh.account.told) == (1, [])
    assert "wing is a drop of someone@else.example, and the API key is of" in sh.errors
    sh.drops, sh.whose = (drop("wing", State.RUNNING, "ccc"),), theirs
    sh("stop", "wing", "--yes")
    assert (sh.code, sh.account.told) == (1, [])
    assert "these drops belong to someone@else.example" in sh.errors
    sh("drops")
    assert "these drops belong to someone@else.example" in sh.errors


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("early", "early has no job yet (waiting). To keep it from becoming one, delete or move the folder"),
        ("aaa", "aaa is both a drop, whose job is ccc, and the id of another job. Name the drop by its path"),
        ("held", "job aaa cannot be stopped: it is saved, and was never submitted"),
    ],
)
def test_a_word_that_means_no_running_job_stops_none(sh: Shell, word: str, message: str) -> None:
    sh.drops = (
        drop("early", State.WAITING),
        drop("aaa", State.RUNNING, "ccc"),
        drop("held", State.SAVED, "aaa"),
    )
    sh("stop", word, "--yes")
    assert sh.errors.startswith(f"rescalefs: {message}")
    assert (sh.code, sh.account.told) == (1, [])


def test_drops_are_lines_with_what_to_do_and_gone_ones_are_left_out(sh: Shell) -> None:
    sh.drops = (
        drop("wing", State.RUNNING, "ccc"),
        drop("gone", State.RUNNING, "bbb", here=False),
        drop("typo", State.REJECTED, problems=("command is missing", "cores is 0")),
    )
    lines = [line.split("\t") for line in sh("drops").splitlines()]
    assert [(line[0], line[1], line[3], line[5]) for line in lines] == [
        ("wing", "running", "ccc", "nothing; `rescalefs stop ccc` stops it"),
        (
            "typo",
            "rejected",
            "",
            "mend this, and 1 more: see status.log; it then starts by itself: command is missing",
        ),
    ]
    assert [each["drop"] for each in sh.json("drops", "--all")] == ["wing", "gone", "typo"]
    wing = sh.json("drops")[0]
    assert (wing["folder"], wing["found"]) == ("/data/submit/wing", "2026-11-24T12:00:00Z")


@pytest.mark.parametrize("state", State)
def test_in_every_state_it_is_said_what_to_do(state: State) -> None:
    said = what_to_do(drop("wing", state, "ccc", problems=("it is wrong",)))
    assert said
    assert said.isprintable()


@pytest.mark.parametrize("state", State)
def test_what_lies_elsewhere_is_not_sent_to_files_that_only_drops_have(state: State) -> None:
    said = what_to_do(drop("/home/jane/wing", state, "ccc", hold=True, problems=("it is wrong", "more")))
    assert said
    assert "status.log" not in said
    assert "job/outputs" not in said
    assert "by itself" not in said or state is not State.REJECTED


def test_what_is_awaited_is_named() -> None:
    assert what_to_do(drop("w", State.WAITING, missing=("a", "b"))) == (
        "add a, b, or take it off inputFiles in job.json"
    )
    assert what_to_do(drop("w", State.WAITING, has_job_file=False)) == "add job.json, which says what to run"
    assert what_to_do(drop("w", State.WAITING, has_job_file=True)).startswith("nothing; it starts once")
    assert what_to_do(drop("w", State.SAVED, "ccc", hold=True)) == 'remove "hold" from job.json to submit it'


@pytest.mark.parametrize(
    ("age", "said"), [(5, "5 s"), (60, "1 min"), (7199, "1 h"), (86400 * 3 + 5, "3 d"), (-1, "0 s")]
)
def test_an_age_is_told_in_its_largest_unit(age: int, said: str) -> None:
    assert age_text(timedelta(seconds=age)) == said


def test_the_price_of_a_core_type_is_the_lowest_active_on_demand_one_for_linux() -> None:
    amounts = {code: price.amount for code, price in cheapest_prices(FakeAccount().prices()).items()}
    assert amounts == {"onyx": Decimal("0.20"), "granite": Decimal("0.06"), "emerald": Decimal("0.08")}


def test_core_types_keep_the_servers_order_without_what_is_deprecated(sh: Shell) -> None:
    assert sh("coretypes").splitlines()[:2] == [
        "onyx\t0.20\tUSD\t18,36\t5000\thpc\tOnyx",
        "granite\t0.06\tUSD\t2,4\t2000\tgeneral\tGranite",
    ]
    assert [row["code"] for row in sh.json("coretypes")] == ["onyx", "granite", "emerald", "slate"]
    assert "marble" in [row["code"] for row in sh.json("coretypes", "--all")]


def test_the_cheapest_of_a_category_comes_first_and_what_has_no_price_last(sh: Shell) -> None:
    rows = sh.json("coretypes", "--category", "general", "--sort", "price")
    assert [(row["code"], row["price"]) for row in rows] == [
        ("granite", 0.06),
        ("emerald", 0.08),
        ("slate", None),
    ]


def test_core_types_sort_by_code(sh: Shell) -> None:
    assert [line.split("\t")[0] for line in sh("coretypes", "--sort", "code").splitlines()] == [
        "emerald",
        "granite",
        "onyx",
        "slate",
    ]


@pytest.mark.parametrize("word", ["FOAM", "opencfd"])
def test_a_word_picks_software_by_code_name_or_vendor(sh: Shell, word: str) -> None:
    assert sh("analyses", word) == "openfoam\tOpenFOAM\tOpenCFD\tv2306,v2312\n"


def test_software_as_json_tells_where_each_version_runs(sh: Shell) -> None:
    openfoam, _ = sh.json("analyses")
    assert openfoam["versions"][0] == {"code": "v2306", "name": "2306", "core_types": ["onyx"]}


def test_projects_are_lines_of_id_and_name(sh: Shell) -> None:
    assert sh("projects") == "p1\tWings\np2\tWheels\n"
    assert sh.json("projects")[1] == {"id": "p2", "name": "Wheels"}


def test_tag_adds_what_is_missing_and_shows_what_is_there(sh: Shell) -> None:
    assert sh("tag", "bbb", "wing", "good", "wing") == "Good\nwing\n"
    assert (sh.code, sh.account.told) == (0, [("add_tag", "bbb", "wing")])
    assert json.loads(sh("tag", "bbb", "--json")) == [{"name": "Good"}, {"name": "wing"}]


@pytest.mark.parametrize("lost", [False, True])
def test_tag_removes_a_tag_whatever_its_case_also_where_the_answer_was_lost(sh: Shell, lost: bool) -> None:
    sh.account.forgets_answers = lost
    assert sh("tag", "bbb", "--remove", "gOOD", "never-there") == ""
    assert (sh.code, sh.account.told) == (0, [("remove_tag", "bbb", "Good")])


@pytest.mark.parametrize("words", [("bbb", " "), ("bbb", "--remove")])
def test_tag_refuses_what_names_no_tag(sh: Shell, words: tuple[str, ...]) -> None:
    sh("tag", *words)
    assert (sh.code, sh.account.told) == (2, [])


def test_tag_says_where_there_is_no_such_job(sh: Shell) -> None:
    sh("tag", "nope", "wing")
    assert "there is no job 'nope'" in sh.errors
    assert (sh.code, sh.account.told) == (1, [])


def test_ssh_prints_a_command_for_each_machine_the_head_first(sh: Shell) -> None:
    assert sh("ssh", "ccc") == "ssh -p 22 uprod@10.0.0.1\nssh -p 2222 uprod@10.0.0.2\n"
    (head, _) = json.loads(sh("ssh", "ccc", "--json"))
    assert head == {"command": "ssh -p 22 uprod@10.0.0.1", "role": "MASTER"}


def test_ssh_says_that_a_cluster_does_not_run(sh: Shell) -> None:
    assert sh("ssh", "bbb") == ""
    assert "job bbb has no machine to log in to: its cluster does not run" in sh.errors
    assert sh.code == 1
