"""Pure: how long before a transfer ends the next request has to go out, so that the line is never idle."""

from __future__ import annotations

_NEARBY = 0.005  # seconds; answers that come sooner come from this machine, or the one next to it
_LONGEST = 2 << 20  # bytes
_WEIGHT = 0.2  # of what was measured last, in an average


class Lead:
    """Learns it from what was answered and transferred so far. Not thread-safe."""

    def __init__(self) -> None:
        self.first_byte = 0.0  # seconds from a request to its first byte, about
        self._rate = 0.0  # bytes per second of one connection, about

    @property
    def is_far(self) -> bool:
        """Whether a round trip is worth hiding."""
        return self.first_byte >= _NEARBY

    @property
    def bytes(self) -> int:
        """How many bytes before a transfer ends to make the next request: the answer takes as long."""
        return min(_LONGEST, int(self.first_byte * self._rate)) if self.is_far else 0

    def answered(self, seconds: float) -> None:
        """A request was answered after so long."""
        self.first_byte += (seconds - self.first_byte) * (_WEIGHT if self.first_byte else 1.0)

    def transferred(self, count: int, seconds: float) -> None:
        """One connection brought so many bytes, without the time it took to answer."""
        if count >= _LONGEST and seconds > 0:
            rate = count / seconds
            self._rate += (rate - self._rate) * (_WEIGHT if self._rate else 1.0)
