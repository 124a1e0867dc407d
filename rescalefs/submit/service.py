"""What this room needs of the client; tests hand it a fake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import RawIOBase
from typing import Any, Protocol

from rescalefs.model import (
    Analysis,
    ComputePrice,
    CoreType,
    Job,
    JobDetail,
    JobStatus,
    Project,
    RemoteFile,
    User,
)


class JobService(Protocol):
    """Jobs and files at Rescale. Every method raises the tree of ``errors.ApiError``.

    ``create_job`` is asked once per call: when its answer is lost, it raises, and the job may exist.
    """

    def user(self) -> User: ...

    def analyses(self) -> tuple[Analysis, ...]: ...

    def core_types(self) -> tuple[CoreType, ...]: ...

    def prices(self) -> tuple[ComputePrice, ...]: ...

    def projects(self) -> tuple[Project, ...]: ...

    def jobs(self) -> tuple[Job, ...]: ...

    def newest_jobs(self, count: int) -> tuple[Job, ...]: ...

    def job(self, job_id: str) -> JobDetail: ...

    def statuses(self, job_id: str) -> tuple[JobStatus, ...]: ...

    def end_of(self, file: RemoteFile, most: int) -> bytes:
        """The last bytes of a file, at most so many."""
        ...

    def output_files(self, job_id: str) -> tuple[RemoteFile, ...]: ...

    def create_job(self, definition: Mapping[str, Any]) -> Job: ...

    def submit_job(self, job_id: str) -> None: ...

    def stop_job(self, job_id: str) -> None: ...

    def delete_job(self, job_id: str) -> None: ...

    def file(self, file_id: str) -> RemoteFile: ...

    def upload(
        self,
        name: str,
        content: RawIOBase,
        size: int,
        type_id: int,
        progress: Callable[[int], None] | None = None,
    ) -> RemoteFile:
        """Send ``size`` bytes of ``content``; ``progress`` is told how many bytes went out in all so far."""
        ...
