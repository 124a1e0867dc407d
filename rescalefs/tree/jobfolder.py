"""jobs/<id>/: all that is known of one job, and runs/<n>/ of jobs that have several runs."""

from __future__ import annotations

import abc
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from rescalefs.errors import ApiError, InvalidRequest, NotFound
from rescalefs.model import Job, JobDetail, JobStatus, Outcome, Run, is_terminal
from rescalefs.tree.account import Account
from rescalefs.tree.catalog import THE_ONLY_RUN, Runs
from rescalefs.tree.health import is_refusal
from rescalefs.tree.naming import Places, is_job_id, is_looked_for_everywhere
from rescalefs.tree.nodes import (
    LINKS_UNKNOWN,
    Directory,
    FixedDirectory,
    Node,
    RemoteNode,
    Text,
    TextNode,
    inode_of,
    nanoseconds,
)
from rescalefs.tree.outputs import Outputs, folder_of, placed
from rescalefs.tree.tables import Row, run_state, runs_table, status_line, status_table

log = logging.getLogger(__name__)


class JobFolder(Directory):
    """jobs/<id>/, as long as the list tells the same of the job.

    What is in it is made when it is looked at and not kept: a `find` over all jobs leaves nothing behind.
    """

    __slots__ = ("_inode", "account", "ended", "inputs", "inserted_ns", "job")

    def __init__(self, account: Account, job: Job) -> None:
        self.account = account
        self.job = job
        self.ended = job.is_finished
        self.inserted_ns = nanoseconds(job.inserted, account.began_ns)
        self._inode = inode_of("job", job.id)
        self.inputs: tuple[JobDetail, FixedDirectory] | None = None  # as made from that detail

    @property
    def identity(self) -> tuple[str, ...]:
        """What inodes of its entries are made of."""
        return ("job", self.job.id)

    @property
    def began_ns(self) -> int:
        """The date of what has none."""
        return self.inserted_ns

    @property
    def inode(self) -> int:
        return self._inode

    @property
    def modified_ns(self) -> int:
        """When the job was made; while it goes on, the newest status' date as soon as that is known.

        Of a job that has ended, it does not depend on what is known just now: `tar` and `rsync` take a folder
        whose date changes because they look into it for one that was changed.
        """
        if self.ended:
            return self.inserted_ns
        statuses = self.account.catalog.known_statuses(self.job.id)
        return nanoseconds(statuses[-1].date) if statuses else self.inserted_ns

    @property
    def links(self) -> int:
        """Not told as long as it may turn out that there is runs/."""
        if self._was_submitted and self.account.catalog.known_runs(self.job.id) is None:
            return LINKS_UNKNOWN
        own = sum(name in _FOLDERS for name in self._names(self.known_runs()))
        return 2 + own + len(self.account.sorting.folders)

    def entries(self) -> Mapping[str, Node]:
        shown = {name: _JOB_ENTRIES[name](self, name) for name in self._names(self._runs_to_show())}
        return shown | {name: _Sorted(self, name) for name in self.account.sorting.folders}

    def find(self, name: str) -> Node | None:
        if name not in _JOB_ENTRIES:
            return _Sorted(self, name) if name in self.account.sorting.folders else None
        if name in _WITH_RUNS and not self._has_several(self.runs()):
            return None
        if name == "live" and not (self.is_live and not self._has_several(self.known_runs())):
            return None
        return _JOB_ENTRIES[name](self, name)

    @property
    def is_live(self) -> bool:
        """Whether it was submitted and has not ended, so that it may have a working directory."""
        return self._was_submitted and not self.ended

    @property
    def _was_submitted(self) -> bool:
        return bool(self.job.status)

    def _names(self, runs: Runs) -> list[str]:
        """The names to show of a job that has these runs. Of several, each has a live/ of its own."""
        several = self._has_several(runs)
        hidden = set() if several else set(_WITH_RUNS)
        if several or not self.is_live:
            hidden.add("live")
        return [name for name in _JOB_ENTRIES if name not in hidden]

    # Its runs

    @staticmethod
    def _has_several(runs: Runs) -> bool:
        return len(runs) > 1

    def known_runs(self) -> Runs:
        return self.account.catalog.known_runs(self.job.id) or ()

    def runs(self) -> Runs:
        """The runs; may ask the server. A server that knows no runs has none."""
        if not self._was_submitted:
            return ()
        try:
            return self.account.catalog.runs(self.job.id, self.ended)
        except (NotFound, InvalidRequest):
            return ()

    def _runs_to_show(self) -> Runs:
        """The runs for a listing, for which the server is not asked about every job of a sweep over all."""
        account = self.account
        if account.catalog.known_runs(self.job.id) is None and (
            account.catalog.health.offline or not account.looks.take()
        ):
            return ()
        try:
            return self.runs()
        except ApiError as error:
            log.info("whether job %s has several runs is not known: %s", self.job.id, error)
            return ()

    def runs_table(self) -> Text:
        runs = self.runs()
        dates = [date for run in runs for date in (run.started, run.completed) if date is not None]
        newest = nanoseconds(max(dates, default=None), self.inserted_ns)
        return Text(runs_table(runs, self.job.status), newest)

    # What the texts of a job say

    def document(self) -> Text:
        return Text(self.detail().document, self.modified_ns)

    def status(self) -> Text:
        """The newest status; of a job that has ended, how it did. May ask the server."""
        return self._status(self._outcome)

    def status_at_a_glance(self) -> Text:
        """What `stat` tells: how a job ended is not asked for, so that a listing of all jobs stays cheap."""
        return self._status(lambda: self.job.outcome)

    def _status(self, outcome: Callable[[], Outcome | None]) -> Text:
        newest = self._newest_status()
        word = self.job.status if newest is None else newest.status
        ending = outcome() if is_terminal(word) else None
        line = status_line(word if ending is None else ending.words)
        if newest is None:
            return Text(line, self.modified_ns)
        # Of a job that has ended, the date does not depend on what is known by now: see `modified_ns`.
        return Text(line, self.modified_ns if self.ended else nanoseconds(newest.date))

    def _outcome(self) -> Outcome | None:
        """How the job ended; what is known of it where asking is not possible, or one of a sweep over all."""
        account, known = self.account, self.job.outcome
        if known is not None and known.log_seen:
            return known
        has_outputs = account.catalog.known_outputs(self.job.id) is not None  # someone looks at this very job
        if account.catalog.health.offline or not (has_outputs or account.endings.take()):
            return known
        try:
            return account.catalog.outcome(self.job) or known
        except ApiError as error:
            log.info("how job %s ended is not known: %s", self.job.id, error)
            return known

    def statuses(self) -> Text:
        return self._history(self.account.catalog.statuses(self.job.id, self.ended))

    def cluster_statuses(self) -> Text:
        return self._history(self.account.catalog.cluster_statuses(self.job.id, self.ended))

    def files_table(self) -> Text:
        account = self.account
        return self.outputs().table(account.verification, account.clock.monotonic(), self.inserted_ns)

    def checksums(self) -> Text:
        return self.outputs().checksums(self.inserted_ns)

    def outputs(self) -> Outputs:
        return self.account.catalog.outputs(self.job.id, self.ended)

    def known_outputs(self) -> Outputs | None:
        return self.account.catalog.known_outputs(self.job.id)

    def detail(self) -> JobDetail:
        return self.account.catalog.detail(self.job.id, self.ended)

    def _history(self, statuses: tuple[JobStatus, ...]) -> Text:
        newest = statuses[-1].date if statuses else None
        return Text(status_table(statuses), nanoseconds(newest, self.inserted_ns))

    def _newest_status(self) -> JobStatus | None:
        """The newest status where the list does not tell it well enough.

        The list is a moment old, which matters only while the job runs: its end is final, and a saved job
        says nothing. So `cat jobs/*/status` asks about running jobs alone.
        """
        catalog = self.account.catalog
        statuses = catalog.known_statuses(self.job.id)
        jobs = catalog.known_jobs()
        is_saved = not self.job.status and not (jobs and jobs.is_found(self.job.id))
        if not self.ended and not is_saved:
            try:
                statuses = catalog.statuses(self.job.id, self.ended)
            except ApiError as error:
                if is_refusal(error) or not self.job.status:
                    raise
                return None  # the list's word is the last that is known
        if statuses and (not self.ended or statuses[-1].status == self.job.status):
            return statuses[-1]
        return None


