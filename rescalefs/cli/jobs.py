"""`rescalefs jobs`, `statuses`, `stop` and `delete`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rescalefs.cli.connection import Connection, with_client, with_connection
from rescalefs.cli.drops import job_meant
from rescalefs.cli.listing import Row, json_option, print_rows, printable
from rescalefs.errors import InvalidRequest, NotFound, UserError
from rescalefs.model import Job, is_terminal

if TYPE_CHECKING:
    from rescalefs.api import RescaleClient

_SAVED = "saved"
_yes_option = click.option("-y", "--yes", is_flag=True, help="Don't ask.")


@click.command()
@with_client
@click.option(
    "--state", metavar="STATE", help="Only jobs in this state, as the server calls it: completed, …"
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the newest N.")
@json_option
def jobs(client: RescaleClient, state: str | None, limit: int | None, as_json: bool) -> None:
    """List jobs, newest first.

    In a pipe, a line has: id, status, time of creation, name.
    """
    found = client.newest_jobs(limit) if limit is not None and state is None else ()
    if not found or len(found) != limit:  # fewer than asked for: there are no more, or the page was cut short
        found = client.jobs(state)[:limit]
    print_rows(map(_job_row, found), as_json, ("id", "status", "inserted", "name"))


@click.command()
@with_client
@click.argument("job")
@click.option("--cluster", is_flag=True, help="The history of its cluster.")
@json_option
def statuses(client: RescaleClient, job: str, cluster: bool, as_json: bool) -> None:
    """Show the history of a job, oldest first.

    JOB is its id. In a pipe, a line has: time, status, reason.
    """
    with _known(job):
        history = client.cluster_statuses(job) if cluster else client.statuses(job)
    rows = ({"date": each.date, "status": each.status, "reason": each.reason} for each in history)
    print_rows(rows, as_json, ("date", "status", "reason"))


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
    folder stays as it is.
    """
    with job_meant(connection, job, profile) as (client, job_id):
        return _delete(client, job_id, with_inputs, yes)


def _delete(client: RescaleClient, job: str, with_inputs: bool, yes: bool) -> int:
    name, status = _name_and_status(client, job)
    what = "its outputs and its input files" if with_inputs else "its outputs"
    if not (yes or click.confirm(f"Delete job {job}, {name!r} ({status}), with {what}, for ever?", err=True)):
        return _left_alone(job)
    try:
        client.delete_job(job, with_inputs)
    except InvalidRequest as error:
        raise UserError(f"job {job} is not deleted: {_why_it_stays(job, status, error)}") from error
    click.echo(f"job {job} is deleted")
    return 0


def _why_it_stays(job: str, status: str, error: InvalidRequest) -> str:
    """Why the server refuses to delete a job, and what to do: it does while the job, or its cluster, runs."""
    if status == _SAVED:
        return str(error)
    if is_terminal(status):
        said = "; ".join(line.rstrip(".") for line in error.problems) or str(error)
        cluster = f"its cluster may still be there ({said}). Try again in some minutes"
        return f"it has ended, as {status}, but {cluster}"
    return f"it still runs ({status}). Stop it first, `rescalefs stop {job}`, and delete it once it has ended"


def _left_alone(job: str) -> int:
    click.echo(f"rescalefs: job {job} is left as it is", err=True)
    return 1


@contextmanager
def _known(job: str) -> Iterator[None]:
    """Say it in the user's words when there is no such job."""
    try:
        yield
    except NotFound as error:
        folder = f"; for the folder of this name, write ./{job}" if Path(job).is_dir() else ""
        raise UserError(f"there is no job {job!r}; `rescalefs jobs` lists what there is{folder}") from error


def _name_and_status(client: RescaleClient, job: str) -> tuple[str, str]:
    """What people know a job by. Its own page does not tell its status; its history does."""
    with _known(job):
        name = printable(client.job(job).job.name)
        history = client.statuses(job)
    return name, history[-1].status if history else _SAVED


def _job_row(job: Job) -> Row:
    return {
        "id": job.id,
        "name": job.name,
        "status": job.status,
        "cluster_status": job.cluster_status,
        "inserted": job.inserted,
        "owner": job.owner,
        "analyses": job.analyses,
        "project": job.project_id,
    }
