"""Pure: a drop and its events, in a person's words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rescalefs.model import Outcome, Result
from rescalefs.submit import cost, machine
from rescalefs.submit.diary import log_line, one_line
from rescalefs.submit.listing import JOB_FILE
from rescalefs.submit.machine import Drop, Event, State
from rescalefs.submit.problems import bytes_text, listed

CONTROL_FILE = "control"  # in a drop: what a person writes into it is an order
SAME = "same"  # the order that says: this folder is the drop that it was taken for


@dataclass(frozen=True, slots=True)
class DropReport:
    """One drop, as `rescalefs drops` lists it."""

    id: str
    folder: str
    state: State
    status: str  # the one line of its `status` file
    job_id: str | None
    job_status: str
    here: bool  # False when the folder is gone
    problems: tuple[str, ...]
    changed: datetime  # when it last got on
    found: datetime
    missing: tuple[str, ...] = ()  # named in job.json, and awaited
    awaits: tuple[str, ...] = ()  # why else the folder counts as still being filled
    hold: bool = False
    is_doubtful: bool = False  # a person has to say whether it is a new drop
    has_job_file: bool | None = None  # None: nobody looked
    outcome: Outcome | None = None  # how its job ended, once that is known
    log: tuple[str, ...] = ()  # the lines of its `status.log`, where one drop was asked for


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the uploads of one drop are."""

    files: int
    of_files: int
    size: int
    of_size: int
    seconds_left: float | None = None  # None: too early to say

    def __str__(self) -> str:
        done = 100 * self.size // self.of_size if self.of_size else 0
        percent = done if self.files == self.of_files else min(99, done)  # the server has yet to say yes
        left = "" if self.seconds_left is None else f", {duration_text(self.seconds_left)} left"
        files = f"{self.files} of {_count(self.of_files, 'file')}"
        return f"{files}, {percent} % of {bytes_text(self.of_size)}{left}"


def status_line(drop: Drop, progress: Progress | None = None, note: str = "") -> str:
    """The drop's `status`: where it is, and what keeps it there."""
    text = _where(drop, progress)
    between = (
        " " if drop.state is State.WAITING else ": "
    )  # `waiting for job.json`, `uploading …: no connection`
    return one_line(f"{text}{between}{note}" if note else text)


def _where(drop: Drop, progress: Progress | None) -> str:
    if drop.state is State.WAITING and drop.doubt:
        return f"waiting for a word of yours: is it new, or is it {drop.doubt_about}? See status.log"
    if drop.state is State.WAITING and (drop.missing or drop.awaits):
        return _awaited(drop)
    if drop.state is State.REJECTED:
        return f"rejected: {drop.problems[0]}{_more(len(drop.problems))}"
    if drop.state is State.UPLOADING and progress is not None:
        return f"uploading {progress}"
    if drop.state is State.RUNNING and drop.status.lower() == "completed":
        return f"collecting outputs: job {drop.job_id} is over, and how it ended is not known yet"
    if drop.state in _ENDED_BY_STATUS and drop.outcome is not None:
        return drop.outcome.words
    if drop.state is State.RUNNING or drop.state in _ENDED_BY_STATUS:
        return drop.status or "submitted"
    if drop.state is State.SAVED and drop.hold and drop.is_elsewhere:
        return (
            f"held: job {drop.job_id} is saved; "
            '`rescalefs submit` without --hold submits it, unless job.json says "hold": true'
        )
    if drop.state is State.SAVED and not drop.hold:
        return f"job {drop.job_id} is saved"  # for a moment, before it is submitted
    return _WORDS[drop.state].format(job=drop.job_id)


def _awaited(drop: Drop) -> str:
    """The first thing that it waits for; `status.log` has all."""
    named = [f"for {listed(drop.missing)}, named in job.json"] if drop.missing else []
    first, *others = (*named, *drop.awaits)
    return f"waiting {first}" + (f" ({len(others)} more, see status.log)" if others else "")


_ENDED_BY_STATUS = frozenset({State.COMPLETED, State.FAILED, State.STOPPED})
_WORDS = {
    State.UNSEEN: "unseen",
    State.WAITING: "waiting",
    State.CHECKING: "checking job.json",
    State.UPLOADING: "uploading",
    State.CREATING: "creating the job",
    State.IN_DOUBT: "creating the job",
    State.SAVED: 'held: job {job} is saved; remove "hold" from job.json to submit it',
    State.SUBMITTING: "submitting job {job}",
    State.DELETED: "deleted: job {job} is not on the server any more",
}


def _more(problems: int) -> str:
    return f" ({problems} problems, see status.log)" if problems > 1 else ""


def log_lines(before: Drop, event: Event, at: datetime) -> list[str]:
    """What `status.log` says about an event: ``<ISO time>\\t<text>``."""
    when = event.date if isinstance(event, machine.StatusSeen) else at
    return [log_line(when, text) for text in _story(before, event)]


def is_weighty(event: Event) -> bool:
    """Whether it befell the job, so that `status.log` keeps it for as long as there is room for such."""
    return isinstance(event, _WEIGHTY)


_WEIGHTY = (
    machine.Found,
    machine.NotCreated,
    machine.Created,
    machine.Discarded,
    machine.Released,
    machine.Submitted,
    machine.StatusSeen,
    machine.StopAsked,
    machine.Ended,
    machine.Announced,
    machine.Lost,
    machine.Returned,
    machine.SavedAgain,
)


