"""Mirror: brings a folder up to the state of the account, round by round."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from rescalefs.clock import Clock
from rescalefs.errors import NotYetUploaded, RescaleFSError
from rescalefs.mirror.live import LiveCopies
from rescalefs.mirror.part import Part
from rescalefs.mirror.receiving import Stopped
from rescalefs.mirror.report import COPY, FAIL, FETCH, KEEP, LINK, NONE, REMOVE, SAME, SKIP, WRITE, Report
from rescalefs.mirror.selection import Selection, matches
from rescalefs.mirror.shelf import Shelf, Standing
from rescalefs.mirror.transfers import Failure, Transfers, is_hopeless
from rescalefs.model import Job, RemoteFile
from rescalefs.tree import Directory, LinkNode, LiveNode, Node, RemoteNode, TextNode, Tree

_Arrival = Callable[
    [str, "Part | None", "Failure | None"], None
]  # what was done, the part, why there is none

log = logging.getLogger(__name__)

_NOT_MIRRORED = frozenset({"jobs", "submit", ".rescalefs"})  # the rest of the root are views
_BEGUN_EVERY = 1.5  # seconds; with the requests, a file that a job begins is here within two
_AT_THAT_PACE = 5  # folders; more of them are looked at all the more rarely
_WALKERS = 8  # jobs that are looked at at once
_QUIET, _LONGEST = 60.0, 86_400.0  # seconds before a job that has ended is looked at again
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
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # guards all below
        self._flying: dict[str, list[_Arrival]] = {}  # version -> who else wants it
        self._unmatched = set(selection.include)  # patterns that have fitted no file so far
        self._told_unmatched = False
        self._rests: dict[str, tuple[Job, float, float]] = {}  # ended job -> as it was, since, and until when
        self._growing: dict[str, set[str]] = {}  # live/ of a run that has not ended -> the paths seen in it

    def stop(self) -> None:
        """End the round that is under way soon. From any thread."""
        self._stopping.set()
        self._transfers.close()

    def round(self, jobs: tuple[Job, ...], report: Report) -> None:
        """Look at all ``jobs`` that are selected, and at the views. What fails is in the report.

        Raises what makes going on useless: a full disk, or a key that is refused.
        """
        wanted = [job for job in jobs if self._selection.wants_job(job)]
        due = [job for job in wanted if self._is_due(job)]
        with ThreadPoolExecutor(_WALKERS, "rescalefs-walk") as walkers:
            for failure in walkers.map(partial(self._job, report=report), due):
                if failure is not None:
                    self._stopping.set()
                    self._transfers.close()
                    raise failure
        self._transfers.drain()
        if not self._stopping.is_set():
            self._tell_unmatched(jobs, wanted, report)
            self._views({job.id for job in wanted}, report)
        if not (self._dry_run or self._stopping.is_set() or report[FAIL]):
            self._shelf.clear_parts()

    def _tell_unmatched(self, jobs: Iterable[Job], wanted: list[Job], report: Report) -> None:
        """Say once which patterns fit nothing: a slip of the pen looks the same as an empty account."""
        if self._told_unmatched:
            return
        self._told_unmatched = True
        for pattern in self._selection.idle_jobs(jobs):
            report.note(NONE, f"--jobs {pattern}", "fits no job")
        with self._lock:
            unmatched = sorted(self._unmatched) if wanted else []
        for pattern in unmatched:
            report.note(NONE, f"--include {pattern}", "fits no file of these jobs")

    # --- one job

    def _is_due(self, job: Job) -> bool:
        with self._lock:
            rest = self._rests.get(job.id)
        return rest is None or rest[0] != job or self._clock.monotonic() >= rest[2]

    def _job(self, job: Job, report: Report) -> Failure | None:
        """Look at one job; return only what ends the round."""
        where = f"jobs/{job.id}"
        try:
            if self._stopping.is_set():
                return None
            self._tree.heard(job.id, job.status)
            folder = self._tree.node(f"/{where}")
            assert isinstance(folder, Directory)
            self._walk(job, folder, where, report)
        except (RescaleFSError, OSError) as error:
            report.note(FAIL, where, str(error))
            return error if is_hopeless(error) else None
        return None

    def _walk(self, job: Job, folder: Directory, where: str, report: Report) -> None:
        """Ask for the files; the texts come when these are there, since they tell which are verified."""
        texts: list[tuple[str, TextNode]] = []
        pending = _Pending(partial(self._texts, job, where, texts, folder, report))
        growing: list[str] = []
        for path, node in self._nodes(folder, where, growing):
            if self._stopping.is_set():
                break
            if isinstance(node, TextNode):
                texts.append((path, node))
            elif isinstance(node, RemoteNode):
                self._file(path, node, pending, report)
            elif isinstance(node, LiveNode):
                with self._lock:
                    self._growing.setdefault(_kind_folder(path), set()).add(path)
                self._live_file(path, node, report)
            elif isinstance(node, LinkNode):
                self._link(path, node, report)
        self._note_growing(where, growing)
        pending.done(not self._stopping.is_set())

    def _nodes(
        self, folder: Directory, where: str, growing: list[str] | None = None
    ) -> Iterator[tuple[str, Node]]:
        """All that is below a folder and is not a folder; live/ of runs goes to ``growing``."""
        for name, node in folder.entries().items():
            path = f"{where}/{name}"
            if not isinstance(node, Directory):
                yield path, node
            elif not _is_live(path):
                yield from self._nodes(node, path, growing)
            elif self._selection.live:
                if growing is not None:
                    growing.append(path)
                yield from self._nodes(node, path)

    def _file(self, path: str, node: RemoteNode, pending: _Pending, report: Report) -> None:
        file = node.file
        if not self._wants(path):
            return
        if not self._selection.wants_size(file.size):
            report.note(SKIP, path, f"{file.size} bytes are more than --max-size")
            return
        standing = self._shelf.of_file(path, file)
        if standing is Standing.CURRENT:
            report.note(SAME, path)
        elif standing is Standing.FOREIGN:
            report.note(KEEP, path, _CHANGED_HERE)
        elif self._dry_run:
            report.note(FETCH, path, "" if file.size is None else f"{file.size} bytes", file.size or 0)
        else:
            pending.one_more()
            self._get(file, path, partial(self._arrived, path, node, pending, report))

    def _wants(self, path: str) -> bool:
        inner = _inner(path)
        if self._unmatched:
            with self._lock:
                self._unmatched = {each for each in self._unmatched if not matches(inner, (each,))}
        return self._selection.wants_file(inner)

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
        copy = self._shelf.copy_of(file, path)
        if copy is not None:
            landed(COPY, copy, None)
        else:
            self._transfers.add(file, f"{path}\n{file.version}", partial(landed, FETCH))

    def _landed(
        self, file: RemoteFile, arrival: _Arrival, act: str, part: Part | None, failure: Failure | None
    ) -> None:
        """A fetch, or a copy, has ended."""
        arrival(act, part, failure)
        with self._lock:
            others = self._flying.pop(file.version)
        for other in others:
            other(COPY, None, failure)

    def _share(
        self, file: RemoteFile, path: str, arrival: _Arrival, act: str, _: None, failure: Failure | None
    ) -> None:
        """Another fetch of the same version has ended."""
        copy = None if failure else self._shelf.copy_of(file, path)
        if copy is None and failure is None:
            self._transfers.add(file, f"{path}\n{file.version}", partial(arrival, FETCH))
        else:
            arrival(act, copy, failure)

    def _arrived(
        self,
        path: str,
        node: RemoteNode,
        pending: _Pending,
        report: Report,
        act: str,
        part: Part | None,
        failure: Failure | None,
    ) -> None:
        """A file is complete, or given up."""
        good = False
        try:
            if part is not None:
                size = part.size
                good = self._shelf.place(path, part, node.file.version, node.modified_ns)
                if good:
                    report.note(act, path, f"{size} bytes", size if act == FETCH else 0)
                else:
                    report.note(KEEP, path, _CHANGED_HERE)
        except OSError as error:
            failure = error
        if isinstance(failure, NotYetUploaded):
            report.note(SKIP, path, str(failure))
        elif failure is not None and not isinstance(failure, Stopped):
            report.note(FAIL, path, str(failure))
            if is_hopeless(failure):
                self.stop()
        pending.done(good)

    def _texts(
        self,
        job: Job,
        where: str,
        texts: list[tuple[str, TextNode]],
        folder: Directory,
        report: Report,
        complete: bool,
    ) -> None:
        """All files of the job are there (``complete``), or have been given up."""
        if self._stopping.is_set():
            return
        failures = report[FAIL]
        for path, node in texts:
            self._text(path, node, report)
        if job.is_finished and folder.find("live") is None:
            self._remove_live(where, report)
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
        except (RescaleFSError, OSError) as error:
            report.note(FAIL, path, str(error))
            return
        self._note(standing, WRITE, path, report)

    def _note(self, standing: Standing, act: str, path: str, report: Report) -> None:
        if standing is Standing.FOREIGN:
            report.note(KEEP, path, _CHANGED_HERE)
        else:
            report.note(SAME if standing is Standing.CURRENT else act, path)

    def _link(self, path: str, node: LinkNode, report: Report) -> None:
        try:
            look = self._shelf.link_standing if self._dry_run else self._shelf.link
            self._note(look(path, node.target), LINK, path, report)
        except (OSError, NotImplementedError) as error:  # Windows makes links for few people
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
                except (RescaleFSError, OSError) as error:  # if it lasts, the next round says so
                    log.debug("%s cannot be looked at: %s", where, error)

    def _begun(self, where: str) -> None:
        _, job_id, *run = where.split("/")
        self._tree.renew_live(job_id, run[1] if len(run) > 1 else None)
        folder = self._tree.node(f"/{where}")
        assert isinstance(folder, Directory)
        report = Report()
        for path, node in self._nodes(folder, where):
            with self._lock:
                seen = self._growing.get(where)
                if seen is None or path in seen or not isinstance(node, LiveNode):
                    continue
                seen.add(path)
            self._live_file(path, node, report)
            with self._lock:
                has_ended = where not in self._growing
            if has_ended:  # just now, and its copies are being removed
                self._remove_below(f"{where}/", report)

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
        except (RescaleFSError, OSError) as error:
            report.note(FAIL, path, str(error))
            return
        if grown is None:
            report.note(KEEP, path, _CHANGED_HERE)
        else:
            report.note(FETCH if grown else SAME, path, f"{grown} bytes more", grown)

    def _remove_live(self, where: str, report: Report) -> None:
        """What the job wrote while it ran is in its outputs by now."""
        self._remove_below(f"{where}/live/", report)
        runs = {_kind_folder(path) for path in self._shelf.ours_below(f"{where}/runs/")}
        for live in filter(_is_live, runs):
            self._remove_below(f"{live}/", report)

    def _remove_below(self, folder: str, report: Report) -> None:
        self._live.finish(folder)  # whoever follows one sees its last lines
        for path in self._shelf.ours_below(folder):
            if not self._dry_run and self._shelf.remove(path):
                report.note(REMOVE, path, "the job has ended")

    # --- views

    def _views(self, job_ids: set[str], report: Report) -> None:
        """Links and tables beside jobs/. A link that shows nowhere any more is removed."""
        root = self._tree.node("/")
        assert isinstance(root, Directory)
        for name, view in root.entries().items():
            if name in _NOT_MIRRORED or not isinstance(view, Directory):
                continue
            try:
                self._view(name, view, job_ids, report)
            except (RescaleFSError, OSError) as error:
                report.note(FAIL, name, str(error))

    def _view(self, name: str, view: Directory, job_ids: set[str], report: Report) -> None:
        shown: set[str] = set()
        for path, node in self._nodes(view, name):
            if isinstance(node, TextNode):
                self._text(path, node, report)
                shown.add(path)
            elif isinstance(node, LinkNode) and job_ids.intersection(node.target.split("/")):
                self._link(path, node, report)
                shown.add(path)
        for path in self._shelf.ours_below(f"{name}/"):
            if path not in shown and not self._dry_run and self._shelf.remove(path):
                report.note(REMOVE, path, "not in the account any more")


def _inner(path: str) -> str:
    """The path below outputs/, inputs/ or live/ of the job, or of one of its runs."""
    return path[len(_kind_folder(path)) + 1 :]


def _kind_folder(path: str) -> str:
    """That outputs/, inputs/ or live/."""
    names = path.split("/")
    return "/".join(names[: 5 if names[2:3] == ["runs"] else 3])


def _is_live(path: str) -> bool:
    """Whether a folder is live/ of a job or a run, and not one of that name that a job wrote."""
    return path.startswith("jobs/") and path.endswith("/live") and _kind_folder(path) == path


class _Pending:
    """Counts what is under way, and calls ``then`` once, when nothing is: with whether all went well."""

    def __init__(self, then: partial[None]) -> None:
        self._then = then
        self._lock = threading.Lock()  # guards _count and _good
        self._count = 1  # whoever is still adding
        self._good = True

    def one_more(self) -> None:
        with self._lock:
            self._count += 1

    def done(self, good: bool) -> None:
        with self._lock:
            self._count -= 1
            self._good = self._good and good
            last = not self._count
        if last:
            self._then(self._good)
