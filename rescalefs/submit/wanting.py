"""Pure: what a drop lacks by the look of it -> what to wait for, and what to warn of."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rescalefs.submit.commandline import Named, Use, may_execute, named
from rescalefs.submit.listing import JOB_FILE, OUR_NAMES, Entry, Listing
from rescalefs.submit.parcels import Borrowed, Parcel, dotted
from rescalefs.submit.problems import listed, printable
from rescalefs.submit.programs import is_result

_ARCHIVES = (".zip", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".7z", ".zst")
_MOST = 20  # lines of warnings
_BY_SHELL = ("", "sh", "bash")  # extensions of scripts that `bash NAME` runs


@dataclass(frozen=True, slots=True)
class _Task:
    """One analysis: what it runs, and what it is sent."""

    at: str  # of its command in job.json
    command: str
    takes_all: bool  # job.json does not say which files
    names: tuple[Named, ...]


@dataclass(frozen=True)
class Wants:
    """What the commands of a job name, held against what is sent."""

    listing: Listing
    tasks: Sequence[_Task]
    parcels: Sequence[Parcel]
    borrowed: Sequence[Borrowed]

    def awaited(self) -> tuple[str, ...]:
        """Why the folder is most likely still being filled, one sentence for each reason."""
        return (*self._transfers(), *self._inputs())

    def cautions(self) -> tuple[str, ...]:
        """What may go wrong on the cluster."""
        found = [
            line
            for task in self.tasks
            for line in (*_line_ends(task), *self._lacking(task), *self._run(task))
        ]
        lines = [printable(line) for line in dict.fromkeys(found)]
        rest = len(lines) - _MOST
        return (*lines[:_MOST], *([f"{rest} more like these"] if rest > 0 else []))

    def scripts(self) -> tuple[Entry, ...]:
        """The scripts of the folder that a shell reads, or that run by themselves."""
        by_name = self._by_name
        names = (each.path for task in self.tasks for each in task.names if each.use in {Use.SHELL, Use.RUN})
        return tuple(by_name[_plain(name)] for name in dict.fromkeys(names) if _plain(name) in by_name)

    def _transfers(self) -> Iterator[str]:
        left = [each for each in self.listing.left_out if each.remains.is_transfer]
        for whose in dict.fromkeys(each.remains.whose for each in left):
            paths = listed(each.path for each in left if each.remains.whose == whose)
            yield (
                f"for a transfer to end: {paths}, which {whose} writes. If it broke off, remove that; "
                f"to send it as it is, name it in inputFiles in {JOB_FILE}"
            )

    def _inputs(self) -> Iterator[str]:
        missing = self._missing()
        all_there = json.dumps(["."] if self.parcels else [])
        meant = f'If that is meant, write "inputFiles": {all_there} into {JOB_FILE}'
        if missing:
            names = listed(name + self._near(name) for name in missing)
            yield f"for {names}, which the command names and the folder lacks. {meant}"
        elif not self.parcels and not self.borrowed and any(task.takes_all for task in self.tasks):
            yield f"for input files: there is nothing but {JOB_FILE} here. {meant}"

    def _missing(self) -> list[str]:
        """Files without which a command cannot start, and that would be sent if they were there."""
        if self._may_hold_more:
            return []
        names = (each.path for task in self.tasks if task.takes_all for each in task.names if each.is_sure)
        return [name for name in dict.fromkeys(names) if not self._is_sent(name) and not _is_kept(name)]

    def _lacking(self, task: _Task) -> Iterator[str]:
        for each in task.names:
            if self._is_sent(each.path):
                continue
            if _is_kept(each.path):
                yield f"the command names {each.path}, which is not sent"
            elif each.path in self.listing.by_path:
                yield f"the command names {each.path}, which lies here and is not among {dotted_inputs(task)}"
            elif not self._may_hold_more and not is_result(each.path):
                unless = "" if each.is_sure else ": right only if the job makes it"
                yield f"the command names {each.path}{self._near(each.path)}, which is not sent{unless}"

    def _run(self, task: _Task) -> Iterator[str]:
        """A file that is sent by itself has no mode; one in an archive keeps that of here."""
        if may_execute(task.command):
            return
        for each in task.names:
            entry = self._by_name.get(_plain(each.path))
            if each.use is Use.RUN and entry is not None and not (entry.executable and "/" in each.path):
                stem, _, extension = entry.name.rpartition(".")
                instead = f"`bash {each.path}`, or " if (extension if stem else "") in _BY_SHELL else ""
                yield (
                    f"the command runs {each.path} itself, which may not be executable on the cluster: "
                    f"write {instead}`chmod +x {each.path}` before it"
                )

    def _near(self, name: str) -> str:
        """A hint where only the case differs."""
        near = self._by_folded_name.get(_plain(name).casefold())
        return f" (there is {near}: on the cluster, upper and lower case differ)" if near else ""

    def _is_sent(self, name: str) -> bool:
        return _plain(name) in self._by_name

    @cached_property
    def _by_name(self) -> Mapping[str, Entry]:
        """What the job finds in its folder, by the path it has there."""
        return dict(_found(self.parcels))

    @cached_property
    def _by_folded_name(self) -> Mapping[str, str]:
        return {name.casefold(): name for name in self._by_name}

    @property
    def _may_hold_more(self) -> bool:
        """Whether the job finds files that cannot be told from here: those of archives, and of ids."""
        return bool(self.borrowed) or any(
            not each.is_archive and each.name.lower().endswith(_ARCHIVES) for each in self.parcels
        )


def wants(
    job: Mapping[str, Any],
    takes_all: Sequence[bool],
    listing: Listing,
    parcels: Sequence[Parcel],
    borrowed: Sequence[Borrowed],
) -> Wants:
    """Of a job in the API's form in which nothing is wrong; ``takes_all``: which analyses name no inputs."""
    analyses = job["jobanalyses"]
    tasks = []
    for number, (analysis, is_open) in enumerate(zip(analyses, takes_all, strict=True)):
        made = [each.get("processedFilename") for each in analysis.get("templateTasks") or []]
        is_first = number == 0 and not analysis.get("preProcessScript")
        names = named(analysis["command"], (each for each in made if isinstance(each, str)), is_first)
        at = dotted(("jobanalyses", number))
        tasks.append(_Task(at, analysis["command"], is_open, names))
    return Wants(listing, tasks, parcels, borrowed)


def dotted_inputs(task: _Task) -> str:
    """Where it says which files are sent."""
    return "inputFiles" if task.at == dotted(("jobanalyses", 0)) else f"{task.at}.inputFiles"


def _found(parcels: Iterable[Parcel]) -> Iterator[tuple[str, Entry]]:
    for parcel in parcels:
        for member in parcel.members:
            yield _plain(member.path if parcel.is_archive else parcel.name), member


def _line_ends(task: _Task) -> Iterator[str]:
    if "\r" in task.command:
        yield (
            r"the command has Windows line ends (\r\n), and a shell on Linux takes the \r for part of a word:"
            r" write \n"
        )


def _is_kept(name: str) -> bool:
    """Whether it is never sent."""
    return name == JOB_FILE or name in OUR_NAMES


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name)