class _FolderOfFiles(Directory):
    """A folder of files, which is not listed before someone looks into it."""

    __slots__ = ("_inode", "_otherwise_ns")

    def __init__(self, inode: int, otherwise_ns: int) -> None:
        self._inode = inode
        self._otherwise_ns = otherwise_ns  # the date of what has none

    @property
    def inode(self) -> int:
        return self._inode

    @property
    def modified_ns(self) -> int:
        """That of the newest file known by now; the job's own where no more will come: see `JobFolder`."""
        listed = None if self._is_final else self._known()
        return self._otherwise_ns if listed is None else listed.modified_ns

    @property
    def _is_final(self) -> bool:
        return True

    @property
    def links(self) -> int:
        listed = self._known()
        return LINKS_UNKNOWN if listed is None else listed.links

    def entries(self) -> Mapping[str, Node]:
        return self._listed().entries()

    def find(self, name: str) -> Node | None:
        if is_looked_for_everywhere(name):
            known = self._known()
            return None if known is None else known.find(name)
        return self._listed().find(name)

    @abc.abstractmethod
    def _listed(self) -> FixedDirectory:
        """The files; may ask the server."""

    @abc.abstractmethod
    def _known(self) -> FixedDirectory | None:
        """The files, if they are known."""


class _Outputs(_FolderOfFiles):
    """outputs/: files in the folders they had on the cluster, of a job or of one run."""

    __slots__ = ("_of",)

    def __init__(self, of: JobFolder | _RunFolder, inode: int) -> None:
        super().__init__(inode, of.began_ns)
        self._of = of

    def _listed(self) -> FixedDirectory:
        return self._of.outputs().root(self._otherwise_ns)

    def _known(self) -> FixedDirectory | None:
        outputs = self._of.known_outputs()
        return None if outputs is None else outputs.root(self._otherwise_ns)

    @property
    def _is_final(self) -> bool:
        return self._of.ended


