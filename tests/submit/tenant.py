"""A process that has the right to act on a drop folder: `python -m tests.submit.tenant FOLDER JOURNAL`.

Says "ours", or who has it, and keeps what it has until its input ends, or it is killed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rescalefs.clock import SystemClock
from rescalefs.submit.journal import Journal
from rescalefs.submit.owner import Tenure
from rescalefs.submit.settings import SubmitSettings


def main() -> None:
    settings = SubmitSettings(folder=Path(sys.argv[1]), journal=Path(sys.argv[2]), account="other@host")
    tenure = Tenure(settings, Journal(settings.journal), SystemClock())
    print(tenure.acquire() or "ours", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
