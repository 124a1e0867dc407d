"""How a job ended, for commands: found out, and as JSON has it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rescalefs.cli.listing import Row
from rescalefs.errors import ApiError
from rescalefs.model import JobStatus, Outcome, RemoteFile
from rescalefs.outcome import (
    CONSOLE_LOG,
    TAIL_BYTES,
    ConsoleEnd,
    console_end,
    console_log,
    judged,
    tail_bytes,
)

if TYPE_CHECKING:
    from rescalefs.api import RescaleClient


def outcome_of(client: RescaleClient, job: str, history: Sequence[JobStatus]) -> Outcome | None:
    """How the job with this history ended, by the end of its console log, too; None where it has not."""
    if judged(history) is None:
        return None
    try:
        log_file = console_log(client.output_files(job, search=CONSOLE_LOG))
        tail = client.end_of(log_file, _worth_reading(client, job, log_file)) if log_file is not None else b""
    except ApiError as error:
        click.echo(f"rescalefs: {CONSOLE_LOG} of job {job} cannot be read: {error}", err=True)
        return judged(history)
    if log_file is None:
        return judged(history, ConsoleEnd())
    return judged(history, console_end(tail, is_whole=len(tail) == log_file.size))


def _worth_reading(client: RescaleClient, job: str, log_file: RemoteFile) -> int:
    """How many bytes of the log's end: more where several analyses have an exit code each, further back."""
    if log_file.size is not None and log_file.size <= TAIL_BYTES:
        return TAIL_BYTES
    return tail_bytes(len(json.loads(client.job(job).document).get("jobanalyses") or ()))


def outcome_keys(outcome: Outcome | None) -> Row:
    """What JSON says of an outcome; None where there is none, or it is not known."""
    return {
        "outcome": outcome.result.value if outcome is not None else None,
        "ending": outcome.words if outcome is not None else None,
        "exit_codes": outcome.exit_codes if outcome is not None else None,
    }
