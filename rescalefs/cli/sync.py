"""`rescalefs sync`: the account as real files, where there is no FUSE or no wish for it."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rescalefs import logs
from rescalefs.cli.connection import profile_option
from rescalefs.cli.ending import ended_by_signals
from rescalefs.cli.listing import json_option, printable
from rescalefs.cli.progress import byte_bar
from rescalefs.config import load_settings
from rescalefs.config.values import size as parse_size
from rescalefs.errors import RescaleFSError

if TYPE_CHECKING:
    from rescalefs.mirror import Report

_FOLDER = click.Path(path_type=Path, file_okay=False)


class SizeType(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """`500M`, as in config.toml."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--jobs", "jobs", multiple=True, metavar="PATTERN", help="Only jobs of this id or name; repeatable."
)
@click.option(
    "--include", multiple=True, metavar="PATTERN", help="Only files that fit, as '*.vtk'; repeatable."
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="No files that fit; repeatable.")
@click.option("--max-size", type=SizeType(), metavar="SIZE", help="No files larger than this, as 500M.")
@click.option("--finished", is_flag=True, help="Only jobs that have ended.")
@click.option("--live", is_flag=True, help="Also what running jobs have written so far.")
@click.option("--once", is_flag=True, help="Bring it up to date and end; without the drop folder.")
@click.option("--dry-run", is_flag=True, help="Say what one round would do, and do nothing.")
@click.option("--same-account", is_flag=True, help="The account was renamed: go on with DIR by this key.")
@click.option("--connections", metavar="N", help="How many files or parts to fetch at once; auto is 32.")
@profile_option
@json_option
def sync(
    folder: Path,
    jobs: tuple[str, ...],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    max_size: int | None,
    finished: bool,
    live: bool,
    once: bool,
    dry_run: bool,
    same_account: bool,
    connections: str | None,
    profile: str | None,
    as_json: bool,
) -> int:
    """Keep the account as real files in DIR, without FUSE.

    DIR gets the same tree as a mount, and is kept up to date until Ctrl-C; what is dropped into DIR/submit
    becomes a job. A file appears under its name when it is complete and verified. What you change in DIR
    stays as you made it. Started again, it goes on where it was.
    """
    from rescalefs.assembly.mirror import Sync
    from rescalefs.clock import SystemClock
    from rescalefs.mirror import Folding, Report, Selection

    settings = load_settings({"profile": profile, "connections": connections})
    selection = Selection(jobs, include, exclude, finished, live, max_size)
    once = once or dry_run
    failed = False

    folding = Folding(_tell_trouble, SystemClock())

    def report() -> Report:
        return Report(_tell_all if dry_run and not as_json else folding.note)

    def done(round_: Report) -> None:
        nonlocal failed
        failed = round_["fail"] > 0 or round_["no job"] > 0
        folding.end_round()
        _show(round_, as_json, quiet=not once, dry_run=dry_run)

    with byte_bar(once and not dry_run and not as_json) as bar:
        syncing = Sync(
            settings, folder, selection, dry_run=dry_run, same_account=same_account, heard=bar.advance
        )
        try:
            with nullcontext() if once else logs.written(), ended_by_signals(syncing.stop) as ending:
                if once:
                    bar.expect("fetched", None)
                    only = report()
                    try:
                        syncing.once(only)
                    except RescaleFSError:
                        if not ending.is_asked:
                            raise
                    done(only)
                    if ending.is_asked:
                        raise click.Abort
                else:
                    click.echo(f"syncing {folder}; Ctrl-C ends it", err=True)
                    syncing.keep_going(report, done)
        finally:
            syncing.close()
    return int(failed and once)


def _tell_trouble(act: str, path: str, detail: str) -> None:
    if act in ("none", "no job"):
        click.echo(f"rescalefs: {printable(path)} {detail}", err=True)
    elif act == "over":
        click.echo(f"rescalefs: over: {printable(detail)}", err=True)
    elif act in ("keep", "fail"):
        word = "kept as it is" if act == "keep" else "failed"
        where = f"{printable(path)}: " if path else ""
        click.echo(f"rescalefs: {where}{word}: {printable(detail)}", err=True)


def _tell_all(act: str, path: str, detail: str) -> None:
    if act in ("none", "no job"):
        _tell_trouble(act, path, detail)
    else:
        click.echo(f"{act}\t{printable(path)}\t{printable(detail)}")


def _show(round_: Report, as_json: bool, *, quiet: bool, dry_run: bool) -> None:
    record = round_.record()
    # What fails has been told, and once: it may do so again in every round, for days.
    untold = ("unchanged", "kept", "skipped", "bytes", "failed")
    acted = sum(value for key, value in record.items() if key not in untold)
    if quiet and not acted:
        return
    if as_json:
        click.echo(json.dumps(record))
        return
    words = ", ".join(f"{value} {key}" for key, value in record.items() if value and key != "bytes")
    click.echo(f"{'would be' if dry_run else 'done'}: {words or 'nothing'}", err=True)
