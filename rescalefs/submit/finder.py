"""Looks on the server for a job that was made for a drop, and of which no answer told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from rescalefs.errors import Forbidden, InvalidRequest, NotFound, UnexpectedAnswer
from rescalefs.model import Job
from rescalefs.submit import spec
from rescalefs.submit.machine import Drop
from rescalefs.submit.service import JobService

_NEWEST = 200  # jobs that are looked through for a token before all are
_RENAMED = timedelta(days=1)  # before it was asked for: no clock is as wrong, and few jobs are newer
_NAMESAKE = timedelta(minutes=10)  # the same for jobs without any token, of which a person may have made one
_UNTOLD = ""  # the token of a job that is gone, or not ours to look at


@dataclass(frozen=True, slots=True)
class Traces:
    """What the server has that may be the drop's job."""

    job: Job | None = None  # with its token
    namesakes: tuple[str, ...] = ()  # of its name and time, and without any token


class Finder:
    """Finds a drop's job by the token in it. Thread-safe; each job is looked into once."""

    def __init__(self, service: JobService) -> None:
        self._service = service
        self._lock = threading.Lock()  # guards _tokens
        self._tokens: dict[str, str | None] = {}  # job -> the token it was made with

    def look(self, drop: Drop) -> Traces:
        """First at all jobs of its name; then at the newest of any, should the server have renamed it."""
        name = json.loads(drop.definition)["name"].strip()
        newest = self._service.newest_jobs(_NEWEST)
        named = [job for job in newest if job.name.strip() == name]
        found = self._among(named, drop)
        if found is None and len(newest) >= _NEWEST:
            found = self._among((job for job in self._service.jobs() if job.name.strip() == name), drop)
        if found is None:
            found = self._among((job for job in newest if _is_since(job, drop, _RENAMED)), drop)
        if found is not None:
            return Traces(found)
        candidates = (job for job in named if _is_since(job, drop, _NAMESAKE))
        return Traces(None, tuple(job.id for job in candidates if self._token(job.id) is None))

    def _among(self, jobs: Iterable[Job], drop: Drop) -> Job | None:
        return next((job for job in jobs if self._token(job.id) == drop.id), None)

    def _token(self, job_id: str) -> str | None:
        """It never changes, so it is asked for once. None where the job tells of none, or not legibly."""
        with self._lock:
            if job_id in self._tokens:
                return self._tokens[job_id]
        token: str | None
        try:
            token = self._service.job(job_id).env_vars.get(spec.TOKEN)
        except NotFound:
            token = _UNTOLD
        except (Forbidden, InvalidRequest):  # one of them must not hide the others
            return _UNTOLD
        except UnexpectedAnswer:
            return None
        with self._lock:
            self._tokens[job_id] = token
        return token


def _is_since(job: Job, drop: Drop, margin: timedelta) -> bool:
    """Whether it may have been made when the drop's job was asked for; where no one tells, it may."""
    return job.inserted is None or drop.asked_since is None or job.inserted >= drop.asked_since - margin
