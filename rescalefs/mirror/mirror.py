"""Mirror: brings a folder up to the state of the account, round by round."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from rescalefs.clock import Clock
from rescalefs.errors import NotYetUploaded, Unauthenticated
from rescalefs.mirror.live import LiveCopies
from rescalefs.mirror.names import Names, SameName, alike
from rescalefs.mirror.part import Part
from rescalefs.mirror.receiving import Stopped
from rescalefs.mirror.report import (
    COPY,
    FAIL,
    FETCH,
    KEEP,
    LINK,
    NO_JOB,
    NONE,
    REMOVE,
    SAME,
    SKIP,
    WRITE,
    Report,
)
from rescalefs.mirror.retries import Retries
from rescalefs.mirror.selection import Selection, matches
from rescalefs.mirror.shelf import Shelf, Standing
from rescalefs.mirror.transfers import Transfers
from rescalefs.mirror.trouble import concerns_all, is_no_room, reason
from rescalefs.mirror.views import Gone
from rescalefs.mirror.visit import Pending, Visit, inner, is_live, kind_folder
from rescalefs.model import Job, RemoteFile
from rescalefs.tree import Directory, LinkNode, LiveNode, Node, RemoteNode, TextNode, Tree

# What was done, the part, why there is none. Raises nothing.
_Arrival = Callable[[str, "Part | None", "Exception | None"], None]

log = logging.getLogger(__name__)

_NOT_MIRRORED = frozenset({"jobs", "submit", ".rescalefs"})  # the rest of the root are views
_BEGUN_EVERY = 1.5  # seconds; with the requests, a file that a job begins is here within two
_AT_THAT_PACE = 5  # folders; more of them are looked at all the more rarely
_WALKERS = 8  # jobs that are looked at at once
_QUIET, _LONGEST = 60.0, 86_400.0  # seconds before a job that has ended is looked at again
_WEEK = 7 * 86_400.0  # seconds for which parts stay in rounds that have failures
_CHANGED_HERE = "changed here, or not ours"


class Mirror:
    """Makes the folder hold what the tree shows. One round at a time, from one thread."""

    def __init__(
        self,
        tree: Tree,
        shelf: Shelf,
        transfers: Transfers,
        selection: Selection,
        clock: Clock,
        live: LiveCopies,
        *,
        dry_run: bool = False,
    ) -> None:
        """With ``dry_run``, rounds only tell what they would do, and need no transfers that have started."""
        self._tree = tree
        self._shelf = shelf
        self._transfers = transfers
        self._selection = selection
        self._clock = clock
        self._live = live
        self._dry_run = dry_run
        self._retries = Retries(shelf, clock)
        self._gone = Gone(shelf, shelf.ledger, clock)
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # guards all below
        self._halted: Exception | None = None  # why no file is fetched any more in this round
        self._flying: dict[str, list[_Arrival]] = {}  # version -> who else wants it
        self._unmatched = set(selection.include)  # patterns that have fitted no file so far
        self._told_unmatched = False
        self._rests: dict[str, tuple[Job, float, float]] = {}  # ended job -> as it was, since, and until when
        self._growing: dict[str, set[str]] = {}  # live/ of a run that has not ended -> the paths seen in it

    def stop(self) -> None:
        """End the round that is under way soon. From any thread."""
        self._stopping.set()
        self._transfers.close()

    @property
    def is_refused(self) -> bool:
        """Whether the last round ended its fetching because the key is refused."""
        with self._lock:
            return isinstance(self._halted, Unauthenticated)

    def round(self, jobs: tuple[Job, ...], report: Report) -> None:
        """Look at all ``jobs`` that are selected, and at the views. What fails is in the report.

        Raises nothing on account of an item. Where the disk is full, or the key is refused, the files that
        have not begun fail without a try; the next round tries them again.
        """
        with self._lock:
            self._halted = None
        wanted = self._apart([job for job in jobs if self._selection.wants_job(job)], report)
        due = [job for job in wanted if self._is_due(job)]
        with ThreadPoolExecutor(_WALKERS, "rescalefs-walk") as walkers:
            for _ in walkers.map(partial(self._job, report=report), due):
                pass
        self._transfers.drain()
        if self._stopping.is_set():
            return
        self._tell_unmatched(jobs, wanted, report)
        self._views({job.id for job in wanted}, {job.id for job in jobs}, report)
        if not self._dry_run:
            now = self._clock.now().timestamp()
            self._shelf.sweep_parts(now - _WEEK if report[FAIL] else float("inf"))

    def _tell_unmatched(self, jobs: Iterable[Job], wanted: list[Job], report: Report) -> None:
        """Say once which patterns fit nothing: a slip of the pen looks the same as an empty account."""
        if self._told_unmatched:
            return
        self._told_unmatched = True
        for pattern in self._selection.idle_jobs(jobs):
            report.note(NO_JOB, f"--jobs {pattern}", "fits no job")
        with self._lock:
            unmatched = sorted(self._unmatched) if wanted else []
        for pattern in unmatched:
            report.note(NONE, f"--include {pattern}", "fits no file of these jobs")

    # --- names that are one on this disk

    def _names(self) -> Names:
        return Names(self._shelf.disk.are_one)

    def _apart(self, wanted: list[Job], report: Report) -> list[Job]:
        """The jobs without those whose folder would be that of another one: the disk may fold their ids."""
        left_out: set[str] = set()
        for group in alike(job.id for job in wanted):
            names = self._names()
            for job_id in sorted(group, key=lambda each: not self._shelf.ours_below(f"jobs/{each}/")):
                other = names.claimant(f"jobs/{job_id}")
                if other is None:
                    names.claim(f"jobs/{job_id}")
                else:
                    left_out.add(job_id)
                    self._failed(f"jobs/{job_id}", SameName(other), report)
        return [job for job in wanted if job.id not in left_out]

    def _tell_names(self, names: Names, foreign: Iterable[str], report: Report) -> bool:
        """Report what lies in the way of paths; return whether it was another path that is wanted."""
        clashes = 0
        for path in foreign:
            other = names.claimant(path)
            if other is None:
                report.note(KEEP, path, _CHANGED_HERE)
            else:
                clashes += 1
                self._failed(path, SameName(other), report)
        for merged in names.merged:
            report.note(FAIL, merged.path, str(merged))
        return bool(clashes or names.merged)

    # --- one job

    def _is_due(self, job: Job) -> bool:
        with self._lock:
            rest = self._rests.get(job.id)
        return rest is None or rest[0] != job or self._clock.monotonic() >= rest[2]

    def _job(self, job: Job, report: Report) -> None:
        """Look at one job."""
        where = f"jobs/{job.id}"
        try:
            if self._stopping.is_set():
                return
            self._tree.heard(job.id, job.status)
            folder = self._tree.node(f"/{where}")
            assert isinstance(folder, Directory)
            self._walk(job, folder, where, report)
        except Exception as error:  # noqa: BLE001  # it is this job's failure
            self._failed(where, error, report)

    def _walk(self, job: Job, folder: Directory, where: str, report: Report) -> None:
        """Ask for the files; the texts come when these are there, since they tell which are verified."""
        visit = Visit(job, where, folder, self._names())
        pending = Pending(partial(self._texts, visit, report))

        def failed(path: str, error: Exception) -> None:
            pending.fail()
            self._failed(path, error, report)

        for path, node in self._nodes(folder, where, failed, visit.growing):
            if self._stopping.is_set():
                break
            try:
                self._visit(path, node, visit, pending, report)
            except Exception as error:  # noqa: BLE001  # it is this path's failure
                failed(path, error)
        self._note_growing(where, visit.growing)
        if self._tell_names(visit.names, visit.foreign, report) or self._stopping.is_set():
            pending.fail()
        pending.done()

    def _visit(self, path: str, node: Node, visit: Visit, pending: Pending, report: Report) -> None:
        if isinstance(node, TextNode):
            visit.texts.append((path, node))
        elif isinstance(node, RemoteNode):
            visit.found(path, node.file)
            self._file(path, node, visit, pending, report)
        elif isinstance(node, LiveNode):
            if self._wants(path):
                visit.names.claim(path)
            with self._lock:
                self._growing.setdefault(kind_folder(path), set()).add(path)
            self._live_file(path, node, report)
        elif isinstance(node, LinkNode):
            self._link(path, node, visit.names, visit.foreign, report)

    def _nodes(
        self,
        folder: Directory,
        where: str,
        failed: Callable[[str, Exception], None],
        growing: list[str] | None = None,
    ) -> Iterator[tuple[str, Node]]:
        """All that is below a folder and is not a folder; live/ of runs goes to ``growing``.

        A folder that cannot be listed is told to ``failed``, and those beside it are listed all the same.
        """
        try:
            entries = folder.entries().items()
        except Exception as error:  # noqa: BLE001  # it is this folder's failure
            failed(where, error)
            return
        for name, node in entries:
            path = f"{where}/{name}"
            if not isinstance(node, Directory):
                yield path, node
            elif not is_live(path):
                yield from self._nodes(node, path, failed, growing)
            elif self._selection.live:
                if growing is not None:
                    growing.append(path)
                yield from self._nodes(node, path, failed)

    def _file(self, path: str, node: RemoteNode, visit: Visit, pending: Pending, report: Report) -> None:
        file = node.file
        if not self._wants(path):
            return
        size = file.size
        if size is None and self._selection.max_size is not None:
            size = self._transfers.size_of(file)
        if not self._selection.wants_size(size):
            report.note(SKIP, path, f"{size} bytes are more than --max-size")
            return
        if refusal := self._shelf.disk.refusal(path):
            pending.fail()
            report.note(FAIL, path, refusal)
            return
        standing = self._shelf.of_file(path, file)
        if standing is Standing.FOREIGN:
            visit.foreign.append(path)
            return
        self._claim(path, visit.names)
        if standing is Standing.CURRENT:
            report.note(SAME, path)
        elif self._dry_run:
            report.note(FETCH, path, "" if file.size is None else f"{file.size} bytes", file.size or 0)
        elif halted := self._why_halted(file):
            pending.fail()
            report.note(FAIL, path, halted)
        else:
            pending.one_more()
            self._transfers.wait_for_room()
            self._get(file, path, partial(self._arrived, path, node, pending, report))

    def _claim(self, path: str, names: Names) -> None:
        """Have a path for a file; raise `SameName` where another one of this job has it."""
        try:
            names.claim(path)
        except SameName as error:
            self._shelf.doubt(path, error.other)
            raise

    def _why_halted(self, file: RemoteFile) -> str:
        """Why a file is not to be fetched in this round; "" if it is."""
        with self._lock:
            halted = self._halted
        return reason(halted, "a round") if halted is not None else self._retries.why_not(file)

    def _failed(self, path: str, error: Exception, report: Report) -> None:
        """Tell of a failure. Where it concerns all files, the rest of the round does not try."""
        if self._stopping.is_set():
            return  # it was cut off by that
        report.note(FAIL, path, reason(error, path))
        if not concerns_all(error):
            return
        with self._lock:
            if self._halted is not None:
                return
        if is_no_room(error) and self._shelf.has_room():
            return  # it was too large, and others fit
        with self._lock:
            self._halted = error
        self._transfers.abandon(error)

    def _wants(self, path: str) -> bool:
        below = inner(path)
        if self._unmatched:
            with self._lock:
                self._unmatched = {each for each in self._unmatched if not matches(below, (each,))}
        return self._selection.wants_file(below)

    def _get(self, file: RemoteFile, path: str, arrival: _Arrival) -> None:
        """Wait where the file is under way, copy it where it is here already, else fetch it."""
        with self._lock:
            others = self._flying.get(file.version)
            if others is not None:
                others.append(partial(self._share, file, path, arrival))
                return
            self._flying[file.version] = []
        # Only now: what was under way a moment ago is here by now.
        landed = partial(self._landed, file, arrival)
        try:
            copy = self._shelf.copy_of(file, path)
        except Exception as error:  # noqa: BLE001  # those who wait for it are told
            landed(COPY, None, error)
            return
        if copy is not None:
            landed(COPY, copy, None)
        else:
            self._fetch(file, path, landed)

    def _fetch(self, file: RemoteFile, path: str, arrival: _Arrival) -> None:
        """Does not wait: any thread may call it, also one that carries bytes."""
        is_here = partial(self._is_here, path, file)
        self._transfers.add(file, _key(path, file), partial(arrival, FETCH), is_here)

    def _is_here(self, path: str, file: RemoteFile) -> bool:
        return self._shelf.of_file(path, file) is Standing.CURRENT

    def _landed(
        self, file: RemoteFile, arrival: _Arrival, act: str, part: Part | None, failure: Exception | None
    ) -> None:
        """A fetch, or a copy, has ended. All who wait are told, whatever telling one of them raises."""
        with ExitStack() as calls:
            calls.callback(self._tell_others, file, failure)
            arrival(act, part, failure)

    def _tell_others(self, file: RemoteFile, failure: Exception | None) -> None:
        """Tell those that waited for the version. It has its place by now, if it came.

        Until then it counts as under way: a job that looked in between would fetch it again.
        """
        with self._lock:
            others = self._flying.pop(file.version)
        with ExitStack() as calls:  # the last one pushed is called first
            for other in reversed(others):
                calls.callback(other, COPY, None, failure)

    def _share(
        self, file: RemoteFile, path: str, arrival: _Arrival, act: str, _: None, failure: Exception | None
    ) -> None:
        """Another fetch of the same version has ended."""
        copy = None
        try:
            copy = None if failure else self._shelf.copy_of(file, path)
        except Exception as error:  # noqa: BLE001  # it is this file's failure
            failure = error
        if copy is None and failure is None:
            self._fetch(file, path, arrival)
        else:
            arrival(act, copy, failure)

    def _arrived(
        self,
        path: str,
        node: RemoteNode,
        pending: Pending,
        report: Report,
        act: str,
        part: Part | None,
        failure: Exception | None,
    ) -> None:
        """A file is complete, or given up, or came by another process."""
        good = False
        try:
            good = self._put(path, node, report, act, part, failure)
        except (NotYetUploaded, Stopped) as error:
            if not isinstance(error, Stopped):
                report.note(SKIP, path, str(error))
        except Exception as error:  # noqa: BLE001  # it is this file's failure
            self._think_of_it(path, node.file, error)
            self._failed(path, error, report)
        finally:
            if part is not None:
                part.let_go()
            if not good:
                pending.fail()
            pending.done()

    def _put(
        self,
        path: str,
        node: RemoteNode,
        report: Report,
        act: str,
        part: Part | None,
        failure: Exception | None,
    ) -> bool:
        """Put a part in its place; whether that went well."""
        if failure is not None:
            raise failure
        if part is None:
            report.note(SAME, path)
            return True
        size = part.size
        self._retries.came(node.file)
        if self._shelf.place(path, part, node.file.version, node.modified_ns):
            report.note(act, path, f"{size} bytes", size if act == FETCH else 0)
            return True
        report.note(KEEP, path, _CHANGED_HERE)
        return False

    def _think_of_it(self, path: str, file: RemoteFile, error: Exception) -> None:
        """Have a file that failed wait for its next try. What came of one that did not fit is removed."""
        with self._lock:
            if error is self._halted or self._stopping.is_set():
                return  # it was not tried
        if isinstance(error, OSError) and is_no_room(error):
            self._transfers.forget(_key(path, file))  # it would keep others from fitting
            if self._shelf.has_room():
                self._retries.did_not_fit(file, error)
        elif not concerns_all(error):
            self._retries.failed(file, error)

    def _texts(self, visit: Visit, report: Report, complete: bool) -> None:
        """All files of the job are there (``complete``), or have been given up. Raises nothing."""
        if self._stopping.is_set():
            return
        failures = report[FAIL]
        for path, node in visit.texts:
            self._text(path, node, report)
        job = visit.job
        try:
            if job.is_finished and visit.folder.find("live") is None:
                self._remove_live(visit, report)
        except Exception as error:  # noqa: BLE001  # it is this job's failure
            self._failed(f"{visit.where}/live", error, report)
        if complete and job.is_finished and report[FAIL] == failures:
            self._let_rest(job)

    def _let_rest(self, job: Job) -> None:
        """A job that has ended changes ever less: look again when it has rested for as long once more."""
        now = self._clock.monotonic()
        with self._lock:
            known = self._rests.get(job.id)
            since = known[1] if known is not None and known[0] == job else now
            self._rests[job.id] = (job, since, now + min(max(now - since, _QUIET), _LONGEST))

    def _text(self, path: str, node: TextNode, report: Report) -> None:
        try:
            text = node.snapshot()
            if self._dry_run:
                standing = self._shelf.of_text(path, text.content)
            else:
                standing = self._shelf.write(path, text.content, text.modified_ns)
        except Exception as error:  # noqa: BLE001  # it is this text's failure
            self._failed(path, error, report)
            return
        self._note(standing, WRITE, path, report)

    def _note(self, standing: Standing, act: str, path: str, report: Report) -> None:
        if standing is Standing.FOREIGN:
            report.note(KEEP, path, _CHANGED_HERE)
        else:
            report.note(SAME if standing is Standing.CURRENT else act, path)

    def _link(self, path: str, node: LinkNode, names: Names, foreign: list[str], report: Report) -> None:
        try:
            look = self._shelf.link_standing if self._dry_run else self._shelf.link
            standing = look(path, node.target)
            if standing is Standing.FOREIGN:
                foreign.append(path)
            else:
                names.claim(path)
                self._note(standing, LINK, path, report)
        except SameName as error:
            self._failed(path, error, report)
        except (OSError, NotImplementedError) as error:  # Windows makes links for few people
            if isinstance(error, OSError) and concerns_all(error):
                self._failed(path, error, report)
            elif refusal := self._shelf.disk.refusal(path):
                report.note(FAIL, path, refusal)
            else:
                report.note(SKIP, path, f"no symbolic link can be made here: {error}")

    def look_for_begun(self, stop: threading.Event) -> None:
        """Between rounds, find the files that running jobs begin, until ``stop``."""
        while True:
            with self._lock:
                folders = tuple(self._growing)
            if self._clock.wait(stop, _BEGUN_EVERY * max(1.0, len(folders) / _AT_THAT_PACE)):
                return
            for where in folders:
                if stop.is_set():
                    return
                try:
                    self._begun(where)
                except Exception as error:  # noqa: BLE001  # if it lasts, the next round says so
                    log.debug("%s cannot be looked at: %s", where, reason(error, where))

    def _begun(self, where: str) -> None:
        _, job_id, *run = where.split("/")
        self._tree.renew_live(job_id, run[1] if len(run) > 1 else None)
        folder = self._tree.node(f"/{where}")
        assert isinstance(folder, Directory)
        report = Report()
        for path, node in self._nodes(folder, where, _not_listed):
            with self._lock:
                seen = self._growing.get(where)
                if seen is None or path in seen or not isinstance(node, LiveNode):
                    continue
                seen.add(path)
            self._live_file(path, node, report)
            with self._lock:
                if where not in self._growing:  # it has ended just now: a round is to look at this copy
                    self._rests.pop(job_id, None)

    def _note_growing(self, where: str, growing: list[str]) -> None:
        with self._lock:
            for known in tuple(self._growing):
                if known.startswith(f"{where}/") and known not in growing:
                    del self._growing[known]
            for path in growing:
                self._growing.setdefault(path, set())

    def _live_file(self, path: str, node: LiveNode, report: Report) -> None:
        if not self._wants(path):
            return
        if self._dry_run:
            report.note(FETCH, path, "live")
            return
        try:
            grown = self._live.follow(path, node.file)
        except Exception as error:  # noqa: BLE001  # it is this copy's failure
            self._failed(path, error, report)
            return
        if grown is None:
            report.note(KEEP, path, _CHANGED_HERE)
        else:
            report.note(FETCH if grown else SAME, path, f"{grown} bytes more", grown)

    def _remove_live(self, visit: Visit, report: Report) -> None:
        """Remove copies of what the job wrote while it ran, each once its output is here and verified.

        Those that are no output, and those whose output failed or is not wanted, stay: there is no other.
        """
        ours = self._shelf.ours_below
        copies = [*ours(f"{visit.where}/live/"), *ours(f"{visit.where}/runs/")]
        copies = [path for path in copies if is_live(kind_folder(path))]
        for folder in {kind_folder(path) for path in copies}:
            self._live.finish(f"{folder}/")  # a reader that follows one sees its last lines
        for path in copies:
            here = any(self._is_in_place_of(path, *found) for found in visit.instead_of(path))
            if here and not self._dry_run and self._shelf.remove(path):
                report.note(REMOVE, path, "the job has ended, and the output is here")

    def _is_in_place_of(self, live: str, path: str, file: RemoteFile) -> bool:
        """Whether a file is here that has what a copy in live/ has. An input that the job changed has not."""
        is_output = "/inputs/" not in path[: len(kind_folder(path)) + 1]
        return self._is_here(path, file) and (is_output or self._shelf.size(path) == self._shelf.size(live))

    # --- views

    def _views(self, wanted: set[str], jobs: set[str], report: Report) -> None:
        """Links and tables beside jobs/."""
        try:
            root = self._tree.node("/")
            assert isinstance(root, Directory)
            views = root.entries().items()
        except Exception as error:  # noqa: BLE001  # the next round tries again
            self._failed("", error, report)
            return
        for name, view in views:
            if name not in _NOT_MIRRORED and isinstance(view, Directory):
                try:
                    self._view(name, view, wanted, jobs, report)
                except Exception as error:  # noqa: BLE001  # it is this view's failure
                    self._failed(name, error, report)

    def _view(self, name: str, view: Directory, wanted: set[str], jobs: set[str], report: Report) -> None:
        """One view. A link that shows nowhere any more is removed, see `Gone`."""
        shown: set[str] = set()
        failures: list[str] = []
        foreign: list[str] = []
        names = self._names()

        def failed(path: str, error: Exception) -> None:
            failures.append(path)
            self._failed(path, error, report)

        for path, node in self._nodes(view, name, failed):
            if isinstance(node, TextNode):
                self._text(path, node, report)
                shown.add(path)
            elif isinstance(node, LinkNode) and wanted.intersection(node.target.split("/")):
                self._link(path, node, names, foreign, report)
                shown.add(path)
        self._tell_names(names, foreign, report)
        if not (failures or self._dry_run):
            removed = partial(report.note, REMOVE, detail="not in the account any more")
            self._gone.settle(f"{name}/", shown, jobs, jobs - wanted, removed)


def _not_listed(path: str, error: Exception) -> None:
    log.debug("%s cannot be listed: %s", path, reason(error, path))


def _key(path: str, file: RemoteFile) -> str:
    """Finds what is left of an earlier attempt."""
    return f"{path}\n{file.version}"
