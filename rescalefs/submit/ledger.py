"""What is known of all drops: the journal, and its replay in memory."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from rescalefs.clock import Clock
from rescalefs.submit.diary import Diary
from rescalefs.submit.journal import Entry, Journal, Overtaken
from rescalefs.submit.machine import ENDED, WITH_A_JOB, Drop, Event, Found, State
from rescalefs.submit.report import DropReport, Progress, is_weighty, log_lines, status_line

log = logging.getLogger(__name__)

_CLOSED = frozenset({*ENDED, State.DELETED, State.REJECTED})


@dataclass
class _Page:
    """One drop, and what its files in the folder say."""

    drop: Drop
    changed: datetime
    found: datetime
    diary: Diary = field(default_factory=Diary)
    note: str = ""  # what keeps it, as long as it does; told by who acts, not by the journal
    progress: Callable[[], Progress] | None = None


class Ledger:
    """Records events and shows what they add up to. Thread-safe.

    `record` makes an event durable first and visible then: nothing is shown that a crash could take back.
    Reading (`status`, `log`, `job_id`, `drop`, …) touches neither disk nor network.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._lock = threading.Lock()  # guards all below
        self._seq = 0  # of the newest entry that is known
        self._pages: dict[str, _Page] = {}
        self._by_folder: dict[str, str] = {}
        self._by_inode: dict[int, dict[str, None]] = {}  # number of a folder -> the drops that have or had it
        self._here: dict[str, None] = {}  # the drops whose folder is there
        self._open: dict[str, None] = {}  # the drops of which something may be expected
        self._unannounced: dict[str, None] = {}  # those whose job has, and nobody was told
        self._closed: dict[str, None] = {}  # those whose job counts as ended, deleted or refused
        self._bells: list[threading.Event] = []
        self._began: set[str] = set()  # drops that were found by this process

    def bell(self) -> threading.Event:
        """An event of the caller's own that is set whenever anything changed."""
        bell = threading.Event()
        with self._lock:
            self._bells.append(bell)
        return bell

    def ring(self) -> None:
        """Wake everyone who waits on a bell."""
        with self._lock:
            bells = tuple(self._bells)
        for bell in bells:
            bell.set()

    def record(self, drop: Drop, event: Event) -> Drop:
        """The drop after the event, durable and visible. Raises as `Journal.append` does."""
        try:
            after = self._journal.append(drop, event, self._clock.now())
        except Overtaken:
            self.catch_up()
            raise
        self.catch_up()
        return after

    def begin(self, event: Found) -> Drop:
        """A new drop."""
        drop = self.record(Drop(str(uuid.uuid4())), event)
        with self._lock:
            self._began.add(drop.id)
        return drop

    def began(self, drop_id: str) -> bool:
        """Whether this process found the drop, so that no earlier one has acted on it."""
        with self._lock:
            return drop_id in self._began

    def catch_up(self) -> None:
        """Learn what was recorded since, by whomever. No news wake nobody: who is woken looks here, too."""
        with self._lock:
            known = self._seq
        news = False
        for entry in self._journal.entries(known):
            with self._lock:
                self._turn(entry)
            news = True
        if news:
            self.ring()

    def _turn(self, entry: Entry) -> None:
        """Apply one entry; nothing where another thread already did. Under the lock."""
        if entry.seq <= self._seq:
            return
        page = self._pages.get(entry.drop_id) or _Page(Drop(entry.drop_id), entry.at, entry.at)
        before = page.drop
        page.drop = self._journal.told(before, entry)
        page.changed = entry.at
        page.diary.add(log_lines(before, entry.event, entry.at), is_weighty(entry.event))
        if page.drop.state is not before.state:
            page.note, page.progress = "", None
            page.diary.well(entry.at, self._clock.monotonic())
        self._pages[entry.drop_id] = page
        self._seq = entry.seq
        self._shelve(before, page.drop)

    def _shelve(self, before: Drop, after: Drop) -> None:
        if after.inode != before.inode:
            self._by_inode.get(before.inode, {}).pop(after.id, None)
            self._by_inode.setdefault(after.inode, {})[after.id] = None
        _mark(self._here, after.id, after.here)
        _mark(self._open, after.id, not after.state.is_terminal and (after.here or after.state in WITH_A_JOB))
        _mark(self._unannounced, after.id, after.state in ENDED and not after.announced)
        _mark(self._closed, after.id, after.job_id is not None and after.state in _CLOSED)
        moved_away = not after.here or after.folder != before.folder
        if moved_away and self._by_folder.get(before.folder) == after.id:
            del self._by_folder[before.folder]
        if after.here:
            self._by_folder[after.folder] = after.id

    def say(self, drop_id: str, note: str) -> None:
        """Show what keeps a drop, until its state changes or something else is said."""
        with self._lock:
            self._pages[drop_id].note = note

    def trouble(self, drop_id: str, what: str, outlook: str) -> None:
        """Show what keeps a drop, and log it; the ``outlook`` differs from try to try, and is only shown."""
        at, now = self._clock.now(), self._clock.monotonic()
        with self._lock:
            page = self._pages[drop_id]
            page.note = f"{what}, {outlook}"
            page.diary.trouble(what, at, now)

    def well(self, drop_id: str) -> None:
        """A try did not fail: nothing keeps the drop any more."""
        at, now = self._clock.now(), self._clock.monotonic()
        with self._lock:
            page = self._pages[drop_id]
            page.note = ""
            page.diary.well(at, now)

    def show(self, drop: Drop, progress: Callable[[], Progress]) -> None:
        """Show how far its uploads are, until its state changes. ``progress`` must be cheap."""
        with self._lock:
            self._pages[drop.id].progress = progress

    def drop(self, drop_id: str) -> Drop:
        """The drop as it is now."""
        with self._lock:
            return self._pages[drop_id].drop

    def drops(self) -> tuple[Drop, ...]:
        """All of them, in the order in which they were found."""
        with self._lock:
            return tuple(page.drop for page in self._pages.values())

    def present_drops(self) -> tuple[Drop, ...]:
        """Those whose folder is there, whatever became of them."""
        with self._lock:
            return tuple(self._pages[drop_id].drop for drop_id in self._here)

    def drops_with_inode(self, inode: int) -> tuple[Drop, ...]:
        """Those whose folder has, or had when it was last seen, this number."""
        with self._lock:
            return tuple(self._pages[drop_id].drop for drop_id in self._by_inode.get(inode, ()))

    def open_drops(self) -> tuple[Drop, ...]:
        """Those whose job has not ended, but for those that were deleted before they had one."""
        with self._lock:
            return tuple(self._pages[drop_id].drop for drop_id in self._open)

    def closed_drops(self) -> tuple[Drop, ...]:
        """Those with a job that counts as ended, deleted, or refused: the server may show more of it."""
        with self._lock:
            return tuple(self._pages[drop_id].drop for drop_id in self._closed)

    def unannounced(self) -> tuple[Drop, ...]:
        """Those whose job has ended, and that has not been announced."""
        with self._lock:
            return tuple(self._pages[drop_id].drop for drop_id in self._unannounced)

    def changed(self, drop_id: str) -> datetime:
        """When it last got on."""
        with self._lock:
            return self._pages[drop_id].changed

    def at(self, folder: str) -> Drop | None:
        """The drop that lies there."""
        with self._lock:
            drop_id = self._by_folder.get(folder)
            return self._pages[drop_id].drop if drop_id else None

    def status(self, folder: str) -> bytes | None:
        """The content of its `status`."""
        with self._lock:
            page = self._page(folder)
            if page is None:
                return None
            drop, progress, note = page.drop, page.progress, page.note
        return f"{status_line(drop, progress() if progress else None, note)}\n".encode(
            "utf-8", "surrogateescape"
        )

    def log(self, folder: str) -> bytes | None:
        """The content of its `status.log`."""
        with self._lock:
            page = self._page(folder)
            return None if page is None else page.diary.text().encode("utf-8", "surrogateescape")

    def job_id(self, folder: str) -> str | None:
        """The job it became."""
        with self._lock:
            page = self._page(folder)
            return page.drop.job_id if page else None

    def is_open(self, folder: str) -> bool:
        """Whether anything may still be expected of the drop that lies there."""
        with self._lock:
            return self._by_folder.get(folder, "") in self._open

    def reports(self) -> tuple[DropReport, ...]:
        """Every drop, for people."""
        with self._lock:
            pages = [replace(page) for page in self._pages.values()]
        return tuple(map(_report, pages))

    def report(self, drop_id: str) -> DropReport:
        """One drop, for people, with its log."""
        with self._lock:
            page = replace(self._pages[drop_id])
            log = page.diary.lines
        return replace(_report(page), log=log)

    def _page(self, folder: str) -> _Page | None:
        drop_id = self._by_folder.get(folder)
        return self._pages[drop_id] if drop_id else None


def _mark(those: dict[str, None], drop_id: str, belongs: bool) -> None:
    """Have it among ``those`` or not; who is there already keeps its place."""
    if belongs:
        those[drop_id] = None
    else:
        those.pop(drop_id, None)


def _report(page: _Page) -> DropReport:
    drop = page.drop
    return DropReport(
        id=drop.id,
        folder=drop.folder,
        state=drop.state,
        status=status_line(drop, page.progress() if page.progress else None, page.note),
        job_id=drop.job_id,
        job_status=drop.status,
        here=drop.here,
        problems=drop.problems,
        changed=page.changed,
        found=page.found,
        missing=drop.missing,
        awaits=drop.awaits,
        hold=drop.hold,
        is_doubtful=drop.doubt != "",
        outcome=drop.outcome,
    )
