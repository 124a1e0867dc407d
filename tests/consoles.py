"""Console logs in the form of the real service, and what commands printed into them."""

from __future__ import annotations

import re
from collections.abc import Sequence

STAMP = "[2023-01-31T01:02:03Z]: "
_STAMP = re.compile(rb"^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\]: ", re.MULTILINE)


def console_log(*analyses: tuple[Sequence[str], int]) -> bytes:
    """The log of analyses that printed these lines, and ended with this exit code."""
    lines = []
    for number, (printed, code) in enumerate(analyses, 1):
        where = f"/enc/uprod_abc/run1/work{number}"
        lines.append(f"Launching ./run.sh, Working dir: {where}/work.  Process output follows:")
        lines += [*printed, f"Exited with code {code}", ""]
    return "".join(f"{STAMP}{line}\n" for line in lines).encode()


def printed(log: bytes) -> bytes:
    """What the commands printed: without times, and the lines before and after each analysis."""
    lines = _STAMP.sub(b"", log).splitlines(keepends=True)
    own = re.compile(rb"Launching .*Process output follows:\n|Exited with code -?\d+\n")
    kept = []
    for number, line in enumerate(lines):
        is_last_of_block = line == b"\n" and number > 0 and lines[number - 1].startswith(b"Exited with code ")
        if not (own.fullmatch(line) or is_last_of_block):
            kept.append(line)
    return b"".join(kept)
