"""The `Range` header. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.IGNORECASE)


class Unsatisfiable(ValueError):
    """No byte of the file is in the range."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The bytes from ``start`` up to, without, ``stop``."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def asked_range(header: str | None, size: int) -> Slice | None:
    """The one range that is asked for, cut to the file; None where the whole file is to be sent.

    Several ranges at once, other units and nonsense get the whole file, as RFC 9110 allows.
    """
    match = _ONE_RANGE.fullmatch(header.strip()) if header else None
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:  # the last so many bytes
        asked = Slice(max(0, size - int(last)), size)
    else:
        asked = Slice(int(first), min(size, int(last) + 1) if last else size)
        if last and int(last) < int(first):
            return None
    if asked.start >= size or len(asked) <= 0:
        raise Unsatisfiable(header)
    return asked
