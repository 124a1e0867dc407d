"""The nouns that rooms share, frozen. Words and meanings are Rescale's."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

LARGEST_SIZE = 1 << 60  # bytes; what is claimed beyond is no size of a file


T_co = TypeVar("T_co", covariant=True)


class Incomplete(tuple[T_co, ...]):
    """A list of the server's of which entries that made no sense were left out: worth asking again soon."""

    __slots__ = ()


class FileType(enum.IntEnum):
    """A file's ``typeId`` (documentation of 2016, and the user API notebook of 2023-24)."""

    INPUT = 1
    TEMPLATE = 2
    PARAMETER = 3
    SCRIPT = 4
    OUTPUT = 5
    DESIGN_VARIABLE = 7
    CASE = 8
    OPTIMIZER = 9
    TEMPORARY = 10
    CHECKPOINT = 11
    SNAPSHOT = 12


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One version of a file on the server. Its bytes never change: other bytes have another `version`."""

    id: str
    name: str
    path: str  # below the run's output folder, as the server tells it: not yet safe to use as a local path
    size: int | None  # bytes; None where the server does not tell
    sha512: str | None = None  # 128 lower-case hex digits; None where the server has none
    type_id: int | None = None
    uploaded: datetime | None = None  # aware, UTC
    is_uploaded: bool = True  # False while the upload runs, and after it failed

    @property
    def version(self) -> str:
        """The key under which bytes of this version may be kept for ever."""
        mark = self.sha512 or f"{self.size}-{self.uploaded.isoformat() if self.uploaded else ''}"
        return f"{self.id}-{mark}"


@dataclass(frozen=True, slots=True)
class LiveFile:
    """A file in the working directory of a run that has not ended: it may grow, change and vanish."""

    job_id: str
    run_id: str
    path: str  # below the working directory, as the server tells it: not yet safe to use as a local path


_TERMINAL = frozenset({"completed", "failed", "stopped", "force stop", "force stopped", "terminated"})


def is_terminal(status: str) -> bool:
    """Whether a job of this status has ended. Unknown words are not terminal.

    Case, ``_`` and blanks don't count. Words from Interlink 4.9 and rescalepy 0.4.
    """
    return " ".join(status.replace("_", " ").lower().split()) in _TERMINAL


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One entry of a job's or a cluster's history."""

    status: str
    date: datetime  # aware, UTC
    reason: str | None = None


class Result(str, enum.Enum):
    """What came of a job that has ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    UNKNOWN = "unknown"  # the service does not say, and there is no exit code


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended, as `outcome.judged` finds it. It never changes once the log was looked at."""

    result: Result
    words: str  # one line that begins with the service's own last status
    exit_codes: tuple[int, ...] | None = None  # of its analyses, as far as the end of its log shows them
    log_seen: bool = False  # whether the end of process_output.log was looked at, or there is none


@dataclass(frozen=True, slots=True)
class Job:
    """A job as lists show it."""

    id: str
    name: str
    status: str = ""  # empty for a job that is saved and was not submitted
    inserted: datetime | None = None  # aware, UTC
    owner: str = ""
    cluster_status: str = ""
    project_id: str | None = None
    analyses: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()  # empty where the server does not tell
    outcome: Outcome | None = None  # how it ended, where that was looked at: no list tells it

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, so that its outputs stay as they are."""
        return is_terminal(self.status)


@dataclass(frozen=True, slots=True)
class JobDetail:
    """A job with all that its own page tells."""

    job: Job
    inputs: tuple[RemoteFile, ...]  # of all analyses, each file once
    env_vars: Mapping[str, str]  # of the first analysis
    expected_runs: int | None  # 1 for a basic job; None when unknown
    document: bytes  # the server's JSON, indented, UTF-8, secrets removed


@dataclass(frozen=True, slots=True)
class User:
    """Whose key it is."""

    email: str
    full_name: str = ""
    company: str = ""
    workspace: str = ""  # its name
    workspace_id: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine of a running cluster, which its user can log in to."""

    address: str  # an IP address or a host name
    port: int
    user: str
    role: str = ""  # as the server calls it


@dataclass(frozen=True, slots=True)
class Project:
    """What jobs are booked on."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CoreType:
    """A kind of hardware."""

    code: str
    name: str = ""
    cores: tuple[int, ...] = ()  # the counts that may be asked for
    categories: tuple[str, ...] = ()  # category codes, such as `general`
    memory_per_core: int | None = None  # MB
    storage_per_core: float | None = None  # GB
    processor: str = ""
    is_active: bool = True
    is_deprecated: bool = False


@dataclass(frozen=True, slots=True)
class ComputePrice:
    """What one core costs for one hour under one plan."""

    core_type: str  # its code
    plan: str  # on-demand plans end with `on-demand`
    os: str
    amount: Decimal
    currency: str = ""
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class AnalysisVersion:
    """One version of a software."""

    code: str  # what a job names
    name: str = ""  # what people read
    core_types: tuple[str, ...] = ()  # codes; empty where the server does not restrict them
    command: str = ""  # the server's suggestion


@dataclass(frozen=True, slots=True)
class Analysis:
    """A software in the server's catalogue."""

    code: str
    name: str = ""
    vendor: str = ""
    versions: tuple[AnalysisVersion, ...] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a job; a basic job has the one run `1`."""

    id: str
    started: datetime | None = None
    completed: datetime | None = None  # None while it runs
    variables: Mapping[str, str] = field(default_factory=dict)  # name -> display value
    files: int | None = None  # outputs so far; None where the server does not tell
    size: int | None = None  # bytes of all outputs
