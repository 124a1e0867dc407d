"""Chosen outputs of one job, into a folder or to a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from rescalefs.errors import NoSuchPath, NotFound, RescaleFSError
from rescalefs.mirror.part import Part
from rescalefs.mirror.report import FAIL, FETCH, SAME, Report
from rescalefs.mirror.selection import matches
from rescalefs.mirror.shelf import Shelf, Standing
from rescalefs.mirror.transfers import Failure, Sink, Stopped, Transfers, is_hopeless
from rescalefs.tree import Directory, RemoteNode, Tree


@dataclass(frozen=True, slots=True)
class Choice:
    """A file to download."""

    path: str  # below outputs/
    node: RemoteNode


def choose(tree: Tree, job_id: str, patterns: Sequence[str]) -> list[Choice]:
    """The outputs of a job that fit one of the patterns, or all; in order of path.

    Raises `NoSuchPath` where there is no such job, or where a pattern fits nothing.
    """
    try:
        folder = tree.node(f"/jobs/{job_id}/outputs")
        assert isinstance(folder, Directory)
        files = sorted(_files(folder, ""), key=lambda choice: choice.path)
    except (NoSuchPath, NotFound):  # the latter: it has just been deleted
        raise NoSuchPath(f"there is no job {job_id}; {_instead(tree, job_id)}") from None
    for pattern in patterns:
        if not any(matches(choice.path, (pattern,)) for choice in files):
            raise NoSuchPath(f"job {job_id} has no output that fits {pattern!r}")
    return [choice for choice in files if not patterns or matches(choice.path, patterns)]


def _instead(tree: Tree, name: str) -> str:
    ids = [job.id for job in tree.jobs() if job.name == name and job.id != name]
    return f"of that name is {', '.join(ids)}" if ids else "`rescalefs jobs` lists them"


def fetch_all(choices: Sequence[Choice], shelf: Shelf, transfers: Transfers, report: Report) -> None:
    """Download into the shelf's folder what is not there; return when all is done, or given up."""
    for choice in choices:
        standing = shelf.of_file(choice.path, choice.node.file)
        if standing is Standing.CURRENT:
            report.note(SAME, choice.path)
        elif standing is Standing.FOREIGN:
            report.note(
                FAIL, choice.path, "another file of this name is there; move it away, or choose another --to"
            )
        else:
            done = partial(_arrived, choice, shelf, transfers, report)
            transfers.add(choice.node.file, f"{choice.path}\n{choice.node.file.version}", done)
    transfers.drain()


def write_out(choices: Sequence[Choice], sink: Sink, transfers: Transfers, report: Report) -> None:
    """Hand the bytes of all files to ``sink``, in order, each as it arrives; raise what went wrong."""
    for choice in choices:
        failures: list[Failure] = []
        done = partial(_written, choice, report, failures)
        transfers.add(choice.node.file, choice.path, done, sink)
        transfers.drain()
        if failures:
            raise failures[0]


def _written(
    choice: Choice, report: Report, failures: list[Failure], part: Part | None, failure: Failure | None
) -> None:
    if part is not None:
        report.note(FETCH, choice.path, "", part.size)
        part.discard()
    if failure is not None:
        failures.append(failure)


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
            if shelf.place(choice.path, part, choice.node.file.version, choice.node.modified_ns):
                report.note(FETCH, choice.path, f"{size} bytes", size)
            else:
                report.note(FAIL, choice.path, "another file of this name has just appeared there")
    except (RescaleFSError, OSError) as error:
        failure = error
    if failure is not None and not isinstance(failure, Stopped):
        report.note(FAIL, choice.path, str(failure))
        if is_hopeless(failure):
            transfers.close()


def _files(folder: Directory, where: str) -> list[Choice]:
    found: list[Choice] = []
    for name, node in folder.entries().items():
        if isinstance(node, Directory):
            found += _files(node, f"{where}{name}/")
        elif isinstance(node, RemoteNode):
            found.append(Choice(f"{where}{name}", node))
    return found
