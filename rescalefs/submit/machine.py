"""Pure: the life of a drop. States, events, one table; everything about states is in this file.

`step` is what the worker does after each act, and what the journal's replay folds over its events. An event
that has no entry in `TRANSITIONS` for the state is refused: it tells of a moment that is over.

Being in a state *is* the intent: what has to be done there can be done again after a crash. The one act that
may not simply be done again is creating the job, so that has a state of its own for "asked, answer unknown".
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, TypeAlias

import msgspec

from rescalefs.model import Outcome, Result


class State(str, enum.Enum):
    """Where a drop is. The values are what the documentation calls them."""

    UNSEEN = "unseen"  # before its first event
    WAITING = "waiting"  # for job.json, for an input, or for the copying to end
    CHECKING = "checking"  # job.json against the folder and the server's catalogue
    REJECTED = "rejected"  # something is wrong that a person has to mend in the folder
    UPLOADING = "uploading"  # the inputs
    CREATING = "creating"  # nothing asked yet: all is uploaded
    IN_DOUBT = "in doubt"  # creating was asked for, and whether it worked is not known
    SAVED = "saved"  # the job exists, and is not submitted
    SUBMITTING = "submitting"
    RUNNING = "running"  # it shows the job's own statuses
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    DELETED = "deleted"  # the job is not on the server any more

    @property
    def is_terminal(self) -> bool:
        """Whether nothing is expected to follow. Should the server show more of the job, it goes on."""
        return self in _TERMINAL


_NEVER = datetime.min.replace(tzinfo=timezone.utc)
ENDED = (State.COMPLETED, State.FAILED, State.STOPPED)
_TERMINAL = frozenset({*ENDED, State.DELETED})

WITH_A_JOB = (State.IN_DOUBT, State.SAVED, State.SUBMITTING, State.RUNNING)
"""There is a job on the server, or may be: what became of it is asked even if the folder is gone."""


@dataclass(frozen=True, slots=True)
class Drop:
    """A dropped folder, as its events tell it."""

    id: str  # the token that its job carries
    number: int = 0  # of its newest event
    state: State = State.UNSEEN
    folder: str = ""  # name below the drop folder, or an absolute path elsewhere
    inode: int = 0
    born: int | None = None
    here: bool = False  # False while the folder is gone
    fingerprint: str = ""  # of the content that was looked at last
    job_file: str = ""  # of job.json, the same
    doubt: str = ""  # the drop that this folder may be; as long as that is not known, it is not looked into
    doubt_about: str = ""  # the same in words
    missing: tuple[str, ...] = ()  # named in job.json, and not in the folder
    awaits: tuple[str, ...] = ()  # why else the folder counts as still being filled
    problems: tuple[str, ...] = ()  # why it is rejected
    checked: bool = False  # that is what our own check found
    name: str = ""  # of the job
    hold: bool = False
    files: int = 0
    size: int = 0  # bytes of all its files
    hourly: str = ""  # what an hour of the job costs, where that is known
    currency: str = ""
    definition: str = ""  # JSON of what to create, until it is created
    asked: int = 0  # how often, since it was checked, creating it was asked for and not refused
    asked_since: datetime | None = None  # when it was first
    refused: int = 0  # how often, since it was checked, the server said no to creating it (401, 403, 429)
    doubtful: bool = False  # there may be a job that was made for it and did not show up
    job_id: str | None = None
    status: str = ""  # the job's newest
    seen: tuple[tuple[str, datetime], ...] = ()  # all its statuses with their dates
    submitted: datetime | None = None
    announced: bool = False  # its end was
    analyses: int = 1  # of the job
    outcome: Outcome | None = None  # how the job ended; None before, and where an older rescalefs saw the end

    @property
    def newest(self) -> datetime:
        """The server's time of the newest status that was seen; long ago where none was."""
        return max((date for _, date in self.seen), default=_NEVER)

    @property
    def is_elsewhere(self) -> bool:
        """Whether it lies outside the drop folder, and `rescalefs submit` sees to it."""
        return self.folder.startswith("/")


class Event(msgspec.Struct, frozen=True, tag_field="event"):
    """Something that happened to a drop. `told` is the drop that knows it, but for its state."""

    def told(self, drop: Drop) -> Drop:
        return drop


