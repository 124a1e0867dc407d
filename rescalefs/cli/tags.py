"""`rescalefs tag`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from rescalefs.cli.connection import Connection, with_connection
from rescalefs.cli.drops import job_meant
from rescalefs.cli.jobs import known
from rescalefs.cli.listing import json_option, print_rows
from rescalefs.errors import NotFound

if TYPE_CHECKING:
    from rescalefs.api import RescaleClient


@click.command()
@with_connection
@click.argument("job", metavar="JOB_OR_DROP")
@click.argument("tags", metavar="[TAG]...", nargs=-1)
@click.option("--remove", is_flag=True, help="Take the tags off the job.")
@json_option
def tag(
    connection: Connection, profile: str | None, job: str, tags: tuple[str, ...], remove: bool, as_json: bool
) -> None:
    """Show the tags of a job, and put some on it or take them off.

    JOB_OR_DROP is its id, or the name or path of the drop it came from. Without TAG, the tags are shown. With
    TAG, they are changed first. Case does not matter: a job with the tag Good does not get good as well. In a
    pipe, a line has: name.
    """
    wanted = {each.strip().lower(): each.strip() for each in tags}
    if "" in wanted:
        raise click.UsageError("A tag needs at least one character that is no blank.")
    if remove and not wanted:
        raise click.UsageError("--remove needs the tags to take off: rescalefs tag JOB --remove TAG")
    with job_meant(connection, job, profile) as (client, job_id):
        found = _changed(client, job_id, wanted, remove)
    print_rows([{"name": each} for each in found], as_json, ("name",))


def _changed(client: RescaleClient, job: str, wanted: dict[str, str], remove: bool) -> tuple[str, ...]:
    """The tags of the job after the change; asked from the server again, unless nothing was to be changed."""
    with known(job):
        before = client.tags(job)
    if remove:
        changes = [each for each in before if each.lower() in wanted]
        for name in changes:
            with suppress(NotFound):  # it is off: a lost answer, or another program was faster
                client.remove_tag(job, name)
    else:
        there = {each.lower() for each in before}
        changes = [name for lower, name in wanted.items() if lower not in there]
        for name in changes:
            client.add_tag(job, name)
    return client.tags(job) if changes else before
