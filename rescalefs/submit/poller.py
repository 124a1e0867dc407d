"""Follows the jobs that run."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from datetime import datetime

from rescalefs.clock import Clock
from rescalefs.containment import log_once
from rescalefs.errors import Forbidden, InvalidRequest, NotFound, RescaleFSError, Throttled, UnexpectedAnswer
from rescalefs.model import JobStatus, Outcome, RemoteFile, Result, is_terminal
from rescalefs.outcome import CONSOLE_LOG, ConsoleEnd, console_end, console_log, judged, tail_bytes
from rescalefs.submit import machine
from rescalefs.submit.absence import Absence
from rescalefs.submit.diary import mishap
from rescalefs.submit.journal import Overtaken
from rescalefs.submit.ledger import Ledger
from rescalefs.submit.machine import ENDED, Drop, OutOfPlace, State
from rescalefs.submit.pace import outlook, poll_interval, retry_delay
from rescalefs.submit.service import JobService
from rescalefs.submit.settings import SubmitSettings

log = logging.getLogger(__name__)

_FEW = 2  # so many jobs are asked for one by one: no dearer than the list, and surer
_COLLECTING = 300.0  # seconds that a stopped job may take to collect its outputs, before it counts as ended
_LISTING = 60.0  # seconds after an end in which outputs may not be listed yet: a script of Rescale's waits 45
_REFUSING = 180.0  # seconds after an end in which outputs that the server will not list are asked for again
_NEWEST = 200  # jobs of the account in the one request that tells which of many got on

# A job that counts as ended, deleted or refused is still looked at, because one answer may have been wrong.
_AFTER_END = 600.0  # seconds in which an end may be taken back
_AFTER_END_INTERVAL = 60.0
_CLOSED_LEAST = 60.0  # between two looks at one that counts as deleted or refused; a tenth of its age, and …
_CLOSED_MOST = 6 * 3600.0  # … at most this: four requests a day for a folder that a person leaves there
_GONE_FOLDER = 86_400.0  # seconds for which the same is done where the folder is gone
_STAGGER = 1.0  # seconds between the first looks at such jobs after a start: there may be many


class Poller:
    """Records each new status once, with the server's time, and the end. For one thread.

    Many jobs cost one request, and one more for each that got on or is too old for the list. All are put off
    together when the server says that it is asked too much, or fails; one that alone makes trouble, alone.
    What one answer says of an end is not final: a drop whose job goes on is followed again.
    """

    def __init__(
        self,
        service: JobService,
        settings: SubmitSettings,
        clock: Clock,
        ledger: Ledger,
        heard: Callable[[str, str], None] = lambda _job_id, _status: None,
        concluded: Callable[[str, Outcome], None] = lambda _job_id, _outcome: None,
    ) -> None:
        """``heard`` is told each new status of a job, ``concluded`` how one ended, before a drop shows it."""
        self._service = service
        self._settings = settings
        self._clock = clock
        self._ledger = ledger
        self._heard = heard
        self._concluded = concluded
        self._absence = Absence(service, clock)
        self._due: dict[str, float] = {}
        self._failures = 0  # in a row, of the server's
        self._alone: dict[str, int] = {}  # the same of one drop's
        self._over_since: dict[str, float] = {}  # monotonic seconds when a terminal status was first seen

    def poll(self, drops: Iterable[Drop]) -> float:
        """Look at the jobs that are due; return in how many seconds the next one is."""
        followed = [drop for drop in drops if self._is_followed(drop)]
        now = self._clock.monotonic()
        self._due = {drop.id: self._due[drop.id] for drop in followed if drop.id in self._due}
        late = 0
        for drop in followed:
            if drop.id not in self._due:
                late += is_closed(drop)
                self._due[drop.id] = now + late * _STAGGER if is_closed(drop) else 0.0
        if any(self._due[drop.id] <= now for drop in followed):
            self._poll(followed, now)
        now = self._clock.monotonic()
        return max(0.0, min((at - now for at in self._due.values()), default=self._settings.poll_most))

    def _is_followed(self, drop: Drop) -> bool:
        if not is_closed(drop):
            return _is_followed(drop)
        age = self._age(drop)
        if drop.state in ENDED:
            return age < _AFTER_END
        return drop.job_id is not None and (drop.here or age < _GONE_FOLDER)

    def _poll(self, followed: list[Drop], now: float) -> None:
        due = [drop for drop in followed if self._due[drop.id] <= now]
        try:
            # One list tells of all, so those that are not due yet need no list of their own soon after.
            unchanged = self._unchanged(followed) if len(followed) > _FEW else frozenset[str]()
        except RescaleFSError as error:
            self._put_off(due, error)
            return
        except Exception as error:  # noqa: BLE001  # whatever the list holds: each is asked for by itself
            log_once(log, "the newest jobs", error)
            unchanged = frozenset[str]()
        for drop in followed:
            if drop.id in unchanged:
                self._seen_now(drop)
        for drop in due:
            if drop.id in unchanged:
                continue
            trouble = self._try(drop)
            if trouble is not None:
                self._put_off([each for each in due if self._due[each.id] <= now], trouble)
                return
        self._failures = 0

    def _try(self, drop: Drop) -> RescaleFSError | None:
        """Look at one job; return a trouble that is the server's or the way's, and so the others', too."""
        try:
            self._look(drop)
        except (Overtaken, OutOfPlace):
            return None  # it is due still, and looked at afresh
        except (NotFound, Forbidden, InvalidRequest, UnexpectedAnswer) as error:
            self._put_off_alone(drop, str(error))
        except RescaleFSError as error:
            return error
        except Exception as error:  # noqa: BLE001  # one drop's, of whatever kind, is not the end of the others
            self._put_off_alone(drop, mishap(log, "following a job", drop.folder, error))
        else:
            self._seen_now(drop)
        return None

    def _seen_now(self, drop: Drop) -> None:
        self._alone.pop(drop.id, None)
        self._ledger.well(drop.id)
        self._due[drop.id] = self._clock.monotonic() + self._interval(self._ledger.drop(drop.id))

    def _put_off(self, drops: list[Drop], error: RescaleFSError) -> None:
        self._failures += 1
        asked = error.retry_after if isinstance(error, Throttled) else None
        delay = retry_delay(self._failures, random.random(), asked)
        for drop in drops:
            self._wait(drop, str(error), delay)

    def _put_off_alone(self, drop: Drop, what: str) -> None:
        failures = self._alone[drop.id] = self._alone.get(drop.id, 0) + 1
        self._wait(drop, what, retry_delay(failures, random.random()))

    def _wait(self, drop: Drop, what: str, delay: float) -> None:
        if is_closed(drop):  # nothing keeps it
            delay = max(delay, self._interval(drop))
        else:
            self._ledger.trouble(drop.id, what, outlook("asking", delay, self._clock.now()))
        self._due[drop.id] = self._clock.monotonic() + delay

    def _unchanged(self, drops: list[Drop]) -> frozenset[str]:
        """The drops whose job has the status that was seen last, as one list of jobs tells."""
        listed = {job.id: job.status for job in self._service.newest_jobs(_NEWEST)}
        for drop in drops:
            if drop.state is State.DELETED and drop.job_id in listed:
                self._due[drop.id] = 0.0
        return frozenset(drop.id for drop in drops if _has_not_changed(drop, listed.get(drop.job_id or "")))

    def _look(self, drop: Drop) -> None:
        job_id = drop.job_id or ""
        try:
            statuses = self._service.statuses(job_id)
        except NotFound as error:
            self._miss(drop, error)
            return
        self._absence.seen(job_id)
        if is_closed(drop):
            taken_back = self._taken_back(drop, statuses)
            if taken_back is None:
                return
            drop = taken_back
        if statuses:  # told first, so that a status read in the drop is in the list of jobs, too
            self._heard(job_id, statuses[-1].status)
        for status in statuses:
            if _is_news(drop, status):
                drop = self._seen(drop, status)
        if statuses and self._is_over(drop):
            self._end(drop, statuses)

    def _miss(self, drop: Drop, error: NotFound) -> None:
        """The server does not show the job. Several such answers over some minutes mean that it is gone."""
        if is_closed(drop):
            return
        job_id = drop.job_id or ""
        if not self._absence.is_certain(job_id):
            raise NotFound(f"the server does not show job {job_id} (404), which may pass") from error
        self._ledger.record(drop, machine.Lost())

    def _taken_back(self, drop: Drop, statuses: tuple[JobStatus, ...]) -> Drop | None:
        """The drop, followed again, where the server shows more of its job than its end."""
        if drop.state is State.REJECTED:  # the server refused to submit it: someone else may have, or it lied
            return drop if statuses else None
        if drop.state in ENDED:
            is_more = any(_is_news(drop, each) and each.date >= drop.newest for each in statuses)
            return self._ledger.record(drop, machine.Returned()) if is_more else None
        if statuses:
            return self._ledger.record(drop, machine.Returned())
        # Without a status a job that was submitted does not show all of itself yet.
        return self._ledger.record(drop, machine.SavedAgain()) if drop.submitted is None else None

    def _seen(self, drop: Drop, status: JobStatus) -> Drop:
        if drop.state is not State.RUNNING:
            by_us = drop.state is State.SUBMITTING
            drop = self._ledger.record(drop, machine.Submitted(status.date, by_us))
        return self._ledger.record(drop, machine.StatusSeen(status.status, status.date, status.reason))

    def _end(self, drop: Drop, statuses: tuple[JobStatus, ...]) -> None:
        over_for = self._clock.monotonic() - self._over_since[drop.id]
        try:
            outputs = self._service.output_files(drop.job_id or "")
        except (NotFound, Forbidden, InvalidRequest, UnexpectedAnswer) as error:
            if over_for < _REFUSING:
                raise
            log.warning("job %s has ended, and its outputs are not known: %s", drop.job_id, error)
            self._conclude(drop, _ending(drop, statuses, None, ConsoleEnd()))
            return
        # Every job that began has its console log, so a list without one has not caught up with the end.
        is_whole = any(each.name == CONSOLE_LOG for each in outputs)
        if is_whole or over_for >= _LISTING or _executing_since(statuses) is None:
            console = self._console(drop, console_log(outputs), over_for)
            self._conclude(drop, _ending(drop, statuses, outputs, console))

    def _console(self, drop: Drop, log_file: RemoteFile | None, over_for: float) -> ConsoleEnd:
        """What the end of the console log shows; nothing where the server will not show it."""
        if log_file is None:
            return ConsoleEnd()
        most = tail_bytes(drop.analyses)
        try:
            tail = self._service.end_of(log_file, most)
        except (NotFound, Forbidden, InvalidRequest, UnexpectedAnswer) as error:
            if over_for < _REFUSING:
                raise
            log.warning("how job %s ended is judged without its log: %s", drop.job_id, error)
            return ConsoleEnd()
        return console_end(tail, is_whole=log_file.size is not None and len(tail) >= log_file.size)

    def _conclude(self, drop: Drop, event: machine.Ended) -> None:
        """Record an end. Others know first, so that what they show agrees with what is read in the drop."""
        if event.outcome is not None:
            self._concluded(drop.job_id or "", event.outcome)
        self._ledger.record(drop, event)

    def _is_over(self, drop: Drop) -> bool:
        """Whether nothing follows. A job that was stopped is `Completed` once its outputs are collected."""
        if not is_terminal(drop.status):
            self._over_since.pop(drop.id, None)
            return False
        now = self._clock.monotonic()
        # By two clocks: the machine's time may be set back by a day.
        seen_for = now - self._over_since.setdefault(drop.id, now)
        age = (self._clock.now() - drop.newest).total_seconds()
        return not _is_stop(drop.status) or max(seen_for, age) >= _COLLECTING

    def _interval(self, drop: Drop) -> float:
        if drop.state in ENDED:
            return _AFTER_END_INTERVAL
        if is_closed(drop):
            return poll_interval(self._age(drop), _CLOSED_LEAST, _CLOSED_MOST)
        return poll_interval(self._age(drop), self._settings.poll_least, self._settings.poll_most)

    def _age(self, drop: Drop) -> float:
        """Seconds since something happened to it."""
        return (self._clock.now() - self._ledger.changed(drop.id)).total_seconds()


