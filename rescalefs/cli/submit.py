"""`rescalefs submit`: one folder as a job, without a mount."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from rescalefs import signals
from rescalefs.cli.connection import profile_option
from rescalefs.cli.endings import outcome_keys
from rescalefs.cli.listing import printable
from rescalefs.errors import UserError

if TYPE_CHECKING:
    from rescalefs.submit import Awaited, DropReport, JobSpec, Rejection


class _Folder(click.Path):
    """A folder, of which is asked first whether it answers: one in a mount whose daemon hangs does not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from rescalefs.assembly.dropat import check_that_it_answers

        check_that_it_answers(Path(os.fsdecode(value)))
        return super().convert(value, param, ctx)


class NotSubmitted(UserError):
    """The folder did not become a job, or its job did not succeed."""


@click.command()
@click.argument("folder", type=_Folder(exists=True, file_okay=False, path_type=Path))
@click.option("--wait", is_flag=True, help="Return when the job has ended; fail unless it succeeded.")
@click.option("--hold", is_flag=True, help="Make the job, but don't start it.")
@click.option("--dry-run", is_flag=True, help="Print what would be sent, and send nothing.")
@click.option("--name", metavar="NAME", help="The job's name; job.json's by default.")
@click.option("--max-cost", metavar="COST", help="Refuse it when its hardware may cost more than this.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@profile_option
def submit(
    folder: Path,
    wait: bool,
    hold: bool,
    dry_run: bool,
    name: str | None,
    max_cost: str | None,
    as_json: bool,
    profile: str | None,
) -> None:
    """Submit FOLDER, which holds job.json and the input files, as one job.

    Does what dropping it into submit/ does, and remembers it: a folder that has its job is not submitted
    again, also if this was interrupted. Prints the job's id. See docs/submitting.md for job.json.
    """
    from rescalefs.assembly.folder import OneFolder

    with closing(OneFolder(profile, max_cost)) as one:
        if dry_run:
            _print_plan(one.plan(folder, hold=hold, name=name), as_json)
            return
        with _display(one.server, quiet=as_json) as told:
            report = one.submit(folder, wait=wait, hold=hold, name=name, progress=told)
    if as_json:
        click.echo(json.dumps(_document(report), indent=2, ensure_ascii=False))
    elif report.job_id is not None:
        click.echo(report.job_id)
    _judge(report, wait)


def _judge(report: DropReport, wait: bool) -> None:
    from rescalefs.submit.machine import State

    if report.state is State.REJECTED:
        raise _rejected(report.problems)
    if report.job_id is None:
        raise NotSubmitted(f"{report.folder} was not submitted: {report.status}")
    if wait and report.state is not State.COMPLETED:
        raise NotSubmitted(f"job {report.job_id} did not succeed: {report.status}")


def _document(report: DropReport) -> dict[str, Any]:
    return {
        "folder": report.folder,
        "state": report.state.value,
        "status": report.status,
        "job": report.job_id,
        "job_status": report.job_status,
        **outcome_keys(report.outcome),
        "problems": list(report.problems),
    }


def _print_plan(plan: JobSpec | Rejection | Awaited, as_json: bool) -> None:
    from rescalefs.submit import Awaited, JobSpec

    if isinstance(plan, JobSpec):
        click.echo(json.dumps(_planned(plan), indent=2, ensure_ascii=False))
        return
    missing, reasons = (plan.names, plan.reasons) if isinstance(plan, Awaited) else ((), ())
    problems = () if isinstance(plan, Awaited) else tuple(map(str, plan.problems))
    if as_json:
        found = {"problems": problems, "missing": missing, "waiting": reasons}
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    if isinstance(plan, Awaited):
        named = [f"job.json names files that are not there: {', '.join(missing)}"] if missing else []
        raise NotSubmitted(printable("; ".join([*named, *(f"it would wait {each}" for each in reasons)])))
    raise _rejected(problems)


def _planned(plan: JobSpec) -> dict[str, Any]:
    return {
        "job": plan.filled([f"<id of {parcel.name}>" for parcel in plan.parcels], "<a token of its own>"),
        "uploads": [{"name": parcel.name, "size": parcel.size} for parcel in plan.parcels],
        "hold": plan.hold,
        "estimate": plan.estimate,
        "warnings": plan.warnings,
        "left_out": [{"path": each.path, "why": each.why} for each in plan.left_behind],
    }


def _rejected(problems: Iterable[object]) -> NotSubmitted:
    return NotSubmitted("not submitted; mend this, and submit it again: " + "; ".join(map(str, problems)))


@contextmanager
def _display(server: str, quiet: bool) -> Iterator[Callable[[DropReport], None]]:
    """Yield what says on standard error how it gets on: what happened, and on a terminal where it is."""
    if quiet:
        yield lambda _: None
        return
    from rich.console import Console

    from rescalefs.submit.machine import State

    console = Console(stderr=True, highlight=False)
    reports: list[DropReport] = []

    def tell(report: DropReport) -> None:
        told = len(reports[-1].log) if reports else len(report.log)  # earlier runs have told what was before
        for line in report.log[told:]:
            _, _, text = line.partition("\t")
            if report.state is not State.REJECTED:  # the command ends with that
                console.print(escape(text), soft_wrap=True)
        if spinner is not None:
            spinner.update(escape(_where(report)))
        reports.append(report)

    try:
        with (
            console.status(f"looking at the folder, and asking {server}")
            if console.is_terminal
            else nullcontext() as spinner
        ):
            yield tell
    except (KeyboardInterrupt, signals.Terminated):
        console.print(escape(_interrupted(reports[-1] if reports else None)), soft_wrap=True)
        raise
    if reports and reports[-1].state is not State.REJECTED:
        console.print(escape(_where(reports[-1])), soft_wrap=True)


def _interrupted(report: DropReport | None) -> str:
    """What becomes of a drop that its user waits for no longer."""
    from rescalefs.submit.machine import State

    if report is not None and report.state is State.RUNNING:
        return f"interrupted; job {report.job_id} goes on, and `rescalefs stop {report.job_id}` stops it"
    return "interrupted; `rescalefs submit` on the same folder goes on where it was"


def _where(report: DropReport) -> str:
    return printable(
        f"{report.folder}: {report.status}" + (f" (job {report.job_id})" if report.job_id else "")
    )