def _story(before: Drop, event: Event) -> list[str]:  # noqa: C901  # one case per event, each a sentence
    match event:
        case machine.Found():
            return ["found"]
        case machine.Moved():
            if event.folder != before.folder:
                return [f"is called {event.folder} now"]
            is_copy = before.here and (event.inode, event.born) != (before.inode, before.born)
            # A number alone changes by itself where a file system does not keep them.
            is_copy = is_copy and not (event.born is None and before.born is None)
            return ["was put back from a copy: it is the same drop"] if is_copy else []
        case machine.Vanished():
            return ["the folder is gone; its job, if there is one, goes on"]
        case machine.Doubted():
            why = "the file system does not tell such folders apart, and what else is known does not agree"
            return [
                f"this folder may be {event.about}: {why}. So it is not submitted",
                f"to have it submitted as a new job: touch {JOB_FILE}",
                f"if it is that drop: write `{SAME}` into a file {CONTROL_FILE} in the folder",
            ]
        case machine.Cleared():
            return [f"{JOB_FILE} was touched: it is a new drop"]
        case machine.Settled():
            return ["complete: checking job.json"]
        case machine.Changed():
            return [f"{event.what}: looking at it again"]
        case machine.Missing():
            named = [f"waiting for {listed(event.names)}, named in job.json"] if event.names else []
            return [*named, *(f"waiting {each}" for each in event.reasons)]
        case machine.Refused():
            advice = "mend this in the folder; it then starts again by itself"
            return [f"rejected: {each}" for each in event.problems] + [advice]
        case machine.Accepted():
            facts = f"nothing wrong: {_count(event.files, 'file')} to send, {bytes_text(event.size)}"
            costs = [event.estimate] if event.estimate else []
            return [facts, *event.left_out, *costs, *(f"warning: {each}" for each in event.warnings)]
        case machine.Uploaded():
            return [
                f"the server has {_count(before.files, 'file')}, {bytes_text(before.size)}"
                + _known_before(event.reused, before.files)
            ]
        case machine.CreateBegun():
            return ["creating the job"]
        case machine.NotCreated():
            said = "no job was made" if event.certain else "no job shows up"
            return [f"{said}: {event.reason}; trying again"]
        case machine.Created():
            how = "found on the server: it was made before the answer was lost" if event.found else "created"
            return [f"job {event.job_id} {how}"]
        case machine.Discarded():
            return [f"job {event.job_id} deleted: it never ran, and is made anew"]
        case machine.Released():
            return (
                [f"nothing holds job {before.job_id} any more: it is submitted as it was made"]
                if before.hold
                else []
            )
        case machine.Submitted() if before.state is State.REJECTED:
            return [f"job {before.job_id} was submitted all the same: it is followed"]
        case machine.Submitted():
            return [
                f"job {before.job_id} submitted"
                if event.by_us
                else f"job {before.job_id} was submitted elsewhere"
            ]
        case machine.Edited():
            return [
                f"job.json was edited after job {before.job_id} was made from it: that job stays as it is",
                "to run the edited one, copy the folder under another name",
            ]
        case machine.StatusSeen():
            return [f"{event.status}: {event.reason}" if event.reason else event.status]
        case machine.StopAsked():
            return [f"job {before.job_id} has been told to stop"]
        case machine.Announced():
            return [event.outcome] if event.outcome else []
        case machine.Ended():
            ran = f" after {duration_text(event.seconds)}" if event.seconds is not None else ""
            outputs = "the server does not list its outputs"
            if event.outputs is not None:
                size = "of unknown size" if event.size is None else bytes_text(event.size)
                outputs = f"{_count(event.outputs, 'output')}, {size}"
            spent = cost.spent(before.hourly, before.currency, event.seconds)
            ran += f", {spent}" if spent else ""
            where = f"`rescalefs download {before.job_id} --to DIR` fetches them"
            if not before.is_elsewhere:
                where = "in job/outputs; its console output is process_output.log there"
            return [*_complaint(event), f"ended{ran}: {outputs}, {where}"]
        case machine.Lost():
            return [f"job {before.job_id} is not on the server any more: it was deleted there"]
        case machine.Returned() if before.state is State.DELETED:
            return [f"job {before.job_id} is on the server after all: it is followed again"]
        case machine.Returned():
            return [f"job {before.job_id} goes on after all: it is followed again"]
        case machine.SavedAgain():
            return [f"job {before.job_id} is on the server after all, and was not submitted"]
    raise AssertionError(event)


def _complaint(event: machine.Ended) -> list[str]:
    """What went wrong, with the last lines that the command printed: most often its own complaint."""
    if event.outcome is None or event.outcome.result is Result.SUCCEEDED:
        return []
    return [event.outcome.words, *(f"| {line}" for line in event.lines)]


def _known_before(reused: int, files: int) -> str:
    if not reused:
        return ""
    if files == 1:
        return "; it was there already"
    return f"; {reused} of them {'was' if reused == 1 else 'were'} there already"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration_text(seconds: float) -> str:
    """``8 min 42 s``."""
    whole = round(seconds)
    if whole == 0 < seconds:
        return "less than 1 s"
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    parts = [
        f"{hours} h" if hours else "",
        f"{minutes} min" if minutes else "",
        f"{left} s" if not hours else "",
    ]
    return " ".join(part for part in parts if part)