def is_closed(drop: Drop) -> bool:
    """Whether nothing is expected of its job, though more may come."""
    return drop.state.is_terminal or drop.state is State.REJECTED


def _is_followed(drop: Drop) -> bool:
    """Whether news of the job come by themselves: it runs, or only somebody else may submit it.

    If the folder is gone, we submit no more; but we may have, and the answer was lost.
    """
    if drop.state is State.SAVED:
        return drop.hold or not drop.here
    return drop.state is State.RUNNING or (drop.state is State.SUBMITTING and not drop.here)


def _has_not_changed(drop: Drop, listed: str | None) -> bool:
    """Whether the list tells nothing new of the drop's job."""
    if drop.state is State.DELETED or listed != drop.status:
        return False
    return drop.state in ENDED or not is_terminal(drop.status)


def _is_news(drop: Drop, status: JobStatus) -> bool:
    """Whether it was not seen before.

    Neither was a status whose date alone differs: some servers send another one each time. What is older than
    the newest counts once for each word, since a replica that lags shows late what was earlier.
    """
    if (status.status, status.date) in drop.seen:
        return False
    if drop.seen and status.date > drop.newest:
        return status.status != drop.status
    return all(status.status != word for word, _ in drop.seen)


def _ending(
    drop: Drop,
    statuses: tuple[JobStatus, ...],
    outputs: tuple[RemoteFile, ...] | None,
    console: ConsoleEnd,
) -> machine.Ended:
    sizes = [each.size for each in outputs or () if each.size is not None]
    size = sum(sizes) if outputs is not None and len(sizes) == len(outputs) else None
    began = _executing_since(statuses) or drop.submitted
    seconds = (statuses[-1].date - began).total_seconds() if began else -1.0
    took = seconds if seconds >= 0 else None  # the server's clock and this machine's may differ
    last = JobStatus(drop.status, drop.newest)  # a replica that lags may not show the end any more
    outcome = judged(statuses, console) or judged((last,), console)
    assert outcome is not None
    lines = () if outcome.result in (Result.SUCCEEDED, Result.STOPPED) else console.lines
    found = None if outputs is None else len(outputs)
    return machine.ending(outcome.result)(found, size, took, outcome, lines)


def _is_stop(status: str) -> bool:
    return " ".join(status.replace("_", " ").lower().split()).startswith("force stop")


def _executing_since(statuses: tuple[JobStatus, ...]) -> datetime | None:
    return next((each.date for each in statuses if each.status.lower() == "executing"), None)
