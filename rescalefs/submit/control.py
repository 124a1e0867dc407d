"""Stopping a job from its drop."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

from rescalefs.submit.folder import open_listed
from rescalefs.submit.journal import JournalFailed, Overtaken
from rescalefs.submit.ledger import Ledger
from rescalefs.submit.listing import Entry, Kind, Listing
from rescalefs.submit.machine import Drop, OutOfPlace, State, StopAsked
from rescalefs.submit.report import CONTROL_FILE
from rescalefs.submit.service import JobService

log = logging.getLogger(__name__)

STOP = "stop"


class Control:
    """Stops jobs by the folder they came from. Thread-safe."""

    def __init__(self, service: JobService, ledger: Ledger) -> None:
        self._service = service
        self._ledger = ledger

    def can_stop(self, folder: str) -> bool:
        """Whether there is a job that has not ended."""
        drop = self._ledger.at(folder)
        return drop is not None and drop.job_id is not None and not drop.state.is_terminal

    def stop(self, folder: str) -> None:
        """Tell the server to stop the job; return once it has said yes. ESRCH where none runs."""
        drop = self._ledger.at(folder)
        if drop is None or drop.state is not State.RUNNING or drop.job_id is None:
            log.warning("drop %s: there is no job that runs, so none that could be stopped", folder)
            raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))
        self._service.stop_job(drop.job_id)
        log.info("job %s of drop %s has been told to stop", drop.job_id, folder)
        self._note(drop)

    def _note(self, drop: Drop) -> None:
        """Write it down; if the job got on, or ended, meanwhile, after that."""
        try:
            self._ledger.record(drop, StopAsked())
        except Overtaken:
            self._note(self._ledger.drop(drop.id))
        except OutOfPlace:
            log.debug("job %s has ended before that was written down", drop.job_id)
        except JournalFailed as error:  # the server has been told all the same, and that is what counts
            log.warning("that job %s has been told to stop is not written down: %s", drop.job_id, error)


def is_ordered(word: str, folder: Path, entry: Entry | None) -> bool:
    """Whether the file `control`, which is ``entry``, holds this word: before there is a job it is a file."""
    if entry is None or entry.kind is not Kind.FILE or entry.size > len(word) + 2 or not entry.readable:
        return False
    file = open_listed(folder, entry)
    if file is None:  # it was replaced in this moment, and is looked at afresh
        return False
    with file:
        return file.read().strip() == word.encode()


def stop_is_ordered(folder: Path, listing: Listing) -> bool:
    """Whether `stop` was written into the drop's `control` before there was a job."""
    return is_ordered(STOP, folder, listing.by_path.get(CONTROL_FILE))
