"""Pure: which files a job takes from its folder, and as what they are sent.

A *parcel* becomes one file on the server: a file of the folder as it is; or what is taken from one of its
subfolders, packed as an archive, which the server unpacks so that every file has the path on the cluster that
it has here.
"""

from __future__ import annotations

import posixpath
import re
import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rescalefs.model import FileType
from rescalefs.submit import packing
from rescalefs.submit.listing import JOB_FILE, OUR_NAMES, Entry, Kind, Listing, is_pattern
from rescalefs.submit.problems import Problem, has_control_characters, listed, without_these

_EXAMPLE = '"mesh.msh"'
_LONGEST = 255  # bytes of a name, on every file system in use
_CHANGED = re.compile(r'["\\]')
_ITSELF = 'cp -rL --remove-destination "$(readlink -f {0})" {0}'

_REFUSED = {  # why, and a command that mends it
    Kind.LINK_OUT: ("is a link that leaves the folder; put the file itself there", _ITSELF),
    Kind.LINK_TO_FOLDER: ("is a link to a folder; put the folder itself there", _ITSELF),
    Kind.LINK_LOOP: ("is a link in a circle: to itself, or to a folder that it lies in; remove it", "rm {}"),
    Kind.BROKEN_LINK: ("is a link to nothing; remove it, or put the file there", "rm {}"),
    Kind.TOO_DEEP: (
        "lies too deep: its path is too long to look into it; move it up, or pack it",
        "tar -cf deep.tar {}",
    ),
    Kind.SPECIAL: ("is neither a file nor a folder, but a pipe, a socket or a device; remove it", "rm {}"),
}


