"""Pure: what a person may want to do about a drop."""

from __future__ import annotations

from rescalefs.submit.listing import JOB_FILE
from rescalefs.submit.machine import State
from rescalefs.submit.problems import listed, printable
from rescalefs.submit.report import DropReport

_NOTHING = "nothing; it goes on by itself"
_AGAIN = "to run it again, copy the folder under another name"


def what_to_do(drop: DropReport) -> str:
    """One line, in the imperative; it begins with ``nothing`` where all goes its way."""
    return printable(_advice(drop))


def _advice(drop: DropReport) -> str:
    if not drop.here and drop.job_id is None:
        return "nothing; the folder is gone, and no job was made of it"
    if drop.state is State.WAITING:
        return _awaited(drop)
    if drop.state is State.SAVED and not drop.hold:
        return _NOTHING
    others = len(drop.problems) - 1
    words = _ELSEWHERE if drop.folder.startswith("/") else _DROPPED
    return words.get(drop.state, _NOTHING).format(
        job=drop.job_id,
        problem=drop.problems[0] if drop.problems else "",
        more=f", and {others} more: see status.log" if others > 0 else "",
    )


_DROPPED = {
    State.REJECTED: "mend this{more}; it then starts by itself: {problem}",
    State.SAVED: f'remove "hold" from {JOB_FILE} to submit it',
    State.RUNNING: "nothing; `rescalefs stop {job}` stops it",
    State.COMPLETED: "look at its outputs: job/outputs in the drop, or jobs/{job}/outputs",
    State.FAILED: f"read process_output.log in job/outputs; {_AGAIN}",
    State.STOPPED: f"read process_output.log in job/outputs; {_AGAIN}",
    State.DELETED: _AGAIN,
}
_FETCH = "`rescalefs download {job} --to DIR` fetches"
_ELSEWHERE = {  # what `rescalefs submit` saw to has no status.log and no link to the job
    **_DROPPED,
    State.REJECTED: "mend this, and run `rescalefs submit` on it again: {problem}",
    State.SAVED: f'run `rescalefs submit` on it without --hold, and with no "hold" in {JOB_FILE}',
    State.COMPLETED: f"look at its outputs: jobs/{{job}}/outputs in a mount, or {_FETCH} them",
    State.FAILED: f"read process_output.log, which {_FETCH}; {_AGAIN}",
    State.STOPPED: f"read process_output.log, which {_FETCH}; {_AGAIN}",
}


def _awaited(drop: DropReport) -> str:
    if drop.is_doubtful:
        return f"say whether it is new (touch {JOB_FILE}) or not (see its status.log)"
    if drop.awaits and not drop.missing:
        return f"add what is missing, or see to the rest: it waits {drop.awaits[0]}"
    if drop.missing:
        return f"add {listed(drop.missing)}, or take it off inputFiles in {JOB_FILE}"
    if drop.has_job_file is False:
        return f"add {JOB_FILE}, which says what to run"
    return "nothing; it starts once nothing changes any more"
