"""`rescalefs drops`, and which job a command means that may be given a drop."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rescalefs.cli.connection import Connection, profile_option
from rescalefs.cli.listing import Row, json_option, print_rows
from rescalefs.clock import SystemClock
from rescalefs.errors import NotFound, UserError

if TYPE_CHECKING:
    from rescalefs.api import RescaleClient
    from rescalefs.assembly.drops import KnownDrops
    from rescalefs.submit import DropReport


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also those whose folder is gone.")
@json_option
@profile_option
@click.pass_context
def drops(ctx: click.Context, everything: bool, as_json: bool, profile: str | None) -> None:
    """List what was dropped, where it is, and what to do about it.

    In a pipe, a line has: drop, state, age, job, what it says, what to do.
    """
    known = (ctx.find_object(Connection) or Connection()).known_drops(profile)
    now = SystemClock().now()
    rows = (_row(each, known.folder, now) for each in known.reports if each.here or everything)
    print_rows(rows, as_json, ("drop", "state", "age", "job", "status", "to_do"))


def _row(report: DropReport, folder: Path, now: datetime) -> Row:
    from rescalefs.submit.advice import what_to_do

    return {
        "drop": report.folder,
        "state": report.state.value,
        "age": age_text(now - report.found),
        "job": report.job_id,
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


def job_meant(client: RescaleClient, word: str, known: KnownDrops) -> str:
    """The id of the job that ``word`` means: its id, a drop's name, or the path of a drop.

    Raises UserError where that is no job, or might be either of two.
    """
    drop = _drop_meant(word, known)
    if drop is None:
        return word
    if drop.job_id is None:
        raise UserError(
            f"{word} has no job yet ({drop.status}). To keep it from becoming one, delete or move the folder"
        )
    if "/" not in word and drop.job_id != word and _exists(client, word):
        raise UserError(
            f"{word} is both a drop, whose job is {drop.job_id}, and the id of another job. "
            f"Name the drop by its path, {known.folder / drop.folder}, or rename it"
        )
    return drop.job_id


def _drop_meant(word: str, known: KnownDrops) -> DropReport | None:
    """The newest drop of this name, or at this path; None where the word is neither."""
    here = [each for each in known.reports if each.here]
    if "/" not in word and word not in {".", ".."}:
        return next((each for each in reversed(here) if each.folder == word), None)
    path = Path(word).resolve()
    is_dropped = path.parent == known.folder.resolve() or path.parent.name == "submit"
    names = {str(path), path.name} if is_dropped else {str(path)}
    found = next((each for each in reversed(here) if each.folder in names), None)
    if found is None:
        raise UserError(f"{word} is not a drop of this account; `rescalefs drops` lists them")
    return found


def _exists(client: RescaleClient, job_id: str) -> bool:
    try:
        client.job(job_id)
    except NotFound:
        return False
    return True
