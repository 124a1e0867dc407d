"""`python -m rescalefs` is `rescalefs`."""

from __future__ import annotations

import sys


def run() -> None:
    """Run the command of the command line, and end the process with its exit code."""
    from rescalefs.cli.main import main

    sys.exit(main())


if __name__ == "__main__":
    run()
