"""Path -> node: the one place that says what the mount looks like.

    /
    ├── jobs/<id>/            _JOB_ENTRIES: one line for each file and folder of a job
    ├── by-name/<name>        -> ../jobs/<id>
    ├── submit/               only its mark; the mount serves it
    └── .rescalefs/           texts that others write

A directory that depends on the server is a small class here. It keeps what it made as long as the answer that
it was made of stays the same, so a path that is known costs a look-up for each of its names.
"""

from __future__ import annotations

import abc
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

from rescalefs.background import Background
from rescalefs.clock import Clock
from rescalefs.errors import ApiError, NoSuchPath, NotADirectory
from rescalefs.model import Job, JobDetail, JobStatus
from rescalefs.tree.catalog import Catalog
from rescalefs.tree.health import is_refusal
from rescalefs.tree.joblist import JobList
from rescalefs.tree.naming import Claim, is_job_id, legal_name, marked, unique_paths
from rescalefs.tree.nodes import (
    LINKS_UNKNOWN,
    ROOT_INODE,
    Directory,
    DropFolder,
    FixedDirectory,
    LinkNode,
    Node,
    RemoteNode,
    Text,
    TextNode,
    inode_of,
    nanoseconds,
)
from rescalefs.tree.outputs import Verification, folder_of, placed
from rescalefs.tree.service import JobService
from rescalefs.tree.settings import TreeSettings
from rescalefs.tree.tables import status_line, status_table

log = logging.getLogger(__name__)

_OWN_TEXT_LASTS = 1.0  # seconds; the size that stat told is then that of what is read right after


class Tree:
    """The account as paths.

    `node` is cheap for what is known: no network, no lock, no I/O. For the rest it asks the server, and
    raises its `ApiError` where nothing was ever known. Until `start` nothing happens in the background.
    """

    def __init__(
        self,
        service: JobService,
        clock: Clock,
        background: Background,
        settings: TreeSettings,
        verification: Verification,
        texts: Mapping[str, Callable[[], bytes]],
    ) -> None:
        """``verification`` tells cheaply what `files.tsv` says of a file; ``texts`` are .rescalefs/."""
        self._catalog = Catalog(service, clock, background, settings)
        account = _Account(self._catalog, clock, verification)
        began = account.began_ns
        own = {name: _own_text(name, write, clock) for name, write in texts.items()}
        self._root = FixedDirectory(
            ROOT_INODE,
            began,
            {
                "jobs": _Jobs(account),
                "by-name": _ByName(account),
                "submit": DropFolder(inode_of("submit"), began),
                ".rescalefs": FixedDirectory(inode_of("own"), began, own),
            },
        )

    def start(self) -> None:
        """Keep what is known fresh in the background."""
        self._catalog.start()

    def node(self, path: str) -> Node:
        """What is at ``path``, absolute within the mount; raise `NoSuchPath` or `NotADirectory`."""
        node: Node = self._root
        for name in path.split("/"):
            if not name:
                continue
            if not isinstance(node, Directory):
                raise _no_way_through(node, path)
            found = node.find(name)
            if found is None:
                raise NoSuchPath(path)
            node = found
        return node

    def heard(self, job_id: str, status: str) -> None:
        """Someone saw this status of a job at the server: from now on the tree knows it, too."""
        self._catalog.heard(job_id, status)

    def forget(self, job_id: str | None = None) -> None:
        """Ask the server afresh about one job, or about everything, when it is looked at next."""
        self._catalog.forget(job_id)

    @property
    def offline(self) -> bool:
        """Whether the server could not be reached when it was asked last."""
        return self._catalog.health.offline

    @property
    def last_error(self) -> ApiError | None:
        """Why what is shown may be old; None when all is well."""
        return self._catalog.health.last_error

    @property
    def last_error_at(self) -> datetime | None:
        """When that was."""
        return self._catalog.health.last_error_at

    def counters(self) -> Mapping[str, int]:
        """Requests so far by what they asked for, and the number of jobs known."""
        return self._catalog.counters()


class _Account:
    """What all directories of one tree need."""

    __slots__ = ("began_ns", "catalog", "clock", "verification")

    def __init__(self, catalog: Catalog, clock: Clock, verification: Verification) -> None:
        self.catalog = catalog
        self.clock = clock
        self.verification = verification
        self.began_ns = nanoseconds(clock.now())  # the date of what has none


# --- lists of jobs


