"""`rescalefs drops`, and which job a command means that may be given a drop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rescalefs.belonging import OtherAccount
from rescalefs.cli.connection import Connection, profile_option
from rescalefs.cli.endings import outcome_keys
from rescalefs.cli.listing import Row, json_option, print_rows
from rescalefs.clock import SystemClock
from rescalefs.errors import ApiError, NotFound, UserError

if TYPE_CHECKING:
    from rescalefs.api import RescaleClient
    from rescalefs.assembly.drops import KnownDrops
    from rescalefs.submit import DropReport


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also those whose folder is gone.")
@click.option(
    "--same-account",
    is_flag=True,
    help="The account was renamed: go on with its drops by this key.",
)
@json_option
@profile_option
@click.pass_context
def drops(
    ctx: click.Context, everything: bool, same_account: bool, as_json: bool, profile: str | None
) -> None:
    """List what was dropped, where it is, and what to do about it.

    In a pipe, a line has: drop, state, age, job, what it says, what to do. Drops belong to the account that
    acted on them first. With --same-account, they belong to the account of the API key from now on.
    """
    if same_account:
        from rescalefs.assembly.drops import same_account as take_over

        before, after = take_over(profile)
        click.echo(f"rescalefs: the drops belong to {after}; before, to {before or 'no account'}", err=True)
    connection = ctx.find_object(Connection) or Connection()
    known = connection.known_drops(profile)
    if known.is_doubtful:
        _say_whose(connection, known, profile)
    now = SystemClock().now()
    rows = (_row(each, known.folder, now) for each in known.reports if each.here or everything)
    print_rows(rows, as_json, ("drop", "state", "age", "job", "status", "to_do"))


def _say_whose(connection: Connection, known: KnownDrops, profile: str | None) -> None:
    """The key is new here: say so where it is of another account, or where that cannot be found out."""
    try:
        with closing(connection.open_client(profile)) as client:
            known.check(client.user())
    except (ApiError, OtherAccount) as error:
        click.echo(f"rescalefs: {error}", err=True)


def _row(report: DropReport, folder: Path, now: datetime) -> Row:
    from rescalefs.submit.advice import what_to_do

    return {
        "drop": report.folder,
        "state": report.state.value,
        "age": age_text(now - report.found),
        "job": report.job_id,
        **outcome_keys(report.outcome),
        "status": report.status,
        "to_do": what_to_do(report),
        "found": report.found,
        "changed": report.changed,
        "here": report.here,
        "problems": report.problems,
        "folder": str(folder / report.folder),
    }


def age_text(age: timedelta) -> str:
    """In its largest unit: ``3 d``, ``5 h``, ``12 min``, ``40 s``."""
    seconds = max(0, int(age.total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


@contextmanager
def job_meant(connection: Connection, word: str, profile: str | None) -> Iterator[tuple[RescaleClient, str]]:
    """The job that ``word`` means: its id, a drop's name, or the path of a drop; and a client of its account.

    Raises UserError where that is no job, might be either of two, or is of another account than the key.
    """
    if "/" in word or word in {".", ".."}:
        found = connection.drop_at(Path(word), profile)
        with closing(connection.open_client(found.profile)) as client:
            if found.belonging is not None:
                found.check(client.user())
            yield client, _job_of(word, found.report)
        return
    known = connection.known_drops(profile)
    with closing(connection.open_client(profile)) as client:
        yield client, _named(client, word, known)


def _named(client: RescaleClient, word: str, known: KnownDrops) -> str:
    """The job of the newest drop of this name; the word itself where no drop is called so."""
    drop = next((each for each in reversed(known.reports) if each.here and each.folder == word), None)
    if drop is None:
        return word
    if drop.job_id != word and _exists(client, word):
        its = f"whose job is {drop.job_id}" if drop.job_id else "which has no job yet"
        raise UserError(
            f"{word} is both a drop, {its}, and the id of another job. "
            f"Name the drop by its path, {known.folder / drop.folder}, or rename it"
        )
    if known.belonging is not None:
        known.check(client.user())
    return _job_of(word, drop)


def _job_of(word: str, drop: DropReport) -> str:
    if drop.job_id is None:
        raise UserError(
            f"{word} has no job yet ({drop.status}). To keep it from becoming one, delete or move the folder"
        )
    return drop.job_id


def _exists(client: RescaleClient, job_id: str) -> bool:
    try:
        client.job(job_id)
    except NotFound:
        return False
    return True
