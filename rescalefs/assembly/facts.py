"""The numbers of one daemon, for `.rescalefs/metrics`, `.rescalefs/counters.json` and `rescalefs top`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Facts:
    """What is measured, at one moment."""

    version: str
    account: str
    server: str
    started: float  # seconds since the epoch
    age: float  # seconds since then by a clock that nobody sets: what rates are made of
    reachable: bool
    trouble: str | None  # what went wrong with the server last; None when all is well
    jobs: int
    requests: Mapping[str, int]  # by what was asked for
    bytes_fetched: int
    blocks_found: int
    blocks_missed: int
    connections: int
    connection_limit: int
    cache_used: int
    cache_limit: int
    drops: Mapping[str, int]  # by state
    under_way: Mapping[str, str]  # drops that are not over yet: folder -> what its `status` says

    def as_json(self) -> bytes:
        """One object, its keys in this order."""
        # Not `dataclasses.asdict`: it makes a Counter anew from pairs, which then are its keys.
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return json.dumps(values, indent=2, ensure_ascii=False).encode(errors="replace") + b"\n"
