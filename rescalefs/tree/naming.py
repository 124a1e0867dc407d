"""Pure: names from the server -> legal, unique, stable file names.

Names from the server are data: they may hold `..`, slashes, control characters, broken Unicode, or clash.
Decisions are in docs/decisions/0008-names.md; in short:

- A name that is fine stays as it is. What cannot be in a name becomes `_`.
- Where several things want one name, the oldest keeps it, and the others get their id: `mesh~XkpTse.msh`.
  So a thing that comes later never renames one that was there.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import xxhash

NAME_LIMIT = 255  # bytes in UTF-8; Linux's own
PATH_LIMIT = 3000  # bytes below outputs/; PATH_MAX is 4096, and the mountpoint needs some of it

_DEPTH_LIMIT = 100  # folders; far more than any solver makes, and few enough for any tool that recurses
_SUFFIX_LIMIT = 32  # bytes; what is longer is no suffix that means anything

# Control characters (C0, DEL, C1), the separators of lines and paragraphs, marks that turn the writing
# direction around (a name that shows as another one), lone surrogates (no UTF-8), and both slashes.
_ILLEGAL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff/\\\\]")
_SEPARATORS = re.compile(r"[/\\]+")
# Most paths: nothing in them is to be changed, and one look tells. No part of them begins with a dot.
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_. -]{0,99}(/[A-Za-z0-9_-][A-Za-z0-9_. -]{0,99}){0,20}")
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
# What file managers, shells, crawlers and other systems look for in each folder, and jobs do not write.
_EVERYWHERE = re.compile(
    r"\._.*|\.Trash(-\d+)?|\.Trashes|\.fseventsd|\.metadata_never_index|\.DS_Store|\.Spotlight-V100"
    r"|\.TemporaryItems|\.hidden|\.directory|\.xdg-volume-info|\.thumbnails|\.nomedia|\.trackerignore"
    r"|\.git|\.hg|\.svn|\.bzr|\.jj|\.fslckout|\.envrc|\.stfolder"
    r"|[Aa]utorun\.inf|[Dd]esktop\.ini|[Tt]humbs\.db|lost\+found|System Volume Information|\$RECYCLE\.BIN"
)
# The words among what tools look for that could be ids of jobs.
_NO_JOBS = frozenset(
    {
        *("HEAD", "objects", "refs", "info", "config", "CVS", "RCS", "SCCS", "_darcs", "_FOSSIL_", "_svn"),
        *(
            "Makefile",
            "makefile",
            "GNUmakefile",
            "Dockerfile",
            "Gemfile",
            "Pipfile",
            "Rakefile",
            "Vagrantfile",
        ),
        *("node_modules", "venv", "src", "bin", "lib", "build", "dist"),
    }
)
_MARK = re.compile(r"[A-Za-z0-9_-]{1,40}")
_SUFFIX = re.compile(r"(?<=[^.])(\.tar)?\.[^. ]+$")


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing's wish for a path, and what decides who comes first."""

    id: str
    path: tuple[str, ...]  # legal names, at least one
    since: datetime | None  # None comes last

    @property
    def rank(self) -> tuple[bool, float, str, tuple[str, ...]]:
        """Older claims rank lower; the same set has the same order whichever way it is listed."""
        return (self.since is None, self.since.timestamp() if self.since else 0.0, self.id, self.path)


def is_job_id(name: str) -> bool:
    """Whether ``name`` can be a job's id. `.Trash`, `autorun.inf` and `desktop.ini` cannot."""
    return _JOB_ID.fullmatch(name) is not None


def is_looked_for_everywhere(name: str) -> bool:
    """Whether programs look for ``name`` in each folder, whatever is in it: `.git`, `.hidden`, `.Trash-1000`.

    The server is not asked for such a name. Where a listing that is known has it, it is there.
    """
    return _EVERYWHERE.fullmatch(name) is not None


def is_no_job(name: str) -> bool:
    """Whether ``name`` is a word for which programs look everywhere: `HEAD`, `CVS`, `Makefile`."""
    return name in _NO_JOBS


def legal_name(raw: str) -> str:
    """One legal file name; ``raw`` itself if it is one."""
    name = _ILLEGAL.sub("_", raw)
    if name in ("", ".", ".."):
        return "_" * max(1, len(name))
    return name if _bytes(name) <= NAME_LIMIT else _fitted(name, "", keep_suffix=True)


