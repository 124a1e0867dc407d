"""The first process of a container, if that is us: it leaves the work to a child, and does what an init does.

The kernel hands every orphan to the first process, such as those that the command `on_finished` leaves
behind. An orphan that has ended stays as a zombie until it is waited for. The kernel also throws away each
signal for which the first process has no handler, so that an early `docker stop` has no effect.
`docker run --init` does the same as this module.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def stand_aside() -> None:
    """Go on in a child. The first process passes signals on, waits for orphans, and ends as the child ends.

    It stays while any child is left: a daemon that `rescalefs mount` has started, for one. To be called
    before there is a second thread.
    """
    before = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    try:
        os._exit(_look_after(child))
    finally:
        os._exit(1)  # the stack above is the child's


def _look_after(child: int) -> int:
    """Return the exit code of ``child``, once no child is left."""
    code: int | None = None
    while True:
        arrived = signal.sigwaitinfo(signal.valid_signals())
        if arrived.si_signo == signal.SIGCHLD:
            ended, is_last = _reap(child)
            code = ended if code is None else code
            if is_last:
                return 1 if code is None else code
        elif arrived.si_code <= 0:  # SI_USER and the like; what a terminal sends, the child is sent as well
            for process in [child] if code is None else _children():
                with contextlib.suppress(OSError):
                    os.kill(process, arrived.si_signo)


def _reap(child: int) -> tuple[int | None, bool]:
    """Wait for all that have ended. Return the exit code of ``child``, and whether no child is left."""
    code = None
    while True:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code, True
        if process == 0:
            return code, False
        if process == child:
            code = os.waitstatus_to_exitcode(status)
            code = code if code >= 0 else 128 - code  # as a shell says it


def _children() -> list[int]:
    """The processes whose parent we are."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name, in brackets, may hold blanks and brackets (proc(5)).
            if int(stat.read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(stat.parent.name))
    return found
