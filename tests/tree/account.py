"""A fake of the server for this room: a few dictionaries, and a count of every request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from rescalefs.background import Background
from rescalefs.clock import Clock
from rescalefs.errors import ApiError, InvalidRequest, NotFound
from rescalefs.model import (
    Analysis,
    ComputePrice,
    CoreType,
    Job,
    JobDetail,
    JobStatus,
    Project,
    RemoteFile,
    Run,
    User,
)
from rescalefs.tree import Tree, TreeSettings

START = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)


def minutes(count: float) -> datetime:
    """A moment after START."""
    return START + timedelta(minutes=count)


class FakeService:
    """Jobs in memory. ``requests`` counts by method and job; ``failure`` is raised by all while it is set."""

    def __init__(self) -> None:
        self.all: dict[str, Job] = {}
        self.unlisted: set[str] = set()
        self.files: dict[str, tuple[RemoteFile, ...]] = {}
        self.inputs: dict[str, tuple[RemoteFile, ...]] = {}
        self.histories: dict[str, tuple[JobStatus, ...]] = {}
        self.working: dict[str, tuple[str, ...]] = {}  # by job, or by `job/run` where it is not run 1
        self.all_runs: dict[str, tuple[Run, ...]] = {}
        self.run_outputs: dict[tuple[str, str], tuple[RemoteFile, ...]] = {}
        self.hardware: tuple[CoreType, ...] = ()
        self.pricelist: tuple[ComputePrice, ...] = ()
        self.software: tuple[Analysis, ...] = ()
        self.all_projects: tuple[Project, ...] = ()
        self.consoles: dict[str, bytes] = {}  # by the id of the file
        self.requests: Counter[str] = Counter()
        self.failure: ApiError | None = None
        self.on_request: Callable[[str], None] = lambda _: None

    def add(self, job_id: str, name: str = "wing", status: str = "Completed", at: float = 0.0) -> Job:
        job = Job(job_id, name, status, inserted=minutes(at))
        self.all[job_id] = job
        self.histories[job_id] = (JobStatus("Pending", minutes(at)),) if status else ()
        if status not in ("", "Pending"):
            reason = "Completed successfully" if status == "Completed" else "as told"
            self.histories[job_id] += (JobStatus(status, minutes(at + 5), reason),)
        return job

    def jobs(self, state: str | None = None) -> tuple[Job, ...]:
        self._asked("jobs")
        return self._newest_first()

    def newest_jobs(self, count: int) -> tuple[Job, ...]:
        self._asked("newest_jobs")
        return self._newest_first()[:count]

    def job(self, job_id: str) -> JobDetail:
        self._asked("job", job_id)
        job = self.all[job_id]
        page = Job(job_id, job.name, inserted=job.inserted)  # the page of a job does not tell its status
        return JobDetail(page, self.inputs.get(job_id, ()), {}, 1, b'{"id": "%s"}\n' % job_id.encode())

    def statuses(self, job_id: str) -> tuple[JobStatus, ...]:
        self._asked("statuses", job_id)
        return self.histories[job_id]

    def cluster_statuses(self, job_id: str) -> tuple[JobStatus, ...]:
        self._asked("cluster_statuses", job_id)
        return ()

    def output_files(self, job_id: str, search: str | None = None) -> tuple[RemoteFile, ...]:
        self._asked("output_files", job_id)
        return self.files.get(job_id, ())

    def end_of(self, file: RemoteFile, most: int) -> bytes:
        self._asked("end_of")
        return self.consoles[file.id][-most:]

    def directory_contents(self, job_id: str, run_id: str) -> tuple[str, ...]:
        self._asked("directory_contents", job_id)
        key = job_id if run_id == "1" else f"{job_id}/{run_id}"
        if key not in self.working:
            raise InvalidRequest(f"job {job_id} does not run")
        return self.working[key]

    def runs(self, job_id: str) -> tuple[Run, ...]:
        self._asked("runs", job_id)
        return self.all_runs.get(job_id, (Run("1"),))

    def run_files(self, job_id: str, run_id: str) -> tuple[RemoteFile, ...]:
        self._asked("run_files", job_id)
        return self.run_outputs.get((job_id, run_id), ())

    def core_types(self) -> tuple[CoreType, ...]:
        self._asked("core_types")
        return self.hardware

    def prices(self) -> tuple[ComputePrice, ...]:
        self._asked("prices")
        return self.pricelist

    def analyses(self) -> tuple[Analysis, ...]:
        self._asked("analyses")
        return self.software

    def projects(self) -> tuple[Project, ...]:
        self._asked("projects")
        return self.all_projects

    def user(self) -> User:
        self._asked("user")
        return User("ada@example.com", "Ada Lovelace", "engines", "Default")

    @property
    def total(self) -> int:
        """The number of requests so far."""
        return self.requests.total()

    def _newest_first(self) -> tuple[Job, ...]:
        listed = [job for job in self.all.values() if job.id not in self.unlisted]
        return tuple(sorted(listed, key=lambda job: job.inserted or START, reverse=True))

    def _asked(self, method: str, job_id: str | None = None) -> None:
        self.requests[method] += 1
        self.on_request(method)
        if self.failure is not None:
            raise self.failure
        if job_id is not None and job_id not in self.all:
            raise NotFound(f"no job {job_id}")


def file(
    file_id: str,
    path: str = "",
    size: int | None = 3,
    at: float | None = 1.0,
    sha512: str | None = "ab" * 64,
    uploaded: bool = True,
) -> RemoteFile:
    """A file; ``path`` is the server's, its id if there is none."""
    path = path or file_id
    date = None if at is None else minutes(at)
    return RemoteFile(file_id, path.rpartition("/")[2], path, size, sha512, 5, date, uploaded)


def tree_of(service: FakeService, clock: Clock, settings: TreeSettings | None = None) -> Tree:
    """A tree in which nothing happens in the background."""
    return Tree(
        service, clock, Background(), settings or TreeSettings(), lambda _: "no", {"status": lambda: b"up\n"}
    )
