"""What a check of `rescalefs doctor` found."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verdict(enum.Enum):
    """How much it matters; the values are those of ``--json``."""

    FINE = "ok"
    DOUBTFUL = "warning"  # things work, less well or not for long
    BROKEN = "broken"  # something that is needed does not work

    @property
    def mark(self) -> str:
        """One character for it."""
        return {"ok": "✓", "warning": "!", "broken": "✗"}[self.value]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str  # what was looked at
    verdict: Verdict
    found: str
    remedy: str = ""  # how to mend it; empty when there is nothing to mend


def fine(check: str, found: str) -> Finding:
    return Finding(check, Verdict.FINE, found)


def doubtful(check: str, found: str, remedy: str) -> Finding:
    return Finding(check, Verdict.DOUBTFUL, found, remedy)


def broken(check: str, found: str, remedy: str) -> Finding:
    return Finding(check, Verdict.BROKEN, found, remedy)
