"""Judges a drop by what the server offers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rescalefs.clock import Clock
from rescalefs.errors import Forbidden, InvalidRequest, NotFound
from rescalefs.model import Project
from rescalefs.submit import spec
from rescalefs.submit.catalogue import Catalogue
from rescalefs.submit.folder import job_file_bytes
from rescalefs.submit.jobfile import NotJson, parse
from rescalefs.submit.listing import Listing
from rescalefs.submit.parcels import Borrowed
from rescalefs.submit.problems import Problem
from rescalefs.submit.scripts import line_ends
from rescalefs.submit.service import JobService
from rescalefs.submit.settings import SubmitSettings

_FRESH = 30.0  # seconds: a catalogue of this age is not asked for again before a drop is rejected on its word


class Shelf:
    """The server's catalogue, asked for when needed and believed for a while. Thread-safe."""

    def __init__(self, service: JobService, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self._lock = threading.Lock()  # guards _kept
        self._kept: tuple[float, Catalogue] | None = None

    def catalogue(self, oldest: float) -> Catalogue:
        """One that is at most so many seconds old."""
        with self._lock:
            kept = self._kept
        if kept is not None and self._clock.monotonic() - kept[0] <= oldest:
            return kept[1]
        fresh = Catalogue(
            self._service.analyses(),
            self._service.core_types(),
            self._projects(),
            self._service.prices(),
        )
        with self._lock:
            self._kept = (self._clock.monotonic(), fresh)
        return fresh

    def _projects(self) -> tuple[Project, ...] | None:
        try:
            return self._service.projects()
        except Forbidden:  # the account may not list them; the server judges a project that a drop names
            return None

    def objection(self, borrowed: Borrowed) -> Problem | None:
        """What is wrong with a file that the account is said to have."""
        try:
            there = self._service.file(borrowed.id).is_uploaded
        except (NotFound, InvalidRequest):
            there = False
        except Forbidden:
            return borrowed.problem(forbidden=True)
        return None if there else borrowed.problem(forbidden=False)


def examine(
    folder: Path,
    listing: Listing,
    shelf: Shelf,
    settings: SubmitSettings,
    overrides: Mapping[str, Any] | None = None,
) -> spec.JobSpec | spec.Rejection | spec.Awaited:
    """What the drop in ``folder`` asks for, judged by the server's catalogue; ApiError without that."""
    try:
        document = {**parse(job_file_bytes(folder)), **(overrides or {})}
    except NotJson as error:
        return spec.Rejection((error.problem,))
    oldest = settings.catalogue_age
    outcome = spec.read(document, listing, folder.name, shelf.catalogue(oldest), settings.limits)
    if isinstance(outcome, spec.Rejection):  # perhaps the catalogue is what is wrong
        outcome = spec.read(document, listing, folder.name, shelf.catalogue(_FRESH), settings.limits)
    if isinstance(outcome, spec.Awaited):
        return outcome
    wrong = tuple(problem for each in outcome.borrowed if (problem := shelf.objection(each)) is not None)
    if isinstance(outcome, spec.Rejection):
        return spec.Rejection((*outcome.problems, *wrong))
    if wrong:
        return spec.Rejection(wrong)
    return replace(outcome, warnings=(*outcome.warnings, *line_ends(folder, outcome.scripts)))
