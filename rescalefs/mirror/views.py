"""The views beside jobs/, as links and tables."""

from __future__ import annotations

from collections.abc import Callable

from rescalefs.clock import Clock
from rescalefs.mirror.ledger import Ledger
from rescalefs.mirror.shelf import Shelf

_LOOKS, _LASTING = 3, 180.0  # looks that agree, and the seconds between the first and the last of them
_FORGOTTEN = 30 * 86_400.0  # seconds; what was noted longer ago, or in the future, counts no more
_FACT = "gone "  # and the path


class Gone:
    """Decides when a link or a table that shows nowhere any more is removed.

    At once if its job is there, and the link belongs elsewhere by now. Else only after several looks over
    some minutes that agree: a list that comes back short once must not empty the views. Rounds of different
    processes count (`--once`).
    """

    def __init__(self, shelf: Shelf, ledger: Ledger, clock: Clock) -> None:
        self._shelf = shelf
        self._ledger = ledger
        self._clock = clock

    def settle(
        self,
        folder: str,
        shown: set[str],
        jobs: set[str],
        left_out: set[str],
        removed: Callable[[str], None],
    ) -> None:
        """Remove what is ours in a view and not ``shown``; ``jobs`` are the ids of all that are known.

        Links to the jobs that are ``left_out`` of this round stay as they are.
        """
        missed = self._ledger.facts(_FACT + folder)
        for path in self._shelf.ours_below(folder):
            noted = missed.get(path[len(folder) :])
            if path in shown:
                if noted is not None:
                    self._ledger.forget_fact(_FACT + path)
            elif self._leads_to(path, left_out):
                continue
            elif self._is_for_good(path, noted, jobs) and self._shelf.remove(path):
                self._ledger.forget_fact(_FACT + path)
                removed(path)

    def _leads_to(self, path: str, jobs: set[str]) -> bool:
        target = self._shelf.leads_to(path)
        return target is not None and not jobs.isdisjoint(target.split("/"))

    def _is_for_good(self, path: str, noted: str | None, jobs: set[str]) -> bool:
        if self._leads_to(path, jobs):
            return True
        now = self._clock.now().timestamp()
        looks, since = _read(noted) or (0, now)
        if not 0 <= now - since < _FORGOTTEN:
            looks, since = 0, now
        self._ledger.note_fact(_FACT + path, f"{looks + 1} {since}")
        return looks + 1 >= _LOOKS and now - since >= _LASTING


def _read(noted: str | None) -> tuple[int, float] | None:
    """How many looks missed it, and since when; None if that is not known."""
    try:
        looks, since = (noted or "").split()
        return int(looks), float(since)
    except ValueError:
        return None
