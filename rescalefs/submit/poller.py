"""Follows the jobs that run."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from datetime import datetime

from rescalefs.clock import Clock
from rescalefs.errors import Forbidden, InvalidRequest, NotFound, RescaleFSError, Throttled, UnexpectedAnswer
from rescalefs.model import JobStatus, is_terminal
from rescalefs.submit import machine
from rescalefs.submit.journal import Overtaken
from rescalefs.submit.ledger import Ledger
from rescalefs.submit.machine import Drop, OutOfPlace, State
from rescalefs.submit.pace import poll_interval, retry_delay
from rescalefs.submit.service import JobService
from rescalefs.submit.settings import SubmitSettings

log = logging.getLogger(__name__)

_FEW = 2  # so many jobs are asked for one by one: no dearer than the list, and surer
_COLLECTING = 300.0  # seconds that a stopped job may take to collect its outputs, before it counts as ended
_NEWEST = 200  # jobs of the account in the one request that tells which of many got on


class Poller:
    """Records each new status once, with the server's time, and the end. For one thread.

    Many jobs cost one request, and one more for each that got on or is too old for the list. All are put off
    together when the server says that it is asked too much, or fails; one that alone makes trouble, alone.
    """

    def __init__(
        self,
        service: JobService,
        settings: SubmitSettings,
        clock: Clock,
        ledger: Ledger,
        heard: Callable[[str, str], None] = lambda _job_id, _status: None,
    ) -> None:
        self._service = service
        self._settings = settings
        self._clock = clock
        self._ledger = ledger
        self._heard = heard
        self._due: dict[str, float] = {}
        self._failures = 0

    def poll(self, drops: Iterable[Drop]) -> float:
        """Look at the jobs that are due; return in how many seconds the next one is."""
        followed = [drop for drop in drops if _is_followed(drop)]
        now = self._clock.monotonic()
        if any(self._due.get(drop.id, 0.0) <= now for drop in followed):
            self._poll(followed, now)
        self._due = {drop.id: self._due.get(drop.id, 0.0) for drop in followed}
        now = self._clock.monotonic()
        return max(0.0, min((at - now for at in self._due.values()), default=self._settings.poll_most))

    def _poll(self, followed: list[Drop], now: float) -> None:
        due = [drop for drop in followed if self._due.get(drop.id, 0.0) <= now]
        try:
            # One list tells of all, so those that are not due yet need no list of their own soon after.
            unchanged = self._unchanged(followed) if len(followed) > _FEW else frozenset[str]()
        except RescaleFSError as error:
            self._put_off(due, error)
            return
        for drop in followed:
            if drop.id in unchanged:
                self._seen_now(drop)
        for drop in due:
            if drop.id in unchanged:
                continue
            try:
                self._look(drop)
            except (Overtaken, OutOfPlace):
                continue  # it is due still, and looked at afresh
            except (Forbidden, InvalidRequest, UnexpectedAnswer) as error:
                self._put_off([drop], error)  # this one's trouble; the others are looked at all the same
            except RescaleFSError as error:
                rest = [each for each in due if self._due.get(each.id, 0.0) <= now]
                self._put_off(rest, error)  # the server's, or the way's: it would be theirs, too
                return
            else:
                self._seen_now(drop)
        self._failures = 0

    def _seen_now(self, drop: Drop) -> None:
        self._ledger.say(drop.id, "")
        self._due[drop.id] = self._clock.monotonic() + self._interval(drop)

    def _put_off(self, drops: list[Drop], error: RescaleFSError) -> None:
        self._failures += 1
        asked = error.retry_after if isinstance(error, Throttled) else None
        delay = retry_delay(self._failures, random.random(), asked)
        for drop in drops:
            self._due[drop.id] = self._clock.monotonic() + delay
            self._ledger.say(drop.id, f"{error}, asking again in {delay:.0f} s", logged=True)

    def _unchanged(self, drops: list[Drop]) -> frozenset[str]:
        """The drops whose job has the status that was seen last, as one list of jobs tells."""
        listed = {job.id: job.status for job in self._service.newest_jobs(_NEWEST)}
        return frozenset(
            drop.id
            for drop in drops
            if listed.get(drop.job_id or "") == drop.status and not is_terminal(drop.status)
        )

    def _look(self, drop: Drop) -> None:
        try:
            statuses = self._service.statuses(drop.job_id or "")
            if statuses:  # told first: whoever reads it in the drop then finds the job in the list of jobs
                self._heard(drop.job_id or "", statuses[-1].status)
            for status in statuses:
                drop = self._seen(drop, status)
            if statuses and self._is_over(statuses[-1]):
                self._ledger.record(drop, self._ending(drop, statuses))
        except NotFound:
            self._ledger.record(drop, machine.Lost())

    def _seen(self, drop: Drop, status: JobStatus) -> Drop:
        if (status.status, status.date) in drop.seen:
            return drop
        if drop.state is not State.RUNNING:
            by_us = drop.state is State.SUBMITTING
            drop = self._ledger.record(drop, machine.Submitted(status.date, by_us))
        return self._ledger.record(drop, machine.StatusSeen(status.status, status.date, status.reason))

    def _ending(self, drop: Drop, statuses: tuple[JobStatus, ...]) -> machine.Ended:
        outputs = self._service.output_files(drop.job_id or "")
        sizes = [each.size for each in outputs if each.size is not None]
        size = sum(sizes) if len(sizes) == len(outputs) else None
        began = _executing_since(statuses) or drop.submitted
        seconds = (statuses[-1].date - began).total_seconds() if began else None
        last = next((each.status for each in statuses if _is_stop(each.status)), statuses[-1].status)
        return machine.ending(last)(len(outputs), size, seconds)

    def _is_over(self, last: JobStatus) -> bool:
        """Whether nothing follows. A job that was stopped is `Completed` once its outputs are collected."""
        waits = _is_stop(last.status) and (self._clock.now() - last.date).total_seconds() < _COLLECTING
        return is_terminal(last.status) and not waits

    def _interval(self, drop: Drop) -> float:
        quiet = (self._clock.now() - self._ledger.changed(drop.id)).total_seconds()
        return poll_interval(quiet, self._settings.poll_least, self._settings.poll_most)


def _is_followed(drop: Drop) -> bool:
    """Whether news of the job come by themselves: it runs, or only somebody else may submit it.

    If the folder is gone, we submit no more; but we may have, and the answer was lost.
    """
    if drop.state is State.SAVED:
        return drop.hold or not drop.here
    return drop.state is State.RUNNING or (drop.state is State.SUBMITTING and not drop.here)


def _is_stop(status: str) -> bool:
    return " ".join(status.replace("_", " ").lower().split()).startswith("force stop")


def _executing_since(statuses: tuple[JobStatus, ...]) -> datetime | None:
    return next((each.date for each in statuses if each.status.lower() == "executing"), None)
