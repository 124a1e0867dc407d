"""`rescalefs submit DIR`: one folder, wherever it lies, on its way to a job, in the caller's thread."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rescalefs.background import Background
from rescalefs.clock import Clock
from rescalefs.containment import contained
from rescalefs.errors import UserError
from rescalefs.filesystems import NO_LOCKS
from rescalefs.private import make_private
from rescalefs.submit import machine, spec
from rescalefs.submit.examining import Shelf, examine
from rescalefs.submit.folder import (
    FolderTooLarge,
    Identity,
    identity,
    is_held,
    job_file_mark,
    keeps_identities,
    look,
)
from rescalefs.submit.journal import Journal
from rescalefs.submit.ledger import Ledger
from rescalefs.submit.listing import JOB_FILE, Listing
from rescalefs.submit.machine import Drop, State
from rescalefs.submit.owner import Tenure, claimed
from rescalefs.submit.poller import Poller
from rescalefs.submit.problems import has_control_characters, printable
from rescalefs.submit.recognition import Asks, Seen, recognise
from rescalefs.submit.report import DropReport
from rescalefs.submit.service import JobService
from rescalefs.submit.settings import SubmitSettings
from rescalefs.submit.uploads import Carrier, Depot
from rescalefs.submit.warden import Warden
from rescalefs.submit.worker import Worker

log = logging.getLogger(__name__)

Watch = Callable[[DropReport], None]


def plan(
    path: Path,
    service: JobService,
    settings: SubmitSettings,
    clock: Clock,
    *,
    hold: bool = False,
    name: str | None = None,
) -> spec.JobSpec | spec.Rejection | spec.Awaited:
    """What submitting the folder at ``path`` would send. Sends nothing, and notes nothing."""
    shelf = Shelf(service, clock)
    folder = path.resolve()
    return examine(folder, _looked_at(folder, settings), shelf, settings, _overrides(hold=hold, name=name))


def submit_folder(
    path: Path,
    service: JobService,
    settings: SubmitSettings,
    clock: Clock,
    background: Background,
    *,
    wait: bool = False,
    hold: bool = False,
    name: str | None = None,
    progress: Watch = lambda _: None,
) -> DropReport:
    """Make exactly one job of the folder at ``path``, and return when it is submitted, held, or refused.

    With ``wait``, return when the job has ended. A folder that has its job is only reported on (a held one is
    submitted, unless ``hold`` or job.json says to hold it still). ``progress`` is told whenever something
    changed. Raises UserError where the folder cannot be a drop, or another process is at it.
    """
    folder = path.resolve()
    journal = Journal(settings.journal)
    try:
        warden = Warden(service, settings.key, journal, clock)
        warden.confirm()
        service = warden.service
        with _the_only_one(folder, settings, journal, clock):
            shot = _Shot(
                folder, service, settings, clock, journal, _overrides(hold=hold, name=name), progress
            )
            return shot.run(background, wait=wait, hold=hold)
    finally:
        journal.close()


def _overrides(*, hold: bool, name: str | None) -> dict[str, Any]:
    return {**({"hold": True} if hold else {}), **({"name": name} if name else {})}


def _looked_at(folder: Path, settings: SubmitSettings) -> Listing:
    if has_control_characters(str(folder)):
        where = printable(str(folder))
        raise UserError(f"{where} has control characters or broken letters in its path; rename or move it")
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Name the folder that holds {JOB_FILE} and the inputs")
    try:
        listing = look(folder, settings.most_entries)
    except FolderTooLarge as error:
        raise UserError(f"{folder}: {error}") from error
    if listing.job_file is None:
        raise UserError(f"{folder} has no {JOB_FILE}, which says what to run; see docs/submitting.md")
    return listing


@contextlib.contextmanager
def _the_only_one(folder: Path, settings: SubmitSettings, journal: Journal, clock: Clock) -> Iterator[None]:
    """Keep the daemon, or another `submit`, from acting on the same folder."""
    if settings.folder.exists() and folder.parent == settings.folder.resolve():
        tenure = Tenure(settings, journal, clock)
        if owner := tenure.acquire():
            raise UserError(
                f"{folder} is being submitted by the mounted rescalefs, see its `status`; it is {owner}"
            )
        try:
            yield
        finally:
            tenure.release()
        return
    which = identity(folder) if folder.is_dir() else Identity(0, None)
    path = settings.journal.parent / "locks" / f"{which.inode}-{which.born}.lock"
    make_private(path.parent)
    try:
        with FileLock(path, timeout=0), claimed(folder, journal) as objection:
            if objection:
                raise UserError(f"{folder} {objection}")
            yield
    except Timeout:
        raise UserError(f"{folder} is being submitted by another `rescalefs submit`") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise UserError(
            f"{folder} is not submitted: {path} cannot be locked ({error.strerror}), so that another process "
            "might submit it as well. Set XDG_STATE_HOME to a folder on another disk"
        ) from error


class _Shot:
    """One folder's way, with the same machine, journal and worker that the drop folder has."""

    def __init__(
        self,
        folder: Path,
        service: JobService,
        settings: SubmitSettings,
        clock: Clock,
        journal: Journal,
        overrides: dict[str, Any],
        progress: Watch,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._progress = progress
        self._ledger = Ledger(journal, clock)
        self._ledger.catch_up()
        self._depot = Depot(clock)
        self._carrier = Carrier(
            service,
            settings,
            clock,
            journal,
            self._depot,
            trouble=self._ledger.trouble,
            well=self._ledger.well,
            ring=self._ledger.ring,
        )
        self._worker = Worker(service, settings, clock, self._ledger, self._depot, overrides)
        self._poller = Poller(service, settings, clock, self._ledger)
        self._bell = self._ledger.bell()
        self._over = threading.Event()  # nothing more to upload

    def run(self, background: Background, *, wait: bool, hold: bool) -> DropReport:
        """Go as far as was asked for."""
        drop = self._begin(hold=hold)
        for number in range(self._settings.uploads):
            background.start(f"submit-upload-{number + 1}", self._carry)
        try:
            self._drive(drop, wait=wait)
        finally:
            self._over.set()
            self._ledger.ring()
        report = self._ledger.report(drop.id)
        self._progress(report)
        return report

    def _drive(self, drop: Drop, *, wait: bool) -> None:
        while not self._is_far_enough(self._drop(drop), wait=wait):
            self._bell.clear()
            self._progress(self._ledger.report(drop.id))
            if self._worker.serve_one([self._drop(drop)]):
                continue
            pause = self._worker.wait_time([self._drop(drop)])
            if self._drop(drop).state is State.RUNNING:
                pause = self._poller.poll([self._drop(drop)])
            self._clock.wait(self._bell, pause)

    def _drop(self, drop: Drop) -> Drop:
        return self._ledger.drop(drop.id)

    def _is_far_enough(self, drop: Drop, *, wait: bool) -> bool:
        if drop.state is State.WAITING:  # an input that job.json names is missing
            return True
        if drop.state is State.SAVED:
            return drop.hold
        if drop.state is State.RUNNING:
            return not wait
        return drop.state is State.REJECTED or drop.state.is_terminal

    def _begin(self, *, hold: bool) -> Drop:
        """The drop that this folder is, looked at as it lies there now."""
        listing = _looked_at(self._folder, self._settings)
        which = identity(self._folder)
        drop = self._known() or self._ledger.begin(machine.Found(self._name(), which.inode, which.born))
        if not drop.here or (drop.folder, drop.inode) != (self._name(), which.inode):
            drop = self._ledger.record(drop, machine.Moved(self._name(), which.inode, which.born))
        if drop.state is State.SAVED and drop.hold and not hold and not is_held(self._folder):
            return self._ledger.record(drop, machine.Released(job_file_mark(self._folder)))
        is_other = listing.fingerprint != drop.fingerprint
        if (drop.state, machine.Changed) in machine.TRANSITIONS and (
            is_other or drop.state is State.REJECTED
        ):
            what = {} if is_other else {"what": "asked for again"}  # perhaps by other settings than before
            drop = self._ledger.record(drop, machine.Changed(**what))
        if drop.state is State.WAITING:
            drop = self._ledger.record(
                drop, machine.Settled(listing.fingerprint, job_file_mark(self._folder))
            )
        return drop

    def _known(self) -> Drop | None:
        seen, drops = identity(self._folder), self._ledger.drops()
        if keeps_identities(self._folder):
            fit = (each for each in drops if (each.inode, each.born) == (seen.inode, seen.born))
            return next(fit, None)
        present = {each.folder for each in drops if (self._settings.folder / each.folder).is_dir()}
        folder = Seen(self._name(), seen.inode, seen.born, job_file_mark(self._folder))
        found = recognise(folder, drops, present)
        if isinstance(found, Asks):
            job = f"job {found.drop.job_id}" if found.drop.job_id else "a job, which may exist"
            raise UserError(
                f"{self._folder} may have been submitted before, as {job}, and its file system does not tell "
                "for certain. To submit it as a new job, copy it under another name"
            )
        return found.drop if found is not None else None

    def _name(self) -> str:
        parent = self._settings.folder.resolve() if self._settings.folder.exists() else None
        return self._folder.name if self._folder.parent == parent else str(self._folder)

    def _carry(self, stop: threading.Event) -> None:
        bell = self._ledger.bell()
        while not (stop.is_set() or self._over.is_set()):
            bell.clear()
            is_busy = False
            with contained(log, "an upload"):
                is_busy = self._carrier.carry_one()
            if not is_busy:
                self._clock.wait(bell, self._depot.wait_time())
