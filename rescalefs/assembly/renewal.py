"""Takes a renewed API key of the same account into a running process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing

from rescalefs.assembly.client import account_of, client_for
from rescalefs.assembly.places import key_of
from rescalefs.belonging import Belonging, OtherAccount, Verdict
from rescalefs.clock import Clock
from rescalefs.config import Account, Settings, profile_path
from rescalefs.containment import contained
from rescalefs.errors import ApiError, RescaleFSError
from rescalefs.model import User

log = logging.getLogger(__name__)

_LOOK_EVERY = 1.0  # seconds between two looks at the dates of the profile file
_AGAIN = 10.0  # seconds after which a profile is read again while the server refuses the key

_Look = tuple[int, int, int]


def renewed(
    settings: Settings, account: Account, clock: Clock, known: Belonging | None
) -> tuple[Account, User] | None:
    """The account with the key that its profile has by now, and the key's user; None if it is the old key.

    Raises `OtherAccount` if the new key is not of ``known``, and `ApiError` when the server does not say.
    Raises `BadSettings` where the profile cannot be read.
    """
    fresh = account_of(settings)
    if fresh.api_key == account.api_key:
        return None
    if fresh.server != account.server:
        raise OtherAccount(
            f"it is of {fresh.server}, and this process works with {account.server}", _remedy("server")
        )
    with closing(client_for(settings, fresh, clock)) as client:
        user = client.user()
    if known is not None and known.verdict(user, key_of(fresh)) is not Verdict.SAME:
        now = Belonging.of(user, key_of(fresh))
        raise OtherAccount(f"it is of {now}, and this process works with {known}", _remedy("account"))
    return fresh, user


def _remedy(what: str) -> str:
    return f"Put a key of the former account into the profile, or restart to change the {what}"


class Renewal:
    """Looks for a renewed key in the profile, by a thread of its own, and hands it to ``take``.

    A key from `RESCALE_API_KEY` never changes, because a process' environment does not.
    No lock is held: the thread alone writes, and `refusal` is replaced whole.
    """

    def __init__(
        self,
        settings: Settings,
        account: Account,
        clock: Clock,
        known: Callable[[Account], Belonging | None],
        take: Callable[[Account, User], None],
        is_refused: Callable[[], bool],
    ) -> None:
        """``known``: whose key the account's is, as it was recorded; None where it was not.

        ``is_refused``: whether the server refuses the key now.
        """
        self._settings = settings
        self._account = account
        self._clock = clock
        self._known = known
        self._take = take
        self._is_refused = is_refused
        self.refusal = ""
        """Why the key that is now in the profile is not taken; empty where it is taken."""

    def run(self, stop: threading.Event) -> None:
        """Look until ``stop`` is set."""
        seen, due = None, self._clock.monotonic()  # None: the file may have changed before this thread began
        while not self._clock.wait(stop, _LOOK_EVERY):
            now, look = self._clock.monotonic(), _look()
            if look != seen or (now >= due and (self._is_refused() or self.refusal)):
                seen, due = look, now + _AGAIN
                with contained(log, "looking for a renewed API key"):
                    self.look()

    def look(self) -> None:
        """Take the key that is in the profile, if it is a new one of this account."""
        known = self._known(self._account)
        try:
            found = renewed(self._settings, self._account, self._clock, known)
        except OtherAccount as error:
            self._refuse(f"the new API key in the profile is not taken: {error}")
        except ApiError as error:
            self._refuse(f"the new API key in the profile could not be checked: {error}")
        except (RescaleFSError, OSError) as error:
            self._refuse(f"the profile cannot be read for a new API key: {error}")
        else:
            if found is not None and known is None:
                self._refuse("there is a new API key in the profile. Restart to use it")
                return
            self.refusal = ""
            if found is not None:
                self._take(*found)
                self._account = found[0]
                log.info("going on with the API key that is now in the profile")

    def _refuse(self, why: str) -> None:
        if why != self.refusal:
            log.warning("%s", why)
        self.refusal = why


def _look() -> _Look | None:
    """What changes when the profile file does; None where there is no file."""
    try:
        found = profile_path().stat()
    except (OSError, RescaleFSError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
