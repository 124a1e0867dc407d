"""The life of a job and of its cluster: the words, and which may follow which. Pure.

    saved ─ Pending ─ Queued ─ Started ─ Validated ─ Executing ─ Completed
                 └────────┴───────┴──────────┴───────────┴── Stopping ─ Completed
                                                                  └── Force Stop ─ Completed
                          └───────┴──────────┴───────────┴── Failed

The last status does not tell how a job ended; its reasons do (Rescale's Nextflow plugin, 2025). A command
that fails leads through Stopping (`A run failed`), a user's stop through Stopping (`User Terminated`). A
force stop is a second thing, for a job that is Stopping. One that never ran is Completed with the reason.
Failed means that the cluster failed the job: its inputs could not be laid out, or the simulator was killed
under it.
"""

from __future__ import annotations

SAVED = ""  # a job that was created and not submitted has no status at all
PENDING = "Pending"
QUEUED = "Queued"
STARTED = "Started"
VALIDATED = "Validated"
EXECUTING = "Executing"
STOPPING = "Stopping"
FORCE_STOP = "Force Stop"
COMPLETED = "Completed"
FAILED = "Failed"

TRANSITIONS: dict[str, frozenset[str]] = {
    SAVED: frozenset({PENDING}),
    PENDING: frozenset({QUEUED, STOPPING}),
    QUEUED: frozenset({STARTED, STOPPING, FAILED, COMPLETED}),  # the last: it never ran
    STARTED: frozenset({VALIDATED, STOPPING, FAILED}),
    VALIDATED: frozenset({EXECUTING, STOPPING, FAILED}),
    EXECUTING: frozenset({COMPLETED, STOPPING, FAILED}),
    STOPPING: frozenset({FORCE_STOP, COMPLETED}),
    FORCE_STOP: frozenset({COMPLETED}),
    COMPLETED: frozenset(),
    FAILED: frozenset(),
}

WELL = "Completed successfully"
RUN_FAILED = "A run failed"
USER_TERMINATED = "User Terminated"
NO_CAPACITY = "Could not allocate compute resources from the compute provider"

CLUSTER_NOT_STARTED = "Not Started"
CLUSTER_STARTING = "Starting"
CLUSTER_STARTED = "Started"
CLUSTER_STOP_REQUESTED = "Stop Requested"
CLUSTER_STOPPING = "Stopping"
CLUSTER_STOPPED = "Stopped"


def is_finished(status: str) -> bool:
    """Whether a job of this status has ended for good. Nothing follows a status made up for a test."""
    return not TRANSITIONS.get(status)


def is_active(status: str) -> bool:
    """Whether a job of this status was submitted and has not ended."""
    return status != SAVED and not is_finished(status)


def may_follow(status: str, following: str) -> bool:
    """Whether a job may go from one status to the other."""
    return following in TRANSITIONS.get(status, ())
