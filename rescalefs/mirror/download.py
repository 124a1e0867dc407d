"""Chosen outputs of one job, into a folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from rescalefs.errors import NoSuchPath, RescaleFSError
from rescalefs.mirror.part import Part
from rescalefs.mirror.receiving import Stopped
from rescalefs.mirror.report import FAIL, FETCH, SAME, Report
from rescalefs.mirror.selection import matches
from rescalefs.mirror.shelf import Shelf, Standing
from rescalefs.mirror.transfers import Failure, Transfers, is_hopeless
from rescalefs.model import Job, RemoteFile
from rescalefs.tree import nanoseconds, placed


@dataclass(frozen=True, slots=True)
class Choice:
    """A file to download."""

    path: str  # below outputs/
    file: RemoteFile


class JobLister(Protocol):
    """Tells which jobs there are."""

    def jobs(self) -> Sequence[Job]: ...


def choose(files: Iterable[RemoteFile], job_id: str, patterns: Sequence[str]) -> list[Choice]:
    """Of the outputs of a job those that fit one of the patterns, or all, at the paths that a mount shows.

    In order of path. Raises `NoSuchPath` where a pattern fits nothing.
    """
    choices = [Choice(row.path, row.file) for row in placed(files)]
    for pattern in patterns:
        if not any(matches(choice.path, (pattern,)) for choice in choices):
            raise NoSuchPath(f"job {job_id} has no output that fits {pattern!r}")
    return [choice for choice in choices if not patterns or matches(choice.path, patterns)]


def no_such_job(service: JobLister, name: str) -> NoSuchPath:
    """Says that there is no job of this id, and which ones are of that name."""
    ids = [job.id for job in service.jobs() if job.name == name and job.id != name]
    instead = f"of that name is {', '.join(ids)}" if ids else "`rescalefs jobs` lists them"
    return NoSuchPath(f"there is no job {name}; {instead}")


def fetch_all(choices: Sequence[Choice], shelf: Shelf, transfers: Transfers, report: Report) -> None:
    """Download into the shelf's folder what is not there; return when all is done, or given up."""
    for choice in choices:
        standing = shelf.of_file(choice.path, choice.file)
        if standing is Standing.CURRENT:
            report.note(SAME, choice.path)
        elif standing is Standing.FOREIGN:
            report.note(
                FAIL, choice.path, "another file of this name is there; move it away, or choose another --to"
            )
        else:
            done = partial(_arrived, choice, shelf, transfers, report)
            transfers.add(choice.file, f"{choice.path}\n{choice.file.version}", done)
    transfers.drain()


def _arrived(
    choice: Choice,
    shelf: Shelf,
    transfers: Transfers,
    report: Report,
    part: Part | None,
    failure: Failure | None,
) -> None:
    try:
        if part is not None:
            size = part.size
            if shelf.place(choice.path, part, choice.file.version, _date(choice.file)):
                report.note(FETCH, choice.path, f"{size} bytes", size)
            else:
                report.note(FAIL, choice.path, "another file of this name has just appeared there")
    except (RescaleFSError, OSError) as error:
        failure = error
    if failure is not None and not isinstance(failure, Stopped):
        report.note(FAIL, choice.path, str(failure))
        if is_hopeless(failure):
            transfers.close()


def _date(file: RemoteFile) -> int | None:
    return None if file.uploaded is None else nanoseconds(file.uploaded)
