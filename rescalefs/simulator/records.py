"""What the simulator knows, as frozen records that are kept as JSON. The wire's form is in documents.py."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from rescalefs.simulator import life

INPUT = 1
TEMPLATE = 2
PARAMETER = 3
SCRIPT = 4
OUTPUT = 5
TEMPORARY = 10
SNAPSHOT = 12
FILE_TYPES = frozenset({1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12})


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One stored file. Its bytes, if it has any, are in the content store under its id."""

    id: str
    number: int  # grows with every file: the order of lists
    name: str
    type_id: int
    size: int  # as told to clients; a seeded file may lie
    sha512: str | None  # as told to clients; a seeded file may lie, or have none
    uploaded: datetime
    is_uploaded: bool = True
    is_deleted: bool = False
    secret: str  # stands for `encodedEncryptionKey`: clients must not show it
    relative_path: str | None = None  # of outputs: below the run's output folder
    tags: tuple[str, ...] = ()  # words that people put on it
    job_id: str | None = None  # whose output it is
    run_id: str | None = None
    version: int = 0


class StatusRecord(msgspec.Struct, frozen=True):
    """A status, and since when."""

    status: str
    date: datetime
    reason: str | None = None


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a job's commands."""

    id: str
    variables: dict[str, str] = {}  # a template's {name} -> what is put there
    started: datetime | None = None
    completed: datetime | None = None
    reason: str | None = None  # why it did not end well


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One job, from saved to finished."""

    id: str
    number: int
    name: str
    owner: str
    inserted: datetime
    definition: dict[str, Any]  # as checked, defaults filled in; input files as {id, decompress}
    project_id: str | None = None
    statuses: tuple[StatusRecord, ...] = ()  # oldest first
    cluster_statuses: tuple[StatusRecord, ...] = ()  # oldest first
    runs: tuple[RunRecord, ...] = ()
    shared_with: tuple[str, ...] = ()
    stop_reason: str | None = None  # why it was told to stop, while it does
    version: int = 0

    @property
    def status(self) -> str:
        """The newest status; empty for a job that was not submitted."""
        return self.statuses[-1].status if self.statuses else life.SAVED

    @property
    def cluster_status(self) -> str:
        """The newest status of its cluster; empty before it was submitted."""
        return self.cluster_statuses[-1].status if self.cluster_statuses else ""

    def run(self, run_id: str) -> RunRecord | None:
        """The run of that id."""
        return next((run for run in self.runs if run.id == run_id), None)
