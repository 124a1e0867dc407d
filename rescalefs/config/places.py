"""Where things are kept on this machine, for one account."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from rescalefs.config.home import home_needed
from rescalefs.errors import UserError
from rescalefs.private import make_private

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Places:
    """Files and folders of one account."""

    blocks: Path  # bytes of remote files; may be lost
    listings: Path  # what the account was last known to hold; may be lost
    live: Path  # what is known of files that still grow; may be lost
    drops: Path  # what people drop; theirs
    journal: Path  # what became of each drop; must not be lost
    log: Path  # of a mount in the background

    def make(self, *, for_drops: bool = True) -> None:
        """Make the folders that are missing, closed to other users.

        Those for drops must be there to take drops; raise UserError where they cannot be made. All else does
        without.
        """
        share = self.blocks.parent
        for folder in (share.parent.parent, share.parent, share):
            _make(folder, must=False)
        for folder in (self.drops.parent, self.drops, self.journal.parent):
            _make(folder, must=for_drops)

    @classmethod
    @home_needed()
    def of(cls, account: str, cache_dir: Path, share: str = "") -> Places:
        """The places of an account, by its name. Nothing is made yet.

        ``share`` is the part of the cache that belongs to the API key's account, where other accounts were
        met under this name before.
        """
        data = platformdirs.user_data_path("rescalefs", appauthor=False) / account
        state = platformdirs.user_state_path("rescalefs", appauthor=False) / account
        cache = cache_dir / account / share
        return cls(
            blocks=cache / "blocks",
            listings=cache / "listings",
            live=cache / "live",
            drops=data / "submit",
            journal=state / "journal.sqlite",
            log=state / "mount.log",
        )


def _make(folder: Path, *, must: bool) -> None:
    try:
        make_private(folder)
    except OSError as error:
        if must:
            raise UserError(
                f"cannot make {folder}: {error.strerror}. Make room for it, or see to its permissions; "
                "`rescalefs mount --read-only` does without"
            ) from error
        log.warning("cannot make %s (%s); going on without", folder, error.strerror)
