"""One account, several profiles or keys: which journal already knows a folder.

Journals are named after profile and host, or after a key from the environment. A folder that was submitted
with one profile is not submitted again with another one of the same account.
"""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

from rescalefs.belonging import Key, Verdict
from rescalefs.clock import SystemClock
from rescalefs.errors import NotFound, UserError
from rescalefs.model import User
from rescalefs.submit import JobService
from rescalefs.submit.folder import identity
from rescalefs.submit.journal import Journal
from rescalefs.submit.ledger import Ledger
from rescalefs.submit.machine import Drop
from rescalefs.submit.recognition import has_job
from rescalefs.submit.warden import recorded

log = logging.getLogger(__name__)


def account_that_knows(folder: Path, own: Path, key: Key, service: JobService) -> str | None:
    """The account's name, as in paths, whose journal has a job of this folder; None where only ``own`` may.

    ``own`` is the journal of the profile in use. Only journals of the account of the key count.
    """
    others = [each for each in sorted(own.parent.parent.glob("*/journal.sqlite")) if each != own]
    user = service.user() if others else User("")
    knows = (path.parent.name for path in others if _knows(path, folder, user, key, service))
    return next(knows, None)


def _knows(path: Path, folder: Path, user: User, key: Key, service: JobService) -> bool:
    try:
        with closing(Journal(path)) as journal:
            drop = _drop_of(folder, journal)
            return drop is not None and _is_same_account(journal, drop, user, key, service)
    except UserError as error:  # damaged: that profile's trouble
        log.warning("%s cannot be asked whether it knows %s: %s", path, folder, error)
        return False


def _drop_of(folder: Path, journal: Journal) -> Drop | None:
    ledger = Ledger(journal, SystemClock())
    ledger.catch_up()
    seen, name = identity(folder), str(folder)
    for drop in reversed(ledger.drops()):
        is_it = drop.inode == seen.inode and (drop.folder == name or drop.born == seen.born is not None)
        if has_job(drop) and is_it:
            return drop
    return None


def _is_same_account(journal: Journal, drop: Drop, user: User, key: Key, service: JobService) -> bool:
    belonging = recorded(journal)
    if belonging is not None:
        return belonging.verdict(user, key) is Verdict.SAME
    try:  # a journal of before: its job tells
        return drop.job_id is not None and service.job(drop.job_id).job.id == drop.job_id
    except NotFound:
        return False
