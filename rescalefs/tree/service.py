"""What this room needs of the client; tests hand it a fake."""

from __future__ import annotations

from typing import Protocol

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


class JobService(Protocol):
    """Jobs at Rescale. Every method raises the tree of `ApiError`, and ends within a limit of its own."""

    def jobs(self) -> tuple[Job, ...]:
        """All jobs, newest first."""
        ...

    def newest_jobs(self, count: int) -> tuple[Job, ...]:
        """At most ``count`` jobs, newest first, in one request; fewer where pages are shorter."""
        ...

    def job(self, job_id: str) -> JobDetail: ...

    def statuses(self, job_id: str) -> tuple[JobStatus, ...]:
        """Oldest first."""
        ...

    def cluster_statuses(self, job_id: str) -> tuple[JobStatus, ...]:
        """Oldest first."""
        ...

    def directory_contents(self, job_id: str, run_id: str) -> tuple[str, ...]:
        """The paths in a run's working directory; only while it runs, else `ApiError`."""
        ...

    def runs(self, job_id: str) -> tuple[Run, ...]: ...

    def run_files(self, job_id: str, run_id: str) -> tuple[RemoteFile, ...]:
        """The outputs of one run, without those that were deleted."""
        ...

    def core_types(self) -> tuple[CoreType, ...]: ...

    def prices(self) -> tuple[ComputePrice, ...]: ...

    def analyses(self) -> tuple[Analysis, ...]: ...

    def projects(self) -> tuple[Project, ...]: ...

    def user(self) -> User: ...

    def output_files(self, job_id: str, search: str | None = None) -> tuple[RemoteFile, ...]:
        """The outputs of all runs, without those that were deleted; ``search``: a part of their names."""
        ...

    def end_of(self, file: RemoteFile, most: int) -> bytes:
        """The last bytes of a file, at most so many."""
        ...
