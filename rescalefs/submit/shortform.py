"""Pure: the short form of a job file -> the API's form.

    {"command": "python solve.py", "software": "miniconda", "coretype": "cheapest", "cores": 2, "hours": 1}

Names as people read them are taken as well as codes. What the short form does not know is left as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from rescalefs.model import Analysis, CoreType
from rescalefs.submit.catalogue import Catalogue, newest_version, version_called
from rescalefs.submit.problems import Problem, listed, nearest, shown

CHEAPEST = "cheapest"

_ONLY_SHORT = ("command", "software", "version", "coretype", "cores", "hours")
_OF_THE_ANALYSIS = (
    "inputFiles",
    "envVars",
    "useRescaleLicense",
    "userDefinedLicenseSettings",
    "templateTasks",
)


def is_short(document: dict[str, Any]) -> bool:
    """Whether any of the short form's keys is used."""
    return any(key in document for key in _ONLY_SHORT)


def expanded(document: dict[str, Any], catalogue: Catalogue) -> tuple[dict[str, Any], list[Problem]]:
    """The same job in the API's form, and what stood in the way."""
    problems: list[Problem] = []
    document = with_whole(_with_project(document, catalogue, problems), "cores")
    if not is_short(document):
        problems += _misplaced(document)
        return document, problems
    if "jobanalyses" in document:
        keys = listed(key for key in _ONLY_SHORT if key in document)
        reason = f"stands beside the short form ({keys}); keep one of the two"
        problems.append(Problem("jobanalyses", reason, document["jobanalyses"], "no jobanalyses"))
        return document, problems
    moved = {*_ONLY_SHORT, *_OF_THE_ANALYSIS}
    job = {key: value for key, value in document.items() if key not in moved}
    job["jobanalyses"] = [_analysis(document, catalogue, problems)]
    return job, problems


def _misplaced(document: dict[str, Any]) -> list[Problem]:
    """Keys of an analysis that stand beside `jobanalyses`, where the server ignores them."""
    reason = "has no effect beside jobanalyses; put it into the analysis that it is meant for"
    return [
        Problem(key, reason, document[key], f'"jobanalyses": [{{{shown(key)}: …}}]')
        for key in _OF_THE_ANALYSIS
        if "jobanalyses" in document and document.get(key) is not None
    ]


def _with_project(document: dict[str, Any], catalogue: Catalogue, problems: list[Problem]) -> dict[str, Any]:
    if "project" not in document:
        return document
    rest = {key: value for key, value in document.items() if key != "project"}
    wanted = document["project"]
    if wanted is None:
        return rest
    project = catalogue.project_called(wanted) if isinstance(wanted, str) else None
    if project is None and catalogue.projects is None:
        reason = (
            "this account may not list its projects, so that no name can be looked up: give the project's id"
        )
        problems.append(Problem("project", reason, wanted, '"projectId": "aBcDeF"'))
        return rest
    if project is None:
        names = [each.name for each in catalogue.projects or ()]
        problems.append(
            Problem(
                "project",
                f"not one of your projects: {listed(names) or 'you have none'}",
                wanted,
                shown(next(iter([*nearest(str(wanted), names), *names]), None)),
            )
        )
        return rest
    return {**rest, "projectId": project.id}


def _analysis(document: dict[str, Any], catalogue: Catalogue, problems: list[Problem]) -> dict[str, Any]:
    software = _software(document, catalogue, problems)
    version = _version(document, software, problems)
    core_type = _core_type(document, catalogue, software, version, problems)
    analysis: dict[str, Any] = {
        "analysis": {"code": software.code if software else None, "version": version},
        "command": document.get("command"),
        "hardware": {"coreType": core_type.code if core_type else None, "slots": 1},
    }
    cores = document.get("cores")
    if cores is None and core_type is not None:
        cores = min(core_type.cores, default=1)
    analysis["hardware"]["coresPerSlot"] = cores
    if document.get("hours") is not None:
        analysis["hardware"]["walltime"] = _walltime(document["hours"], problems)
    analysis.update({key: document[key] for key in _OF_THE_ANALYSIS if key in document})
    return analysis


def _software(document: dict[str, Any], catalogue: Catalogue, problems: list[Problem]) -> Analysis | None:
    word = document.get("software")
    if word is None:
        problems.append(
            Problem("software", "is missing: which program runs the command", example='"miniconda"')
        )
        return None
    found = catalogue.software_called(word) if isinstance(word, str) else None
    if found is None:
        problems.append(unknown("software", word, "no such software", _software_names(catalogue)))
    return found


def _version(document: dict[str, Any], software: Analysis | None, problems: list[Problem]) -> str | None:
    if software is None:
        return None
    word = document.get("version")
    if word is None:
        newest = newest_version(software)
        return newest.code if newest else None
    found = version_called(software, str(word))
    if found is None:
        names = [each.name or each.code for each in software.versions]
        problems.append(unknown("version", word, f"{software.code} has {listed(names)}", names))
    return found.code if found else None


def _core_type(
    document: dict[str, Any],
    catalogue: Catalogue,
    software: Analysis | None,
    version: str | None,
    problems: list[Problem],
) -> CoreType | None:
    word = document.get("coretype")
    if word is None:
        problems.append(Problem("coretype", "is missing: the hardware to run on", example=f'"{CHEAPEST}"'))
        return None
    if word == CHEAPEST:
        versions = software.versions if software else ()
        among = next((each.core_types for each in versions if each.code == version), ())
        cores = document.get("cores")
        wanted = cores if isinstance(cores, int) and not isinstance(cores, bool) and cores > 0 else None
        found = catalogue.cheapest(among, wanted)
        if found is None and (nearly := catalogue.cheapest(among)) is not None:
            return nearly  # whose cores are then said not to fit
        if found is None:
            reason = "no price is known that fits" if catalogue.prices else "this account may see no prices"
            problems.append(Problem("coretype", f"{reason}; name a core type", word, '"granite"'))
        return found
    found = catalogue.hardware_called(word) if isinstance(word, str) else None
    if found is None:
        problems.append(
            unknown("coretype", word, "no such core type", [each.code for each in catalogue.core_types])
        )
    return found


def _walltime(hours: Any, problems: list[Problem]) -> int | None:
    if isinstance(hours, bool) or not isinstance(hours, (int, float)) or not 0 < hours < 10**6:
        problems.append(Problem("hours", "must be a number above 0", hours, "1"))
        return None
    return math.ceil(hours)  # the server takes whole hours


def with_whole(numbers: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The same with 2 in place of 2.0 under these keys: to JSON, and to its schema, both are one number."""
    whole = {key: numbers[key] for key in keys if key in numbers}
    return {
        **numbers,
        **{
            key: int(value)
            for key, value in whole.items()
            if isinstance(value, float) and value.is_integer() and abs(value) < 10**9
        },
    }


def unknown(field: str, word: Any, reason: str, names: Iterable[str]) -> Problem:
    """A problem that offers the nearest names."""
    every = list(names)
    close = nearest(word, every) if isinstance(word, str) else []
    if close:
        reason = f"{reason}: did you mean {listed(map(shown, close))}?"
    return Problem(field, reason, word, shown((close or every or ["miniconda"])[0]))


def _software_names(catalogue: Catalogue) -> list[str]:
    return [
        *(each.code for each in catalogue.analyses),
        *(each.name for each in catalogue.analyses if each.name),
    ]
