"""What a round did, counted while it does it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

# What can happen to a path. The words are those of `--dry-run` and of the log.
FETCH, COPY, WRITE, LINK, REMOVE = "fetch", "copy", "write", "link", "remove"
KEEP, SKIP, FAIL, SAME = "keep", "skip", "fail", "same"
NONE = "none"  # a pattern fits no file; it stands in the place of the path
NO_JOB = "no job"  # the same, of a pattern of jobs

Tell = Callable[[str, str, str], None]  # act, path, detail


class Report:
    """Counts acts by kind. Thread-safe."""

    def __init__(self, tell: Tell | None = None) -> None:
        """``tell`` hears of each act but `SAME`, one at a time."""
        self._tell = tell
        self._lock = threading.Lock()  # guards all that follows, and that `tell` is called by one at a time
        self._counts: dict[str, int] = {}
        self.bytes_fetched = 0
        self.failures: list[str] = []

    def note(self, act: str, path: str, detail: str = "", size: int = 0) -> None:
        """One act; ``size`` are the bytes that it fetched."""
        with self._lock:
            self._counts[act] = self._counts.get(act, 0) + 1
            self.bytes_fetched += size
            if act == FAIL:
                self.failures.append(f"{path}: {detail}" if path else detail)
            if self._tell is not None and act != SAME:
                self._tell(act, path, detail)

    def __getitem__(self, act: str) -> int:
        with self._lock:
            return self._counts.get(act, 0)

    def record(self) -> dict[str, Any]:
        """For programs: how many paths of each kind."""
        return {
            "fetched": self[FETCH],
            "bytes": self.bytes_fetched,
            "copied": self[COPY],
            "written": self[WRITE] + self[LINK],
            "removed": self[REMOVE],
            "unchanged": self[SAME],
            "kept": self[KEEP],
            "skipped": self[SKIP],
            "failed": self[FAIL],
        }
