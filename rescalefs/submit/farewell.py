"""Tells of jobs that have ended: by a command of the user's, and on the desktop."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO

from rescalefs import surroundings
from rescalefs.clock import Clock
from rescalefs.containment import log_once
from rescalefs.model import Result
from rescalefs.submit.diary import mishap
from rescalefs.submit.journal import JournalFailed, Overtaken
from rescalefs.submit.ledger import Ledger
from rescalefs.submit.machine import Announced, Drop, OutOfPlace
from rescalefs.submit.problems import printable
from rescalefs.submit.report import duration_text
from rescalefs.submit.settings import SubmitSettings

log = logging.getLogger(__name__)

_LOOK = 0.05  # seconds between two looks at a command that runs
_NOTICE_LIMIT = 5.0  # seconds for notify-send, which hands a text to the desktop
_REAPING = 5.0  # seconds for a killed process to end
_TAIL = 4000  # bytes of a command's output that are kept


class CutShort(Exception):
    """The daemon ends, and the command with it. Caught by who announces."""


class Farewell:
    """Announces each end once; again only if the daemon dies between the command and its record.

    For one thread. A command that fails, or takes too long, is written down and not tried again.
    """

    def __init__(self, settings: SubmitSettings, clock: Clock, ledger: Ledger) -> None:
        self._settings = settings
        self._clock = clock
        self._ledger = ledger
        self._told: dict[tuple[str, str, datetime], str] = {}  # drop, end -> outcome that is not recorded yet

    def announce_all(self, stop: threading.Event) -> None:
        """Announce what has ended since; return early when ``stop`` is set."""
        for drop in self._ledger.unannounced():
            if stop.is_set() or drop.is_elsewhere:  # the latter are `rescalefs submit`'s own
                continue
            try:
                self._announce(drop, stop)
            except CutShort:
                return

    def _announce(self, drop: Drop, stop: threading.Event) -> None:
        """Tell of one end, and record that. Told once, however often the record fails or comes too late."""
        end = (drop.id, drop.status, drop.newest)
        if end not in self._told:
            try:
                outcome = self._run_hook(drop, stop)
                if self._settings.notify:
                    self._notify(drop, stop)
            except CutShort:
                raise
            except Exception as error:  # noqa: BLE001  # one drop's, of whatever kind, is not the end of the others
                outcome = mishap(log, "announcing the end of a job", drop.folder, error)
            self._told[end] = outcome
        try:
            self._ledger.record(drop, Announced(self._told[end]))
        except (Overtaken, OutOfPlace):
            return  # it was renamed meanwhile: recorded when it is looked at afresh
        except JournalFailed as error:
            log_once(log, "recording that the end of a job was announced", error, drop.folder)
            return
        del self._told[end]

    def _run_hook(self, drop: Drop, stop: threading.Event) -> str:
        """What came of the command, in words; empty where none is set."""
        command = self._settings.on_finished
        if not command:
            return ""
        folder = self._settings.folder / drop.folder
        facts = {
            "RESCALEFS_JOB": drop.job_id or "",
            "RESCALEFS_FOLDER": str(folder),
            "RESCALEFS_NAME": drop.name,
            "RESCALEFS_STATUS": drop.status,
            **_ending_of(drop),
        }
        limit = self._settings.on_finished_limit
        begun = self._clock.monotonic()
        try:
            code, output = self._run(["sh", "-c", command], facts, limit, stop)
        except OSError as error:
            log.warning("on_finished for job %s could not be started: %s", drop.job_id, error)
            return f"on_finished could not be started: {error}"
        log.info("on_finished for job %s ended with %s: %s", drop.job_id, code, output)
        if code is None:
            return f"on_finished was ended after {duration_text(limit)}, its time limit"
        if code != 0:
            last = output.splitlines()[-1:] or ["it said nothing"]
            return f"on_finished failed with exit code {code}: {last[0]}"
        return f"on_finished ran for {duration_text(self._clock.monotonic() - begun)}"

    def _notify(self, drop: Drop, stop: threading.Event) -> None:
        tool = surroundings.program("notify-send")
        if tool is None or not {"DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS"} & os.environ.keys():
            return
        title = printable(f"{drop.folder}: {drop.outcome.words if drop.outcome else drop.status}")
        text = printable(f"Job {drop.job_id} has ended")
        with contextlib.suppress(OSError):
            code, output = self._run([tool, "-a", "rescalefs", "--", title, text], {}, _NOTICE_LIMIT, stop)
            log.debug("notify-send ended with %s: %s", code, output)

    def _run(
        self, command: Sequence[str], facts: Mapping[str, str], limit: float, stop: threading.Event
    ) -> tuple[int | None, str]:
        """Exit code, None when it took too long and was killed, and the end of what it said."""
        deadline = self._clock.monotonic() + limit
        where = Path(facts.get("RESCALEFS_FOLDER", "/"))
        with _unnamed_file() as output:
            process = subprocess.Popen(  # noqa: S603  (what to run is the user's own choice)
                command,
                env=_environment(facts),
                cwd=where if where.is_dir() else "/",  # the folder may be gone
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that what it started ends with it
            )
            try:
                while process.poll() is None and self._clock.monotonic() < deadline and not stop.is_set():
                    self._clock.wait(stop, _LOOK)
            finally:
                code = process.poll()
                if code is None:
                    with contextlib.suppress(ProcessLookupError):
                        _kill_all(process)
                    _reap(process)
            if code is None and stop.is_set():
                raise CutShort
            output.seek(max(0, output.seek(0, os.SEEK_END) - _TAIL))
            return code, output.read().decode("utf-8", "replace").strip()


def _ending_of(drop: Drop) -> Mapping[str, str]:
    """How the job ended, for a command that looks at no more than its environment."""
    outcome = drop.outcome
    codes = (outcome.exit_codes or ()) if outcome is not None else ()
    return {
        "RESCALEFS_OUTCOME": outcome.result.value if outcome is not None else Result.UNKNOWN.value,
        "RESCALEFS_ENDING": outcome.words if outcome is not None else drop.status,
        "RESCALEFS_EXIT_CODE": str(next(filter(None, codes), 0)) if codes else "",
    }


def _environment(facts: Mapping[str, str]) -> dict[str, str]:
    """Ours without the key, and with the command `rescalefs` behind everything else on the PATH."""
    environment = surroundings.for_children(facts)
    own = surroundings.own_programs()
    if own is not None:
        environment["PATH"] = os.pathsep.join(filter(None, (environment.get("PATH", os.defpath), str(own))))
    return environment


def _unnamed_file() -> IO[bytes]:
    """For a command's output; in memory where the folder for temporary files takes nothing."""
    with contextlib.ExitStack() as undo:
        try:
            file = undo.enter_context(tempfile.TemporaryFile(buffering=0))
            file.write(b"x" * _TAIL)
            file.seek(0)
            file.truncate()
        except OSError:
            return os.fdopen(os.memfd_create("output"), "w+b", buffering=0)
        undo.pop_all()
        return file


def _reap(process: subprocess.Popen[bytes]) -> None:
    """Wait for a killed process, but not for one that the kernel itself holds, as on a dead network disk."""
    try:
        process.wait(_REAPING)
    except subprocess.TimeoutExpired:
        log.warning("process %s does not end though it was killed", process.pid)


def _kill_all(process: subprocess.Popen[bytes]) -> None:
    """What it started, too, where there are process groups."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:  # Windows
        process.kill()