class _Live(_FolderOfFiles):
    """live/: the working directory of a run on the cluster, while it runs."""

    __slots__ = ("_folder", "_run_id")

    def __init__(self, folder: JobFolder, run_id: str) -> None:
        super().__init__(inode_of("live", folder.job.id, run_id), folder.inserted_ns)
        self._folder = folder
        self._run_id = run_id

    def _listed(self) -> FixedDirectory:
        return self._folder.account.catalog.live(self._folder.job.id, self._run_id).root()

    @property
    def _is_final(self) -> bool:
        return False

    def _known(self) -> FixedDirectory | None:
        live = self._folder.account.catalog.known_live(self._folder.job.id, self._run_id)
        return None if live is None else live.root()


class _Inputs(_FolderOfFiles):
    """inputs/: the input files of all analyses, side by side."""

    __slots__ = ("_folder",)

    def __init__(self, folder: JobFolder) -> None:
        super().__init__(inode_of("job", folder.job.id, "inputs"), folder.inserted_ns)
        self._folder = folder

    def _listed(self) -> FixedDirectory:
        detail = self._folder.detail()
        made = self._folder.inputs
        if made is None or made[0] is not detail:
            self._folder.inputs = made = (detail, self._make(detail))
        return made[1]

    def _known(self) -> FixedDirectory | None:
        made = self._folder.inputs
        return None if made is None else made[1]

    def _make(self, detail: JobDetail) -> FixedDirectory:
        rows = placed(filter(self._folder.account.sorting.is_plain, detail.inputs), flat=True)
        nodes = _input_nodes(self._folder, rows)
        return folder_of(nodes, ("job", self._folder.job.id, "inputs"), self._folder.inserted_ns)


