"""`rescalefs ssh`."""

from __future__ import annotations

import click

from rescalefs.cli.connection import Connection, with_connection
from rescalefs.cli.drops import job_meant
from rescalefs.cli.jobs import known
from rescalefs.cli.listing import json_option, print_json
from rescalefs.errors import UserError
from rescalefs.model import Machine


@click.command()
@with_connection
@click.argument("job", metavar="JOB_OR_DROP")
@json_option
def ssh(connection: Connection, profile: str | None, job: str, as_json: bool) -> None:
    """Print the command that logs in to a running job.

    JOB_OR_DROP is its id, or the name or path of the drop it came from. A line for each machine of its
    cluster, the head first. The cluster has to know your public key.
    """
    with job_meant(connection, job, profile) as (client, job_id), known(job_id):
        machines = client.machines(job_id)
    if not machines:
        raise UserError(
            f"job {job_id} has no machine to log in to: its cluster does not run. "
            f"`rescalefs statuses {job_id} --cluster` shows what it does"
        )
    machines = tuple(sorted(machines, key=lambda each: each.role.upper() != "MASTER"))  # stable
    if as_json:
        print_json([{"command": _command(each), "role": each.role} for each in machines])
    else:
        click.echo("\n".join(map(_command, machines)))


def _command(machine: Machine) -> str:
    return f"ssh -p {machine.port} {machine.user}@{machine.address}"
