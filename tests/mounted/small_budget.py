"""`rescalefs` with few requests an hour: `python -m tests.mounted.small_budget mount --foreground ...`."""

from __future__ import annotations

import sys

from rescalefs.api import limits
from rescalefs.cli.main import main

limits._PER_HOUR["jobs-usage"] = 400
limits._OF_A_PERSON = 40

if __name__ == "__main__":
    sys.exit(main())
