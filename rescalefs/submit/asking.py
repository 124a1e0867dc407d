"""Pure: the files that a job file names itself, so that they are sent whatever they are called."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from rescalefs.submit.listing import Pattern, is_pattern

_KEYS = ("inputFiles", "paramFile", "caseFile", "preProcessScript", "postProcessScript")
_WILD = frozenset("*?[]!.")  # a name of nothing else names no file in particular


class Asked:
    """What a job file asks for by name or by a pattern."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        names = {posixpath.normpath(each) for each in _paths(document)}
        self._names = {above for each in names if not is_pattern(each) for above in _and_above(each)}
        self._patterns = [
            Pattern(each) for each in names if is_pattern(each) and set(each.rpartition("/")[2]) - _WILD
        ]

    def asks_for(self, path: str) -> bool:
        """Whether it asks for this file or folder, or for something in it."""
        return path in self._names or any(each.fits(path) for each in self._patterns)


def _and_above(path: str) -> Iterator[str]:
    """The path, and the folders that it lies in."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def _paths(document: Mapping[str, Any]) -> Iterator[str]:
    analyses = document.get("jobanalyses")
    for holder in (document, *(analyses if isinstance(analyses, list) else ())):
        if isinstance(holder, dict):
            for key in _KEYS:
                yield from _paths_in(holder.get(key))
            tasks = holder.get("templateTasks")
            for task in tasks if isinstance(tasks, list) else ():
                if isinstance(task, dict):
                    yield from _paths_in(task.get("templateFile"))


def _paths_in(value: Any) -> Iterator[str]:
    for each in value if isinstance(value, list) else [value]:
        path = each.get("path") if isinstance(each, dict) else each
        if isinstance(path, str) and path:
            yield path
