"""Pure: the list of jobs, kept up to date from its newest page."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from rescalefs.model import Job, Outcome

V = TypeVar("V")


@dataclass(frozen=True, slots=True, eq=False)
class JobList:
    """All jobs as of a moment ago. Two lists are the same only if they are one object."""

    listed: tuple[Job, ...]  # as the server lists them, newest first
    found: tuple[Job, ...]  # asked for by id, and in no list yet
    by_id: Mapping[str, Job]  # both

    @classmethod
    def of(cls, listed: tuple[Job, ...], found: Iterable[Job] = ()) -> JobList:
        """The list of these; a job that is listed need not be found."""
        by_id = {job.id: job for job in listed}
        kept = tuple(job for job in found if job.id not in by_id)
        by_id.update((job.id, job) for job in kept)
        return cls(listed, kept, by_id)

    @classmethod
    def restored(cls, listed: tuple[Job, ...], found: tuple[Job, ...]) -> JobList:
        """The list of jobs that were read from a disk, without as many copies of the few words they share."""
        pool: dict[object, Any] = {}
        return cls.of(tuple(_pooled(job, pool) for job in listed), tuple(_pooled(job, pool) for job in found))

    def is_found(self, job_id: str) -> bool:
        """Whether the job is known by its own page alone, which does not tell its status."""
        return any(job.id == job_id for job in self.found)

    def with_found(self, job: Job) -> JobList:
        """With a job that was asked for by its id."""
        if job.id in self.by_id:
            return self
        return JobList.of(self.listed, (*self.found, job))

    def without(self, job_id: str) -> JobList:
        """Without a job that is gone."""
        if job_id not in self.by_id:
            return self
        listed = tuple(job for job in self.listed if job.id != job_id)
        return JobList.of(listed, (job for job in self.found if job.id != job_id))

    def with_status(self, job_id: str, status: str) -> JobList:
        """With a status that was learnt elsewhere. A job that has ended stays so."""
        job = self.by_id.get(job_id)
        if job is None or job.status == status or job.is_finished:
            return self
        changed = dataclasses.replace(job, status=status)
        return JobList.of(
            tuple(changed if each is job else each for each in self.listed),
            (changed if each is job else each for each in self.found),
        )

    def with_outcome(self, job_id: str, outcome: Outcome) -> JobList:
        """With what was learnt of how a job ended; what is known with its log is not replaced."""
        job = self.by_id.get(job_id)
        if job is None or job.outcome == outcome or (job.outcome is not None and job.outcome.log_seen):
            return self
        changed = dataclasses.replace(job, outcome=outcome)
        return JobList.of(
            tuple(changed if each is job else each for each in self.listed),
            (changed if each is job else each for each in self.found),
        )

    def with_newest(self, page: tuple[Job, ...]) -> JobList | None:
        """With the newest page of the server's list; None where it cannot be joined to what is known.

        Jobs of that time which the page does not show have been deleted. The page can be joined if it is in
        order, newest first, and reaches back to a job that was listed before.
        """
        if not page and not self.listed:
            return self
        dates = [job.inserted for job in page if job.inserted is not None]
        if not page or len(dates) < len(page) or dates != sorted(dates, reverse=True):
            return None
        shown = {job.id for job in page}
        if not any(job.id in shown for job in self.listed):
            return None
        # A job of the very moment at which the page ends may be on the next one.
        older = tuple(
            job
            for job in self.listed
            if job.id not in shown and (job.inserted is None or job.inserted <= dates[-1])
        )
        return JobList.of((*page, *older), self.found)

    def succeeded_by(self, new: JobList) -> JobList:
        """``new``, where jobs that have not changed are the same objects, and what has ended stays so.

        It is this list itself when nothing has changed.
        """
        result = JobList.of(tuple(map(self._kept, new.listed)), map(self._kept, new.found))
        unchanged = _identical(result.listed, self.listed) and _identical(result.found, self.found)
        return self if unchanged else result

    def ended_since(self, earlier: JobList) -> Iterable[str]:
        """The ids of jobs that ran in ``earlier`` and have ended in this list."""
        for job in self.listed:
            before = earlier.by_id.get(job.id)
            if before is not None and before is not job and job.is_finished and not before.is_finished:
                yield job.id

    def gone_since(self, earlier: JobList) -> Iterable[str]:
        """The ids of jobs that were in ``earlier`` and are not in this list."""
        return earlier.by_id.keys() - self.by_id.keys()

    def _kept(self, job: Job) -> Job:
        before = self.by_id.get(job.id)
        if before is None:
            return job
        if before.is_finished and not job.is_finished:
            job = dataclasses.replace(job, status=before.status)
        if before.outcome is not None and job.outcome is None:  # no list tells it
            job = dataclasses.replace(job, outcome=before.outcome)
        return before if before == job else job


def _pooled(job: Job, pool: dict[object, Any]) -> Job:
    def same(value: V) -> V:
        return cast("V", pool.setdefault(value, value))

    return dataclasses.replace(
        job,
        status=same(job.status),
        owner=same(job.owner),
        cluster_status=same(job.cluster_status),
        project_id=same(job.project_id),
        analyses=same(job.analyses),
        tags=same(job.tags),
        outcome=same(job.outcome),
    )


def _identical(some: tuple[Job, ...], others: tuple[Job, ...]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))
