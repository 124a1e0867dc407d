"""Pure: when a transfer is so much slower than the others that a second request should race it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

PATIENCE = 0.5  # seconds that a reader waits before it asks whether what it waits for is a straggler
_STEP = 0.5  # seconds over which a rate is taken, at least
_GRACE = 1.0  # seconds that a request is given before it is judged
_FAR_UNDER = 4.0  # how many times slower than the median of the others
_SAMPLES = 3  # other transfers that it takes to know what is usual


class Progress:
    """How fast one request comes in, over the last half second or more. Not thread-safe."""

    __slots__ = ("_before", "_mark", "asked")

    def __init__(self) -> None:
        self.asked: float | None = None  # when the request that is under way was made
        self._mark = self._before = (0.0, 0)

    def begin(self, now: float, position: int) -> None:
        """A request was made."""
        self.asked = now
        self._mark = self._before = (now, position)

    def note(self, now: float, position: int) -> None:
        """So far it has come."""
        if now - self._mark[0] >= _STEP:
            self._before, self._mark = self._mark, (now, position)

    def rate(self, now: float, position: int) -> float | None:
        """Bytes per second; None while it is too early to tell."""
        if self.asked is None:
            return None
        since, start = self._mark if now - self._mark[0] >= _STEP else self._before
        return (position - start) / (now - since) if now - since >= _STEP else None

    def is_due(self, now: float) -> bool:
        """Whether it has had time enough to be judged."""
        return self.asked is not None and now - self.asked >= _GRACE


def is_straggler(
    rate: float, running: Sequence[float], finished: Sequence[float], rest: int, answer: float
) -> bool:
    """Whether a second request for the ``rest`` would be done long before this one.

    ``running`` are the rates of the other transfers just now; where they are few, those that ``finished``
    last count, too. ``answer`` is what a request waits for its first byte. If the whole network is slow, so
    are the others, and nothing is a straggler.
    """
    others = running if len(running) >= _SAMPLES else [*running, *finished]
    if len(others) < _SAMPLES:
        return False
    usual = median(others)
    if rate * _FAR_UNDER >= usual:
        return False
    afresh = 2 * answer + rest / usual
    return rate == 0 or rest / rate > 2 * afresh + PATIENCE
