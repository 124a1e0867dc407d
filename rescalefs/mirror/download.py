"""Chosen outputs of one job, into a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from rescalefs.errors import NoSuchPath
from rescalefs.mirror.claims import is_anothers
from rescalefs.mirror.names import Names
from rescalefs.mirror.part import Part
from rescalefs.mirror.receiving import Stopped
from rescalefs.mirror.report import FAIL, FETCH, SAME, Report
from rescalefs.mirror.selection import matches
from rescalefs.mirror.shelf import Shelf, Standing
from rescalefs.mirror.transfers import Transfers
from rescalefs.mirror.trouble import concerns_all, reason
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


def parts_of(folder: Path) -> Path:
    """Where the parts of downloads into a folder are: two people who share it have one each."""
    parts = folder / ".rescalefs-download"
    with suppress(OSError):
        if is_anothers(parts.lstat()):
            return folder / f".rescalefs-download-{os.geteuid()}"
    return parts


def fetch_all(choices: Sequence[Choice], shelf: Shelf, transfers: Transfers, report: Report) -> None:
    """Download into the shelf's folder what is not there; return when all is done, or given up."""
    names = Names(shelf.disk.are_one)
    for choice in choices:
        try:
            refusal = shelf.disk.refusal(choice.path)
            names.claim(choice.path)
            standing = Standing.MISSING if refusal else shelf.of_file(choice.path, choice.file)
        except Exception as error:  # noqa: BLE001  # it is this file's failure
            report.note(FAIL, choice.path, reason(error, choice.path))
            continue
        if refusal:
            report.note(FAIL, choice.path, refusal)
        elif standing is Standing.CURRENT:
            report.note(SAME, choice.path)
        elif standing is Standing.FOREIGN:
            report.note(
                FAIL, choice.path, "another file of this name is there; move it away, or choose another --to"
            )
        else:
            done = partial(_arrived, choice, shelf, transfers, report)
            is_here = partial(_is_here, choice, shelf)
            transfers.wait_for_room()
            transfers.add(choice.file, f"{choice.path}\n{choice.file.version}", done, is_here)
    transfers.drain()
    for merged in names.merged:
        report.note(FAIL, merged.path, str(merged))


def _is_here(choice: Choice, shelf: Shelf) -> bool:
    """Whether another process has put it here meanwhile."""
    return shelf.of_file(choice.path, choice.file) is Standing.CURRENT


def _arrived(
    choice: Choice,
    shelf: Shelf,
    transfers: Transfers,
    report: Report,
    part: Part | None,
    failure: Exception | None,
) -> None:
    try:
        _put(choice, shelf, report, part, failure)
    except Stopped:
        pass
    except Exception as error:  # noqa: BLE001  # it is this file's failure
        report.note(FAIL, choice.path, reason(error, choice.path))
        if concerns_all(error):
            transfers.abandon(error)
    finally:
        if part is not None:
            part.let_go()


def _put(choice: Choice, shelf: Shelf, report: Report, part: Part | None, failure: Exception | None) -> None:
    if failure is not None:
        raise failure
    if part is None:
        report.note(SAME, choice.path)
        return
    size = part.size
    if shelf.place(choice.path, part, choice.file.version, _date(choice.file)):
        report.note(FETCH, choice.path, f"{size} bytes", size)
    else:
        report.note(FAIL, choice.path, "another file of this name has just appeared there")


def _date(file: RemoteFile) -> int | None:
    return None if file.uploaded is None else nanoseconds(file.uploaded)
