"""What one storm does: how long, how many at once, which chance. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass

# What the processes are told, so that limits come within the storm. Seconds.
DEADLINE = 8.0
PATIENCE = 8.0
SETTINGS = {
    "RESCALEFS_CONNECT_TIMEOUT": "3",
    "RESCALEFS_READ_TIMEOUT": "5",
    "RESCALEFS_PATIENCE": f"{PATIENCE:g}",
    "RESCALEFS_DEADLINE": f"{DEADLINE:g}",
    "RESCALEFS_POLL_EVERY": "2",
    "RESCALEFS_SETTLE_TIME": "0.5",
    "RESCALEFS_CACHE_SIZE": "48M",
    "RESCALEFS_NOTIFY": "false",
}

# The longest that one call of the kernel may take: the limits above, one after the other, and as much
# again for a machine whose processors are shared by ten.
CALL_LIMIT = 2 * (DEADLINE + PATIENCE) + 10
# A listing of a tree makes some twenty requests, one after the other.
WALK_LIMIT = 240.0
# A killed process has to be gone after one call of the kernel, at the latest.
DEATH_LIMIT = CALL_LIMIT


@dataclass(frozen=True, slots=True)
class Plan:
    """One storm. The same plan takes the same decisions; threads and machines still differ in their pace."""

    seed: int = 1
    minutes: float = 30.0
    readers: int = 2  # processes of each kind of reader
    pause: float = 0.15  # seconds between two operations of one actor, on average
    calm: bool = False  # nothing goes wrong: shows that the checker itself is right
    kills: bool = True
    mutant: str | None = None  # the name of what is broken on purpose
    verify: str | None = None  # the mount's; None: sometimes eof, sometimes strict
    weathers: tuple[str, ...] = ()  # only these; empty: all
    # Seconds from the moment when all is well again, until every drop has its job and each copy is complete.
    heal_limit: float = 240.0
    enough: tuple[str, ...] = ()  # kinds of violations of which the first one ends the storm

    def chance(self, who: str) -> random.Random:
        """The chance of one actor, which no other actor's pace disturbs."""
        return random.Random(f"{self.seed}/{who}")

    @property
    def seconds(self) -> float:
        """How long it storms."""
        return self.minutes * 60