@dataclass(frozen=True, slots=True)
class Parcel:
    """What becomes one file on the server. There may be 100,000 of them, so each is kept small."""

    name: str
    members: tuple[Entry, ...]  # one file; or all that goes into the archive, folders included
    is_archive: bool = False
    type_id: int = FileType.INPUT
    size: int = field(init=False, compare=False)  # bytes to send

    def __post_init__(self) -> None:
        size = packing.size(self.members) if self.is_archive else self.members[0].size
        object.__setattr__(self, "size", size)

    @property
    def mark(self) -> str:
        """Differs when the bytes to send may."""
        return packing.mark(self.members) if self.is_archive else self.members[0].mark


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the job's definition that takes the id of a parcel's file."""

    where: tuple[str | int, ...]  # keys and positions from the top; an object, whose `id` it is
    parcel: int  # its position among the parcels


@dataclass(frozen=True, slots=True)
class Borrowed:
    """A file that the server is said to have already."""

    field: str
    id: str

    def problem(self, forbidden: bool) -> Problem:
        """What is wrong when it has none such, or none for us."""
        reason = "no such file on the server, or its upload has not ended"
        if forbidden:
            reason = "the server says 403: it is not this account's, or the API key may not use it"
        return Problem(self.field, reason, self.id, "an id from files.tsv of a job, or a path in this folder")


Where = tuple[str | int, ...]
_ID = re.compile(r"[A-Za-z0-9_-]+")


@dataclass
class Packer:
    """Collects what a job takes: parcels without repetition, slots, problems, and what is not there yet."""

    listing: Listing
    parcels: list[Parcel] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    borrowed: list[Borrowed] = field(default_factory=list)
    _positions: dict[tuple[Any, ...], int] = field(default_factory=dict)
    _archive_names: set[str] = field(default_factory=set)
    _faulty: set[str] = field(default_factory=set)

    def everything(self, where: Where) -> list[Any]:
        """The input files of an analysis that names none: all."""
        top = [each for each in self.listing.entries if "/" not in each.path]
        return self._inputs(where, [(entry, {}) for entry in top])

    def named(self, where: Where, wanted: Sequence[Any]) -> list[Any]:
        """The input files as the analysis names them: ids stay, paths and patterns become what is sent."""
        kept: list[Any] = []
        chosen: dict[str, tuple[Entry, dict[str, Any]]] = {}  # by path: a pattern may name a file again
        for position, each in enumerate(wanted):
            place = f"{dotted(where)}[{position}]"
            if isinstance(each, dict) and "id" in each:
                kept.append(self._checked_id(place, each))
                self._checked_options(place, each)
            else:
                path, options = _path_of(each)
                self._checked_options(place, options)
                for entry in self._chosen(place, path, each):
                    if options or entry.path not in chosen:
                        chosen[entry.path] = (entry, options)
        return kept + self._inputs(where, list(chosen.values()), offset=len(kept))

    def one(self, where: Where, wanted: Any, type_id: FileType) -> dict[str, Any]:
        """A single file by its path or its id, for a place of the definition that takes one."""
        place = dotted(where)
        if isinstance(wanted, dict) and "id" in wanted:
            return self._checked_id(place, wanted)
        found = self._chosen(place, wanted if isinstance(wanted, str) and wanted else None, wanted)
        if len(found) > 1:
            names = listed(each.path for each in found)
            self.problems.append(
                Problem(place, f"names {len(found)} files ({names}), and one belongs here", wanted, _EXAMPLE)
            )
            return {}
        for entry in found:
            if entry.kind is Kind.FOLDER:
                self.problems.append(Problem(place, "a folder, and one file belongs here", wanted, _EXAMPLE))
            elif self._fit(entry, alone=True):
                self._slot(where, Parcel(entry.name, (entry,), type_id=type_id))
        return {}

    def _inputs(self, where: Where, chosen: list[tuple[Entry, dict[str, Any]]], offset: int = 0) -> list[Any]:
        """One object for each file at the top (or not to be unpacked), then one for each archive."""
        answer: list[Any] = []
        packed: dict[tuple[str, bool], dict[str, Entry]] = {}  # by folder, and whether it is unpacked
        for entry, options in chosen:
            folder = entry.path if entry.kind is Kind.FOLDER else posixpath.dirname(entry.path)
            unpack = options.get("decompress") is not False
            if folder and (entry.kind is Kind.FOLDER or unpack):
                taken = packed.setdefault((folder.split("/")[0], unpack), {})
                taken.update({each.path: each for each in (entry, *self._inside(entry))})
            elif self._fit(entry, alone=True):
                self._slot((*where, offset + len(answer)), Parcel(entry.name, (entry,)))
                answer.append(dict(options))
        for (top, unpack), taken in packed.items():
            members = tuple(each for _, each in sorted(taken.items()) if self._fit(each))
            self._slot(
                (*where, offset + len(answer)),
                Parcel(self._archive_name(top, members), members, is_archive=True),
            )
            answer.append({"decompress": unpack})
        return answer

    def _inside(self, entry: Entry) -> tuple[Entry, ...]:
        return self.listing.below(entry.path) if entry.kind is Kind.FOLDER else ()

    def _slot(self, where: Where, parcel: Parcel) -> None:
        key = (parcel.is_archive, parcel.type_id, tuple(each.path for each in parcel.members))
        position = self._positions.setdefault(key, len(self.parcels))
        if position == len(self.parcels):
            self.parcels.append(parcel)
        self.slots.append(Slot(where, position))

    def _archive_name(self, top: str, members: tuple[Entry, ...]) -> str:
        """``top.tar``, or with a number where the folder has a file of that name already."""
        key = (True, FileType.INPUT, tuple(each.path for each in members))
        if key in self._positions:
            return self.parcels[self._positions[key]].name
        number = 1
        while (name := f"{top}.tar" if number == 1 else f"{top}-{number}.tar") in self._archive_names or (
            name in self.listing.by_path
        ):
            number += 1
        self._archive_names.add(name)
        return name

    def _chosen(self, place: str, path: str | None, value: Any) -> tuple[Entry, ...]:
        """What a path or pattern names; a problem or a wait where that is nothing."""
        if path is None:
            self.problems.append(
                Problem(place, "must be a path in this folder, or an object with an id", value, _EXAMPLE)
            )
            return ()
        clean = posixpath.normpath(path)
        if posixpath.isabs(path) or clean == ".." or clean.startswith("../"):
            self.problems.append(Problem(place, "leaves the folder; name files below it", path, _EXAMPLE))
            return ()
        if clean == ".":
            return tuple(each for each in self.listing.entries if "/" not in each.path)
        found = self._lookup(clean)
        if not found:
            self._not_there(place, clean, path)
        return found

    def _lookup(self, path: str) -> tuple[Entry, ...]:
        exact = self.listing.by_path.get(path)
        if exact is not None:
            return (exact,)
        if is_pattern(path):
            return self.listing.matching(path)
        folded = unicodedata.normalize(
            "NFC", path
        )  # macOS may spell an é of job.json in two characters on disk
        return tuple(
            each for each in self.listing.entries if unicodedata.normalize("NFC", each.path) == folded
        )[:1]

    def _not_there(self, place: str, clean: str, path: str) -> None:
        if clean in OUR_NAMES:
            self.problems.append(
                Problem(
                    place, "a name that rescalefs shows here itself; rename the file", path, f'"my-{clean}"'
                )
            )
        elif clean == JOB_FILE:
            self.problems.append(
                Problem(place, "the job file itself, which is not sent; remove this entry", path, _EXAMPLE)
            )
        elif has_control_characters(clean) or any(len(part.encode()) > _LONGEST for part in clean.split("/")):
            self.problems.append(Problem(place, "no file can have this name and be sent", path, _EXAMPLE))
        else:
            self.missing.append(clean)

    def _fit(self, entry: Entry, *, alone: bool = False) -> bool:
        """Whether it can be sent; the reason is told once. ``alone``: not in an archive."""
        reason, example = why_unfit(entry)
        changed = _CHANGED.search(entry.name) if alone and not reason else None
        if changed:
            # A form's file name has no way to say a quote (sent as %22); servers cut at a backslash.
            reason = f"has a {changed[0]} in its name, which sending changes; rename it, or use a subfolder"
            example = _CHANGED.sub("_", entry.name)
        if reason and entry.path not in self._faulty:
            self._faulty.add(entry.path)
            self.problems.append(Problem(entry.path, reason, example=example))
        return not reason

    def _checked_options(self, place: str, options: dict[str, Any]) -> None:
        value = options.get("decompress")
        if value is not None and not isinstance(value, bool):
            self.problems.append(Problem(f"{place}.decompress", "must be true or false", value, "false"))

    def _checked_id(self, place: str, entry: dict[str, Any]) -> dict[str, Any]:
        file_id = entry["id"]
        if isinstance(file_id, str) and _ID.fullmatch(file_id):
            self.borrowed.append(Borrowed(f"{place}.id", file_id))
        else:
            reason = "must be a file's id: letters and digits"
            self.problems.append(Problem(f"{place}.id", reason, file_id, '"XkpTse"'))
        return entry


def _path_of(wanted: Any) -> tuple[str | None, dict[str, Any]]:
    """The path, and what the entry says beside it."""
    if isinstance(wanted, str) and wanted:
        return wanted, {}
    if isinstance(wanted, dict) and isinstance(wanted.get("path"), str) and wanted["path"]:
        return wanted["path"], {key: value for key, value in wanted.items() if key != "path"}
    return None, {}


def why_unfit(entry: Entry) -> tuple[str, str]:
    """Why it cannot be sent, and a command that mends it, for a shell in the folder; empty where it can."""
    path = entry.path.split("/")[0] if entry.kind is Kind.TOO_DEEP else entry.path
    quoted = shlex.quote(f"./{path}" if path.startswith("-") else path)
    if entry.kind in _REFUSED:
        reason, command = _REFUSED[entry.kind]
        return reason, command.format(quoted)
    if not entry.readable:
        rights = "u+rx" if entry.kind is Kind.FOLDER else "u+r"
        return f"cannot be read: permission denied; chmod {rights} it", f"chmod {rights} {quoted}"
    if has_control_characters(entry.path):
        return "has a name with control characters or broken letters; rename it", without_these(entry.path)
    return "", ""


def dotted(where: Where) -> str:
    """``jobanalyses[0].inputFiles``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return text.removeprefix(".")