class Found(Event, frozen=True, tag=True):
    """A folder appeared that no drop is known for."""

    folder: str
    inode: int
    born: int | None = None

    def told(self, drop: Drop) -> Drop:
        return replace(drop, folder=self.folder, inode=self.inode, born=self.born, here=True)


class Moved(Event, frozen=True, tag=True):
    """It is called differently now; or it is the same drop in a restored copy of the whole drop folder."""

    folder: str
    inode: int
    born: int | None = None

    def told(self, drop: Drop) -> Drop:
        return replace(drop, folder=self.folder, inode=self.inode, born=self.born, here=True)


class Vanished(Event, frozen=True, tag=True):
    """It was deleted, or moved out of the drop folder."""

    def told(self, drop: Drop) -> Drop:
        return replace(drop, here=False)


class Doubted(Event, frozen=True, tag=True):
    """The folder may be a drop that has its job: a person has to say whether it is, or is a new one."""

    drop_id: str
    about: str  # that drop, in words
    job_file: str  # the mark of job.json as the person finds it

    def told(self, drop: Drop) -> Drop:
        return replace(drop, doubt=self.drop_id, doubt_about=self.about, job_file=self.job_file)


class Cleared(Event, frozen=True, tag=True):
    """The person says that it is a new one."""

    def told(self, drop: Drop) -> Drop:
        return replace(drop, doubt="", doubt_about="", job_file="")


class Settled(Event, frozen=True, tag=True):
    """There is a job.json, and nothing has changed for long enough."""

    fingerprint: str
    job_file: str

    def told(self, drop: Drop) -> Drop:
        return replace(
            drop,
            fingerprint=self.fingerprint,
            job_file=self.job_file,
            missing=(),
            awaits=(),
            problems=(),
            hold=False,
            asked=0,
            refused=0,
        )


class Changed(Event, frozen=True, tag=True):
    """The content is not what was looked at, or what it is judged by is not: from the start, please."""

    what: str = "the folder changed"

    def told(self, drop: Drop) -> Drop:
        return replace(drop, fingerprint="", definition="")


class Missing(Event, frozen=True, tag=True):
    """Files that job.json names are not there yet, or the folder looks as if it were still being filled."""

    names: tuple[str, ...]
    reasons: tuple[str, ...] = ()  # `for …`

    def told(self, drop: Drop) -> Drop:
        return replace(drop, missing=self.names, awaits=self.reasons)


class Refused(Event, frozen=True, tag=True):
    """It cannot become a job as it is, for these reasons."""

    problems: tuple[str, ...]
    checked: bool = False  # by us, against what the server offered then, which may have been wrong

    def told(self, drop: Drop) -> Drop:
        return replace(drop, problems=self.problems, checked=self.checked, definition="")


class Accepted(Event, frozen=True, tag=True):
    """Nothing is wrong with it: this is what will be sent."""

    name: str
    files: int
    size: int
    warnings: tuple[str, ...] = ()
    hold: bool = False
    estimate: str = ""
    hourly: str = ""  # what an hour costs, a decimal number; empty where that is unknown
    currency: str = ""
    left_out: tuple[str, ...] = ()  # lines about what lies in the folder and is not sent

    def told(self, drop: Drop) -> Drop:
        return replace(
            drop,
            name=self.name,
            files=self.files,
            size=self.size,
            hold=self.hold,
            hourly=self.hourly,
            currency=self.currency,
        )


class Uploaded(Event, frozen=True, tag=True):
    """The server has all files, and this is the job to create."""

    definition: str
    reused: int = 0  # how many of the files were there already

    def told(self, drop: Drop) -> Drop:
        return replace(drop, definition=self.definition, analyses=_analyses(self.definition))


class CreateBegun(Event, frozen=True, tag=True):
    """The request is about to be sent."""

    at: datetime | None = None  # by our clock

    def told(self, drop: Drop) -> Drop:
        return replace(drop, asked=drop.asked + 1, asked_since=drop.asked_since if drop.asked else self.at)


class NotCreated(Event, frozen=True, tag=True):
    """The server has no job of this drop's: what was asked for last made none, or one that does not show."""

    reason: str = ""
    certain: bool = True  # the server refused, besides

    def told(self, drop: Drop) -> Drop:
        if self.certain:
            return replace(drop, asked=drop.asked - 1, refused=drop.refused + 1)
        return replace(drop, doubtful=True)


