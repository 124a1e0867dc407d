"""What the server offers, as of an hour ago: the files of catalog/, and the projects.

It changes by the month, costs many requests (over 700 analyses), and is wanted offline: so it is kept on disk
like all answers, given at once while it is less than a day old, and renewed in the background.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rescalefs.model import Project
from rescalefs.tree.answers import Answers, Desk, Kind, Said
from rescalefs.tree.nodes import Text, nanoseconds
from rescalefs.tree.pricelist import analyses_table, core_types_table, projects_table, user_document
from rescalefs.tree.service import JobService
from rescalefs.tree.store import Drawer

_FRESH = 3600.0  # seconds
_USABLE = 86_400.0
_ALL = "all"  # the key of the one list of projects


@dataclass(frozen=True, slots=True)
class _Sheet:
    """One file, and since when it has said so."""

    content: bytes
    since: datetime


class Offers:
    """The account's hardware, software and projects. May ask the server, and raise its `ApiError`."""

    def __init__(self, service: JobService, desk: Desk, directory: Path | None) -> None:
        self._service = service
        self._desk = desk
        self._writers: Mapping[str, Callable[[], bytes]] = {
            "coretypes.tsv": lambda: core_types_table(service.core_types(), service.prices()),
            "analyses.tsv": lambda: analyses_table(service.analyses()),
            "projects.tsv": lambda: projects_table(self._projects.get(_ALL, ended=False)),
            "user.json": lambda: user_document(service.user()),
        }
        sheets: Kind[_Sheet] = Kind(
            self._write,
            Drawer(directory, "catalog", _Sheet),
            live=_FRESH,
            usable=_USABLE,
            settle=lambda known, new: known if known.content == new.content else new,
        )
        projects: Kind[tuple[Project, ...]] = Kind(
            lambda _: Said(service.projects()),
            Drawer(directory, "projects", tuple[Project, ...]),
            live=_FRESH,
            usable=_USABLE,
        )
        self._sheets = Answers(sheets, desk)
        self._projects = Answers(projects, desk)
        self.answers: tuple[Answers[Any], ...] = (self._sheets, self._projects)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the files."""
        return tuple(self._writers)

    @property
    def requests(self) -> int:
        """How many questions were sent to the server."""
        return self._sheets.requests + self._projects.requests

    def text(self, name: str) -> Text:
        """One file, and when it last changed."""
        sheet = self._sheets.get(name, ended=False)
        return Text(sheet.content, nanoseconds(sheet.since))

    def projects(self) -> tuple[Project, ...]:
        """The projects; the same object until something changes."""
        return self._projects.get(_ALL, ended=False)

    def _write(self, name: str) -> Said[_Sheet]:
        return Said(_Sheet(self._writers[name](), self._desk.clock.now()))
