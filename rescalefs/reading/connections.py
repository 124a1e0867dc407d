"""Pure: how many connections are useful at once."""

from __future__ import annotations

from typing import Literal

from rescalefs.reading.lead import Lead

MOST = 32
_NEAR, _FAR = 4, 8  # connections to begin with
_INTERVAL = 0.25  # seconds over which throughput is taken
_WORTHWHILE = 0.3  # of what a raise would bring, were each new connection as fast as those before it
_HOLD = 5.0  # seconds before trying again what did not help; doubles each time


class Pace:
    """How many connections readahead may use: a fixed number, or as many as raise the throughput.

    Doubles what it has for as long as each step brings something, steps back when one did not, and tries half
    as much again later, ever more seldom. Only time in which every allowed connection was busy counts: a
    reader that wants no more says nothing about the network. Not thread-safe.
    """

    def __init__(self, setting: int | Literal["auto"]) -> None:
        self._adapts = setting == "auto"
        self.most = MOST if setting == "auto" else setting
        self.limit = _NEAR if setting == "auto" else setting
        self._lead = Lead()
        self._settled = 0.0  # when the next interval may begin
        self._since: float | None = None  # when this interval began
        self._bytes = 0  # in this interval
        self._before: tuple[int, float] | None = None  # the limit before the last step up, and its throughput
        self._hold_until = 0.0
        self._hold = _HOLD

    @property
    def urgent_limit(self) -> int:
        """How many connections there may be when somebody waits: `head` need not wait for a long `cat`."""
        return min(self.most, self.limit + 2)

    @property
    def spare(self) -> int:
        """How many more there may be for readers who have nothing under way: one `cat` starves nobody."""
        return self.threads - self.most

    @property
    def first_byte(self) -> float:
        """How long a request waits for its answer, in seconds, about."""
        return self._lead.first_byte

    @property
    def threads(self) -> int:
        """How many threads it takes to keep so many connections receiving."""
        return self.most + max(1, self.most // 4)

    @property
    def lead(self) -> int:
        """How many bytes before a transfer ends to make the next request: the answer takes as long."""
        return self._lead.bytes

    def answered(self, seconds: float) -> None:
        """A request was answered after so long."""
        is_first = not self._lead.first_byte
        self._lead.answered(seconds)
        if is_first and self._adapts and self._lead.is_far:
            self.limit = _FAR

    def transferred(self, count: int, seconds: float) -> None:
        """One connection brought so many bytes, without the time it took to answer."""
        self._lead.transferred(count, seconds)

    def note(self, now: float, count: int, busy: int) -> None:
        """``count`` bytes came in, on one of ``busy`` connections."""
        if not self._adapts:
            return
        if busy < self.limit:
            self._settle(now)
        elif self._since is None:
            if now >= self._settled:
                self._since, self._bytes = now, 0
        else:
            self._bytes += count
            if now - self._since >= _INTERVAL:
                self._step(now, self._bytes / (now - self._since))
                self._settle(now)

    def _settle(self, now: float) -> None:
        """Wait until connections opened now bring what they can: else each step would seem worthwhile."""
        self._since = None
        self._settled = now + 2 * self.first_byte

    def _step(self, now: float, rate: float) -> None:
        if self._before is not None and not self._was_worthwhile(rate, *self._before):
            self.limit = self._before[0]
            self._before = None
            self._hold_until = now + self._hold
            self._hold *= 2
        elif self.limit < self.most - 2 and now >= self._hold_until:
            self._before = (self.limit, rate)
            more = self.limit if self._hold == _HOLD else self.limit // 2
            self.limit = min(self.most - 2, self.limit + more)
        else:
            self._before = None

    def _was_worthwhile(self, rate: float, limit_before: int, rate_before: float) -> bool:
        wanted = 1 + (self.limit / limit_before - 1) * _WORTHWHILE
        return rate >= rate_before * wanted
