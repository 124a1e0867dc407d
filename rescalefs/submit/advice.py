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
    if drop.state is State.REJECTED:
        more = f", and {len(drop.problems) - 1} more: see status.log" if len(drop.problems) > 1 else ""
        return f"mend this{more}; it then starts by itself: {drop.problems[0]}"
    if drop.state is State.SAVED and drop.hold:
        if drop.folder.startswith("/"):
            return f'run `rescalefs submit` on it again, once {JOB_FILE} does not say "hold" (any more)'
        return f'remove "hold" from {JOB_FILE} to submit it'
    if drop.state is State.RUNNING:
        return f"nothing; `rescalefs stop {drop.job_id}` stops it"
    if drop.state is State.COMPLETED:
        return f"look at its outputs: job/outputs in the drop, or jobs/{drop.job_id}/outputs"
    if drop.state in {State.FAILED, State.STOPPED}:
        return f"read process_output.log in job/outputs; {_AGAIN}"
    if drop.state is State.DELETED:
        return _AGAIN
    return _NOTHING


def _awaited(drop: DropReport) -> str:
    if drop.missing:
        return f"add {listed(drop.missing)}, or take it off inputFiles in {JOB_FILE}"
    if drop.has_job_file is False:
        return f"add {JOB_FILE}, which says what to run"
    return "nothing; it starts once nothing changes any more"
