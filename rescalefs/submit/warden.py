"""Keeps the drops of one account from being judged, or acted on, by another account's API key."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from typing import Any, cast

import msgspec

from rescalefs.belonging import Belonging, Key, OtherAccount, Verdict
from rescalefs.clock import Clock
from rescalefs.errors import TimedOut
from rescalefs.model import User
from rescalefs.submit.journal import Journal
from rescalefs.submit.service import JobService

log = logging.getLogger(__name__)

REMEDY = (
    "Use the key of the former, or a profile of its own for the latter (`rescalefs login --profile NAME`, "
    "then `--profile NAME`). If both are one account that was renamed: `rescalefs drops --same-account`"
)
"""What to do about another account's key."""

_FACT = "account"  # the name under which a journal knows whose it is
_PATIENCE = 120.0  # seconds for the answer that another thread waits for: the client has its own limits
_AGAIN = 30.0  # seconds for which a refusal holds: a person may have said meanwhile that it is one account


class Warden:
    """Lets requests to the server pass once it has confirmed that the key is of the journal's account.

    The first account that is confirmed becomes the journal's. So does another one as long as ``is_unused``
    says that there is no drop. Thread-safe; no lock is held while the server is asked.
    """

    def __init__(
        self,
        service: JobService,
        key: Key,
        journal: Journal,
        clock: Clock,
        is_unused: Callable[[], bool] = lambda: False,
        remedy: str = REMEDY,
    ) -> None:
        self.service = cast("JobService", _Guarded(service, self.confirm))
        self._asked = service
        self._key = key
        self._journal = journal
        self._clock = clock
        self._is_unused = is_unused
        self._remedy = remedy
        belonging = recorded(journal)
        # The key is known, or the first one: then it is most likely the account's.
        self._is_plausible = belonging is None or belonging.knows(key)
        self._confirmed = False  # once and for all: a key stays its account's
        self._lock = threading.Lock()  # guards the three below
        self._flight: Future[None] | None = None
        self._refusal: OtherAccount | None = None
        self._refused_until = 0.0  # monotonic

    @property
    def refusal(self) -> str:
        """Why this key may not act here, in a few words; empty where it may, or where that is not known."""
        with self._lock:
            return self._refusal.why if self._refusal is not None else ""

    @property
    def is_plausible(self) -> bool:
        """Whether what is dropped now is for this account, as far as that can be known without the server."""
        with self._lock:
            return self._confirmed or (self._is_plausible and self._refusal is None)

    def confirm(self) -> None:
        """Return when the key is known to be of this account.

        Raises `OtherAccount` when it is not, and `ApiError` when the server does not say.
        """
        if self._confirmed:
            return
        with self._lock:
            if self._refusal is not None and self._clock.monotonic() < self._refused_until:
                raise OtherAccount(self._refusal.why, self._remedy)
            flight = self._flight
            is_mine = flight is None
            if flight is None:
                flight = self._flight = Future()
        if is_mine:
            self._fly(flight)
        try:
            flight.result(timeout=_PATIENCE)
        except NotInTime:
            raise TimedOut("the server has not said in time whose API key this is") from None

    def _fly(self, flight: Future[None]) -> None:
        """Ask, and settle the promise whatever comes of it."""
        try:
            self.judge(self._asked.user())
        except BaseException as error:  # noqa: BLE001  # raised to all who wait
            flight.set_exception(error)
        else:
            flight.set_result(None)
        finally:
            with self._lock:
                self._flight = None

    def renew(self, key: Key, user: User) -> None:
        """Go on with another key, of ``user``. Raises `OtherAccount` where it is of another account."""
        self._key = key
        self.judge(user)

    def judge(self, user: User) -> None:
        """Note whose key the server says it is. Raises `OtherAccount`."""
        try:
            accept(user, self._key, self._journal, self._is_unused, self._remedy)
        except OtherAccount as error:
            with self._lock:
                is_news = self._refusal is None
                self._refusal, self._refused_until = error, self._clock.monotonic() + _AGAIN
            if is_news:
                log.warning("%s", error)
            raise
        with self._lock:
            self._refusal = None
            self._confirmed = True


class _Guarded:
    """A service of which every method first makes sure whose key it is."""

    def __init__(self, service: JobService, confirm: Callable[[], None]) -> None:
        self._service = service
        self._confirm = confirm

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._service, name)

        def guarded(*arguments: Any, **named: Any) -> Any:
            self._confirm()
            return method(*arguments, **named)

        return guarded


def recorded(journal: Journal) -> Belonging | None:
    """The account that the journal belongs to; None where it has not met one."""
    text = journal.fact(_FACT)
    if text is None:
        return None
    try:
        return Belonging.parsed(text)
    except msgspec.MsgspecError as error:
        log.warning("the journal does not say legibly whose its drops are: %s", error)
        return Belonging(email="an account that cannot be read")  # no key is of it: a person has to say so


def accept(
    user: User,
    key: Key,
    journal: Journal,
    is_unused: Callable[[], bool] = lambda: False,
    remedy: str = REMEDY,
) -> None:
    """Record that the key of ``user`` is of the journal's account, or raise `OtherAccount`."""
    known = recorded(journal)
    if known is None or (known.verdict(user, key) is not Verdict.SAME and is_unused()):
        take_over(user, key, journal)
        return
    if known.verdict(user, key) is not Verdict.SAME:
        raise OtherAccount(refusal(known, Belonging.of(user, key)), remedy)
    after = known.completed(user).with_key(key)
    if after != known:
        journal.note(_FACT, after.text())


def take_over(user: User, key: Key, journal: Journal) -> Belonging:
    """Record that the journal, and all drops in it, belong to the account of ``user``."""
    belonging = Belonging.of(user, key)
    journal.note(_FACT, belonging.text())
    return belonging


def inherit(journal: Journal, belonging: Belonging | None, instead: bool) -> None:
    """Have a journal that has met no account belong to that of its folder, which is ``belonging``.

    With ``instead``, it belongs to no other account any more. Without ``belonging``, the next one is the one.
    """
    if instead:
        journal.forget_fact(_FACT)
    if belonging is not None and (instead or journal.fact(_FACT) is None):
        journal.note(_FACT, belonging.text())


def refusal(known: Belonging, now: Belonging) -> str:
    """Whose drops these are, and whose key it is, in words."""
    return f"these drops belong to {known}, and the API key is of {now}, so nothing is done for them"
