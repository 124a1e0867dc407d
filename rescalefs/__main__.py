"""`python -m rescalefs` is `rescalefs`."""

from __future__ import annotations

import signal
import sys


def run() -> None:
    """Run the command of the command line, and end the process with its exit code.

    Until the command sees to signals itself, and after its end, Ctrl-C ends the process at once. Python's own
    handler would print a traceback of the import, or of the cleaning up, that it came upon.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored, as with nohup(1)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from rescalefs.cli.main import main

    sys.exit(main())


if __name__ == "__main__":
    run()
