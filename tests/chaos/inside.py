"""`rescalefs` with a clock that the storm sets, and with what is broken on purpose.

``CHAOS_CLOCK`` names a file with the seconds by which `SystemClock.now` is wrong. ``CHAOS_MUTANT`` names a
row of `tests.chaos.mutants`. Nothing of the product knows of either.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[2])


def _shift_clock(file: Path) -> None:
    from rescalefs.clock import SystemClock

    right = SystemClock.now

    def now(self: SystemClock) -> datetime:
        try:
            return right(self) + timedelta(seconds=float(file.read_text()))
        except (OSError, ValueError, OverflowError):
            return right(self)

    SystemClock.now = now  # type: ignore[method-assign]


def main() -> None:
    if os.environ.get("CHAOS_MUTANT"):
        from tests.chaos.mutants import apply

        apply(os.environ["CHAOS_MUTANT"])
    if os.environ.get("CHAOS_CLOCK"):
        _shift_clock(Path(os.environ["CHAOS_CLOCK"]))
    from rescalefs.cli.main import main as rescalefs

    sys.argv[0] = "rescalefs"
    sys.exit(rescalefs())


if __name__ == "__main__":
    main()