class _ListOfJobs(Directory):
    """A directory that is made of the list of jobs, once for each list."""

    __slots__ = ("_account", "_inode", "_made")

    def __init__(self, account: _Account, inode: int) -> None:
        self._account = account
        self._inode = inode
        self._made: tuple[JobList, Mapping[str, Node], int] | None = None

    @property
    def inode(self) -> int:
        return self._inode

    @property
    def modified_ns(self) -> int:
        """When the newest job was made: what was deleted leaves no date."""
        made = self._made
        return self._account.began_ns if made is None else made[2]

    def entries(self) -> Mapping[str, Node]:
        jobs = self._account.catalog.jobs()
        made = self._made
        if made is None or made[0] is not jobs:
            dates = [job.inserted for job in jobs.by_id.values() if job.inserted is not None]
            newest = nanoseconds(max(dates, default=None), self._account.began_ns)
            self._made = made = (jobs, self._make(jobs), newest)
        return made[1]

    @abc.abstractmethod
    def _make(self, jobs: JobList) -> Mapping[str, Node]:
        """The entries, for a list that is new."""


class _Jobs(_ListOfJobs):
    """jobs/: a directory for each job."""

    __slots__ = ()

    def __init__(self, account: _Account) -> None:
        super().__init__(account, inode_of("jobs"))

    @property
    def links(self) -> int:
        made = self._made
        return LINKS_UNKNOWN if made is None else 2 + len(made[1])

    def find(self, name: str) -> Node | None:
        if not is_job_id(name):
            return None  # what file managers look for everywhere costs no request
        node = self.entries().get(name)
        if node is not None:
            return node
        job = self._account.catalog.find(name)
        return None if job is None else self.entries().get(name) or _JobFolder(self._account, job)

    def _make(self, jobs: JobList) -> Mapping[str, Node]:
        before: Mapping[str, Node] = self._made[1] if self._made else {}
        folders: dict[str, Node] = {}
        for job in jobs.by_id.values():
            known = before.get(job.id)
            if isinstance(known, _JobFolder) and known.job is job:
                folders[job.id] = known
            elif is_job_id(job.id):
                folders[job.id] = _JobFolder(self._account, job)
            else:
                log.warning("a job is left out: its id %r is no word", job.id)
        return folders


class _ByName(_ListOfJobs):
    """by-name/: a link for each job. The oldest of a name has it bare, the others with their ids."""

    __slots__ = ()

    def __init__(self, account: _Account) -> None:
        super().__init__(account, inode_of("by-name"))

    @property
    def links(self) -> int:
        return 2

    def find(self, name: str) -> Node | None:
        return self.entries().get(name) or self._by_mark(name)

    def _make(self, jobs: JobList) -> Mapping[str, Node]:
        claims = {
            job.id: Claim(job.id, (legal_name(job.name),), job.inserted)
            for job in jobs.by_id.values()
            if is_job_id(job.id)
        }
        names = unique_paths(claims, keep_suffix=False)
        return {name: self._link(jobs.by_id[job_id]) for job_id, (name,) in names.items()}

    def _by_mark(self, name: str) -> Node | None:
        """The name with the id works for every job, so that it outlives the job with the bare name."""
        jobs = self._account.catalog.known_jobs()
        job = jobs.by_id.get(name.rpartition("~")[2]) if jobs else None
        if job is None or name != marked(legal_name(job.name), job.id, keep_suffix=False):
            return None
        return self._link(job)

    def _link(self, job: Job) -> LinkNode:
        date = nanoseconds(job.inserted, self._account.began_ns)
        return LinkNode(inode_of("by-name", job.id), date, f"../jobs/{job.id}")


# --- one job


class _JobFolder(Directory):
    """jobs/<id>/, as long as the list tells the same of the job.

    What is in it is made when it is looked at and not kept: a `find` over all jobs leaves nothing behind.
    """

    __slots__ = ("_inode", "account", "ended", "inputs", "inserted_ns", "job")

    def __init__(self, account: _Account, job: Job) -> None:
        self.account = account
        self.job = job
        self.ended = job.is_finished
        self.inserted_ns = nanoseconds(job.inserted, account.began_ns)
        self._inode = inode_of("job", job.id)
        self.inputs: tuple[JobDetail, FixedDirectory] | None = None  # as made from that detail

    @property
    def inode(self) -> int:
        return self._inode

    @property
    def modified_ns(self) -> int:
        """The newest status' date if it is known, else when the job was made."""
        statuses = self.account.catalog.known_statuses(self.job.id)
        return nanoseconds(statuses[-1].date) if statuses else self.inserted_ns

    @property
    def links(self) -> int:
        return 2 + 2 + self._is_live  # inputs/, outputs/ and perhaps live/

    def entries(self) -> Mapping[str, Node]:
        makers = {**_JOB_ENTRIES, "live": _Live} if self._is_live else _JOB_ENTRIES
        return {name: make(self, name) for name, make in makers.items()}

    def find(self, name: str) -> Node | None:
        make = _Live if name == "live" and self._is_live else _JOB_ENTRIES.get(name)
        return None if make is None else make(self, name)

    @property
    def _is_live(self) -> bool:
        """Whether it was submitted and has not ended, so that it may have a working directory."""
        return bool(self.job.status) and not self.ended

    # What the texts of a job say

    def document(self) -> Text:
        return Text(self.detail().document, self.modified_ns)

    def status(self) -> Text:
        newest = self._newest_status()
        if newest is None:
            return Text(status_line(self.job.status), self.modified_ns)
        return Text(status_line(newest.status), nanoseconds(newest.date))

    def statuses(self) -> Text:
        return self._history(self.account.catalog.statuses(self.job.id, self.ended))

    def cluster_statuses(self) -> Text:
        return self._history(self.account.catalog.cluster_statuses(self.job.id, self.ended))

    def files_table(self) -> Text:
        outputs = self.account.catalog.outputs(self.job.id, self.ended)
        return outputs.table(self.account.verification, self.account.clock.monotonic(), self.inserted_ns)

    def checksums(self) -> Text:
        return self.account.catalog.outputs(self.job.id, self.ended).checksums(self.inserted_ns)

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


