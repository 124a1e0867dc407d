"""A Rescale in memory, and the submit room around it without threads: every step is the test's."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from io import RawIOBase
from pathlib import Path
from typing import Any

from rescalefs.clock import Clock
from rescalefs.errors import InvalidRequest, NotFound
from rescalefs.model import (
    Analysis,
    AnalysisVersion,
    ComputePrice,
    CoreType,
    Job,
    JobDetail,
    JobStatus,
    Outcome,
    Project,
    RemoteFile,
    User,
)
from rescalefs.submit.catalogue import Catalogue
from rescalefs.submit.journal import Journal, Upload
from rescalefs.submit.ledger import Ledger
from rescalefs.submit.machine import Drop, Event
from rescalefs.submit.poller import Poller
from rescalefs.submit.settings import SubmitSettings
from rescalefs.submit.spec import TOKEN
from rescalefs.submit.survey import Survey
from rescalefs.submit.uploads import Carrier, Depot
from rescalefs.submit.worker import Worker
from tests.consoles import console_log
from tests.fakes import FakeClock

CATALOGUE = Catalogue(
    analyses=(
        Analysis(
            "miniconda", "Miniconda", versions=(AnalysisVersion("4.8.4", "4.8.4", ("granite", "emerald")),)
        ),
        Analysis(
            "openfoam",
            "OpenFOAM",
            versions=(
                AnalysisVersion("9-ompi", "9"),
                AnalysisVersion("10-ompi", "10"),
                AnalysisVersion("7-x", "7"),
            ),
        ),
        Analysis("user_included", "Bring Your Own Software", versions=(AnalysisVersion("0", "CPU"),)),
    ),
    core_types=(
        CoreType("granite", "Granite", (2, 4, 8), ("general",)),
        CoreType("emerald", "Emerald", (1, 2, 18, 36), ("general",)),
        CoreType("ruby", "Ruby", (4,), ("gpu",)),
        CoreType("titanium", "Titanium", (4,), ("general",), is_active=False),
    ),
    projects=(Project("pQwErT", "Wing studies"), Project("aSdFgH", "Test")),
    prices=(
        ComputePrice("granite", "all-on-demand", "linux", Decimal("0.07"), "USD"),
        ComputePrice("emerald", "all-on-demand", "linux", Decimal("0.15"), "USD"),
        ComputePrice("emerald", "all-on-demand", "windows", Decimal("0.01"), "USD"),
        ComputePrice("granite", "low-priority", "linux", Decimal("0.01"), "USD"),
        ComputePrice("titanium", "all-on-demand", "linux", Decimal("0.01"), "USD"),
        ComputePrice("ruby", "all-on-demand", "linux", Decimal("0.02"), "USD"),
    ),
)

ANNA = User("anna@example.com", workspace="Wings", workspace_id="aBcD")
BEN = User("ben@example.com", workspace="Wings", workspace_id="aBcD")

GOOD: dict[str, Any] = {
    "name": "wing",
    "jobanalyses": [
        {
            "analysis": {"code": "miniconda", "version": "4.8.4"},
            "command": "python -m solve",
            "hardware": {"coreType": "granite", "coresPerSlot": 2, "slots": 1, "walltime": 1},
        }
    ],
}


_OVER = {"Completed", "Failed", "Force Stopped"}
_LONGEST_LAG = 60.0  # seconds that a test lets a replica be behind


class PowerCut(BaseException):
    """The process is gone, at this very point."""


@dataclass
class ServerJob:
    """A job as the server has it."""

    id: str
    definition: dict[str, Any]
    statuses: list[JobStatus] = field(default_factory=list)
    made: float = 0.0  # monotonic seconds
    told: list[float] = field(default_factory=list)  # the same, of each status


@dataclass
class FakeRescale:
    """Keeps what it is sent. ``point`` is told of each request before and after it is done."""

    clock: Clock
    account: User = ANNA
    catalogue: Catalogue = CATALOGUE
    point: Callable[[str], None] = lambda _: None
    files: dict[str, tuple[RemoteFile, bytes]] = field(default_factory=dict)
    on_server: dict[str, ServerJob] = field(default_factory=dict)
    outputs: tuple[RemoteFile, ...] = (RemoteFile("log1", "process_output.log", "process_output.log", 10),)
    console: bytes = console_log((["it went well"], 0))  # the content of the console log
    requests: list[str] = field(default_factory=list)
    refuse_create: tuple[str, ...] = ()
    refuse_submit: tuple[str, ...] = ()
    lags: Callable[[], float] = lambda: 0.0  # seconds by which the replica that answers a read is behind
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def _begin(self, request: str) -> None:
        self.requests.append(request)
        self.point(f"before {request}")

    def user(self) -> User:
        self._begin("user")
        return self.account

    def analyses(self) -> tuple[Analysis, ...]:
        self._begin("analyses")
        return self.catalogue.analyses

    def core_types(self) -> tuple[CoreType, ...]:
        self._begin("core_types")
        return self.catalogue.core_types

    def prices(self) -> tuple[ComputePrice, ...]:
        self._begin("prices")
        return self.catalogue.prices

    def projects(self) -> tuple[Project, ...]:
        self._begin("projects")
        return self.catalogue.projects or ()

    def jobs(self) -> tuple[Job, ...]:
        self._begin("jobs")
        return self._listed()

    def newest_jobs(self, count: int) -> tuple[Job, ...]:
        self._begin("newest_jobs")
        return self._listed()[:count]

    def job(self, job_id: str) -> JobDetail:
        self._begin("job")
        job = self._seen(job_id)
        variables: Mapping[str, str] = job.definition["jobanalyses"][0].get("envVars") or {}
        return JobDetail(self._summary(job), (), variables, 1, json.dumps(job.definition).encode())

    def statuses(self, job_id: str) -> tuple[JobStatus, ...]:
        self._begin("statuses")
        return tuple(self._seen(job_id).statuses)

    def end_of(self, file: RemoteFile, most: int) -> bytes:
        self._begin("end_of")
        assert file in self.outputs, "a file that is not listed is read"
        return self.console[-most:]

    def output_files(self, job_id: str) -> tuple[RemoteFile, ...]:
        self._begin("output_files")
        self._seen(job_id)
        return self.outputs

    def create_job(self, definition: Mapping[str, Any]) -> Job:
        self._begin("create_job")
        if self.refuse_create:
            raise InvalidRequest("400 Bad Request", self.refuse_create)
        made = self.clock.monotonic()
        job = ServerJob(f"job{next(self._numbers)}", json.loads(json.dumps(definition)), made=made)
        self.on_server[job.id] = job
        self.point("after create_job")
        return self._summary(job)

    def submit_job(self, job_id: str) -> None:
        self._begin("submit_job")
        job = self._job(job_id)
        if self.refuse_submit:
            raise InvalidRequest("400 Bad Request", self.refuse_submit)
        if job.statuses:
            just_now = self.clock.monotonic() - job.told[0] <= _LONGEST_LAG
            assert just_now, "submit was repeated on a job that was seen to have left its saved state"
            raise InvalidRequest("400 Bad Request", ("the job was submitted already",))
        self.tell(job_id, "Pending")
        self.point("after submit_job")

    def stop_job(self, job_id: str) -> None:
        self._begin("stop_job")
        self.tell(job_id, "Stopping")

    def delete_job(self, job_id: str) -> None:
        self._begin("delete_job")
        statuses = self._job(job_id).statuses
        if statuses and statuses[-1].status not in _OVER:
            raise InvalidRequest("400 Bad Request", ("a job that runs cannot be deleted",))
        del self.on_server[job_id]
        self.point("after delete_job")

    def file(self, file_id: str) -> RemoteFile:
        self._begin("file")
        if file_id not in self.files:
            raise NotFound(f"no file {file_id}")
        return self.files[file_id][0]

    def upload(
        self,
        name: str,
        content: RawIOBase,
        size: int,
        type_id: int,
        progress: Callable[[int], None] | None = None,
    ) -> RemoteFile:
        self._begin("upload")
        data = content.read()
        assert len(data) == size
        file = RemoteFile(
            f"file{next(self._numbers)}", name, name, size, hashlib.sha512(data).hexdigest(), type_id
        )
        self.files[file.id] = (file, data)
        self.point("after upload")
        return file

    def tell(self, job_id: str, *statuses: str, reason: str | None = None) -> None:
        """The job gets these statuses, a second apart; a job that ends by itself ends well."""
        job = self._job(job_id)
        for status in statuses:
            date = self.clock.now() + timedelta(seconds=len(job.statuses))
            is_stopped = any(each.status in ("Stopping", "Force Stop") for each in job.statuses)
            well = "Completed successfully" if status == "Completed" and not is_stopped else None
            job.statuses.append(JobStatus(status, date, reason or well))
            job.told.append(self.clock.monotonic())

    def inputs(self, job_id: str, analysis: int = 0) -> dict[str, bytes]:
        """The input files of a job, by name."""
        entries = self._job(job_id).definition["jobanalyses"][analysis]["inputFiles"]
        found = [self.files[entry["id"]] for entry in entries]
        return {file.name: data for file, data in found}

    def tokens(self) -> list[str]:
        """Of all jobs."""
        return [job.definition["jobanalyses"][0]["envVars"][TOKEN] for job in self.on_server.values()]

    def _job(self, job_id: str) -> ServerJob:
        if job_id not in self.on_server:
            raise NotFound(f"no job {job_id}")
        return self.on_server[job_id]

    def _seen(self, job_id: str) -> ServerJob:
        """The job as the replica shows it that answers."""
        return self._of_then(self._job(job_id), self.clock.monotonic() - self.lags())

    def _listed(self) -> tuple[Job, ...]:
        then = self.clock.monotonic() - self.lags()
        jobs = [job for job in reversed(self.on_server.values()) if job.made <= then]
        return tuple(self._summary(self._of_then(job, then)) for job in jobs)

    def _of_then(self, job: ServerJob, then: float) -> ServerJob:
        if job.made > then:
            raise NotFound(f"no job {job.id}")
        known = [status for status, told in zip(job.statuses, job.told, strict=True) if told <= then]
        return replace(job, statuses=known)

    def _summary(self, job: ServerJob) -> Job:
        status = job.statuses[-1].status if job.statuses else ""
        return Job(job.id, job.definition["name"], status)


class CutJournal(Journal):
    """A journal whose every write is a point at which the power may go."""

    def __init__(self, path: Path, point: Callable[[str], None]) -> None:
        super().__init__(path)
        self._point = point

    def append(self, drop: Drop, event: Event, at: Any) -> Drop:
        self._point(f"before {type(event).__name__}")
        after = super().append(drop, event, at)
        self._point(f"after {type(event).__name__}")
        return after

    def remember(self, upload: Upload) -> None:
        self._point("before remember")
        super().remember(upload)
        self._point("after remember")


class Rig:
    """One daemon's worth of parts, driven by hand."""

    journal_type = CutJournal

    def __init__(
        self,
        settings: SubmitSettings,
        service: FakeRescale,
        clock: FakeClock,
        point: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.service = service
        self.clock = clock
        self.unfinished: dict[Path, str] = {}
        settings.folder.mkdir(parents=True, exist_ok=True)
        self.journal = self.journal_type(settings.journal, point)
        self.ledger = Ledger(self.journal, clock)
        self.ledger.catch_up()
        self.depot = Depot(clock)
        self.carrier = Carrier(
            service,
            settings,
            clock,
            self.journal,
            self.depot,
            trouble=self.ledger.trouble,
            well=self.ledger.well,
        )
        self.made: list[str] = []
        self.worker = Worker(
            service, settings, clock, self.ledger, self.depot, made=lambda job: self.made.append(job.id)
        )
        self.concluded: list[tuple[str, str]] = []  # the words of each end, and what a drop said until then
        self.poller = Poller(
            service,
            settings,
            clock,
            self.ledger,
            concluded=self._conclude,
        )
        self.survey = Survey(
            settings, clock, self.ledger, self.journal, lambda path: self.unfinished.get(path, "")
        )

    def __enter__(self) -> Rig:  # noqa: PYI034  # typing.Self is for Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()

    def _conclude(self, job_id: str, outcome: Outcome) -> None:
        drop = next(each for each in self.ledger.drops() if each.job_id == job_id)
        self.concluded.append((outcome.words, (self.ledger.status(drop.folder) or b"").decode()))

    def work(self) -> None:
        """Everything that can be done at this moment."""
        while self.worker.serve_one(self.ledger.open_drops()) or self.carrier.carry_one():
            pass
        self.poll()

    def poll(self) -> float:
        """What the daemon's poller follows."""
        return self.poller.poll((*self.ledger.open_drops(), *self.ledger.closed_drops()))

    def turn(self, seconds: float = 2.5) -> None:
        """Look, work, and let time pass."""
        self.survey.everything()
        self.work()
        self.clock.advance(seconds)

    def turns(self, count: int = 4, seconds: float = 2.5) -> None:
        for _ in range(count):
            self.turn(seconds)

    def status(self, drop: str = "wing") -> str:
        text = self.ledger.status(drop)
        assert text is not None, f"no drop {drop}"
        assert text.endswith(b"\n")
        assert text.count(b"\n") == 1
        return text.decode().rstrip("\n")

    def log(self, drop: str = "wing") -> list[str]:
        text = self.ledger.log(drop)
        assert text is not None, f"no drop {drop}"
        return [line.split("\t")[1] for line in text.decode().splitlines()]


def make_settings(root: Path, **changes: Any) -> SubmitSettings:
    return replace(SubmitSettings(folder=root / "submit", journal=root / "state" / "journal.db"), **changes)


def drop_files(folder: Path, job: Any = GOOD, files: Mapping[str, bytes] | None = None) -> Path:
    """Write a drop as a person would: inputs first, job.json last."""
    contents = {"solve.py": b"print(42)\n", "mesh.msh": b"1 2 3\n"} if files is None else files
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    if job is not None:
        text = job if isinstance(job, (str, bytes)) else json.dumps(job)
        (folder / "job.json").write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def only(jobs: Iterable[ServerJob]) -> ServerJob:
    """The one job there is."""
    (job,) = jobs
    return job
