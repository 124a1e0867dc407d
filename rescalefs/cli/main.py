"""Parses the command line, and is the door at which errors become exit codes."""

from __future__ import annotations

import atexit
import gc
import io
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from rescalefs import firstprocess, signals
from rescalefs.cli.lazy import LazyGroup
from rescalefs.cli.waiting import NoRetries
from rescalefs.errors import BadFlags, Misconfigured, RescaleFSError, Stopping, TimedOut, Unreachable
from rescalefs.logs import LineFormatter

_DONE, _FAILED, _USAGE, _INTERRUPTED = 0, 1, 2, 130

# At the end the interpreter looks through all objects for cycles to free: 30 ms that nobody has anything of.
atexit.register(gc.freeze)

OVERVIEW = {
    "Account": {
        "login": ("account", "Check an API key and keep it in a profile."),
        "whoami": ("account", "Show whose key it is."),
        "doctor": ("doctor", "Check this machine and the account, and say how to mend things."),
    },
    "Files": {
        "mount": ("mount", "Mount the account on the folder MOUNTPOINT."),
        "sync": ("sync", "Keep the account as real files in DIR, without FUSE."),
        "download": ("download", "Fetch outputs of JOB, many at once, verified."),
        "umount": ("mount", "End the mount on MOUNTPOINT."),
        "status": ("mount", "Show what is mounted, how it is doing, and what is dropped."),
        "top": ("top", "Watch what the mounts are doing: transfers, cache, drops."),
        "cache": ("cache", "Show, verify or clear the cache of remote files."),
    },
    "Jobs": {
        "submit": ("submit", "Submit FOLDER, which holds job.json and the input files."),
        "schema": ("schema", "Print the JSON Schema of job.json, for editors."),
        "drops": ("drops", "List what was dropped, where it is, and what to do about it."),
        "jobs": ("jobs", "List jobs, newest first."),
        "statuses": ("jobs", "Show the history of a job, oldest first."),
        "stop": ("jobs", "Stop a job that runs."),
        "delete": ("jobs", "Delete a job and its outputs."),
        "ssh": ("ssh", "Print the command that logs in to a running job."),
        "tag": ("tags", "Show the tags of a job, and put some on it or take them off."),
    },
    "Catalogue": {
        "coretypes": ("catalogue", "List hardware with its price per core and hour."),
        "analyses": ("catalogue", "List software and its versions."),
        "projects": ("catalogue", "List projects that jobs can be booked on."),
    },
    "To try and to set up": {
        "demo": ("demo", "Show the main job on a simulator, in a quarter of a minute."),
        "simulator": ("simulator", "Serve a Rescale of your own, on this machine."),
        "completion": ("completion", "Print the script that completes commands in a shell."),
    },
}


@click.group(
    cls=LazyGroup,
    overview=OVERVIEW,
    name="rescalefs",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("-v", "--verbose", count=True, help="Log to standard error; twice for every operation.")
@click.version_option(package_name="rescalefs", message="%(prog)s %(version)s")
def rescalefs(verbose: int) -> None:
    """Your Rescale account as a folder.

    Start with `rescalefs login` and `rescalefs mount ~/Rescale`, or see it all on a simulator first:
    `rescalefs demo`.
    """
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    to_standard_error = logging.StreamHandler()
    to_standard_error.setFormatter(LineFormatter())
    if not verbose:
        to_standard_error.addFilter(NoRetries())
    logging.basicConfig(level=level, handlers=[to_standard_error])


def _is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False


def _stand_in_for_closed_streams() -> None:
    """Open what was closed when we started (`2>&-`).

    Else the next file of ours has that number, and gets what a C library, or a child, prints there. Writing
    to a standard output that was closed still fails, as it must not look like success.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        if _is_closed(number):
            os.open(os.devnull, flags)  # it gets the lowest number that is free: this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # for good
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _insist_on_utf8() -> None:
    """Start this process anew in Python's UTF-8 mode, where the locale has another encoding.

    Names are bytes for the kernel, and the server's are UTF-8. A locale that lacks one of their letters
    (ISO-8859-1, or C with PYTHONUTF8=0) would fail at that name.
    """
    if not sys.flags.utf8_mode and sys.getfilesystemencoding() != "utf-8" and sys.executable:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606


def main(arguments: Sequence[str] | None = None, context: object = None) -> int:
    """Run one command; return its exit code. ``context`` is what commands find as ``click.Context.obj``.

    Where SIGTERM or SIGHUP came, and the command did not see to it, the process ends by that signal.
    """
    if arguments is None:
        _insist_on_utf8()
    if os.getpid() == 1:
        firstprocess.stand_aside()
    _stand_in_for_closed_streams()
    try:
        with signals.interrupting(signals.not_ignored((*signals.ENDING, signals.HANG_UP))):
            return _run(arguments, context)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except signals.Terminated as error:
        return _die_of(error.number)
    except Exception as error:
        came = signals.behind(error)
        if came is None:
            raise
        return _die_of(came.number) if isinstance(came, signals.Terminated) else _INTERRUPTED


def _run(arguments: Sequence[str] | None, context: object) -> int:
    _let_any_name_through()
    try:
        outcome = rescalefs.main(
            arguments, prog_name="rescalefs", standalone_mode=False, obj=context, color=_colour()
        )
        sys.stdout.flush()  # here, where a reader that has gone can still be met quietly
    except BrokenPipeError:
        _close_quietly()
        return _FAILED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as error:
        return _aborted(error)
    except (RescaleFSError, OSError) as error:
        logging.getLogger(__name__).debug("the command failed", exc_info=error)
        click.echo(f"rescalefs: {_one_line(error)}{_advice(error)}", err=True)
        return _USAGE if isinstance(error, BadFlags) else _FAILED
    return outcome if isinstance(outcome, int) else _DONE


def _die_of(number: int) -> int:
    """End as every program does that knows nothing of the signal, so that a parent sees what it was."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    return 128 + number  # where the signal does not end a process


def _aborted(error: click.Abort) -> int:
    """click raises Abort for Ctrl-C, and for a question to which standard input had no answer."""
    if isinstance(error.__cause__ or error.__context__, EOFError):
        click.echo("\nrescalefs: the question got no answer: standard input has ended", err=True)
        return _FAILED
    return _INTERRUPTED


def _let_any_name_through() -> None:
    """Write what the locale has no letter for as its number: a job's name is no reason to fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _colour() -> bool | None:
    """False where colours are not wanted (https://no-color.org), else None: where there is a terminal."""
    unwanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return False if unwanted else None


def _one_line(error: Exception) -> str:
    """What went wrong, without line ends: scripts and logs count on one line."""
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        from rescalefs.databases import disk_words  # imports SQLite, which few commands need

        name = os.fsdecode(error.filename)
        text = f"{name}: {disk_words(Path(name).parent, error) or error.strerror}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines).replace(":; ", ": ") or type(error).__name__


def _advice(error: Exception) -> str:
    """What to do about an error that comes from the network."""
    if isinstance(error, (Unreachable, TimedOut)) and not isinstance(error, (Stopping, Misconfigured)):
        return ". Check the network and the address; `rescalefs doctor` looks at both"
    return ""


def _close_quietly() -> None:
    """Send what is still buffered nowhere, or the interpreter complains about it as it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
