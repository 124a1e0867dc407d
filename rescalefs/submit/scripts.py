"""Reads the scripts that a job's command runs, for what a shell on Linux stumbles over."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rescalefs.submit.folder import open_listed
from rescalefs.submit.listing import Entry
from rescalefs.submit.problems import printable

_LOOKED_AT = 64 << 10  # bytes of each script
_MOST = 20  # scripts


def line_ends(folder: Path, scripts: Iterable[Entry]) -> tuple[str, ...]:
    """One line for each script with Windows line ends; none for what cannot be read now."""
    found = []
    for entry, _ in zip(scripts, range(_MOST), strict=False):
        text = _beginning(folder, entry)
        if b"\r\n" in text and b"\0" not in text:  # with a NUL it is a program
            found.append(
                printable(
                    f"{entry.path} has Windows line ends (\\r\\n), and a shell on Linux takes the \\r "
                    f"for part of a word: `dos2unix {entry.path}`"
                )
            )
    return tuple(found)


def _beginning(folder: Path, entry: Entry) -> bytes:
    try:
        file = open_listed(folder, entry)
        if file is None:
            return b""
        with file:
            return file.read(_LOOKED_AT) or b""
    except OSError:
        return b""
