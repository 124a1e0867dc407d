"""The drop folder's service: plugs the parts of this room together and runs them."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

from rescalefs.background import Background, Rounds
from rescalefs.belonging import Key, OtherAccount
from rescalefs.clock import Clock
from rescalefs.containment import log_once, shortened
from rescalefs.errors import RescaleFSError
from rescalefs.filesystems import lack_words
from rescalefs.model import Job, Outcome, User
from rescalefs.private import make_private
from rescalefs.submit.control import Control
from rescalefs.submit.farewell import Farewell
from rescalefs.submit.folder import folders
from rescalefs.submit.journal import NO_LOCKS_REMEDY, Journal, JournalFailed, Overtaken
from rescalefs.submit.ledger import Ledger
from rescalefs.submit.machine import Drop, OutOfPlace
from rescalefs.submit.owner import Tenure
from rescalefs.submit.pace import retry_delay
from rescalefs.submit.poller import Poller
from rescalefs.submit.problems import printable
from rescalefs.submit.report import DropReport
from rescalefs.submit.service import JobService
from rescalefs.submit.settings import SubmitSettings
from rescalefs.submit.survey import Survey, below
from rescalefs.submit.uploads import Carrier, Depot
from rescalefs.submit.warden import REMEDY, Warden
from rescalefs.submit.watcher import Hints, Watcher
from rescalefs.submit.worker import Worker

log = logging.getLogger(__name__)

_LOOK_AGAIN = 15.0  # seconds between two questions whose API key it is, at most
_TURN = 2.0  # seconds between two attempts to take over from another daemon
_UNSEEING = "this process, which cannot look at the drop folder, so nothing new is taken: {}"
_BURST = 0.2  # seconds in which hints are gathered, so that a copy of many files costs few looks


class Submitter:
    """Makes exactly one job of every folder dropped into `settings.folder`, and follows it to its end.

    Of several daemons on one folder or journal one acts; the others show that, and take over when it ends.
    The views (`status`, `log`, `job_id`, `can_stop`) touch neither disk nor network; `stop` asks the server.
    Call `close` after the background's.
    """

    def __init__(
        self,
        service: JobService,
        settings: SubmitSettings,
        clock: Clock,
        background: Background,
        unfinished: Callable[[Path], str] = lambda _: "",
        heard: Callable[[str, str], None] = lambda _job_id, _status: None,
        made: Callable[[Job], None] = lambda _: None,
        concluded: Callable[[str, Outcome], None] = lambda _job_id, _outcome: None,
        user: User | None = None,
    ) -> None:
        """``unfinished``: what a folder still waits for besides time; empty for nothing.
        ``user``: whose key it is, if that was asked already.

        ``made`` is told each job of a drop, ``heard`` each new status of one, ``concluded`` how it ended,
        before a drop shows it.
        """
        self._settings = settings
        self._clock = clock
        self._background = background
        self._journal = Journal(settings.journal, patient=True)
        self._ledger = Ledger(self._journal, clock)
        self._warden = Warden(
            service, settings.key, self._journal, clock, self._is_unused, settings.remedy or REMEDY
        )
        service = self._warden.service  # all of this room asks the server for this account, or not at all
        self._depot = Depot(clock)
        self._carrier = Carrier(
            service,
            settings,
            clock,
            self._journal,
            self._depot,
            trouble=self._ledger.trouble,
            well=self._ledger.well,
            ring=self._ledger.ring,
        )
        self._worker = Worker(service, settings, clock, self._ledger, self._depot, made=made)
        self._poller = Poller(service, settings, clock, self._ledger, heard, concluded)
        self._control = Control(service, self._ledger)
        self._farewell = Farewell(settings, clock, self._ledger)
        self._survey = Survey(settings, clock, self._ledger, self._journal, unfinished)
        self._tenure = Tenure(settings, self._journal, clock)
        if user is not None:
            with contextlib.suppress(OtherAccount, JournalFailed):  # a thread of ours tries it again
                self._warden.judge(user)
        places = (settings.journal.parent, settings.folder.parent)
        self._lack = next(filter(None, (lack_words(each, NO_LOCKS_REMEDY) for each in places)), "")
        if self._lack:
            log.warning("drops in %s are shown and not submitted: %s", settings.folder, self._lack)
        self._is_writable = False  # the journal was, when it was last tried
        self._actor = self._objection() or "nobody yet"  # replaced whole, by the surveying thread
        self._bell = self._ledger.bell()
        self._hints = Hints(self._bell.set)

    def start(self) -> None:
        """Start to watch and to work."""
        make_private(self._settings.folder)
        self._ledger.catch_up()
        self._background.start("submit-account", self._make_sure)
        self._background.start("submit", self._run)
        self._background.start("submit-bell", self._ring_at_the_end)

    def close(self) -> None:
        """Let go of the journal and of the right to act. Its threads must have ended."""
        self._tenure.release()
        self._journal.close()

    def renew(self, key: Key, user: User) -> None:
        """Go on with a renewed key, which is of ``user``, and try at once what waits for it."""
        with contextlib.suppress(OtherAccount, JournalFailed):  # the next request tries it again
            self._warden.renew(key, user)
        self._depot.hurry()
        self._bell.set()

    def status(self, drop: str) -> bytes | None:
        """The content of a drop's `status`; None where there is no such drop."""
        text = self._ledger.status(drop)
        refusal = self._warden.refusal
        if text is None or not refusal or not self._ledger.is_open(drop):
            return text
        return text.rstrip(b"\n") + f" ({printable(refusal)})\n".encode("utf-8", "surrogateescape")

    def log(self, drop: str) -> bytes | None:
        """The content of a drop's `status.log`."""
        return self._ledger.log(drop)

    def job_id(self, drop: str) -> str | None:
        """The job that a drop became; None before it did."""
        return self._ledger.job_id(drop)

    def can_stop(self, drop: str) -> bool:
        """Whether a drop has a job that has not ended."""
        return self._control.can_stop(drop)

    def stop(self, drop: str) -> None:
        """Stop the job of a drop; this one asks the server. OSError ESRCH where none runs."""
        self._control.stop(drop)

    def drops(self) -> tuple[DropReport, ...]:
        """All drops that the journal knows."""
        return self._ledger.reports()

    @property
    def actor(self) -> str:
        """Who acts on the drop folder, in words."""
        return self._actor

    @property
    def takes_drops(self) -> bool:
        """Whether what is dropped now is for the account of the API key, as far as that is known."""
        return self._warden.is_plausible

    def nudge(self, path: Path) -> None:
        """Look at the drop that ``path`` (in the backing directory) lies in, now."""
        name = below(self._settings.folder, path)
        if name is not None:
            self._hints.add(name)

    # Bodies of threads.

    def _ring_at_the_end(self, stop: threading.Event) -> None:
        """Wake all others once, when they are to end."""
        while not self._clock.wait(stop, _LOOK_AGAIN):
            pass
        self._ledger.ring()

    def _make_sure(self, stop: threading.Event) -> None:
        """Find out whose API key it is, and again as long as it is the wrong one or the server is silent."""
        failures = 0
        while not stop.is_set():
            try:
                self._warden.confirm()
            except OtherAccount:
                self._ledger.ring()
                delay = _LOOK_AGAIN
            except Exception as error:  # noqa: BLE001  # whatever an answer raises: it is asked again
                failures += 1
                delay = min(_LOOK_AGAIN, retry_delay(failures, random.random()))
                log.debug("whose API key it is, is not known: %s; asking again in %.0f s", error, delay)
            else:
                self._ledger.ring()
                return
            self._clock.wait(stop, delay)

    def _run(self, stop: threading.Event) -> None:
        is_begun = False
        while self._wait_for_turn(stop):
            log.info("watching %s", self._settings.folder)
            self._ledger.catch_up()
            if not is_begun:
                self._begin()
                is_begun = True
            watcher = Watcher(self._settings.folder, self.nudge)
            watcher.start()
            try:
                self._watch(stop)
            finally:
                watcher.stop()
            if self._warden.refusal:
                self._tenure.release()  # to a daemon of the right account

    def _begin(self) -> None:
        """Start what asks the server. Where the key turns out to be wrong later, it asks nothing more."""
        for number in range(self._settings.desks):
            self._background.start(f"submit-desk-{number + 1}", self._serve)
        for number in range(self._settings.uploads):
            self._background.start(f"submit-upload-{number + 1}", self._carry)
        self._background.start("submit-poll", self._poll)
        self._background.start("submit-farewell", self._announce)

    def _wait_for_turn(self, stop: threading.Event) -> bool:
        """Return True when we are the one to act, False when it is time to end."""
        while not stop.is_set():
            try:
                other = self._objection() or self._tenure.acquire()
                if not other:
                    self._actor = "this process"
                    return True
                self._ledger.catch_up()
            except (RescaleFSError, OSError) as error:
                other = f"nobody: {_words(error)}"
            if other != self._actor:
                log.warning("this rescalefs only shows %s; who acts on it: %s", self._settings.folder, other)
                self._actor = other
            self._clock.wait(stop, _TURN)
        return False

    def _objection(self) -> str:
        """Why the drop folder is not this key's to look after; nothing where it is, or most likely is."""
        if self._lack:  # another process could not be kept from submitting the same folder
            return f"nobody: {self._lack}"
        refusal = self._warden.refusal
        if refusal:
            return f"nobody: {refusal}. {self._settings.remedy or REMEDY}"
        if self._warden.is_plausible:
            return ""
        return "nobody: the API key is new here, and the server has not said yet whose it is"

    def _is_unused(self) -> bool:
        """Whether no drop can belong to the account that was here before."""
        is_empty = not self._settings.folder.is_dir() or not folders(self._settings.folder)
        return is_empty and next(self._journal.entries(), None) is None

    def _watch(self, stop: threading.Event) -> None:
        """Survey everything at first and now and then, and what is hinted at in between."""
        next_round = self._clock.monotonic()
        while not stop.is_set() and not self._warden.refusal:
            self._bell.clear()
            names = self._hints.take()
            try:
                if self._clock.monotonic() >= next_round:
                    next_round = self._clock.monotonic() + self._settings.rescan
                    self._try_journal()
                    wait = self._survey.everything()
                else:
                    wait = self._survey.hinted(names)
                if self._is_writable:
                    self._actor = "this process"
            except (Overtaken, OutOfPlace):  # a worker was first
                wait = _BURST
            except JournalFailed as error:
                self._is_writable = False
                wait = self._rest_as(f"nobody: {error}")
            except (RescaleFSError, OSError) as error:
                wait = self._rest_as(_UNSEEING.format(_words(error)))
            except Exception as error:  # noqa: BLE001  # else it would be raised again at each start
                log_once(log, "looking at the drop folder", error)
                wait = self._rest_as(_UNSEEING.format(shortened(error)))
            self._clock.wait(stop, min(_BURST, wait))
            self._clock.wait(self._bell, max(0.0, min(wait - _BURST, next_round - self._clock.monotonic())))

    def _try_journal(self) -> None:
        """Find out whether it takes events before a drop needs it; seldom, because a write wakes a disk."""
        if not self._is_writable or self._journal.is_short_of_room:
            self._journal.try_out()
            self._is_writable = True

    def _rest_as(self, actor: str) -> float:
        """Say why nothing new is taken; return in how many seconds to look again."""
        if actor != self._actor:
            log.warning("drops in %s are submitted by %s", self._settings.folder, actor)
            self._actor = actor
        return self._settings.rescan

    def _serve(self, stop: threading.Event) -> None:
        bell = self._ledger.bell()

        def serve() -> None:
            bell.clear()
            if not self._worker.serve_one(self._drops()):
                self._clock.wait(bell, self._worker.wait_time(self._drops()))

        Rounds(self._clock, log, "a desk of submit").run(serve, stop)

    def _carry(self, stop: threading.Event) -> None:
        bell = self._ledger.bell()

        def carry() -> None:
            bell.clear()
            if not self._carrier.carry_one():
                self._clock.wait(bell, self._depot.wait_time())

        Rounds(self._clock, log, "an upload").run(carry, stop)

    def _poll(self, stop: threading.Event) -> None:
        bell = self._ledger.bell()

        def poll() -> None:
            bell.clear()
            wait = self._poller.poll((*self._drops(), *self._closed_drops()))
            self._clock.wait(bell, wait)

        Rounds(self._clock, log, "following the jobs").run(poll, stop)

    def _announce(self, stop: threading.Event) -> None:
        bell = self._ledger.bell()

        def announce() -> None:
            bell.clear()
            if not self._warden.refusal:  # a daemon of the right account may announce them at the same time
                self._farewell.announce_all(stop)
            self._clock.wait(bell, self._settings.poll_most)

        Rounds(self._clock, log, "announcing jobs that have ended").run(announce, stop)

    def _drops(self) -> tuple[Drop, ...]:
        """Those in the drop folder, of this key's account; `rescalefs submit DIR` sees to its own."""
        return () if self._warden.refusal else tuple(filter(_is_ours, self._ledger.open_drops()))

    def _closed_drops(self) -> tuple[Drop, ...]:
        """Drops whose job counts as ended."""
        return () if self._warden.refusal else tuple(filter(_is_ours, self._ledger.closed_drops()))


def _is_ours(drop: Drop) -> bool:
    return not drop.is_elsewhere


def _words(error: Exception) -> str:
    """What went wrong and with which path, without the number that an `OSError` quotes."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
        return f"{where}{error.strerror}"
    return str(error)