class _FilesOfJob(Directory):
    """A folder of files of one job, which is not listed before someone looks into it."""

    __slots__ = ("_folder", "_name")

    def __init__(self, folder: _JobFolder, name: str) -> None:
        self._folder = folder
        self._name = name

    @property
    def inode(self) -> int:
        return inode_of("job", self._folder.job.id, self._name)

    @property
    def modified_ns(self) -> int:
        listed = self._known()
        return self._folder.inserted_ns if listed is None else listed.modified_ns

    @property
    def links(self) -> int:
        listed = self._known()
        return LINKS_UNKNOWN if listed is None else listed.links

    def entries(self) -> Mapping[str, Node]:
        return self._listed().entries()

    def find(self, name: str) -> Node | None:
        return self._listed().find(name)

    @abc.abstractmethod
    def _listed(self) -> FixedDirectory:
        """The files; may ask the server."""

    @abc.abstractmethod
    def _known(self) -> FixedDirectory | None:
        """The files, if they are known."""


class _Outputs(_FilesOfJob):
    """outputs/: files in the folders they had on the cluster."""

    __slots__ = ()

    def _listed(self) -> FixedDirectory:
        folder = self._folder
        return folder.account.catalog.outputs(folder.job.id, folder.ended).root(folder.inserted_ns)

    def _known(self) -> FixedDirectory | None:
        outputs = self._folder.account.catalog.known_outputs(self._folder.job.id)
        return None if outputs is None else outputs.root(self._folder.inserted_ns)


class _Live(_FilesOfJob):
    """live/: the working directory on the cluster, while the job runs."""

    __slots__ = ()

    def _listed(self) -> FixedDirectory:
        return self._folder.account.catalog.live(self._folder.job.id).root()

    def _known(self) -> FixedDirectory | None:
        live = self._folder.account.catalog.known_live(self._folder.job.id)
        return None if live is None else live.root()


class _Inputs(_FilesOfJob):
    """inputs/: the input files of all analyses, side by side."""

    __slots__ = ()

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
        job_id, otherwise = self._folder.job.id, self._folder.inserted_ns
        nodes = (
            (
                row.path,
                RemoteNode(
                    inode_of("input", job_id, row.file.id, row.path),
                    nanoseconds(row.file.uploaded, otherwise),
                    row.file,
                    final=row.file.is_uploaded,  # an input's bytes never change
                ),
            )
            for row in placed(detail.inputs, flat=True)
        )
        return folder_of(nodes, ("job", job_id, "inputs"), otherwise)


def _text(snapshot: Callable[[_JobFolder], Text]) -> Callable[[_JobFolder, str], Node]:
    return lambda folder, name: TextNode(inode_of("job", folder.job.id, name), partial(snapshot, folder))


# What is in the folder of a job; `_JobFolder.links` counts the folders.
_JOB_ENTRIES: Mapping[str, Callable[[_JobFolder, str], Node]] = {
    "job.json": _text(_JobFolder.document),
    "status": _text(_JobFolder.status),
    "statuses": _text(_JobFolder.statuses),
    "cluster_statuses": _text(_JobFolder.cluster_statuses),
    "files.tsv": _text(_JobFolder.files_table),
    "SHA512SUMS": _text(_JobFolder.checksums),
    "inputs": _Inputs,
    "outputs": _Outputs,
}


# --- the rest


def _own_text(name: str, write: Callable[[], bytes], clock: Clock) -> TextNode:
    """A file of .rescalefs/, written anew when the last writing is a moment old."""
    last: list[tuple[float, Text]] = []

    def snapshot() -> Text:
        now = clock.monotonic()
        if last and now - last[0][0] < _OWN_TEXT_LASTS:
            return last[0][1]
        text = Text(write(), nanoseconds(clock.now()))
        if last and last[0][1].content == text.content:
            text = last[0][1]  # with the date at which it became so
        last[:] = [(now, text)]
        return text

    return TextNode(inode_of("own", name), snapshot)


def _no_way_through(node: Node, path: str) -> NoSuchPath | NotADirectory:
    # The mark of submit/ is a directory to the mount, which knows what is in it.
    return NoSuchPath(path) if isinstance(node, DropFolder) else NotADirectory(path)