class _Sorted(_FolderOfFiles):
    """snapshots/, checkpoints/ …: outputs, and of a job inputs as well, of one kind that users want apart."""

    __slots__ = ("_name", "_of")

    def __init__(self, of: JobFolder | _RunFolder, name: str) -> None:
        super().__init__(inode_of(*of.identity, name), of.began_ns)
        self._of = of
        self._name = name

    def _listed(self) -> FixedDirectory:
        detail = self._of.detail() if isinstance(self._of, JobFolder) else None
        return self._made(self._of.outputs(), detail)

    @property
    def _is_final(self) -> bool:
        return self._of.ended

    def _known(self) -> FixedDirectory | None:
        outputs = self._of.known_outputs()
        made = None if outputs is None else outputs.beside.get(self._name)
        return None if made is None else made[1]

    def _made(self, outputs: Outputs, detail: JobDetail | None) -> FixedDirectory:
        made = outputs.beside.get(self._name)
        if made is None or made[0] is not detail:
            made = outputs.beside[self._name] = (detail, self._make(outputs, detail))
        return made[1]

    def _make(self, outputs: Outputs, detail: JobDetail | None) -> FixedDirectory:
        places = Places()  # outputs first: files.tsv tells their paths without knowing the inputs
        nodes = list(outputs.nodes(outputs.rows_in(self._name, places), self._otherwise_ns))
        if isinstance(self._of, JobFolder) and detail is not None:
            sorting = self._of.account.sorting
            inputs = (file for file in detail.inputs if sorting.folder(file) == self._name)
            nodes += _input_nodes(self._of, placed(inputs, flat=True, places=places))
        return folder_of(nodes, (*self._of.identity, self._name), self._otherwise_ns)


def _input_nodes(folder: JobFolder, rows: Iterable[Row]) -> Iterable[tuple[str, Node]]:
    for row in rows:
        yield (
            row.path,
            RemoteNode(
                inode_of("input", folder.job.id, row.file.id, row.path),
                nanoseconds(row.file.uploaded, folder.inserted_ns),
                row.file,
                final=row.file.is_uploaded,  # an input's bytes never change
            ),
        )


# --- its runs


class _Runs(Directory):
    """runs/: a folder for each run of a job that has several."""

    __slots__ = ("_folder",)

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder

    @property
    def inode(self) -> int:
        return inode_of("job", self._folder.job.id, "runs")

    @property
    def modified_ns(self) -> int:
        return max(
            (nanoseconds(run.started) for run in self._folder.known_runs()), default=self._folder.inserted_ns
        )

    @property
    def links(self) -> int:
        return 2 + len(self._folder.known_runs())

    def entries(self) -> Mapping[str, Node]:
        return {run.id: _RunFolder(self._folder, run) for run in self._folder.runs() if is_job_id(run.id)}

    def find(self, name: str) -> Node | None:
        run = next((run for run in self._folder.runs() if run.id == name and is_job_id(name)), None)
        return None if run is None else _RunFolder(self._folder, run)


