"""Pure: the job file and a look at its folder -> what will be sent, or every problem at once."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rescalefs.submit import cost
from rescalefs.submit.catalogue import Catalogue
from rescalefs.submit.cautions import cautions
from rescalefs.submit.checker import Checker
from rescalefs.submit.leftovers import LeftBehind, left_behind
from rescalefs.submit.limits import Limits
from rescalefs.submit.listing import Entry, Listing
from rescalefs.submit.parcels import Borrowed, Packer, Parcel, Slot
from rescalefs.submit.problems import Problem
from rescalefs.submit.shortform import expanded, is_short
from rescalefs.submit.wanting import wants

TOKEN = "RESCALEFS_DROP"  # noqa: S105  # a name, by which a job can be told to be the drop's
"""The variable in the environment of a job's first analysis that says which drop it was made for."""

_MOST_PROBLEMS = 100  # that are told at once
_OURS = ("hold", "max_cost", "$schema")  # keys for us, which the server never sees


@dataclass(frozen=True)
class JobSpec:
    """A job that nothing is known to be wrong with."""

    name: str
    definition: Mapping[str, Any]  # the API's form, without the ids of what is yet to be uploaded
    parcels: tuple[Parcel, ...]
    slots: tuple[Slot, ...]
    borrowed: tuple[Borrowed, ...] = ()
    hold: bool = False
    warnings: tuple[str, ...] = ()
    estimate: str = ""  # what it costs, as far as that is known
    hourly: str = ""  # what an hour costs, a decimal number; empty where that is unknown
    currency: str = ""
    left_behind: tuple[LeftBehind, ...] = ()  # what lies in the folder and is not sent
    scripts: tuple[Entry, ...] = ()  # of the folder, which the command runs

    @property
    def size(self) -> int:
        """Bytes to send."""
        return sum(each.size for each in self.parcels)

    def filled(self, ids: Sequence[str], token: str) -> dict[str, Any]:
        """What to create, once ``ids[n]`` is parcel n's file on the server."""
        # Not by deepcopy, which takes four times the memory of what it copies: it remembers each object.
        job: dict[str, Any] = json.loads(json.dumps(dict(self.definition)))
        for slot in self.slots:
            place: Any = job
            for part in slot.where:
                place = place[part]
            place["id"] = ids[slot.parcel]
        first = job["jobanalyses"][0]
        first["envVars"] = {**(first.get("envVars") or {}), TOKEN: token}
        return job


@dataclass(frozen=True)
class Rejection:
    """Everything that is wrong."""

    problems: tuple[Problem, ...]
    borrowed: tuple[Borrowed, ...] = ()  # of which only the server can tell whether they are wrong as well


@dataclass(frozen=True)
class Awaited:
    """Nothing is wrong, and something has not come yet."""

    names: tuple[str, ...] = ()  # files that job.json names
    reasons: tuple[str, ...] = ()  # why else the folder counts as still being filled; `for …`


def read(
    document: Mapping[str, Any], listing: Listing, folder: str, catalogue: Catalogue, limits: Limits
) -> JobSpec | Rejection | Awaited:
    """What the job file of the folder called ``folder`` asks for."""
    job, problems = expanded(copy.deepcopy(dict(document)), catalogue)
    checker = Checker(catalogue, Packer(listing), problems, short=is_short(dict(document)))
    hold = checker.flag(job, "hold")
    checker.keys(document)
    ceiling = checker.ceiling(document, limits)
    job = {key: value for key, value in job.items() if key not in _OURS}
    takes_all = _take_all(job)
    checker.job(job, folder)
    checker.amounts(limits)
    if ceiling is not None:
        checker.costs(ceiling)
    for each in checker.packer.problems:
        checker.note(each)
    borrowed = tuple(replace(each, field=checker.called(each.field)) for each in checker.packer.borrowed)
    if checker.problems:
        return Rejection(_first(checker.problems), borrowed)
    wanted = wants(job, takes_all, listing, checker.packer.parcels, borrowed)
    reasons = wanted.awaited()
    if checker.packer.missing or reasons:
        return Awaited(tuple(dict.fromkeys(checker.packer.missing)), reasons)
    hourly, currency = cost.rate(checker.bills)
    return JobSpec(
        name=job["name"],
        definition=job,
        parcels=tuple(checker.packer.parcels),
        slots=tuple(checker.packer.slots),
        borrowed=borrowed,
        hold=hold,
        warnings=(*cautions(document, checker.packer.parcels), *wanted.cautions()),
        estimate=cost.estimate(checker.bills),
        hourly=hourly,
        currency=currency,
        left_behind=left_behind(listing, checker.packer.parcels),
        scripts=wanted.scripts(),
    )


def _take_all(job: Mapping[str, Any]) -> list[bool]:
    """Which analyses do not say which files they are sent."""
    analyses = job.get("jobanalyses")
    if not isinstance(analyses, list):
        return []
    return [isinstance(each, dict) and each.get("inputFiles") is None for each in analyses]


def _first(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """As many as somebody reads; each goes into the journal."""
    rest = len(problems) - _MOST_PROBLEMS
    if rest <= 0:
        return tuple(problems)
    return (*problems[:_MOST_PROBLEMS], Problem(f"{rest} more", "are like these; mend these first"))
