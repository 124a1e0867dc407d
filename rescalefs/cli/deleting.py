"""Deletes a job as soon as the service allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rescalefs.cli.listing import printable
from rescalefs.clock import Clock, never
from rescalefs.errors import InvalidRequest, NotFound, UserError
from rescalefs.model import JobStatus, is_terminal

if TYPE_CHECKING:
    from rescalefs.api import RescaleClient

_PATIENCE = 900.0  # seconds for a cluster to stop; usually it outlives its job by half a minute
_LOOK = 3.0  # seconds between two attempts
_TRIES_AFTER_STOP = 3  # the server may take a moment to see for itself that the cluster has stopped
_DOWN = ("stopped", "none")


def delete_once_down(client: RescaleClient, job: str, with_inputs: bool, clock: Clock) -> None:
    """Delete a job; while its cluster runs the server answers 400, so wait for that, up to 15 minutes.

    Says on standard error what is waited for. Raises UserError where the job itself runs, or time is up.
    """
    deadline, told, refusals = clock.monotonic() + _PATIENCE, "", 0
    while True:
        try:
            client.delete_job(job, with_inputs)
        except InvalidRequest as error:
            _check_that_it_ended(client, job, error)
            cluster = _cluster(client, job)
            refusals += cluster.lower() in _DOWN
            if refusals > _TRIES_AFTER_STOP:
                raise UserError(f"job {job} is not deleted: {error}") from error
        else:
            return
        if clock.monotonic() >= deadline:
            minutes = _PATIENCE / 60
            raise UserError(
                f"job {job} is not deleted: after {minutes:.0f} min, its cluster is {cluster} still"
            )
        if cluster != told:
            told = cluster
            click.echo(f"rescalefs: waiting for the cluster of job {job} to stop ({cluster})", err=True)
        clock.wait(never(), _LOOK)


def cluster_history(client: RescaleClient, job: str) -> tuple[JobStatus, ...]:
    """The cluster's history, which the server answers with 404 until there is a cluster."""
    try:
        return client.cluster_statuses(job)
    except NotFound:
        client.statuses(job)  # raises as well where there is no such job
        return ()


def _check_that_it_ended(client: RescaleClient, job: str, error: InvalidRequest) -> None:
    history = client.statuses(job)
    if not history:
        raise UserError(f"job {job} is not deleted: {error}") from error
    status = history[-1].status
    if not is_terminal(status):
        raise UserError(
            f"job {job} is not deleted: it still runs ({printable(status)}). "
            f"Stop it first, `rescalefs stop {job}`, and delete it once it has ended"
        ) from error


def _cluster(client: RescaleClient, job: str) -> str:
    history = cluster_history(client, job)
    return printable(history[-1].status) if history else "none"
