"""What was done in a storm, how long it took, and what must not have been."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

MOST_VIOLATIONS = 200  # kept in full; the rest is counted
RIGHT, FAILED, KILLED, WRONG = "right", "failed", "killed", "wrong"


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be: its kind, when [s since the start], and what was seen."""

    kind: str
    at: float
    what: str


class Logbook:
    """Counts and times of operations by kind, and violations. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards all below
        self._began = time.monotonic()
        self._results: dict[str, Counter[str]] = defaultdict(Counter)
        self._times: dict[str, list[float]] = defaultdict(list)
        self._weather: Counter[str] = Counter()
        self._violations: list[Violation] = []
        self._kinds: Counter[str] = Counter()
        self.facts: dict[str, Any] = {}
        self.left_out: list[str] = []

    def did(self, kind: str, result: str, seconds: float) -> None:
        """Count an operation that has ended: `RIGHT`, `FAILED` (it said so), `KILLED` or `WRONG`."""
        with self._lock:
            self._results[kind][result] += 1
            self._times[kind].append(seconds)

    def blew(self, weather: str) -> None:
        """Count a misbehaviour."""
        with self._lock:
            self._weather[weather] += 1

    def violation(self, kind: str, what: str) -> None:
        """Note something that must not be."""
        with self._lock:
            at = round(time.monotonic() - self._began, 1)
            self._kinds[kind] += 1
            if len(self._violations) < MOST_VIOLATIONS:
                self._violations.append(Violation(kind, at, what[:2000]))
        print(f"chaos: {at:7.1f} s: {kind}: {what[:600]}", flush=True)

    @property
    def operations(self) -> int:
        """How many operations have ended."""
        with self._lock:
            return sum(sum(counts.values()) for counts in self._results.values())

    @property
    def violations(self) -> int:
        """How many there were."""
        with self._lock:
            return sum(self._kinds.values())

    def has_any(self, kinds: Iterable[str]) -> bool:
        """Whether there was a violation of one of these kinds."""
        with self._lock:
            return any(self._kinds[kind] for kind in kinds)

    def kinds(self) -> dict[str, int]:
        """Violations by kind."""
        with self._lock:
            return dict(self._kinds)

    def record(self) -> dict[str, Any]:
        """All of it, for JSON."""
        with self._lock:
            return {
                "operations": {
                    kind: {**counts, "seconds": _spread(self._times[kind])}
                    for kind, counts in sorted(self._results.items())
                },
                "operations_in_all": sum(sum(counts.values()) for counts in self._results.values()),
                "weather": dict(sorted(self._weather.items())),
                "violations_in_all": sum(self._kinds.values()),
                "violations_by_kind": dict(self._kinds),
                "violations": [asdict(each) for each in self._violations],
                "left_out": self.left_out,
                **self.facts,
            }


def _spread(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "median": round(ordered[len(ordered) // 2], 3),
        "p99": round(ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)], 3),
        "most": round(ordered[-1], 3),
    }
