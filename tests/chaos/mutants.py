"""Places that are broken on purpose: a storm must notice each."""

from __future__ import annotations


def apply(name: str) -> None:
    """Break it, in this process."""
    raise LookupError(f"there is no mutant {name}")
