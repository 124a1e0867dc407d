"""From a dropped folder to a submitted job, and on to its end.

What it does: watches the drop folder; checks job.json against the folder and the server's catalogue; uploads
what it names; creates and submits the job; follows it. What it promises: exactly one job for each drop,
whatever dies; nothing that was dropped is changed; `status` and `status.log` say in plain words where a drop
is and what to do. What it does not know: FUSE (the mount shows what the views tell), HTTP (it is handed a
`JobService`).

`Submitter` is the service behind the drop folder, `submit_folder` the same for one folder without a mount.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rescalefs.submit.limits import Limits
from rescalefs.submit.report import DropReport
from rescalefs.submit.service import JobService
from rescalefs.submit.settings import SubmitSettings
from rescalefs.submit.spec import Awaited, JobSpec, Rejection

if TYPE_CHECKING:
    from rescalefs.submit.journal import JournalDamaged
    from rescalefs.submit.oneshot import plan, submit_folder
    from rescalefs.submit.submitter import Submitter

__all__ = [
    "Awaited",
    "DropReport",
    "JobService",
    "JobSpec",
    "JournalDamaged",
    "Limits",
    "Rejection",
    "SubmitSettings",
    "Submitter",
    "plan",
    "submit_folder",
]

_LAZY = {"JournalDamaged": "journal", "Submitter": "submitter", "plan": "oneshot", "submit_folder": "oneshot"}


def __getattr__(name: str) -> Any:
    """Import what needs SQLAlchemy and watchdog only when it is asked for: settings alone are light."""
    if name not in _LAZY:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"rescalefs.submit.{_LAZY[name]}"), name)
