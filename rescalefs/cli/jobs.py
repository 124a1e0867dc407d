"""`rescalefs jobs`, `statuses`, `stop` and `delete`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rescalefs.cli.connection import Connection, with_connection
from rescalefs.cli.deleting import cluster_history, delete_once_down
from rescalefs.cli.drops import job_meant
from rescalefs.cli.endings import outcome_keys, outcome_of
from rescalefs.cli.listing import Row, json_option, print_rows, printable
from rescalefs.clock import SystemClock
from rescalefs.errors import NotFound, UserError
from rescalefs.model import Job, Outcome, is_terminal

if TYPE_CHECKING:
    from rescalefs.api import RescaleClient

_SAVED = "saved"
_yes_option = click.option("-y", "--yes", is_flag=True, help="Don't ask.")


@click.command()
@with_connection
@click.option(
    "--state", metavar="STATE", help="Only jobs in this state, as the server calls it: completed, …"
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the newest N.")
@json_option
def jobs(
    connection: Connection, profile: str | None, state: str | None, limit: int | None, as_json: bool
) -> None:
    """List jobs, newest first.

    In a pipe, a line has: id, status, time of creation, name, outcome. The service calls a job Completed that
    failed, too. The outcome (succeeded, failed, stopped) is told where it is known without a request: of
    drops, and of jobs that a mount or a sync looked at. `rescalefs statuses JOB` finds it out for any job.
    """
    with closing(connection.open_client(profile)) as client:
        found = client.newest_jobs(limit) if limit is not None and state is None else ()
        if not found or len(found) != limit:  # fewer than asked for: no more, or the page was cut short
            found = client.jobs(state)[:limit]
    known = connection.known_outcomes(profile) if any(job.is_finished for job in found) else {}
    rows = (_job_row(job, known.get(job.id)) for job in found)
    print_rows(rows, as_json, ("id", "status", "inserted", "name", "outcome"))


@click.command()
@with_connection
@click.argument("job", metavar="JOB_OR_DROP")
@click.option("--cluster", is_flag=True, help="The history of its cluster.")
@json_option
def statuses(connection: Connection, profile: str | None, job: str, cluster: bool, as_json: bool) -> None:
    """Show the history of a job, oldest first.

    JOB_OR_DROP is its id, or the name or path of the drop it came from. In a pipe, a line has: time, status,
    reason. How a job ended that is over is said on standard error, and in the last entry of --json: the last
    status alone does not tell.
    """
    with job_meant(connection, job, profile) as (client, job_id):
        _show_statuses(client, job_id, cluster, as_json)


def _show_statuses(client: RescaleClient, job: str, cluster: bool, as_json: bool) -> None:
    with known(job):
        history = cluster_history(client, job) if cluster else client.statuses(job)
        outcome = None if cluster else outcome_of(client, job, history)
    last = len(history) - 1
    rows = [
        {"date": each.date, "status": each.status, "reason": each.reason}
        | ({} if cluster else dict(outcome_keys(outcome if number == last else None)))
        for number, each in enumerate(history)
    ]
    print_rows(rows, as_json, ("date", "status", "reason"))
    if outcome is not None and not as_json:
        click.echo(f"rescalefs: job {job}: {printable(outcome.words)}", err=True)


@click.command()
@with_connection
@click.argument("job", metavar="JOB_OR_DROP")
@_yes_option
def stop(connection: Connection, profile: str | None, job: str, yes: bool) -> int:
    """Stop a job that runs.

    JOB_OR_DROP is its id, or the name or path of the drop it came from. What it has written so far becomes
    its outputs. Stopping takes a while; `rescalefs statuses` tells.
    """
    with job_meant(connection, job, profile) as (client, job_id):
        return _stop(client, job_id, yes)


def _stop(client: RescaleClient, job: str, yes: bool) -> int:
    name, status = _name_and_status(client, job)
    if status == _SAVED:
        raise UserError(f"job {job} cannot be stopped: it is saved, and was never submitted")
    if is_terminal(status):
        raise UserError(f"job {job} cannot be stopped: it has ended already, as {status}")
    if not (yes or click.confirm(f"Stop job {job}, {name!r} ({status})?", err=True)):
        return _left_alone(job)
    client.stop_job(job)
    click.echo(f"job {job} has been told to stop")
    return 0


@click.command()
@with_connection
@click.argument("job", metavar="JOB_OR_DROP")
@click.option("--with-inputs", is_flag=True, help="Delete its input files, too, which other jobs may use.")
@_yes_option
def delete(connection: Connection, profile: str | None, job: str, with_inputs: bool, yes: bool) -> int:
    """Delete a job and its outputs.

    JOB_OR_DROP is its id, or the name or path of the drop it came from. Nothing brings them back. The drop's
    folder stays as it is. The service deletes no job whose cluster runs: where a job has just ended, the
    command waits for that, up to 15 minutes.
    """
    with job_meant(connection, job, profile) as (client, job_id):
        return _delete(client, job_id, with_inputs, yes)


def _delete(client: RescaleClient, job: str, with_inputs: bool, yes: bool) -> int:
    name, status = _name_and_status(client, job)
    what = "its outputs and its input files" if with_inputs else "its outputs"
    if not (yes or click.confirm(f"Delete job {job}, {name!r} ({status}), with {what}, for ever?", err=True)):
        return _left_alone(job)
    delete_once_down(client, job, with_inputs, SystemClock())
    click.echo(f"job {job} is deleted")
    return 0


def _left_alone(job: str) -> int:
    click.echo(f"rescalefs: job {job} is left as it is", err=True)
    return 1


@contextmanager
def known(job: str) -> Iterator[None]:
    """Say it in the user's words when there is no such job."""
    try:
        yield
    except NotFound as error:
        folder = f"; for the folder of this name, write ./{job}" if Path(job).is_dir() else ""
        raise UserError(f"there is no job {job!r}; `rescalefs jobs` lists what there is{folder}") from error


def _name_and_status(client: RescaleClient, job: str) -> tuple[str, str]:
    """What people know a job by. Its own page does not tell its status; its history does."""
    with known(job):
        name = printable(client.job(job).job.name)
        history = client.statuses(job)
    return name, history[-1].status if history else _SAVED


def _job_row(job: Job, outcome: Outcome | None) -> Row:
    return {
        "id": job.id,
        "name": job.name,
        "status": job.status,
        "cluster_status": job.cluster_status,
        "inserted": job.inserted,
        "owner": job.owner,
        "analyses": job.analyses,
        "project": job.project_id,
        **outcome_keys(outcome),
    }
