"""Looks on the server for a job that was made for a drop, and of which no answer told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from rescalefs.clock import Clock
from rescalefs.errors import Forbidden, InvalidRequest, NotFound, UnexpectedAnswer
from rescalefs.model import Job
from rescalefs.submit import spec
from rescalefs.submit.absence import Looks
from rescalefs.submit.machine import Drop
from rescalefs.submit.service import JobService

_NEWEST = 200  # jobs that are looked through for a token before all are
_RENAMED = timedelta(days=1)  # before it was asked for: no clock is as wrong, and few jobs are newer
_NAMESAKE = timedelta(minutes=10)  # the same for jobs without any token, of which a person may have made one
_LAST = 50  # jobs of any name and time that are looked into besides
_UNTOLD = "not ours"  # in the place of the token of a job that is gone, or not ours to look at


@dataclass(frozen=True, slots=True)
class Traces:
    """What the server has that may be the drop's job."""

    job: Job | None = None  # with its token
    namesakes: tuple[str, ...] = ()  # of its name and time, and without any token
    unclear: tuple[str, ...] = ()  # the same, and not yet known whether they have its token


@dataclass(frozen=True, slots=True)
class _Told:
    """The token of a job, as far as it can be seen."""

    token: str | None
    is_certain: bool


class Finder:
    """Finds a drop's job by the token in it. Thread-safe.

    A job is asked for until its token is known, which never changes. That it has none, or is not ours to look
    at (403, 404), is believed once several looks over some minutes agree: a replica may lag.
    """

    def __init__(self, service: JobService, clock: Clock) -> None:
        self._service = service
        self._looks = Looks(clock)
        self._lock = threading.Lock()  # guards _tokens
        self._tokens: dict[str, str | None] = {}  # job -> the token it was made with

    def look(self, drop: Drop) -> Traces:
        """First at all jobs of its name; then at the newest of any, should the server have renamed it."""
        name = (json.loads(drop.definition)["name"] if drop.definition else drop.name).strip()
        newest = self._service.newest_jobs(_NEWEST)
        named = [job for job in newest if job.name.strip() == name]
        told: dict[str, _Told] = {}
        found = self._among(named, drop, told)
        if found is None and len(newest) >= _NEWEST:
            found = self._among((job for job in self._service.jobs() if job.name.strip() == name), drop, told)
        if found is None:
            # The last ones whatever their time: this machine's clock may have been set wrong.
            found = self._among(
                (job for place, job in enumerate(newest) if place < _LAST or _is_since(job, drop, _RENAMED)),
                drop,
                told,
            )
        if found is not None:
            return Traces(found)
        suspects = {job.id: told[job.id] for job in named if _is_since(job, drop, _NAMESAKE)}
        return Traces(
            None,
            tuple(each for each, known in suspects.items() if known.is_certain and known.token is None),
            tuple(each for each, known in suspects.items() if not known.is_certain),
        )

    def _among(self, jobs: Iterable[Job], drop: Drop, told: dict[str, _Told]) -> Job | None:
        for job in jobs:
            if job.id not in told:
                told[job.id] = self._told(job.id)
            if told[job.id].token == drop.id:
                return job
        return None

    def _told(self, job_id: str) -> _Told:
        with self._lock:
            if job_id in self._tokens:
                return _Told(self._tokens[job_id], is_certain=True)
        try:
            variables = self._service.job(job_id).env_vars
        except (NotFound, Forbidden, InvalidRequest):  # one of them must not hide the others
            return self._so_far(job_id, _UNTOLD, None)
        except UnexpectedAnswer:
            return self._so_far(job_id, None, _UNTOLD)
        if not variables:  # a job of ours has at least its token there
            return self._so_far(job_id, None, _UNTOLD)
        token = variables.get(spec.TOKEN)
        with self._lock:
            self._tokens[job_id] = token
        return _Told(token, is_certain=True)

    def _so_far(self, job_id: str, token: str | None, other: str | None) -> _Told:
        """What this look tells, which the next one may tell otherwise: so it is not kept."""
        self._looks.differ(f"{job_id} {other}")
        return _Told(token, self._looks.agree(f"{job_id} {token}"))


def _is_since(job: Job, drop: Drop, margin: timedelta) -> bool:
    """Whether it may have been made when the drop's job was asked for; where no one tells, it may."""
    return job.inserted is None or drop.asked_since is None or job.inserted >= drop.asked_since - margin
