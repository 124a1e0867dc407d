"""Pure: what is not wrong with a drop, and may still be a mistake."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from rescalefs.submit.listing import Kind
from rescalefs.submit.parcels import Parcel
from rescalefs.submit.problems import listed, nearest, printable

KNOWN = (
    "name", "jobanalyses", "projectId", "project", "isLowPriority", "jobvariables", "paramFile",
    "caseFile", "expectedRuns", "includeNominalRun", "isTemplateDryRun", "monteCarloIterations",
    "optimizer", "resourceFilters", "archiveFilters", "remoteVizConfig", "tags", "jobAutomations",
    "command", "software", "version", "coretype", "cores", "hours", "inputFiles", "envVars",
    "useRescaleLicense", "userDefinedLicenseSettings", "templateTasks", "hold",
    "max_cost", "$schema",
)  # fmt: skip
"""The keys of a job file, at its top."""

_MOST = 8  # lines of one kind
_A_LOT = 1000  # files: as many requests, of which the service grants some thousands an hour
_ELSEWHERE = {  # keys of the API's form, whose place is not at the top
    "walltime": "hours",
    "coretype": "coretype",
    "coresperslot": "cores",
    "analysis": "software",
    "hardware": "coretype, cores and hours",
}


def cautions(document: Mapping[str, Any], parcels: Sequence[Parcel]) -> tuple[str, ...]:
    """One line for each."""
    return (*_misspelt(document), *_empty(parcels), *_alike(parcels), *_twins(parcels), *_many(parcels))


def _misspelt(document: Mapping[str, Any]) -> list[str]:
    """The server takes any key and ignores those it does not know: say so where one looks like another."""
    warnings = []
    for key in document:
        meant = None if key in KNOWN else _ELSEWHERE.get(key.casefold()) or _nearly(key)
        if meant:
            warnings.append(
                printable(f"{key} is not a key we know here; did you mean {meant}? It is sent as it is")
            )
    return warnings


def _nearly(key: str) -> str | None:
    close = nearest(key.replace("_", ""), KNOWN)[:1]
    return close[0] if close and close[0].casefold()[:3] == key.casefold()[:3] else None


def _empty(parcels: Sequence[Parcel]) -> list[str]:
    paths = [
        member.path
        for parcel in parcels
        for member in parcel.members
        if member.kind is Kind.FILE and member.size == 0
    ]
    return [printable(f"empty: {listed(dict.fromkeys(paths))}")] if paths else []


def _many(parcels: Sequence[Parcel]) -> list[str]:
    alone = sum(not each.is_archive for each in parcels)
    if alone <= _A_LOT:
        return []
    return [f"{alone} files are sent one by one; those in a subfolder go as one archive, and sooner"]


def _alike(parcels: Sequence[Parcel]) -> list[str]:
    """Files that may overwrite each other where names are compared as people read them."""
    found: dict[str, dict[str, None]] = {}
    for parcel in parcels:
        for path in [each.path for each in parcel.members] if parcel.is_archive else [parcel.name]:
            whole = parcel.members[0].path if not parcel.is_archive else path
            found.setdefault(unicodedata.normalize("NFC", path), {})[whole] = None
    alike = [listed(map(ascii, paths)) for paths in found.values() if len(paths) > 1]
    lines = [f"the same name on the cluster, where one may overwrite the other: {each}" for each in alike]
    return _cut(lines, "names that are the same on the cluster")


def _twins(parcels: Sequence[Parcel]) -> list[str]:
    """Files that are one where upper and lower case are alike: under Windows, and on a macOS disk."""
    found: dict[str, dict[str, None]] = {}
    for parcel in parcels:
        for path in [each.path for each in parcel.members] if parcel.is_archive else [parcel.name]:
            plain = unicodedata.normalize("NFC", path)
            found.setdefault(plain.casefold(), {})[plain] = None
    alike = [printable(listed(paths)) for paths in found.values() if len(paths) > 1]
    return _cut([f"names that differ in upper and lower case only: {each}" for each in alike], "such names")


def _cut(lines: list[str], what: str) -> list[str]:
    rest = len(lines) - _MOST
    return [*lines[:_MOST], *([f"{rest} more {what}"] if rest > 0 else [])]