class Created(Event, frozen=True, tag=True):
    """The job exists."""

    job_id: str
    found: bool = False  # by its token, after the answer was lost

    def told(self, drop: Drop) -> Drop:
        return replace(drop, job_id=self.job_id, definition="", status="", seen=(), submitted=None)


class Discarded(Event, frozen=True, tag=True):
    """A job made earlier for this drop, which was not submitted, was removed before it ever ran."""

    job_id: str

    def told(self, drop: Drop) -> Drop:
        return replace(drop, job_id=None)


class Released(Event, frozen=True, tag=True):
    """The job may be submitted: nothing holds it, or not any more."""

    job_file: str = ""  # the one without `hold`

    def told(self, drop: Drop) -> Drop:
        return replace(drop, hold=False, job_file=self.job_file or drop.job_file)


class Submitted(Event, frozen=True, tag=True):
    """The job has left its saved state."""

    at: datetime
    by_us: bool = True

    def told(self, drop: Drop) -> Drop:
        return replace(drop, submitted=self.at, definition="", problems=())


class Edited(Event, frozen=True, tag=True):
    """job.json was changed after the job was made from it."""

    job_file: str

    def told(self, drop: Drop) -> Drop:
        return replace(drop, job_file=self.job_file)


class StatusSeen(Event, frozen=True, tag=True):
    """The server told a new status of the job."""

    status: str
    date: datetime
    reason: str | None = None

    def told(self, drop: Drop) -> Drop:
        # A replica that lags may show late what was earlier: the newest by the server's time is what counts.
        status = self.status if self.date >= drop.newest else drop.status
        return replace(drop, status=status, seen=(*drop.seen, (self.status, self.date)))


class StopAsked(Event, frozen=True, tag=True):
    """A person told the server, through us, to stop the job. It ends when the server says so."""


class Ended(Event, frozen=True):
    """The job's last status has come."""

    outputs: int | None  # None where the server would not list them
    size: int | None  # bytes of all outputs; None where the server does not tell it of each
    seconds: float | None = None
    outcome: Outcome | None = None
    lines: tuple[str, ...] = ()  # the last ones that its command printed, where it did not succeed

    def told(self, drop: Drop) -> Drop:
        return replace(drop, outcome=self.outcome)


class Completed(Ended, frozen=True, tag=True):
    """It did what it was meant to do, as far as the service and its console log tell."""


class Failed(Ended, frozen=True, tag=True):
    """It failed, or nothing says that it did not, whatever the service calls its last status."""


class Stopped(Ended, frozen=True, tag=True):
    """Someone stopped it."""


class Announced(Event, frozen=True, tag=True):
    """Whoever wanted to hear of the end has been told; ``outcome``: what came of it, if anything."""

    outcome: str = ""

    def told(self, drop: Drop) -> Drop:
        return replace(drop, announced=True)


class Lost(Event, frozen=True, tag=True):
    """The server has no such job any more, as several looks over some minutes agree (`absence.py`)."""


class Returned(Event, frozen=True, tag=True):
    """The job goes on after all: it was taken for deleted or for ended, and the server shows more of it."""

    def told(self, drop: Drop) -> Drop:
        return replace(drop, announced=False, outcome=None)


class SavedAgain(Event, frozen=True, tag=True):
    """The job was taken for deleted, and is there after all. It was never submitted."""


AnyEvent: TypeAlias = (
    Found | Moved | Vanished | Doubted | Cleared | Settled | Changed | Missing | Refused | Accepted | Uploaded
    | CreateBegun | NotCreated | Created | Discarded | Released | Submitted | Edited | StatusSeen | StopAsked
    | Completed | Failed | Stopped | Announced | Lost | Returned | SavedAgain
)  # fmt: skip

EVENTS: tuple[type[Event], ...] = AnyEvent.__args__

_NO_JOB_YET = (State.CHECKING, State.REJECTED, State.UPLOADING, State.CREATING)
_JOB = (State.SAVED, State.SUBMITTING, State.RUNNING, *sorted(_TERMINAL, key=lambda state: state.value))