class _RunFolder(Directory):
    """runs/<n>/: what one run has of its own."""

    __slots__ = ("began_ns", "folder", "run")

    def __init__(self, folder: JobFolder, run: Run) -> None:
        self.folder = folder
        self.run = run
        self.began_ns = nanoseconds(run.started, folder.inserted_ns)

    @property
    def identity(self) -> tuple[str, ...]:
        """What inodes of its entries are made of."""
        return ("run", self.folder.job.id, self.run.id)

    @property
    def inode(self) -> int:
        return inode_of("run", self.folder.job.id, self.run.id)

    @property
    def modified_ns(self) -> int:
        return nanoseconds(self.run.completed, self.began_ns)

    @property
    def links(self) -> int:
        return 2 + 1 + self._is_live + len(self.folder.account.sorting.folders)

    def entries(self) -> Mapping[str, Node]:
        shown = {
            name: make(self, name) for name, make in _RUN_ENTRIES.items() if name != "live" or self._is_live
        }
        return shown | {name: _Sorted(self, name) for name in self.folder.account.sorting.folders}

    def find(self, name: str) -> Node | None:
        if name in self.folder.account.sorting.folders:
            return _Sorted(self, name)
        make = _RUN_ENTRIES.get(name)
        return None if make is None or (name == "live" and not self._is_live) else make(self, name)

    @property
    def _is_live(self) -> bool:
        return self.folder.is_live and self.run.started is not None and self.run.completed is None

    @property
    def ended(self) -> bool:
        return self.folder.ended or self.run.completed is not None

    def outputs(self) -> Outputs:
        return self.folder.account.catalog.run_outputs(self.folder.job.id, self.run.id, self.ended)

    def known_outputs(self) -> Outputs | None:
        return self.folder.account.catalog.known_run_outputs(self.folder.job.id, self.run.id)

    def status(self) -> Text:
        return Text(status_line(run_state(self.run, self.folder.job.status)), self.modified_ns)

    def files_table(self) -> Text:
        account = self.folder.account
        return self.outputs().table(account.verification, account.clock.monotonic(), self.began_ns)

    def checksums(self) -> Text:
        return self.outputs().checksums(self.began_ns)


# --- what is in these folders


def _text(snapshot: Callable[[JobFolder], Text]) -> Callable[[JobFolder, str], Node]:
    return lambda folder, name: TextNode(inode_of("job", folder.job.id, name), partial(snapshot, folder))


def _text_of_run(snapshot: Callable[[_RunFolder], Text]) -> Callable[[_RunFolder, str], Node]:
    return lambda of, name: TextNode(
        inode_of("run", of.folder.job.id, of.run.id, name), partial(snapshot, of)
    )


_JOB_ENTRIES: Mapping[str, Callable[[JobFolder, str], Node]] = {
    "job.json": _text(JobFolder.document),
    "status": lambda folder, name: TextNode(
        inode_of("job", folder.job.id, name), folder.status, folder.status_at_a_glance
    ),
    "statuses": _text(JobFolder.statuses),
    "cluster_statuses": _text(JobFolder.cluster_statuses),
    "files.tsv": _text(JobFolder.files_table),
    "runs.tsv": _text(JobFolder.runs_table),
    "SHA512SUMS": _text(JobFolder.checksums),
    "inputs": lambda folder, _: _Inputs(folder),
    "outputs": lambda folder, name: _Outputs(folder, inode_of("job", folder.job.id, name)),
    "runs": lambda folder, _: _Runs(folder),
    "live": lambda folder, _: _Live(folder, THE_ONLY_RUN),
}
_WITH_RUNS = ("runs.tsv", "runs")  # only of jobs that have several
_FOLDERS = frozenset({"inputs", "outputs", "runs", "live"})

_RUN_ENTRIES: Mapping[str, Callable[[_RunFolder, str], Node]] = {
    "status": _text_of_run(_RunFolder.status),
    "files.tsv": _text_of_run(_RunFolder.files_table),
    "SHA512SUMS": _text_of_run(_RunFolder.checksums),
    "outputs": lambda of, name: _Outputs(of, inode_of("run", of.folder.job.id, of.run.id, name)),
    "live": lambda of, _: _Live(of.folder, of.run.id),
}
