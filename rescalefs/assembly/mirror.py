"""All that `rescalefs sync` needs: the account as real files, without a mount."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rescalefs.assembly.client import account_of, client_for
from rescalefs.assembly.download import UNMETERED, connections_for
from rescalefs.assembly.memory import keep_few_arenas
from rescalefs.assembly.places import key_of, places_of
from rescalefs.assembly.renewal import renewed
from rescalefs.assembly.tails import Tails
from rescalefs.background import Background
from rescalefs.belonging import Belonging, OtherAccount, Verdict
from rescalefs.clock import SystemClock
from rescalefs.config import Settings
from rescalefs.databases import disk_words
from rescalefs.errors import Misconfigured, RescaleFSError, Unauthenticated, UserError
from rescalefs.exclusion import Taken, exclusive
from rescalefs.mirror import (
    DropNotes,
    Ledger,
    LiveCopies,
    Mirror,
    Report,
    Selection,
    Shelf,
    Transfers,
    reason,
)
from rescalefs.model import Job, RemoteFile
from rescalefs.private import make_private
from rescalefs.tree import Sorting, Tree, TreeSettings

if TYPE_CHECKING:
    from rescalefs.submit import Submitter

log = logging.getLogger(__name__)

_BELONGING = "belonging"  # the name under which the folder's ledger knows whose it is
_NOTES_EVERY = 0.5  # seconds between two looks at what to write into dropped folders

Tell = Callable[[str, str, str], None]


class _Base:
    """What a sync stands on."""

    def __init__(self, settings: Settings, heard: Callable[[int], None]) -> None:
        keep_few_arenas()
        self.settings = settings
        self.clock = SystemClock()
        self.account = account_of(settings)
        self.places = places_of(settings, self.account)
        self.client = client_for(settings, self.account, self.clock, unmetered=UNMETERED)
        self.background = Background()
        self._heard = heard
        self.undo = ExitStack()
        self.undo.callback(self.client.close)

    def transfers(self, parts: Path) -> Transfers:
        return Transfers(
            self.client,
            parts,
            self.clock,
            self.background,
            connections_for(self.settings),
            verify=self.settings.verify != "off",
            heard=self._heard,
        )

    def tree(self, verification: Callable[[RemoteFile], str]) -> Tree:
        listings = TreeSettings(
            directory=self.places.listings,
            poll_every=self.settings.poll_every,
            sorting=Sorting(self.settings.split_types, self.settings.hide_types),
        )
        self.places.make(for_drops=False)
        return Tree(self.client, self.clock, self.background, listings, verification, {})

    def close(self) -> None:
        """Let go of everything; raise the first crash of a thread, if there was one."""
        try:
            self.client.close()
            self.background.close()
        finally:
            self.undo.close()


class Sync:
    """`rescalefs sync`. Made, then `run`, then `close`; `stop` from any thread, or a signal's handler."""

    def __init__(
        self,
        settings: Settings,
        root: Path,
        selection: Selection,
        *,
        dry_run: bool = False,
        same_account: bool = False,
        heard: Callable[[int], None] = lambda _: None,
    ) -> None:
        """``same_account``: a person says that the key's account is the folder's, under another name."""
        self._base = base = _Base(settings, heard)
        self._root = root = root.absolute()
        self._dry_run = dry_run
        self._same_account = same_account
        self._is_checked = False  # that the folder is of an account of this name
        self._is_confirmed = False  # that the key is of the folder's account
        self._is_refused = False  # the key was, when it was last sent
        self._with_live = selection.live
        self._wake = threading.Event()
        self._stopped = False
        own = root / ".rescalefs"
        try:
            if not dry_run:
                self._claim(root, own)
            memory = own / "mirror.sqlite" if own.is_dir() else None
            self._ledger = ledger = Ledger(memory)
            base.undo.callback(ledger.close)
            with suppress(OSError):  # the disk takes nothing now: the first round tells, and looks again
                self._check_account()
            self._shelf = Shelf(root, ledger, own / "parts", sign=memory)
            self._transfers = base.transfers(own / "parts")
            verified = "yes" if settings.verify != "off" else "no"

            def verification(file: RemoteFile) -> str:
                if file.sha512 is None:
                    return "unavailable"
                return verified if ledger.holders(file.version) else "no"

            self._tree = base.tree(verification)
            tails = Tails(base.client, base.client, self._tree.output_of, base.clock)
            self._live = live = LiveCopies(tails, self._shelf, base.clock)
            self._mirror = Mirror(
                self._tree,
                self._shelf,
                self._transfers,
                selection,
                base.clock,
                live,
                dry_run=dry_run,
            )
        except BaseException:
            base.close()
            raise

    def _claim(self, root: Path, own: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        own.mkdir(exist_ok=True, mode=0o700)
        try:
            self._base.undo.enter_context(exclusive(own / "lock"))
        except Taken as taken:
            told = "" if taken.note is None else f". If {taken.note} names one that has ended, remove it"
            raise UserError(
                f"another rescalefs syncs {root}. End it, or choose another folder{told}"
            ) from None
        except OSError as error:
            raise UserError(f"{root} cannot be synced: {_lock_words(own / 'lock', error)}") from error

    def _check_account(self) -> None:
        """Before the server is asked: a folder that has met no account yet is told by profile and host."""
        name, known = self._base.account.name, self._ledger.fact("account")
        if known is None:
            self._ledger.note_fact("account", name)
        elif known != name and self._ledger.fact(_BELONGING) is None and not self._same_account:
            raise OtherAccount(
                f"{self._root} holds the files of account {known}, this is {name}",
                f"Choose another folder, or, if they are one account: {self._remedy}",
            )
        self._is_checked = True

    @property
    def _remedy(self) -> str:
        return f"`rescalefs sync {self._root} --same-account`"

    def _belonging(self) -> Belonging | None:
        text = self._ledger.fact(_BELONGING)
        return None if text is None else Belonging.parsed(text)

    def _confirm(self) -> None:
        """Return when the server has said that the key is of the folder's account; or raise `OtherAccount`.

        Raises `ApiError` when the server does not say.
        """
        if self._is_confirmed:
            return
        if not self._is_checked:
            self._check_account()
        user, key, known = self._base.client.user(), key_of(self._base.account), self._belonging()
        if known is None or self._same_account:
            after = Belonging.of(user, key)
        elif known.verdict(user, key) is Verdict.SAME:
            after = known.completed(user).with_key(key)
        else:
            raise OtherAccount(
                f"{self._root} holds the files of {known}, and the API key is of {Belonging.of(user, key)}",
                f"Choose another folder. If both are one account that was renamed: {self._remedy}",
            )
        if not self._dry_run:
            self._note(_BELONGING, after.text())
            self._note("account", self._base.account.name)
        self._is_confirmed = True

    def _note(self, name: str, value: str) -> None:
        """Note a fact, unless it is known: a full disk is no reason not to begin."""
        if self._ledger.fact(name) != value:
            self._ledger.note_fact(name, value)

    def stop(self) -> None:
        """End soon."""
        self._stopped = True
        self._mirror.stop()
        self._base.client.close()
        self._wake.set()

    def once(self, report: Report) -> None:
        """One round. What fails is in the report; raises what makes all of it fail."""
        if not self._dry_run:
            self._transfers.start()
            self._shelf.check()
        self._confirm()
        self._round(self._base.client.jobs(), report)

    def keep_going(self, rounds: Callable[[], Report], done: Callable[[Report], None]) -> None:
        """Round after round until `stop`, with the drop folder; ``done`` hears of each round."""
        self._transfers.start()
        self._tree.start()
        if self._with_live:
            self._base.background.start("live-copies", self._live.keep_up)
            self._base.background.start("live-names", self._mirror.look_for_begun)
        notes: DropNotes | None = None
        began = False
        while not self._stopped:
            report = rounds()
            notes = notes or self._try_drops(report)
            began = self._try_round(report, began) or began
            if not self._stopped:
                done(report)
            self._wait(notes)

    def _try_drops(self, report: Report) -> DropNotes | None:
        """Start what looks after the drop folder; None where the disk does not take that now."""
        try:
            return DropNotes(self._shelf, self._start_submitter())
        except UserError:
            raise
        except (RescaleFSError, OSError) as error:
            report.note("fail", "submit", reason(error, "the drop folder"))
            return None

    def _try_round(self, report: Report, began: bool) -> bool:
        """One round; whether there was one. Whatever hinders it may pass: the next one tries again.

        Except at the very beginning: a key that is refused or is another account's, and a setting that keeps
        us from the server, are for the person who is looking to mend.
        """
        try:
            self._shelf.check()
            if self._is_refused:
                self._renew_key()
            self._confirm()
            self._round(self._tree.jobs() if began else self._base.client.jobs(), report)
            self._is_refused = self._mirror.is_refused
        except Exception as error:
            self._is_refused = self._is_refused or isinstance(error, Unauthenticated)
            if isinstance(error, (Unauthenticated, OtherAccount, Misconfigured)) and not began:
                raise
            if not self._stopped:
                report.note("fail", "", reason(error, "a round"))
            return False
        return True

    def _renew_key(self) -> None:
        """Go on with the key that the profile has by now, once the server says that it is of this account."""
        base = self._base
        found = renewed(base.settings, base.account, base.clock, self._belonging())
        if found is None:
            return
        log.info("going on with the key that is now in the profile")
        base.account, self._is_confirmed = found[0], False
        base.client.take_key(base.account.api_key)

    def _start_submitter(self) -> Submitter:
        # Imported here: one round needs neither a journal nor a watcher.
        from rescalefs.assembly.folder import submit_settings
        from rescalefs.submit import Submitter
        from rescalefs.submit.journal import Journal
        from rescalefs.submit.warden import inherit

        base, own = self._base, self._root / ".rescalefs"
        usual = submit_settings(base.settings, base.account, base.places)
        # The journal lies beside its drop folder: each folder that is synced is one of its own.
        remedy = f"If both are one account that was renamed: {self._remedy}"
        settings = replace(usual, folder=self._root / "submit", journal=own / "journal.sqlite", remedy=remedy)
        make_private(settings.folder)
        with closing(Journal(settings.journal)) as journal:
            # With `same_account`, what the ledger says is of before: the next answer is what counts.
            known = None if self._same_account else self._belonging()
            inherit(journal, known, instead=self._same_account)
        submitter = Submitter(
            base.client,
            settings,
            base.clock,
            base.background,
            heard=self._job_moved,
            made=self._job_made,
            concluded=self._tree.concluded,
        )
        try:
            submitter.start()
        except BaseException:
            submitter.close()
            raise
        base.undo.callback(submitter.close)
        return submitter

    def _job_made(self, job: Job) -> None:
        self._tree.made(job)
        self._wake.set()

    def _job_moved(self, job_id: str, status: str) -> None:
        """A dropped job has a new status: don't wait for the next round."""
        self._tree.heard(job_id, status)
        self._wake.set()

    def _wait(self, notes: DropNotes | None) -> None:
        """Until the next round is due, or something happened."""
        until = self._base.clock.monotonic() + self._base.settings.poll_every
        while not self._stopped:
            if notes is not None:
                notes.write()
            left = until - self._base.clock.monotonic()
            if left <= 0 or self._base.clock.wait(self._wake, min(left, _NOTES_EVERY)):
                break
        self._wake.clear()
        if self._base.background.stopping:
            self._stopped = True  # a thread has crashed; `close` says which

    def _round(self, jobs: tuple[Job, ...], report: Report) -> None:
        self._mirror.round(jobs, report)

    def close(self) -> None:
        """Let go of everything."""
        self._mirror.stop()
        self._base.close()


def _lock_words(file: Path, error: OSError) -> str:
    """Why a file cannot be locked, and what to do."""
    return disk_words(file.parent, error) or (
        f"{file} cannot be locked ({error.strerror}). "
        "Choose a folder on another disk; `rescalefs download` needs no locks"
    )