def legal_path(raw: str, name: str) -> tuple[str, ...]:
    """The legal names along a relative path of the server's; it never leaves where it starts.

    Both slashes separate. Empty parts and `.` are left out, so an absolute path becomes a relative one;
    `..` becomes `__`. Where nothing remains, or the path is too long or too deep to be of use, ``name`` is
    all there is.
    """
    if _PLAIN.fullmatch(raw):
        return tuple(raw.split("/"))
    parts = tuple(legal_name(part) for part in _SEPARATORS.split(raw) if part not in ("", "."))
    too_long = len(parts) > _DEPTH_LIMIT or sum(map(_bytes, parts)) + len(parts) > PATH_LIMIT
    if not parts or too_long:
        return (legal_name(name),)
    return parts


def marked(name: str, thing_id: str, keep_suffix: bool = True) -> str:
    """``name`` with the thing's id: `mesh.msh` -> `mesh~XkpTse.msh`, or `mesh.msh~XkpTse`; never too long."""
    return _fitted(name, "~" + _mark(thing_id), keep_suffix)


class Places:
    """Hands out places in a tree of folders, first come, first served.

    What was given stays: a later claim never moves an earlier one. Folders are shared by all that name them;
    a folder whose name is a file's already is marked with the id of the first file that needs it, for all.
    """

    def __init__(self, keep_suffix: bool = True) -> None:
        self._keep_suffix = keep_suffix
        self._folders: dict[tuple[str, ...], dict[str, str]] = {(): {}}  # place -> wanted folder -> given
        self._taken: dict[tuple[str, ...], set[str]] = {(): set()}  # place -> names of files and folders

    def take(self, claim: Claim) -> tuple[str, ...]:
        """The place that ``claim`` gets."""
        place: tuple[str, ...] = ()
        for wanted in claim.path[:-1]:
            given = self._folders[place].get(wanted)
            place = (*place, given) if given is not None else self._new_folder(place, wanted, claim.id)
        taken = self._taken[place]
        name = _free(claim.path[-1], claim.id, taken, self._keep_suffix)
        taken.add(name)
        return (*place, name)

    def _new_folder(self, place: tuple[str, ...], wanted: str, thing_id: str) -> tuple[str, ...]:
        given = _free(wanted, thing_id, self._taken[place], keep_suffix=False)
        self._taken[place].add(given)
        self._folders[place][wanted] = given
        folder = (*place, given)
        self._folders[folder] = {}
        self._taken[folder] = set()
        return folder


Key = TypeVar("Key", bound=Hashable)


def unique_paths(claims: Mapping[Key, Claim], keep_suffix: bool = True) -> dict[Key, tuple[str, ...]]:
    """Places in one tree for all claims, the oldest first; the keys are the caller's.

    ``keep_suffix`` is for files; the title `run 1.5` has no suffix.
    """
    places = Places(keep_suffix)
    return {key: places.take(claims[key]) for key in sorted(claims, key=lambda each: claims[each].rank)}


def _free(name: str, thing_id: str, taken: set[str], keep_suffix: bool) -> str:
    """``name`` if nobody has it, else with the id, else with the id and a number."""
    if name not in taken:
        return name
    candidate, number = marked(name, thing_id, keep_suffix), 2
    while candidate in taken:
        candidate = _fitted(name, f"~{_mark(thing_id)}-{number}", keep_suffix)
        number += 1
    return candidate


def _mark(thing_id: str) -> str:
    """An id as part of a name: itself, where it is the short word that ids are."""
    if _MARK.fullmatch(thing_id):
        return thing_id
    return xxhash.xxh3_64_hexdigest(thing_id.encode("utf-8", "surrogatepass"))


def _fitted(name: str, mark: str, keep_suffix: bool) -> str:
    """``name`` with ``mark`` before its suffix or at its end, its stem cut so that all of it is legal."""
    match = _SUFFIX.search(name) if keep_suffix else None
    suffix = match.group() if match and _bytes(match.group()) <= _SUFFIX_LIMIT else ""
    stem = name[: len(name) - len(suffix)]
    room = NAME_LIMIT - _bytes(mark) - _bytes(suffix)
    stem = stem.encode()[:room].decode(errors="ignore")  # may cut a character in two: that one goes
    return f"{stem}{mark}{suffix}"


def _bytes(name: str) -> int:
    return len(name) if name.isascii() else len(name.encode())
