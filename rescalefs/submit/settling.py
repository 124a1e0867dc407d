"""Pure: sightings of a folder -> is it still being copied?"""

from __future__ import annotations

from dataclasses import dataclass

_PATIENCE_PER_GAP = 2.0  # how many times the longest gap between two changes has to pass without one
_PATIENCE_PER_SLOWNESS = 10.0  # seconds waited for each second in which files arrived slowly
_TAKEN_AT_ONCE = 3  # times that a drop is taken with the same content before there are pauses
_LONGEST_PAUSE = 3600.0  # seconds
_SLOW = 0.5  # seconds: a gap of this length means that files arrive slowly; we look five times a second


@dataclass(frozen=True, slots=True)
class Pace:
    """How long nothing may change before a folder counts as complete."""

    least: float = 2.0  # seconds
    most: float = 60.0  # seconds, however slowly the files arrive


@dataclass(frozen=True, slots=True)
class Arrival:
    """What was seen of a folder so far.

    Gaps tell how slow a copy is only once the job file lies there: until then, and when that itself changes,
    it is a person who takes the time. The longer a copy has been slow, the longer a pause of it is waited
    out: after six seconds of a byte each, a minute.
    """

    fingerprint: str
    job_file: str  # a mark of job.json; empty before it comes
    since: float  # monotonic seconds: when it was first seen like this
    longest_gap: float = 0.0  # seconds between two changes that belong to one slow copy
    slow_for: float = 0.0  # seconds of all such gaps together

    def seen(self, fingerprint: str, job_file: str, busy: bool, at: float, pace: Pace) -> Arrival:
        """What is known after one more look. While something is open for writing it counts as changing."""
        if fingerprint == self.fingerprint and not busy:
            return self
        gap = at - self.since if fingerprint != self.fingerprint else 0.0
        a_copy = job_file == self.job_file != "" and gap <= pace.most
        if not a_copy:
            return Arrival(fingerprint, job_file, at)
        slowness = gap if gap >= _SLOW else 0.0
        return Arrival(fingerprint, job_file, at, max(self.longest_gap, gap), self.slow_for + slowness)

    def settles_at(self, pace: Pace) -> float:
        """When it will be complete if nothing changes any more."""
        patience = max(_PATIENCE_PER_GAP * self.longest_gap, _PATIENCE_PER_SLOWNESS * self.slow_for)
        return self.since + min(pace.most, max(pace.least, patience))

    def is_settled(self, at: float, pace: Pace) -> bool:
        """Whether nothing has changed for long enough."""
        return at >= self.settles_at(pace)


class Takings:
    """How long to leave a drop alone that was taken, and found changed, some times in a row as it is.

    So it goes where a file system tells other facts of an open file than of its name. Each time is some
    events in the journal, so the pauses double. For one thread.
    """

    def __init__(self, least: float) -> None:
        self._least = least  # seconds
        self._taken: dict[str, tuple[str, int, float]] = {}  # drop -> content, how often, not again before

    def note(self, drop_id: str, fingerprint: str, now: float) -> None:
        """The drop is taken with this content."""
        known, times, _ = self._taken.get(drop_id, ("", 0, 0.0))
        times = times + 1 if known == fingerprint else 1
        pause = 0.0 if times < _TAKEN_AT_ONCE else min(_LONGEST_PAUSE, self._least * 2.0 ** min(times, 20))
        self._taken[drop_id] = (fingerprint, times, now + pause)

    def pause(self, drop_id: str, fingerprint: str, now: float) -> float:
        """Seconds until it may be taken with this content."""
        known, _, due = self._taken.get(drop_id, ("", 0, 0.0))
        return max(0.0, due - now) if known == fingerprint else 0.0
