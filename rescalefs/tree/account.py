"""What all directories of one tree need."""

from __future__ import annotations

from rescalefs.clock import Clock
from rescalefs.tree.allowance import Allowance
from rescalefs.tree.catalog import Catalog
from rescalefs.tree.nodes import nanoseconds
from rescalefs.tree.outputs import Verification
from rescalefs.tree.sorting import Sorting

_LOOKS_AT_ONCE = 8  # a person's; `find` over all jobs makes thousands
_ENDINGS_AT_ONCE = 60  # of jobs whose `status` is read, each three requests, once for ever
_LOOKS_PER_SECOND = 1.0


class Account:
    """What is known, by what clock, and what has been verified."""

    __slots__ = ("began_ns", "catalog", "clock", "endings", "looks", "sorting", "verification")

    def __init__(self, catalog: Catalog, clock: Clock, verification: Verification, sorting: Sorting) -> None:
        self.catalog = catalog
        self.clock = clock
        self.verification = verification
        self.sorting = sorting
        self.looks = Allowance(clock, _LOOKS_AT_ONCE, _LOOKS_PER_SECOND)
        self.endings = Allowance(clock, _ENDINGS_AT_ONCE, _LOOKS_PER_SECOND)
        self.began_ns = nanoseconds(clock.now())  # the date of what has none
