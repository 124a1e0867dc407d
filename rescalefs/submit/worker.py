"""Does what a drop's state asks for, records the event, and so brings it into the next state."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rescalefs.clock import Clock
from rescalefs.errors import (
    Forbidden,
    InvalidRequest,
    NotFound,
    RescaleFSError,
    Throttled,
    Unauthenticated,
)
from rescalefs.model import Job
from rescalefs.submit import machine, spec
from rescalefs.submit.absence import Absence, Looks
from rescalefs.submit.control import STOP, stop_is_ordered
from rescalefs.submit.desk import Desk
from rescalefs.submit.diary import mishap
from rescalefs.submit.examining import Shelf, examine
from rescalefs.submit.finder import Finder
from rescalefs.submit.folder import FolderTooLarge, look
from rescalefs.submit.journal import Overtaken
from rescalefs.submit.ledger import Ledger
from rescalefs.submit.leftovers import left_out_lines
from rescalefs.submit.listing import JOB_FILE
from rescalefs.submit.machine import Drop, Event, OutOfPlace, State
from rescalefs.submit.pace import doubt_time, outlook, refusal_time
from rescalefs.submit.problems import Problem, shown
from rescalefs.submit.recheck import SecondChecks
from rescalefs.submit.report import CONTROL_FILE
from rescalefs.submit.service import JobService
from rescalefs.submit.settings import SubmitSettings
from rescalefs.submit.uploads import Depot

log = logging.getLogger(__name__)

_MOST_ASKED = 5  # times that a job is created without an answer, in half an hour, before a person has to look
_LEAST_LOOKS = 3  # for a job that was asked for, before another one is made
_LONGEST_THROTTLED = 600.0  # seconds between two attempts to create a job that the server answers with 429
_LONGEST_REFUSED = 3600.0  # the same where it answers 401 or 403: a person has to do something first
_NEWEST = 200  # jobs of the list that tells whether one was submitted
_SENT = (State.CHECKING, State.UPLOADING)  # in which it is worth knowing what a drop consists of


class NotYetCertain(Exception):
    """The server has to be asked again before what it said is believed. Caught by `serve_one`."""


@dataclass(frozen=True, slots=True)
class _Doubt:
    """Creating was asked for, and what came of it is not known."""

    since: float  # monotonic seconds: when this process began to look for the job
    refusal: float | None = None  # the server said no: the longest time to wait then, in seconds
    looks: int = 0  # that did not find it


class Worker:
    """Brings drops on, one act at a time; any number of threads may call `serve_one`.

    Every act can be done again: after a crash, an error or a lost answer, the state says what to do. Creating
    is begun only after the journal has it. Once begun, another job is made only when it is certain that the
    first attempt made none: the server refused it, or has no job with the token after the time of doubt.
    """

    def __init__(
        self,
        service: JobService,
        settings: SubmitSettings,
        clock: Clock,
        ledger: Ledger,
        depot: Depot,
        overrides: Mapping[str, Any] | None = None,
        made: Callable[[Job], None] = lambda _: None,
    ) -> None:
        """``overrides`` is what the command line puts over job.json; ``made`` is told each job of a drop."""
        self._service = service
        self._settings = settings
        self._clock = clock
        self._ledger = ledger
        self._depot = depot
        self._overrides = overrides
        self._made = made
        self._desk = Desk(clock)
        self._finder = Finder(service, clock)
        self._absence = Absence(service, clock)
        self._idle = Looks(clock, settings.lag)  # jobs that were never submitted, by what each look says
        self._second_checks = SecondChecks(clock)
        self.shelf = Shelf(service, clock)
        self._lock = threading.Lock()  # guards all below
        self._specs: dict[str, tuple[str, spec.JobSpec]] = {}  # drop -> fingerprint, what it asks for
        self._doubts: dict[str, _Doubt] = {}  # by drop
        self._sought_once: set[str] = set()  # drops of which no job was found before one was asked for here
        self._acts: dict[State, Callable[[Drop], Event | None]] = {
            State.CHECKING: self._check,
            State.UPLOADING: self._upload,
            State.CREATING: self._create,
            State.IN_DOUBT: self._find,
            State.SAVED: lambda _: machine.Released(),
            State.SUBMITTING: self._submit,
            State.REJECTED: self._check_again,
        }

    def folder(self, drop: Drop) -> Path:
        """Where it lies."""
        return self._settings.folder / drop.folder

    def wants(self, drop: Drop) -> bool:
        """Whether there is something to do at it here."""
        if drop.state not in self._acts or (drop.state is State.SAVED and drop.hold):
            return False
        if drop.state is State.REJECTED:
            is_open = drop.here and drop.job_id is None and (drop.checked or drop.doubtful)
            return is_open and self._second_checks.is_due(drop)
        if not drop.here:  # nothing is made of it any more; but if there is a job, we want to know
            return drop.state is State.IN_DOUBT
        return drop.state is not State.UPLOADING or self._depot.needs_a_desk(drop)

    def wait_time(self, drops: Iterable[Drop]) -> float:
        """Seconds until `serve_one` has something to do."""
        return self._desk.wait_time(drop for drop in drops if self.wants(drop))

    def serve_one(self, drops: Iterable[Drop]) -> bool:
        """Do one act at one of ``drops``, whatever comes of it; tell whether there was one to do."""
        self._let_go()
        drop = self._desk.take(drop for drop in drops if self.wants(drop))
        if drop is None:
            return False
        try:
            self.advance(self._ledger.drop(drop.id))
        except (Overtaken, OutOfPlace):
            self._desk.give_back(drop.id)  # something else happened to it first: it is looked at afresh
        except NotYetCertain as doubt:
            self._desk.put_off(drop.id)
            self._ledger.say(drop.id, str(doubt))
        except (RescaleFSError, OSError) as error:
            self._put_off(drop, str(error), error.retry_after if isinstance(error, Throttled) else None)
        except Exception as error:  # noqa: BLE001  # one drop's, of whatever kind, is not the end of the others
            self._put_off(drop, mishap(log, "working at a drop", drop.folder, error))
        else:
            self._desk.give_back(drop.id, for_good=self._ledger.drop(drop.id).state not in self._acts)
        return True

    def _put_off(self, drop: Drop, what: str, asked: float | None = None) -> None:
        delay = self._desk.put_off(drop.id, asked)
        self._ledger.trouble(drop.id, what, outlook("trying", delay, self._clock.now()))

    def advance(self, drop: Drop) -> None:
        """One act, one line in the journal, one transition: in that order."""
        if not self.wants(drop):
            return
        event = self._acts[drop.state](drop)
        if event is not None:
            self._record(drop, event)

    def _let_go(self) -> None:
        """Keep no lists of files for a drop that was deleted, or is not about to be sent any more."""
        with self._lock:
            kept = set(self._specs)
        kept |= self._depot.drops()
        for drop in map(self._ledger.drop, kept):
            if not drop.here or drop.state not in _SENT:
                self._depot.close(drop.id)
                with self._lock:
                    self._specs.pop(drop.id, None)

    def _record(self, drop: Drop, event: Event) -> Drop:
        """Record what came of an act on ``drop``, also when it was renamed or removed meanwhile."""
        try:
            return self._ledger.record(drop, event)
        except Overtaken:
            now = self._ledger.drop(drop.id)
            if _basis(now) != _basis(drop):
                raise
            return self._record(now, event)

    def _check(self, drop: Drop) -> Event:
        outcome = self._examined(drop)
        if not isinstance(outcome, spec.JobSpec):
            return outcome
        return machine.Accepted(
            name=outcome.name,
            files=len(outcome.parcels),
            size=outcome.size,
            warnings=outcome.warnings,
            hold=outcome.hold,
            estimate=outcome.estimate,
            hourly=outcome.hourly,
            currency=outcome.currency,
            left_out=left_out_lines(outcome.left_behind),
        )

    def _examined(self, drop: Drop) -> spec.JobSpec | Event:
        """What the drop asks for, or what happens to it instead."""
        try:
            listing = look(self.folder(drop), self._settings.most_entries)
            if listing.fingerprint != drop.fingerprint:
                return machine.Changed()
            if stop_is_ordered(self.folder(drop), listing):
                told = Problem(
                    CONTROL_FILE, "remove that file, and it starts again", STOP, f"rm {CONTROL_FILE}"
                )
                return machine.Refused((str(told),))
            outcome = examine(self.folder(drop), listing, self.shelf, self._settings, self._overrides)
        except FolderTooLarge as error:
            reason = f"{str(error).removeprefix('the folder ')}; pack some of it, or drop less"
            said = Problem("the folder", reason, example="tar -cf data.tar data")
            return machine.Refused((str(said),))
        except FileNotFoundError:  # job.json went away since
            return machine.Changed()
        if isinstance(outcome, spec.Rejection):
            return machine.Refused(tuple(map(str, outcome.problems)), checked=True)
        if isinstance(outcome, spec.Awaited):
            return machine.Missing(outcome.names, outcome.reasons)
        with self._lock:
            self._specs[drop.id] = (drop.fingerprint, outcome)
        return outcome

    def _check_again(self, drop: Drop) -> Event | None:
        """Whether a rejected drop still is: what the server offers may have changed, or never been so."""
        self._second_checks.begun(drop)
        try:
            listing = look(self.folder(drop), self._settings.most_entries)
            if listing.fingerprint != drop.fingerprint:
                return None  # the survey sees that, too
            if drop.doubtful and drop.asked:  # rejected because its job did not show up, or not whose it is
                job = self._finder.look(drop).job
                return self._created(job, found=True) if job is not None else None
            outcome = examine(self.folder(drop), listing, self.shelf, self._settings, self._overrides)
        except (RescaleFSError, FolderTooLarge, OSError) as error:
            log.debug("drop %s is not checked again now: %s", drop.folder, error)
            return None
        if isinstance(outcome, spec.Rejection):
            return None
        return machine.Changed("what the server offers has changed")

    def _upload(self, drop: Drop) -> Event | None:
        batch = self._depot.result(drop)
        if batch is None:
            return self._begin_upload(drop)
        self._depot.close(drop.id)
        if batch.refused:
            return machine.Refused(batch.refused)
        wanted = self._wanted(drop)
        fingerprint = look(self.folder(drop), self._settings.most_entries).fingerprint
        if batch.changed or wanted is None or fingerprint != drop.fingerprint:
            return machine.Changed()
        with self._lock:
            self._specs.pop(drop.id, None)
        ids = [each for each in batch.ids if each is not None]
        definition = json.dumps(wanted.filled(ids, drop.id), ensure_ascii=False)
        return machine.Uploaded(definition, batch.reused)

    def _begin_upload(self, drop: Drop) -> Event | None:
        wanted = self._wanted(drop)
        if wanted is None:
            outcome = self._examined(drop)
            if not isinstance(outcome, spec.JobSpec):  # the catalogue changed since it was accepted
                return outcome if isinstance(outcome, machine.Refused) else machine.Changed()
            wanted = outcome
        self._depot.open(drop, wanted.parcels, lambda: self.folder(self._ledger.drop(drop.id)))
        self._ledger.show(drop, lambda: self._depot.progress(drop.id))
        self._ledger.ring()
        return None

    def _wanted(self, drop: Drop) -> spec.JobSpec | None:
        with self._lock:
            kept = self._specs.get(drop.id)
        return kept[1] if kept is not None and kept[0] == drop.fingerprint else None

    def _create(self, drop: Drop) -> Event | None:
        if drop.job_id is not None:
            return self._discard(drop.job_id)
        if (drop.doubtful or self._may_be_made_before(drop)) and self._sought(drop):
            return None
        with self._lock:
            self._sought_once.add(drop.id)
        asked = self._ledger.record(drop, machine.CreateBegun(self._clock.now()))
        try:
            job = self._service.create_job(json.loads(drop.definition))
        except InvalidRequest as error:
            self._record(asked, machine.Refused(error.problems or (str(error),)))
        except (Unauthenticated, Forbidden, Throttled) as error:
            # A no, and yet looked into before it is asked for again: a proxy may have said it of the answer.
            most = _LONGEST_THROTTLED if isinstance(error, Throttled) else _LONGEST_REFUSED
            with self._lock:
                self._doubts[drop.id] = _Doubt(self._clock.monotonic(), most)
            raise
        else:
            self._record(asked, self._created(job))
        return None

    def _may_be_made_before(self, drop: Drop) -> bool:
        """Whether an earlier process may have made its job, though the journal does not say so.

        A journal can be older than what it tells of: put back from a backup or a snapshot of the machine, or
        on a disk that says "written" too early and loses power.
        """
        with self._lock:
            is_sought = drop.id in self._sought_once
        return not (is_sought or self._ledger.began(drop.id))

    def _created(self, job: Job, found: bool = False) -> machine.Created:
        """The event, told to others first: whoever reads of the job in the drop finds it in the list, too."""
        self._made(job)
        return machine.Created(job.id, found)

    def _discard(self, job_id: str) -> machine.Discarded | machine.Submitted:
        """A job was made for this drop and not submitted, and a person mended the folder."""
        try:
            if self._was_submitted(job_id):
                return machine.Submitted(self._clock.now(), by_us=False)
            self._absence.seen(job_id)
            if not self._idle.agree(job_id):
                raise NotYetCertain(f"looking whether job {job_id} was submitted, before it is made anew")
            self._service.delete_job(job_id)
        except NotFound as error:
            if not self._absence.is_certain(job_id):
                words = f"the server does not show job {job_id} (404): looking again before another is made"
                raise NotYetCertain(words) from error
            log.debug("job %s is gone already", job_id)
        return machine.Discarded(job_id)

    def _was_submitted(self, job_id: str) -> bool:
        """Whether it left its saved state, as its statuses tell or, where those lag, the list of jobs."""
        if self._service.statuses(job_id):
            return True
        return any(job.id == job_id and job.status for job in self._service.newest_jobs(_NEWEST))

    def _find(self, drop: Drop) -> Event:
        """Creating was asked for, and the answer never came, or was a no: is there a job?"""
        traces = self._finder.look(drop)
        if traces.job is not None:
            self._forget_doubt(drop)
            return self._created(traces.job, found=True)
        doubt = self._looked_in_vain(drop)
        wait = self._doubt_time(drop, doubt)
        if traces.unclear or doubt.looks < _LEAST_LOOKS or self._clock.monotonic() - doubt.since < wait:
            raise NotYetCertain("no answer told whether it worked; looking for the job on the server")
        self._forget_doubt(drop)
        reason = "the server has none with this drop's token"
        return machine.NotCreated(reason, certain=doubt.refusal is not None)

    def _looked_in_vain(self, drop: Drop) -> _Doubt:
        with self._lock:
            doubt = self._doubts.get(drop.id) or _Doubt(self._clock.monotonic())
            doubt = self._doubts[drop.id] = replace(doubt, looks=doubt.looks + 1)
        return doubt

    def _forget_doubt(self, drop: Drop) -> None:
        with self._lock:
            self._doubts.pop(drop.id, None)

    def _doubt_time(self, drop: Drop, doubt: _Doubt) -> float:
        if doubt.refusal is None:
            return doubt_time(drop.asked, self._settings.doubt)
        return refusal_time(drop.refused, self._settings.lag, doubt.refusal)

    def _sought(self, drop: Drop) -> bool:
        """Do what follows if a job shows up that was asked for earlier, or may have; tell whether it did."""
        traces = self._finder.look(drop)
        if traces.job is not None:
            # Asked for before the folder was mended, it is of what that held then: it goes, unless it runs.
            event = None if drop.asked else self._discard(traces.job.id)
            if isinstance(event, machine.Discarded):
                self._record(drop, event)
            else:
                asked = self._ledger.record(drop, machine.CreateBegun(self._clock.now()))
                self._record(asked, self._created(traces.job, found=True))
        elif drop.asked and traces.unclear:
            raise NotYetCertain(f"looking whether job {traces.unclear[0]}, of the same name, is its own")
        elif drop.asked and traces.namesakes:
            self._record(drop, machine.Refused((_namesake(traces.namesakes[0]),)))
        elif drop.asked >= _MOST_ASKED:
            self._record(drop, machine.Refused((_in_vain(drop),)))
        else:
            return False
        return True

    def _submit(self, drop: Drop) -> Event:
        job_id = drop.job_id or ""
        try:
            statuses = self._service.statuses(job_id)
            self._absence.seen(job_id)
            refused = None
            if not statuses:  # still saved: the server would answer 200 to more, and do nothing
                refused = self._refusal_to_submit(job_id)
                # A no is also what the server says to a job that was submitted: its statuses decide.
                statuses = self._service.statuses(job_id) if refused else ()
        except NotFound as error:
            if self._absence.is_certain(job_id):
                return machine.Lost()
            raise NotFound(f"the server does not show job {job_id} (404), which may pass") from error
        if refused is not None and not statuses:
            return refused
        return machine.Submitted(statuses[0].date if statuses else self._clock.now())

    def _refusal_to_submit(self, job_id: str) -> machine.Refused | None:
        try:
            self._service.submit_job(job_id)
        except InvalidRequest as error:
            return machine.Refused(error.problems or (str(error),))
        return None


def _namesake(job_id: str) -> str:
    reason = (
        "was made while the answer to creating this drop's job was lost. It has the same name, and does not "
        "say whose it is. If it is this drop's, submit it in the web interface and move the folder out; "
        f"if not, give it another name there. Then, or to have one made all the same, save {JOB_FILE} anew"
    )
    return str(Problem(f"job {job_id}", reason))


def _in_vain(drop: Drop) -> str:
    reason = (
        f"was asked for {drop.asked} times, and no answer told whether it worked; none was submitted. Delete "
        f"what saved jobs called {shown(drop.name)} there are in the web interface, and save {JOB_FILE} anew"
    )
    return str(Problem("creating the job", reason))


def _basis(drop: Drop) -> tuple[object, ...]:
    """What an act's result rests on."""
    return (drop.state, drop.fingerprint, drop.job_id, drop.hold)
