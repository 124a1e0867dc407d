"""Pure: sightings of a folder -> is it still being copied?"""

from __future__ import annotations

from dataclasses import dataclass

_PATIENCE_PER_GAP = 2.0  # how many times the longest gap between two changes has to pass without one


@dataclass(frozen=True, slots=True)
class Pace:
    """How long nothing may change before a folder counts as complete."""

    least: float = 2.0  # seconds
    most: float = 30.0  # seconds, however slowly the files arrive


@dataclass(frozen=True, slots=True)
class Arrival:
    """What was seen of a folder so far.

    Gaps tell how slow a copy is only once the job file lies there: until then, and when that itself changes,
    it is a person who takes the time.
    """

    fingerprint: str
    job_file: str  # a mark of job.json; empty before it comes
    since: float  # monotonic seconds: when it was first seen like this
    longest_gap: float = 0.0  # seconds between two changes that belong to one slow copy

    def seen(self, fingerprint: str, job_file: str, busy: bool, at: float, pace: Pace) -> Arrival:
        """What is known after one more look. While something is open for writing it counts as changing."""
        if fingerprint == self.fingerprint and not busy:
            return self
        gap = at - self.since if fingerprint != self.fingerprint else 0.0
        a_copy = job_file == self.job_file != "" and gap <= pace.most
        return Arrival(fingerprint, job_file, at, max(self.longest_gap, gap) if a_copy else 0.0)

    def settles_at(self, pace: Pace) -> float:
        """When it will be complete if nothing changes any more."""
        return self.since + min(pace.most, max(pace.least, _PATIENCE_PER_GAP * self.longest_gap))

    def is_settled(self, at: float, pace: Pace) -> bool:
        """Whether nothing has changed for long enough."""
        return at >= self.settles_at(pace)
