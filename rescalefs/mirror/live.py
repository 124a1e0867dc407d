"""Copies of files that running jobs write: they grow as those do."""

from __future__ import annotations

from rescalefs.mirror.part import Part
from rescalefs.mirror.service import LiveSource
from rescalefs.mirror.shelf import Shelf
from rescalefs.model import LiveFile

_VERSION = "live"


class LiveCopies:
    """Appends what is new to the copies of live files, in place, so that `tail -f` works on them."""

    def __init__(self, source: LiveSource, shelf: Shelf) -> None:
        self._source = source
        self._shelf = shelf

    def follow(self, path: str, file: LiveFile) -> int | None:
        """Bring a copy up to date; return by how many bytes it grew, or None if it is not ours to change.

        Raises `ApiError`, as where the run has ended, and `OSError`.
        """
        known = self._shelf.grown(path, _VERSION)
        if known is None:
            return None
        with self._source.open_tail(file, known) as body:
            if body.start == known and known and (body.total is None or body.total >= known):
                return self._shelf.append(path, body, _VERSION)
            part = Part(self._shelf.parts, f"{path}\n{_VERSION}", resumable=False)
            size = 0
            for chunk in body:
                part.write(chunk, size)
                size += len(chunk)
        if not self._shelf.place(path, part, _VERSION, None):
            return None
        return max(0, size - known) or int(size != known)
