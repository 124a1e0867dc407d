"""Jobs and their files as of a moment ago.

Says what is asked of the server, how long each answer is worth something, and what one answer teaches about
the others. How answers are shared, remembered and survive the server's absence is in `answers`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rescalefs.background import Background, Rounds
from rescalefs.clock import Clock, never
from rescalefs.containment import contained
from rescalefs.errors import ApiError, Forbidden, InvalidRequest, NotFound, UnexpectedAnswer
from rescalefs.model import (
    Incomplete,
    Job,
    JobDetail,
    JobStatus,
    LiveFile,
    Outcome,
    RemoteFile,
    Result,
    Run,
    is_terminal,
)
from rescalefs.outcome import CONSOLE_LOG, ConsoleEnd, console_end, console_log, judged, tail_bytes
from rescalefs.tree.allowance import Allowance
from rescalefs.tree.answers import Answers, Desk, Kind, Said
from rescalefs.tree.errands import Errands
from rescalefs.tree.health import Health
from rescalefs.tree.joblist import JobList
from rescalefs.tree.live import Live
from rescalefs.tree.naming import is_job_id, is_no_job
from rescalefs.tree.nodes import nanoseconds
from rescalefs.tree.offers import Offers
from rescalefs.tree.outputs import Outputs
from rescalefs.tree.service import JobService
from rescalefs.tree.settings import TreeSettings
from rescalefs.tree.store import Document, Drawer

log = logging.getLogger(__name__)

History = tuple[JobStatus, ...]

_ALL = "all"  # the key of the one list of jobs
_NEWEST = 100  # jobs in the request that polls
_LEARNT_AT_ONCE = 10  # endings, after each look at the list: 100 jobs take ten looks, and then none
_NOT_AT_ONCE = 10.0  # seconds after a start that found a list on disk, before all pages are asked for
_LISTED_WITHIN = 60.0  # seconds in which the server lists a job that was made, or it is gone already
_LISTED_LATE = 60.0  # seconds after an end in which outputs may not be listed: a script of Rescale's waits 45
_LATE_TRIES = 2  # more, before an empty list of outputs is believed for a moment
_AGAIN = 2.0  # seconds between two questions for what may be listed late
_SHORTEST, _LONGEST = 15.0, 86_400.0  # seconds that an answer from after a job's end holds
_DETAIL_LIVES = 30.0  # seconds; of a job's page little changes but what its owner edits
_UNLISTED_AT_ONCE = 30  # looks for jobs that are not in the list
_UNLISTED_PER_SECOND = 0.5
_LISTING_LIVES = 2.0  # seconds; how soon a file that a job began is seen
_DETAIL_MEMORY = 8 << 20  # bytes
_HISTORIES = 3000  # in memory, of each kind; about 2 KiB each
_RUNS = 20_000  # in memory; about 0.5 KiB each

Runs = tuple[Run, ...]
THE_ONLY_RUN = "1"  # a basic job has the one run "1" (documentation of 2016)


def stored_jobs(directory: Path) -> tuple[Job, ...]:
    """The list of jobs that a catalog left in its directory, of whatever age; none where it left none."""
    document = _list_drawer(directory).load(_ALL)
    return () if document is None else (*document.value[0], *document.value[1])


def _list_drawer(directory: Path | None) -> Drawer[tuple[tuple[Job, ...], tuple[Job, ...]]]:
    return Drawer(directory, "jobs", tuple[tuple[Job, ...], tuple[Job, ...]])


class Catalog:
    """What is known of the account.

    Methods that give an answer may ask the server and raise its `ApiError`; those named ``known_…`` never do.
    For a job that has ``ended`` an answer from before its end is not good enough. Thread-safe.
    """

    def __init__(
        self, service: JobService, clock: Clock, background: Background, settings: TreeSettings
    ) -> None:
        self._service = service
        self._clock = clock
        self._background = background
        self._settings = settings
        self._all_listed: float | None = None  # monotonic, when all pages were asked for
        self._short_page: int | None = None  # length of the newest page that was shorter than the list
        self._ends: dict[str, datetime] = {}  # job id -> when it ended, if that is not long ago
        self._made: dict[str, tuple[Job, float]] = {}  # by id, and since when; until the server lists it
        self._unlisted = Allowance(clock, _UNLISTED_AT_ONCE, _UNLISTED_PER_SECOND)
        self._listed = threading.Event()  # once the server was asked for its list for the first time
        self.health = Health(clock)
        self._errands = Errands(background, settings.refreshers)
        desk = Desk(clock, self.health, self._errands, settings.rest, settings.patience, settings.deadline)
        self._lists = Answers(self._list_kind(), desk)
        self._details = Answers(self._detail_kind(), desk)
        self._statuses = Answers(self._history_kind("statuses", self._ask_statuses), desk)
        self._clusters = Answers(self._history_kind("cluster_statuses", self._ask_cluster_statuses), desk)
        self._outputs = Answers(self._outputs_kind("outputs", self._ask_outputs), desk)
        self._runs = Answers(self._runs_kind(), desk)
        self._by_job: tuple[Answers[Any], ...] = (
            self._details,
            self._statuses,
            self._clusters,
            self._outputs,
            self._runs,
        )
        self._run_outputs = Answers(self._outputs_kind("run_outputs", self._ask_run_outputs), desk)
        self._live = Answers(self._live_kind(), desk)
        self._outcomes = Answers(self._outcomes_kind(), desk)
        self._by_run: tuple[Answers[Any], ...] = (self._run_outputs, self._live)
        self.offers = Offers(service, desk, settings.directory)

    def start(self) -> None:
        """Keep the list of jobs fresh, and renew other answers, in the background from now on."""
        self._errands.start()
        self._background.start("tree-jobs", self._keep_listing)

    def await_listing(self, seconds: float) -> None:
        """Wait until the server was asked for its jobs since `start`, or in vain; no longer than this."""
        self._clock.wait(self._listed, seconds)

    # --- what the server says

    def jobs(self) -> JobList:
        """All jobs; the same object until something changes."""
        return self._lists.get(_ALL, ended=False)

    def find(self, job_id: str) -> Job | None:
        """One job, also if it is too new to be in the list; None where there is none."""
        if not is_job_id(job_id):
            return None
        job = self.jobs().by_id.get(job_id)
        if job is not None or is_no_job(job_id):
            return job
        return self._find_unlisted(job_id)

    def detail(self, job_id: str, ended: bool) -> JobDetail:
        return self._details.get(job_id, ended)

    def statuses(self, job_id: str, ended: bool) -> History:
        return self._statuses.get(job_id, ended)

    def outcome(self, job: Job) -> Outcome | None:
        """How a job ended, by its history and the end of its console log; None where it has not.

        What is known with the log is kept with the list of jobs, and never asked for again.
        """
        if job.outcome is not None and job.outcome.log_seen:
            return job.outcome
        return self._outcomes.get(job.id, ended=True)

    def cluster_statuses(self, job_id: str, ended: bool) -> History:
        return self._clusters.get(job_id, ended)

    def outputs(self, job_id: str, ended: bool) -> Outputs:
        return self._outputs.get(job_id, ended)

    def runs(self, job_id: str, ended: bool) -> Runs:
        """The runs of a job; none before it was submitted."""
        return self._runs.get(job_id, ended)

    def run_outputs(self, job_id: str, run_id: str, ended: bool) -> Outputs:
        """The outputs of one run, which has ``ended`` or not."""
        return self._run_outputs.get(_run_key(job_id, run_id), ended)

    def live(self, job_id: str, run_id: str) -> Live:
        """What a run has written so far that has not ended."""
        return self._live.get(_run_key(job_id, run_id), ended=False)

    def renew_live(self, job_id: str, run_id: str | None) -> None:
        """Ask now, however fresh the answer is that is known."""
        self._live.refresh(_run_key(job_id, run_id or THE_ONLY_RUN))

    def output_of(self, file: LiveFile) -> RemoteFile | None:
        """The output of a live file's path, if it is complete."""
        job_id, ended = file.job_id, self._has_ended(file.job_id)
        if len(self.known_runs(job_id) or ()) > 1:
            outputs = self.run_outputs(job_id, file.run_id, ended)
        else:
            outputs = self.outputs(job_id, ended)
        found = (each for each in outputs.files if each.path == file.path and each.is_uploaded)
        return next(found, None)

    # --- what is in memory

    def known_jobs(self) -> JobList | None:
        return self._lists.known(_ALL)

    def known_statuses(self, job_id: str) -> History:
        return self._statuses.known(job_id) or ()

    def known_outputs(self, job_id: str) -> Outputs | None:
        return self._outputs.known(job_id)

    def known_runs(self, job_id: str) -> Runs | None:
        """Also from disk."""
        return self._runs.remembered(job_id)

    def known_run_outputs(self, job_id: str, run_id: str) -> Outputs | None:
        return self._run_outputs.known(_run_key(job_id, run_id))

    def known_live(self, job_id: str, run_id: str) -> Live | None:
        return self._live.known(_run_key(job_id, run_id))

    def counters(self) -> Mapping[str, int]:
        """Requests so far by what they asked for, and the number of jobs known."""
        known = self.known_jobs()
        return {
            "jobs": len(known.by_id) if known else 0,
            "requests_jobs": self._lists.requests,
            "requests_details": self._details.requests,
            "requests_statuses": self._statuses.requests + self._clusters.requests,
            "requests_outputs": self._outputs.requests + self._run_outputs.requests,
            "requests_runs": self._runs.requests,
            "requests_live": self._live.requests,
            "requests_catalog": self.offers.requests,
        }

    # --- what others know

    def heard(self, job_id: str, status: str) -> None:
        """Someone saw this status at the server: what is known must not contradict it.

        A job that is in no list yet is in it from then on, if the server can be asked.
        """
        known = self.known_jobs()
        for _ in range(2):  # an answer under way may be from before there was the job
            if known is not None and job_id not in known.by_id:
                self._renew_list()
                known = self.known_jobs()
        job = known.by_id.get(job_id) if known else None
        if job is not None and is_terminal(status) and not job.is_finished:
            self._ends.setdefault(job_id, self._clock.now())
        self._lists.amend(_ALL, lambda jobs: jobs.with_status(job_id, status))

    def concluded(self, job_id: str, outcome: Outcome) -> None:
        """Someone found out how a job ended."""
        self._lists.amend(_ALL, lambda jobs: jobs.with_outcome(job_id, outcome))

    def made(self, job: Job) -> None:
        """Someone made this job at the server: it is in the list from now on."""
        self._made[job.id] = (job, self._clock.monotonic())  # first: a list under way may land at any moment
        self._lists.amend(_ALL, lambda jobs: jobs.with_found(job))

    def forget(self, job_id: str | None = None) -> None:
        """Ask afresh about one job, or about everything, when it is looked at next."""
        if job_id is None:
            for answers in (self._lists, *self._by_job, *self._by_run, *self.offers.answers):
                answers.forget_all()
            self._all_listed = None
            return
        for run in self._runs.remembered(job_id) or (Run(THE_ONLY_RUN),):
            for answers in self._by_run:
                answers.forget(_run_key(job_id, run.id))
        for answers in self._by_job:
            answers.forget(job_id)

    # --- the list of jobs

    def _keep_listing(self, stop: threading.Event) -> None:
        # Who looks first need not wait for the disk, nor share the processor with all the pages.
        if self._lists.remembered(_ALL) is not None:
            self._all_listed = self._clock.monotonic() - self._settings.list_all_every + _NOT_AT_ONCE

        def listing() -> None:
            is_first = not self._listed.is_set()
            try:
                self._renew_list()
            finally:
                self._listed.set()
            if is_first:
                self._tidy()
            self._learn_endings()
            self._clock.wait(stop, self._settings.poll_every)

        Rounds(self._clock, log, "the list of jobs").run(listing, stop)

    def _tidy(self) -> None:
        for answers in (self._lists, *self._by_job, *self._by_run, *self.offers.answers):
            with contained(log, "what is left of stored answers"):
                answers.tidy()

    def _learn_endings(self) -> None:
        """Find out how some of the newest jobs ended that were not looked at, one request for each, once.

        The list calls a job `Completed` that failed. Its statuses have the reason; the log is not asked for.
        """
        known = self.known_jobs()
        newest = known.listed[:_NEWEST] if known is not None and not self.health.offline else ()
        unknown = [job.id for job in newest if job.is_finished and job.outcome is None]
        for job_id in unknown[:_LEARNT_AT_ONCE]:
            try:
                outcome = judged(self.statuses(job_id, ended=True))
            except ApiError as error:
                log.debug("how job %s ended is not known: %s", job_id, error)
                return
            if outcome is not None:
                self.concluded(job_id, outcome)

    def _renew_list(self) -> None:
        try:
            self._lists.refresh(_ALL)
        except ApiError as error:
            log.debug("the list of jobs could not be renewed: %s", error)  # `health` has said so louder

    def _ask_list(self, _key: str) -> Said[JobList]:
        known, asked = self.known_jobs(), self._clock.monotonic()
        jobs = (self._newest_joined(known) if known else None) or self._all_jobs()
        for job_id, (_, at) in tuple(self._made.items()):
            is_listed = job_id in jobs.by_id and not jobs.is_found(job_id)
            if is_listed or asked - at > _LISTED_WITHIN:
                self._made.pop(job_id, None)
                jobs = jobs if is_listed else jobs.without(job_id)
        if known is not None:
            self._notice(known, jobs)
        return Said(self._with_made(jobs))

    def _with_made(self, jobs: JobList) -> JobList:
        """With jobs that were made a moment ago, maybe after the server was asked for this list."""
        for job, _ in tuple(self._made.values()):
            jobs = jobs.with_found(job)
        return jobs

    def _newest_joined(self, known: JobList) -> JobList | None:
        """One request's worth of news; None when all pages are due."""
        now = self._clock.monotonic()
        if self._all_listed is None or now - self._all_listed >= self._settings.list_all_every:
            return None
        page = self._service.newest_jobs(_NEWEST)
        joined = known.with_newest(page)
        if joined is None or len(page) >= _NEWEST or len(page) == len(joined.listed):
            self._short_page = None
            return joined
        # Either there are no more jobs than these, and older ones have been deleted, or the server's pages
        # are shorter than what was asked for. All pages tell, once for each such length.
        told, self._short_page = self._short_page == len(page), len(page)
        return joined if told else None

    def _all_jobs(self) -> JobList:
        now = self._clock.monotonic()
        jobs = JobList.of(self._service.jobs())
        self._all_listed = now
        return jobs

    def _notice(self, known: JobList, jobs: JobList) -> None:
        for job_id in jobs.ended_since(known):
            self._ends.setdefault(job_id, self._clock.now())
        for job_id in jobs.gone_since(known):
            self.forget(job_id)

    def _find_unlisted(self, job_id: str) -> Job | None:
        if self._details.is_absent(job_id):
            return None
        if self._details.known(job_id) is None and not self._unlisted.take():
            return None  # a program tries names; a job that is too new for the list will be in the next one
        try:
            job = self._details.get(job_id, ended=False).job
        except NotFound:
            return None
        self._lists.amend(_ALL, lambda jobs: jobs.with_found(job))
        if not job.status:  # the page of a job does not tell its status
            try:
                self.statuses(job_id, ended=False)
            except ApiError as error:
                log.info("the status of job %s is not known: %s", job_id, error)
        known = self.known_jobs()
        return known.by_id.get(job_id, job) if known else job

    # --- one job

    def _ask_detail(self, job_id: str) -> Said[JobDetail]:
        ended = self._has_ended(job_id)
        try:
            detail = self._service.job(job_id)
        except NotFound:
            self._made.pop(job_id, None)
            self._lists.amend(_ALL, lambda jobs: jobs.without(job_id))
            raise
        return Said(detail, self._holds(job_id) if ended else None)

    def _ask_statuses(self, job_id: str) -> Said[History]:
        ended = self._has_ended(job_id)
        history = self._service.statuses(job_id)
        if history:
            newest = history[-1]
            self.heard(job_id, newest.status)
            if is_terminal(newest.status):
                ended = True  # this answer holds the end itself
                self._ended_at(job_id, newest.date)
        return Said(tuple(history), self._holds(job_id, of=history) if ended else None)

    def _ask_cluster_statuses(self, job_id: str) -> Said[History]:
        ended = self._has_ended(job_id)
        try:
            history = self._service.cluster_statuses(job_id)
        except NotFound:
            self._statuses.get(job_id, ended)  # raises as well where the job itself is gone
            history = ()  # there is no cluster yet, or there never was one
        return Said(tuple(history), self._holds(job_id, of=history) if ended else None)

    def _ask_outputs(self, job_id: str) -> Said[Outputs]:
        ended = self._has_ended(job_id)
        files = self._service.output_files(job_id)
        for _ in range(_LATE_TRIES if ended else 0):
            if files or not self._may_be_late(job_id):
                break
            self._clock.wait(never(), _AGAIN)
            files = self._service.output_files(job_id)
        holds = self._holds(job_id, of=files) if ended else None
        if holds is not None and not files and self._may_be_late(job_id):
            holds = _AGAIN
        if holds is not None and not all(file.is_uploaded for file in files):
            holds = _SHORTEST
        return Said(Outputs(job_id, tuple(files), ended, sorting=self._settings.sorting), holds)

    def _ask_outcome(self, job_id: str) -> Said[Outcome | None]:
        statuses = self._statuses.get(job_id, ended=True)
        outcome = judged(statuses)
        if outcome is None:
            return Said(None, _AGAIN)
        needs_log = outcome.result is not Result.STOPPED and any(
            each.status.lower() == "executing" for each in statuses
        )
        if needs_log:
            outcome = judged(statuses, self._console(job_id))
        else:
            outcome = dataclasses.replace(outcome, log_seen=True)
        assert outcome is not None
        self.concluded(job_id, outcome)
        return Said(outcome, _LONGEST if outcome.log_seen else _AGAIN)

    def _console(self, job_id: str) -> ConsoleEnd | None:
        """What the end of the console log shows; None as long as that may not be listed yet."""
        known = self.known_outputs(job_id)
        files = known.files if known is not None and known.final else ()
        if not any(file.name == CONSOLE_LOG for file in files):
            files = self._service.output_files(job_id, search=CONSOLE_LOG)
        log_file = console_log(files)
        if log_file is None:
            return None if not files and self._may_be_late(job_id) else ConsoleEnd()
        jobs = self.known_jobs()
        job = jobs.by_id.get(job_id) if jobs is not None else None
        try:
            tail = self._service.end_of(log_file, tail_bytes(len(job.analyses) if job else 1))
        except (NotFound, Forbidden, InvalidRequest, UnexpectedAnswer) as error:
            log.info("how job %s ended is judged without its log: %s", job_id, error)
            return None if self._over_for(job_id) < _LISTED_LATE else ConsoleEnd()
        return console_end(tail, is_whole=log_file.size is not None and len(tail) >= log_file.size)

    def _may_be_late(self, job_id: str) -> bool:
        """Whether outputs of a job may not be listed yet. Every job has its console log, so none is odd."""
        if job_id not in self._ends:
            with contextlib.suppress(ApiError):
                self._statuses.get(job_id, ended=True)  # tells when it ended, if that is not long ago
        return self._over_for(job_id) < _LISTED_LATE

    def _over_for(self, job_id: str) -> float:
        """Seconds since the job ended, as far as that is known; many where it is not."""
        end = self._ends.get(job_id)
        return (self._clock.now() - end).total_seconds() if end is not None else _LONGEST

    def _ask_runs(self, job_id: str) -> Said[Runs]:
        ended = self._has_ended(job_id)
        runs = self._service.runs(job_id)
        return Said(tuple(runs), self._holds(job_id, of=runs) if ended else None)

    def _ask_run_outputs(self, key: str) -> Said[Outputs]:
        job_id, run_id = key.split("/", 1)
        known = self._runs.known(job_id) or ()
        end = next((run.completed for run in known if run.id == run_id), None)
        ended = end is not None or self._has_ended(job_id)
        files = self._service.run_files(job_id, run_id)
        holds = self._holds(job_id, end, of=files) if ended else None
        if holds is not None and not all(file.is_uploaded for file in files):
            holds = _SHORTEST
        return Said(Outputs(job_id, tuple(files), ended, run_id, self._settings.sorting), holds)

    def _ask_live(self, key: str) -> Said[Live]:
        job_id, run_id = key.split("/", 1)
        try:
            paths = self._service.directory_contents(job_id, run_id)
        except (InvalidRequest, NotFound):
            paths = ()  # the run has not begun, or has ended
        return Said(Live(job_id, run_id, paths, nanoseconds(self._clock.now())))

    def _has_ended(self, job_id: str) -> bool:
        known = self.known_jobs()
        job = known.by_id.get(job_id) if known else None
        return job is not None and job.is_finished

    def _ended_at(self, job_id: str, date: datetime) -> None:
        """Remember the end of a job as its history tells it; long ago needs no remembering."""
        if (self._clock.now() - date).total_seconds() < _LONGEST:
            self._ends[job_id] = date
        else:
            self._ends.pop(job_id, None)

    def _holds(self, job_id: str, end: datetime | None = None, of: object = None) -> float:
        """How long an answer about a job (or a run, with its ``end``) that has ended holds: as long as it
        has been over by now.

        What comes late (a cluster that stops after its job, a last upload) comes soon after the end. So an
        answer from a minute after is renewed after a minute, and an old job's once a day. A list ``of`` which
        entries were left out holds for a moment: the next one may be whole.
        """
        if isinstance(of, Incomplete):
            return _SHORTEST
        known = self.known_jobs()
        job = known.by_id.get(job_id) if known else None
        end = end or self._ends.get(job_id) or (job.inserted if job else None)
        if end is None:
            return _LONGEST
        return min(max((self._clock.now() - end).total_seconds(), _SHORTEST), _LONGEST)

    # --- kinds of answers

    def _drawer(self, kind: str, content: Any) -> Drawer[Any]:
        return Drawer(self._settings.directory, kind, content)

    def _list_kind(self) -> Kind[JobList]:
        return Kind(
            self._ask_list,
            _list_drawer(self._settings.directory),
            live=self._settings.poll_every,
            usable=math.inf,  # at once, also after a restart: the background keeps it fresh
            dump=lambda known: (known.listed, known.found),
            restore=lambda _, document: JobList.restored(*document.value),
            settle=lambda known, new: known.succeeded_by(self._with_made(new)),
        )

    def _detail_kind(self) -> Kind[JobDetail]:
        return Kind(
            self._ask_detail,
            self._drawer("details", JobDetail),
            live=_DETAIL_LIVES,
            usable=2 * _DETAIL_LIVES,
            # A job made meanwhile is seen once it is in the list, which is polled as often.
            absent=self._settings.poll_every,
            memory=_DETAIL_MEMORY,
            weigh=lambda detail: len(detail.document) + 1000 * (1 + len(detail.inputs)),
        )

    def _history_kind(self, name: str, ask: Callable[[str], Said[History]]) -> Kind[History]:
        live = self._settings.live
        return Kind(ask, self._drawer(name, History), live, 2 * live, memory=_HISTORIES)

    def _outcomes_kind(self) -> Kind[Outcome | None]:
        return Kind(
            self._ask_outcome,
            Drawer(None, "outcomes", Outcome),  # kept with the list of jobs
            live=_AGAIN,
            usable=2 * _AGAIN,
            memory=_HISTORIES,
        )

    def _live_kind(self) -> Kind[Live]:
        return Kind(
            self._ask_live,
            Drawer(None, "live", Live),  # of no use after a restart
            live=_LISTING_LIVES,
            usable=2 * _LISTING_LIVES,
            memory=self._settings.files_in_memory,
            weigh=lambda live: 10 + len(live),
        )

    def _runs_kind(self) -> Kind[Runs]:
        return Kind(
            self._ask_runs,
            self._drawer("runs", Runs),
            live=self._settings.live,
            usable=2 * self._settings.live,
            memory=_RUNS,
            weigh=lambda runs: 1 + len(runs),
        )

    def _outputs_kind(self, name: str, ask: Callable[[str], Said[Outputs]]) -> Kind[Outputs]:
        return Kind(
            ask,
            self._drawer(name, tuple[RemoteFile, ...]),
            live=self._settings.live,
            usable=2 * self._settings.live,
            memory=self._settings.files_in_memory,
            weigh=lambda outputs: 10 + len(outputs.files),  # an empty listing is not free either
            dump=lambda outputs: outputs.files,
            restore=self._restored_outputs,
        )

    def _restored_outputs(self, key: str, document: Document[Any]) -> Outputs:
        job_id, _, run_id = key.partition("/")
        ended = document.holds is not None
        return Outputs(job_id, document.value, ended, run_id or None, self._settings.sorting)


def _run_key(job_id: str, run_id: str) -> str:
    return f"{job_id}/{run_id}"  # no id of a job has a slash in it
