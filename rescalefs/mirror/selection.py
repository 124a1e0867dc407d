"""Pure: which jobs and which of their files are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from rescalefs.model import Job


@dataclass(frozen=True, slots=True)
class Selection:
    """What is to be mirrored. An empty tuple of patterns stands for everything (`exclude`: for nothing)."""

    jobs: tuple[str, ...] = ()  # of ids or names
    include: tuple[str, ...] = ()  # of paths below outputs/, inputs/ or live/, or of the last name alone
    exclude: tuple[str, ...] = ()  # the same
    finished: bool = False  # only jobs that have ended
    live: bool = False  # what running jobs write, too
    max_size: int | None = None  # bytes; what is larger stays at the server

    def wants_job(self, job: Job) -> bool:
        if self.finished and not job.is_finished:
            return False
        return not self.jobs or any(_fits(job, pattern) for pattern in self.jobs)

    def idle_jobs(self, jobs: Iterable[Job]) -> list[str]:
        """The patterns of jobs that fit none of these."""
        known = tuple(jobs)
        return [pattern for pattern in self.jobs if not any(_fits(job, pattern) for job in known)]

    def wants_file(self, path: str) -> bool:
        """``path`` is below outputs/, inputs/ or live/."""
        return (not self.include or matches(path, self.include)) and not matches(path, self.exclude)

    def wants_size(self, size: int | None) -> bool:
        """A size of None is wanted: where there is a limit, ask for the size first."""
        return self.max_size is None or size is None or size <= self.max_size


def _fits(job: Job, pattern: str) -> bool:
    return fnmatchcase(job.id, pattern) or fnmatchcase(job.name, pattern)


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern fits the path or its last name; as in a shell, but ``*`` stands for ``/`` as well."""
    name = path.rpartition("/")[2]
    return any(fnmatchcase(path, pattern) or fnmatchcase(name, pattern) for pattern in patterns)