def _table() -> dict[tuple[State, type[Event]], State]:
    table: dict[tuple[State, type[Event]], State] = {
        (State.UNSEEN, Found): State.WAITING,
        (State.WAITING, Doubted): State.WAITING,
        (State.WAITING, Cleared): State.WAITING,
        (State.WAITING, Settled): State.CHECKING,
        (State.CHECKING, Missing): State.WAITING,
        (State.CHECKING, Refused): State.REJECTED,
        (State.CHECKING, Accepted): State.UPLOADING,
        (State.UPLOADING, Refused): State.REJECTED,
        (State.UPLOADING, Uploaded): State.CREATING,
        (State.CREATING, Discarded): State.CREATING,
        (State.CREATING, Refused): State.REJECTED,
        (State.CREATING, Submitted): State.RUNNING,
        (State.CREATING, CreateBegun): State.IN_DOUBT,
        (State.IN_DOUBT, NotCreated): State.CREATING,
        (State.IN_DOUBT, Refused): State.REJECTED,
        (State.IN_DOUBT, Created): State.SAVED,
        (State.SAVED, Released): State.SUBMITTING,
        (State.SAVED, Submitted): State.RUNNING,
        (State.SUBMITTING, Refused): State.REJECTED,
        (State.SUBMITTING, Submitted): State.RUNNING,
        (State.REJECTED, Submitted): State.RUNNING,
        (State.REJECTED, Created): State.SAVED,
        (State.RUNNING, StatusSeen): State.RUNNING,
        (State.RUNNING, StopAsked): State.RUNNING,
        (State.RUNNING, Completed): State.COMPLETED,
        (State.RUNNING, Failed): State.FAILED,
        (State.RUNNING, Stopped): State.STOPPED,
        (State.DELETED, SavedAgain): State.SAVED,
    }
    for state in State:
        if state is not State.UNSEEN:
            table[state, Moved] = table[state, Vanished] = state
    for state in ENDED:
        table[state, Announced] = state
    for state in (*ENDED, State.DELETED):
        table[state, Returned] = State.RUNNING
    for state in _NO_JOB_YET:
        table[state, Changed] = State.WAITING
    for state in _JOB:
        table[state, Edited] = state
        if not state.is_terminal:
            table[state, Lost] = State.DELETED
    return table


TRANSITIONS: dict[tuple[State, type[Event]], State] = _table()


class OutOfPlace(Exception):
    """The event does not happen to a drop in this state. Caught by who had it happen."""

    def __init__(self, drop: Drop, event: Event) -> None:
        super().__init__(f"{type(event).__name__} does not happen to a drop that is {drop.state.value}")


def step(drop: Drop, event: Event) -> Drop:
    """The drop after the event. Raises `OutOfPlace` where the table has no entry."""
    state = TRANSITIONS.get((drop.state, type(event)))
    if state is None:
        raise OutOfPlace(drop, event)
    return replace(event.told(drop), state=state, number=drop.number + 1)


def ending(result: Result) -> Callable[..., Ended]:
    """Which event the end of a job is. What is not known to have worked does not look as if it had."""
    kinds: dict[Result, Callable[..., Any]] = {Result.SUCCEEDED: Completed, Result.STOPPED: Stopped}
    return kinds.get(result, Failed)


def _analyses(definition: str) -> int:
    """How many analyses a job has, by its definition as JSON."""
    with contextlib.suppress(msgspec.MsgspecError):
        return len(msgspec.json.decode(definition, type=_Definition).jobanalyses) or 1
    return 1


class _Definition(msgspec.Struct):
    jobanalyses: list[msgspec.Raw] = []


_UNDRAWN = frozenset({Moved, Vanished, Doubted, Cleared, Edited, Changed, Announced})


def picture() -> str:
    """The table as a Mermaid state diagram. What happens in every state without a change is left out."""
    lines = ["stateDiagram-v2"]
    for (state, event), after in TRANSITIONS.items():
        if state is State.UNSEEN:
            lines.append(f"    [*] --> {_node(after)}: {event.__name__}")
        elif state is not after or event not in _UNDRAWN:
            lines.append(f"    {_node(state)} --> {_node(after)}: {event.__name__}")
    lines += [f"    {_node(state)} --> [*]" for state in State if state.is_terminal]
    return "\n".join(lines)


def _node(state: State) -> str:
    return state.name.lower()
