"""Looks at the drop folder and records what changed there: the directory is the truth, events are hints."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from rescalefs.clock import Clock
from rescalefs.containment import log_once
from rescalefs.errors import RescaleFSError
from rescalefs.submit import machine
from rescalefs.submit.control import is_ordered
from rescalefs.submit.diary import mishap
from rescalefs.submit.folder import (
    FolderTooLarge,
    Identity,
    entry_of,
    folders,
    identity,
    is_held,
    job_entry,
    job_file_mark,
    keeps_identities,
    look,
)
from rescalefs.submit.journal import Journal, Overtaken
from rescalefs.submit.ledger import Ledger
from rescalefs.submit.listing import JOB_FILE, Kind, Listing
from rescalefs.submit.machine import Drop, OutOfPlace, State
from rescalefs.submit.recognition import Asks, Same, Seen, has_job, is_same_job_file, recognise
from rescalefs.submit.report import CONTROL_FILE, SAME
from rescalefs.submit.settings import SubmitSettings
from rescalefs.submit.settling import Arrival, Pace, Takings
from rescalefs.submit.writers import first_written_to

log = logging.getLogger(__name__)

_FACT = "folder"  # the name under which the journal knows which drop folder it is about
_LIMITS = "limits"  # the same for the settings that drops were last rejected by
_UNTAKEN = (State.CHECKING, State.UPLOADING, State.CREATING, State.REJECTED)


class Survey:
    """Keeps the ledger true to the drop folder. For one thread.

    A drop is its folder, by identity and not by name: a renamed one stays itself, a copy is another.
    """

    def __init__(
        self,
        settings: SubmitSettings,
        clock: Clock,
        ledger: Ledger,
        journal: Journal,
        unfinished: Callable[[Path], str],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._ledger = ledger
        self._journal = journal
        self._unfinished = unfinished
        self._pace = Pace(settings.settle_time, max(settings.settle_time, settings.longest_settle))
        self._arrivals: dict[str, Arrival] = {}
        self._due: dict[str, float] = {}  # drops that settle if nothing changes, and when
        self._takings = Takings(settings.settle_time)
        self._limits = ""  # that the journal was last told
        self._is_certain = True  # that numbers and times of birth tell folders apart
        self._top: Identity | None = None  # the drop folder that names were last compared with

    def everything(self) -> float:
        """Look at every drop; return in how many seconds to look again at those that are due."""
        self._roll_call(trusting=False)
        self._reconsider()
        return self._look_at(self._present())

    def hinted(self, names: frozenset[str]) -> float:
        """Look at the drops of these names, and at those that are due."""
        self._roll_call(trusting=True)
        now = self._clock.monotonic()
        due = {drop_id for drop_id, at in self._due.items() if at <= now}
        hinted = {drop.id for drop in map(self._ledger.at, names) if drop is not None}
        return self._look_at(map(self._ledger.drop, due | hinted))

    def _present(self) -> list[Drop]:
        """The drops whose folder lies in the drop folder: not all that ever were."""
        return [drop for drop in self._ledger.present_drops() if _is_ours(drop)]

    def _look_at(self, drops: Iterable[Drop]) -> float:
        for drop in drops:
            self._due.pop(drop.id, None)
            try:
                self._look(drop)
            except (Overtaken, OutOfPlace):  # a worker was first
                self._due[drop.id] = self._clock.monotonic()
            except (RescaleFSError, OSError) as error:
                log.warning("cannot look at drop %s: %s", drop.folder, error)
                until = "until it can be looked at" if drop.state is State.WAITING else "cannot be looked at"
                self._ledger.say(drop.id, f"{until}: {error}")
                self._due[drop.id] = self._clock.monotonic() + self._settings.rescan
            except Exception as error:  # noqa: BLE001  # one drop's, of whatever kind, is not the end of the others
                self._ledger.say(drop.id, mishap(log, "looking at a drop", drop.folder, error))
                self._due[drop.id] = self._clock.monotonic() + self._settings.rescan
        now = self._clock.monotonic()
        return max(0.0, min((at - now for at in self._due.values()), default=self._settings.rescan))

    # Which folder is which drop.

    def _roll_call(self, trusting: bool) -> None:
        """Find new, renamed and missing folders; ``trusting`` names whose inode is the known one."""
        # A write that is said to have failed may be there all the same: then its folder has its drop already.
        self._ledger.catch_up()
        top = identity(self._settings.folder)
        self._is_certain = keeps_identities(self._settings.folder)
        present = folders(self._settings.folder)
        if top != self._top:
            # Before any folder is met: in a restored drop folder each would pass for a new one.
            self._recognise(top, present)
            self._top = top
        unknown = {
            name: path
            for name, (path, inode) in present.items()
            if not (trusting and self._is_at(name, inode))
        }
        for name, path in unknown.items():
            with _one_folder(name):
                self._meet(name, path, identity(path), present.keys())
        for drop in self._present():
            if drop.folder not in present or not self._is_the_one(drop):
                self._due.pop(drop.id, None)
                self._arrivals.pop(drop.id, None)
                with _one_folder(drop.folder):
                    self._ledger.record(drop, machine.Vanished())

    def _is_at(self, name: str, inode: int) -> bool:
        """Whether the drop of this name is there, with the number that the folder above tells.

        Where numbers do not tell, the folder above may not even know them: the rounds look closer.
        """
        drop = self._ledger.at(name)
        return drop is not None and (drop.inode == inode or not self._is_certain)

    def _is_the_one(self, drop: Drop) -> bool:
        """Whether no other drop took its place."""
        at = self._ledger.at(drop.folder)
        return at is not None and at.id == drop.id

    def _meet(self, name: str, path: Path, seen: Identity, present: Collection[str]) -> Drop:
        """The drop that this folder is: a known one, whatever its name was, or a new one."""
        known = self._known(seen, path) if self._is_certain else self._weighed(name, path, seen, present)
        if known is None or isinstance(known, Asks):
            log.info("found drop %s", name)
            drop = self._ledger.begin(machine.Found(name, seen.inode, seen.born))
            return drop if known is None else self._doubt(drop, known.drop, path)
        if known.folder == name and known.here and known.inode == seen.inode:
            return known
        return self._ledger.record(known, machine.Moved(name, seen.inode, seen.born))

    def _weighed(self, name: str, path: Path, seen: Identity, present: Collection[str]) -> Drop | Asks | None:
        """Where numbers do not tell: what all that can be seen adds up to."""
        known = self._ledger.at(name)
        if known is not None and (known.inode, known.born) == (seen.inode, seen.born):
            return known  # nearly all, in each round: without a look at all drops
        folder = Seen(name, seen.inode, seen.born, job_file_mark(path))
        ours = (drop for drop in self._ledger.drops() if _is_ours(drop))
        found = recognise(folder, ours, present)
        return found.drop if isinstance(found, Same) else found

    def _doubt(self, drop: Drop, other: Drop, path: Path) -> Drop:
        its = f"has job {other.job_id}" if other.job_id is not None else "may have a job already"
        about = f"drop {other.folder}, which {its}"
        log.warning("drop %s may be %s, or a new one: a person has to say so", drop.folder, about)
        return self._ledger.record(drop, machine.Doubted(other.id, about, job_file_mark(path)))

    def _known(self, seen: Identity, path: Path) -> Drop | None:
        for drop in self._ledger.drops_with_inode(seen.inode):
            if seen.born is not None and drop.born is not None:
                if drop.born == seen.born:
                    return drop
            elif drop.here or job_file_mark(path) == drop.job_file != "":
                # Without times of birth, a deleted folder's number may be another's: the job file decides.
                return drop
        return None

    def _recognise(self, top: Identity, present: dict[str, tuple[Path, int]]) -> None:
        """In a drop folder that was restored, or moved to another disk, all is new: there names decide.

        So they do where all drops in it were put back while we did not look, each with its job file of then.
        """
        mark = f"{top.inode}:{top.born}"
        known = self._journal.fact(_FACT)
        replaced = []
        for drop in self._present() if known is not None else ():
            with contextlib.suppress(KeyError, FileNotFoundError):  # removed, perhaps in this moment
                path, _ = present[drop.folder]
                own = identity(path)
                if (own.inode, own.born) != (drop.inode, drop.born):
                    replaced.append((drop, path, own))
                elif known == mark:
                    return
        for drop, path, own in replaced:
            is_same_file = is_same_job_file(job_file_mark(path), drop.job_file)
            # Where numbers do not tell, they change at each mount: a name alone would prove too little.
            if is_same_file or (known != mark and (self._is_certain or not has_job(drop))):
                self._ledger.record(drop, machine.Moved(drop.folder, own.inode, own.born))
        if known != mark:
            self._journal.note(_FACT, mark)

    def _reconsider(self) -> None:
        """Have drops checked again that were rejected by other settings than those of now.

        One is let be that the server refused to submit, or never told the job of: that is no matter of ours.
        """
        limits = str(self._settings.limits)
        if self._limits == limits:
            return
        known = self._journal.fact(_LIMITS)
        if known != limits:
            for drop in self._present() if known is not None else ():
                if drop.state is State.REJECTED and drop.job_id is None and not drop.doubtful:
                    self._ledger.record(drop, machine.Changed("the settings changed"))
            self._journal.note(_LIMITS, limits)
        self._limits = limits

    # What is in a drop.

    def _look(self, drop: Drop) -> None:
        path = self._settings.folder / drop.folder
        if not drop.here or not self._lies_at(drop, path):
            return
        if drop.state is State.WAITING:
            self._wait_for(drop, path)
        elif drop.state in _UNTAKEN:
            if self._listing(drop, path).fingerprint != drop.fingerprint:
                self._ledger.record(drop, machine.Changed())
                self._due[drop.id] = self._clock.monotonic()
        elif drop.state is not State.IN_DOUBT:  # its job is not known yet; what was edited is told later
            self._notice_edits(drop, path)

    def _lies_at(self, drop: Drop, path: Path) -> bool:
        try:
            return path.stat().st_ino == drop.inode
        except FileNotFoundError:
            return False

    def _listing(self, drop: Drop, path: Path) -> Listing:
        try:
            return look(path, self._settings.most_entries)
        except FolderTooLarge as error:
            # What is left out does not matter: it settles on what was seen, and is rejected when checked.
            log.warning("drop %s: %s", drop.folder, error)
            return Listing(error.first, job_entry(path))

    def _wait_for(self, drop: Drop, path: Path) -> None:
        if drop.doubt and not self._is_cleared(drop, path):
            return
        drop = self._ledger.drop(drop.id)
        listing = self._listing(drop, path)
        now = self._clock.monotonic()
        unfinished = self._unfinished(path)
        mark = listing.job_file.mark if listing.job_file else ""
        known = self._arrivals.get(drop.id, Arrival(listing.fingerprint, mark, now))
        arrival = self._arrivals[drop.id] = known.seen(
            listing.fingerprint, mark, bool(unfinished), now, self._pace
        )
        if listing.job_file is None:
            self._ledger.say(drop.id, "for job.json")
        elif listing.fingerprint == drop.fingerprint:
            # Looked at already, and it waits for a file. When that comes, the time until then is no copy's.
            del self._arrivals[drop.id]
            self._ledger.say(drop.id, "")
        elif arrival.is_settled(now, self._pace) and self._is_written_to(drop, listing, path):
            self._arrivals[drop.id] = arrival.seen(listing.fingerprint, mark, True, now, self._pace)
            self._due[drop.id] = now + self._pace.least
        elif arrival.is_settled(now, self._pace) and self._takings.pause(drop.id, listing.fingerprint, now):
            self._ledger.say(drop.id, "a while: it changes each time it is looked at, and is as before")
            self._due[drop.id] = now + self._takings.pause(drop.id, listing.fingerprint, now)
        elif arrival.is_settled(now, self._pace):
            del self._arrivals[drop.id]
            self._settle(drop, listing, path)
        else:
            self._ledger.say(drop.id, unfinished or "until nothing changes any more")
            self._due[drop.id] = arrival.settles_at(self._pace)

    def _settle(self, drop: Drop, listing: Listing, path: Path) -> None:
        """It is complete. Now job.json is there, too, which may show that the folder is one of before."""
        if not self._is_certain:
            others = [each for each in self._ledger.drops() if _is_ours(each) and each.id != drop.id]
            folder = Seen(drop.folder, drop.inode, drop.born, job_file_mark(path))
            found = recognise(folder, others, folders(self._settings.folder).keys())
            if found is not None and has_job(found.drop):
                self._doubt(drop, found.drop, path)
                return
        self._ledger.record(drop, machine.Settled(listing.fingerprint, job_file_mark(path)))
        self._takings.note(drop.id, listing.fingerprint, self._clock.monotonic())

    def _is_cleared(self, drop: Drop, path: Path) -> bool:
        """Whether a person said that the folder is a new drop. One that is said to be the old one is that."""
        if is_ordered(SAME, path, entry_of(path, CONTROL_FILE)):
            old, seen = self._ledger.drop(drop.doubt), identity(path)
            self._ledger.record(drop, machine.Vanished())
            self._ledger.record(old, machine.Moved(drop.folder, seen.inode, seen.born))
            return False
        mark = job_file_mark(path)
        if mark == "" or is_same_job_file(mark, drop.job_file):
            return False
        self._ledger.record(drop, machine.Cleared())
        return True

    def _is_written_to(self, drop: Drop, listing: Listing, path: Path) -> bool:
        """Whether a file is still open for writing, by a program that writes past the mount; say which."""
        names = [each.path for each in listing.entries if each.kind is Kind.FILE]
        name = first_written_to(path, [JOB_FILE, *names])
        if name is not None:
            self._ledger.say(drop.id, f"until {name} is not open for writing any more")
        return name is not None

    def _notice_edits(self, drop: Drop, path: Path) -> None:
        mark = job_file_mark(path)
        if mark in {"", drop.job_file}:
            return
        if drop.state is State.SAVED and drop.hold and not is_held(path):
            self._ledger.record(drop, machine.Released(mark))
        else:
            self._ledger.record(drop, machine.Edited(mark))


@contextlib.contextmanager
def _one_folder(name: str) -> Iterator[None]:
    """Keep what one folder raises from the others; it is met again in the next round.

    A journal that cannot be written is the trouble of all.
    """
    try:
        yield
    except (Overtaken, OutOfPlace, FileNotFoundError):
        pass  # a worker was first, or it was removed in this moment
    except RescaleFSError:
        raise
    except Exception as error:  # noqa: BLE001  # an unreadable disk, or what nothing foresaw
        log_once(log, "looking which drop a folder is", error, name)


def _is_ours(drop: Drop) -> bool:
    """Whether it lies in the drop folder; `rescalefs submit DIR` sees to others."""
    return not Path(drop.folder).is_absolute()


def below(folder: Path, path: Path) -> str | None:
    """The name of the drop that ``path`` lies in."""
    try:
        parts = _absolute(path).relative_to(_absolute(folder)).parts
    except ValueError:
        return None
    return parts[0] if parts else None


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  # resolve() follows links
