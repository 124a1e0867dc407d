"""What ends a drop for good is believed only once several looks over some minutes agree on it."""

from __future__ import annotations

import threading

from rescalefs.clock import Clock
from rescalefs.errors import NotFound
from rescalefs.submit.service import JobService

# A replica lags for seconds; a deployment, or a proxy that answers 404 for all, lasts a minute or two. Three
# looks in three minutes are beyond both, and no person waits for the word "deleted".
_LEAST_LOOKS = 3
_LEAST_SECONDS = 180.0
_NEWEST = 200  # jobs of the list that is the last witness


class Looks:
    """Counts the looks in a row that agreed, for each thing that is looked at. Thread-safe.

    One look that says otherwise starts the count anew, and so does a restart. A look that failed is none.
    """

    def __init__(self, clock: Clock, seconds: float = _LEAST_SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds  # from the first look to the last
        self._lock = threading.Lock()  # guards _agreed
        self._agreed: dict[str, tuple[float, int]] = {}  # thing -> monotonic time of the first look, how many

    def agree(self, thing: str) -> bool:
        """One more look says the same; return whether that is enough to believe it."""
        now = self._clock.monotonic()
        with self._lock:
            since, count = self._agreed.get(thing, (now, 0))
            self._agreed[thing] = (since, count + 1)
        return count + 1 >= _LEAST_LOOKS and now - since >= self._seconds

    def differ(self, thing: str) -> None:
        """A look says otherwise."""
        with self._lock:
            self._agreed.pop(thing, None)


class Absence:
    """Tells whether a job is gone. Thread-safe."""

    def __init__(self, service: JobService, clock: Clock) -> None:
        self._service = service
        self._looks = Looks(clock)

    def is_certain(self, job_id: str) -> bool:
        """The server said 404 of a job once more; return whether the job is gone.

        Raises `ApiError` where its last two witnesses, the job's own page and the list, cannot be asked.
        """
        if not self._looks.agree(job_id):
            return False
        if self._is_shown(job_id):
            self._looks.differ(job_id)
            return False
        return True

    def seen(self, job_id: str) -> None:
        """The job is there."""
        self._looks.differ(job_id)

    def _is_shown(self, job_id: str) -> bool:
        try:
            self._service.job(job_id)
        except NotFound:
            pass
        else:
            return True
        try:
            return any(job.id == job_id for job in self._service.newest_jobs(_NEWEST))
        except NotFound:  # the list itself: this server, or what stands before it, knows nothing at all
            return True
