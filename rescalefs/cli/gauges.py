"""Pure: two looks at a daemon's counters -> what `rescalefs top` shows of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from rescalefs.cli.drops import age_text
from rescalefs.cli.listing import Row, printable

Counters = Mapping[str, Any]  # `.rescalefs/counters.json`
COUNTERS = frozenset(
    (
        *("account", "age", "server", "reachable", "trouble", "jobs", "requests", "drops", "under_way"),
        *("bytes_fetched", "blocks_found", "blocks_missed", "connections", "connection_limit"),
        *("cache_used", "cache_limit"),
    )
)  # what is shown of them; an older or newer daemon may lack some

_MOST_DROPS = 10  # of those under way; `rescalefs drops` lists all
_BAR = 20


@dataclass(frozen=True, slots=True)
class Gauge:
    """One mount, as of a moment ago; rates are None until there were two looks."""

    path: str
    trouble: str = ""  # why it tells nothing
    now: Counters = field(default_factory=dict)
    rate: float | None = None  # bytes fetched in a second
    requests: float | None = None  # of any kind, in a second
    found: float | None = None  # which part of the blocks that were read was in the cache

    def row(self) -> Row:
        """As `--json` shows it."""
        return {
            "mounted_on": self.path,
            "trouble": self.trouble or None,
            "bytes_per_second": self.rate,
            "requests_per_second": self.requests,
            "found_in_cache": self.found,
            **self.now,
        }

    def lines(self) -> Iterator[str]:
        """As people see it."""
        if self.trouble:
            yield f"{self.path}   {self.trouble}"
            return
        now = self.now
        yield f"{self.path}   {now['account']}   up {age_text(timedelta(seconds=now['age']))}"
        yield f"  server    {_server(now)}"
        busy = f"{now['connections']} of {now['connection_limit']} connections"
        yield f"  fetching  {_per_second(self.rate)}   {busy}   {_often(self.requests)}"
        yield f"  cache     {_cache(now)}{_found(self.found)}"
        yield f"  jobs      {now['jobs']:,}"
        yield f"  drops     {_drops(now['drops'])}"
        under_way = sorted(now["under_way"].items())
        width = max((len(printable(name)) for name, _ in under_way[:_MOST_DROPS]), default=0)
        for name, status in under_way[:_MOST_DROPS]:
            yield f"            {printable(name):<{width}}  {printable(status)}"
        if len(under_way) > _MOST_DROPS:
            yield f"            and {len(under_way) - _MOST_DROPS} more; `rescalefs drops` lists them"


def gauge(path: str, before: Counters | None, now: Counters) -> Gauge:
    """What happened between two looks at one daemon, by its own clock."""
    passed = now["age"] - before["age"] if before is not None else 0.0
    if before is None or passed <= 0:  # another daemon by now, or the very same answer
        return Gauge(path, now=now)
    hits = now["blocks_found"] - before["blocks_found"]
    blocks = hits + now["blocks_missed"] - before["blocks_missed"]
    asked = sum(now["requests"].values()) - sum(before["requests"].values())
    return Gauge(
        path,
        now=now,
        rate=(now["bytes_fetched"] - before["bytes_fetched"]) / passed,
        requests=asked / passed,
        found=hits / blocks if blocks else None,
    )


def bytes_text(size: float) -> str:
    """Bytes as `du -h` says them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _server(now: Counters) -> str:
    if now["trouble"] is None:
        return f"{now['server']}, reached"
    return (
        f"{now['server']}, {'in trouble' if now['reachable'] else 'not reached'}: {printable(now['trouble'])}"
    )


def _per_second(rate: float | None) -> str:
    return "" if rate is None else f"{bytes_text(rate)}/s"


def _often(requests: float | None) -> str:
    return "" if requests is None else f"{requests:.1f} requests/s"


def _cache(now: Counters) -> str:
    used, limit = now["cache_used"], now["cache_limit"]
    full = min(_BAR, round(_BAR * used / limit)) if limit else 0
    return f"[{'#' * full}{'.' * (_BAR - full)}]  {bytes_text(used)} of {bytes_text(limit)}"


def _found(part: float | None) -> str:
    return "" if part is None else f"   {part:.0%} of blocks found in it"


def _drops(by_state: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(by_state.items())) or "none"
