"""Lists of jobs as folders: jobs/ itself, and the views, in which each job is a link.

by-name/ names each job by its title; in the other views links are named by the job's id, in folders that say
what the jobs have in common. All of them cost no request but the list of jobs (and, once, of projects).
"""

from __future__ import annotations

import abc
import logging
from collections.abc import Iterable, Mapping
from datetime import timezone
from typing import NamedTuple

from rescalefs.containment import contained
from rescalefs.errors import ApiError
from rescalefs.model import Job, Result
from rescalefs.tree.account import Account
from rescalefs.tree.health import is_refusal
from rescalefs.tree.jobfolder import JobFolder
from rescalefs.tree.joblist import JobList
from rescalefs.tree.naming import Claim, Places, is_job_id, legal_name, marked, unique_paths
from rescalefs.tree.nodes import (
    LINKS_UNKNOWN,
    Directory,
    FixedDirectory,
    LinkNode,
    Node,
    inode_of,
    nanoseconds,
)
from rescalefs.tree.tables import NOT_SUBMITTED

log = logging.getLogger(__name__)

UNDATED = "undated"  # the folder of by-date/ for jobs without a date
_ENDINGS = {Result.FAILED: "Failed", Result.STOPPED: "Stopped"}
NO_PROJECT = "none"  # the folder of by-project/ for jobs without a project


class _Made(NamedTuple):
    """What was made of a list, and of what."""

    jobs: JobList
    basis: object
    entries: Mapping[str, Node]
    newest_ns: int


class ListOfJobs(Directory):
    """A directory that is made of the list of jobs, once for each list."""

    __slots__ = ("_account", "_inode", "_made")

    def __init__(self, account: Account, inode: int) -> None:
        self._account = account
        self._inode = inode
        self._made: _Made | None = None

    @property
    def inode(self) -> int:
        return self._inode

    @property
    def modified_ns(self) -> int:
        """When the newest job was made: what was deleted leaves no date."""
        made = self._made
        if made is not None:
            return made.newest_ns
        known = self._account.catalog.known_jobs()
        # Or the date would change as the folder is listed, and `tar` say that it was changed.
        return (
            self._account.began_ns if known is None else _newest(known.by_id.values(), self._account.began_ns)
        )

    def entries(self) -> Mapping[str, Node]:
        jobs, basis = self._account.catalog.jobs(), self._basis()
        made = self._made
        if made is None or made.jobs is not jobs or made.basis is not basis:
            newest = _newest(jobs.by_id.values(), self._account.began_ns)
            self._made = made = _Made(jobs, basis, self._make(jobs), newest)
        return made.entries

    def _basis(self) -> object:
        """What else the entries are made of; the same object as long as it is the same."""
        return None

    @abc.abstractmethod
    def _make(self, jobs: JobList) -> Mapping[str, Node]:
        """The entries, for a list that is new."""


class Jobs(ListOfJobs):
    """jobs/: a directory for each job."""

    __slots__ = ()

    def __init__(self, account: Account) -> None:
        super().__init__(account, inode_of("jobs"))

    @property
    def links(self) -> int:
        made = self._made
        return LINKS_UNKNOWN if made is None else 2 + len(made.entries)

    def find(self, name: str) -> Node | None:
        if not is_job_id(name):
            return None  # what file managers look for everywhere costs no request
        node = self.entries().get(name)
        if node is not None:
            return node
        job = self._account.catalog.find(name)
        return None if job is None else self.entries().get(name) or JobFolder(self._account, job)

    def _make(self, jobs: JobList) -> Mapping[str, Node]:
        before: Mapping[str, Node] = self._made.entries if self._made else {}
        folders: dict[str, Node] = {}
        for job in jobs.by_id.values():
            known = before.get(job.id)
            if isinstance(known, JobFolder) and known.job is job:
                folders[job.id] = known
            elif is_job_id(job.id):
                with contained(log, "a job's folder", job.id):
                    folders[job.id] = JobFolder(self._account, job)
            else:
                log.warning("a job is left out: its id %r is no word", job.id)
        return folders


class ByName(ListOfJobs):
    """by-name/: a link for each job. The oldest of a name has it bare, the others with their ids."""

    __slots__ = ()

    def __init__(self, account: Account) -> None:
        super().__init__(account, inode_of("by-name"))

    @property
    def links(self) -> int:
        return 2

    def find(self, name: str) -> Node | None:
        return self.entries().get(name) or self._by_mark(name)

    def _make(self, jobs: JobList) -> Mapping[str, Node]:
        claims: dict[str, Claim] = {}
        for job in filter(_has_a_place, jobs.by_id.values()):
            with contained(log, "a job's name", job.id):
                claims[job.id] = Claim(job.id, (legal_name(job.name),), job.inserted)
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


# --- views by what jobs have in common

_Place = tuple[str, ...]  # names of folders, from the view's own


class _Group(FixedDirectory):
    """A folder of a view. A link that was in it goes on working by its name, and is not listed any more."""

    __slots__ = ("left",)

    def __init__(
        self, inode: int, modified_ns: int, entries: Mapping[str, Node], left: Mapping[str, Node]
    ) -> None:
        super().__init__(inode, modified_ns, entries)
        self.left = left

    def find(self, name: str) -> Node | None:
        return super().find(name) or self.left.get(name)


class GroupedView(ListOfJobs):
    """by-…/<what jobs have in common>/<id>: a link for each job.

    A folder that was there stays until the daemon ends, empty perhaps: nobody's working directory vanishes.
    """

    __slots__ = ("_groups", "_name")

    def __init__(self, account: Account, name: str) -> None:
        super().__init__(account, inode_of(name))
        self._name = name
        self._groups: Mapping[_Place, _Group] = {}  # as made last

    @property
    def links(self) -> int:
        made = self._made
        return LINKS_UNKNOWN if made is None else 2 + len(made.entries)

    @abc.abstractmethod
    def _places(self, job: Job) -> Iterable[_Place]:
        """The folders in which the job has a link."""

    def _make(self, jobs: JobList) -> Mapping[str, Node]:
        before = self._groups
        members: dict[_Place, list[Job]] = {place: [] for place in before}
        for job in filter(_has_a_place, jobs.by_id.values()):
            with contained(log, f"a job's place in {self._name}", job.id):
                for place in self._places(job):
                    members.setdefault(place, []).append(job)
        self._groups = groups = {
            place: self._group(place, found, before.get(place), jobs) for place, found in members.items()
        }
        return self._nested((), groups)

    def _group(self, place: _Place, members: Iterable[Job], before: _Group | None, jobs: JobList) -> _Group:
        known = before.entries() if before else {}
        links = {job.id: known.get(job.id) or self._link(place, job) for job in members}
        left = {**before.left, **known} if before else {}
        left = {job_id: link for job_id, link in left.items() if job_id in jobs.by_id and job_id not in links}
        newest = max((link.modified_ns for link in links.values()), default=self._account.began_ns)
        return _Group(inode_of(self._name, *place), newest, links, left)

    def _link(self, place: _Place, job: Job) -> Node:
        up = "../" * (1 + len(place))
        date = nanoseconds(job.inserted, self._account.began_ns)
        return LinkNode(inode_of(self._name, *place, job.id), date, f"{up}jobs/{job.id}")

    def _nested(self, above: _Place, nodes: Mapping[_Place, Node]) -> Mapping[str, Node]:
        """What the folder ``above`` has in it, of ``nodes`` at their places below it."""
        entries = {place[0]: node for place, node in nodes.items() if len(place) == 1}
        folders: dict[str, dict[_Place, Node]] = {}
        for place, node in nodes.items():
            if len(place) > 1:
                folders.setdefault(place[0], {})[place[1:]] = node
        for name, inner in folders.items():
            place = (*above, name)
            newest = max(node.modified_ns for node in inner.values())
            entries[name] = FixedDirectory(inode_of(self._name, *place), newest, self._nested(place, inner))
        return entries


class ByStatus(GroupedView):
    """by-status/<status>/<id>, as the list of jobs has it.

    The service calls a job `Completed` that failed, or was stopped. As soon as that is known of one, it is in
    `Failed` or `Stopped`, which are words of the service's, too.
    """

    __slots__ = ()

    def _places(self, job: Job) -> Iterable[_Place]:
        known = _ENDINGS.get(job.outcome.result) if job.outcome is not None else None
        return ((known or legal_name(job.status.strip() or NOT_SUBMITTED),),)


class ByDate(GroupedView):
    """by-date/YYYY/MM/<id>, by the month in UTC in which the job was made."""

    __slots__ = ()

    def _places(self, job: Job) -> Iterable[_Place]:
        if job.inserted is None:
            return ((UNDATED,),)
        made = job.inserted.astimezone(timezone.utc)
        return ((f"{made:%Y}", f"{made:%m}"),)


class ByProject(GroupedView):
    """by-project/<name>/<id>. Projects of one name are told apart as jobs are; unknown ones show their id."""

    __slots__ = ("_names",)

    def __init__(self, account: Account, name: str) -> None:
        super().__init__(account, name)
        self._names: Mapping[str, str] = {}

    def _basis(self) -> object:
        try:
            return self._account.catalog.offers.projects()
        except ApiError as error:
            if not is_refusal(error):
                raise
            log.info("projects go by their ids: %s", error)
            return None

    def _make(self, jobs: JobList) -> Mapping[str, Node]:
        places = Places(keep_suffix=False)
        places.take(Claim("", (NO_PROJECT,), None))
        projects = self._basis() or ()
        assert isinstance(projects, tuple)
        claims = sorted((Claim(each.id, (legal_name(each.name),), None) for each in projects), key=_rank)
        self._names = {claim.id: places.take(claim)[0] for claim in claims}
        return super()._make(jobs)

    def _places(self, job: Job) -> Iterable[_Place]:
        if job.project_id is None:
            return ((NO_PROJECT,),)
        return ((self._names.get(job.project_id) or legal_name(job.project_id),),)


class ByTag(GroupedView):
    """by-tag/<tag>/<id>, for jobs whose tags the list of jobs tells."""

    __slots__ = ()

    @property
    def is_told(self) -> bool:
        """Whether any job has a tag, as far as is known."""
        jobs = self._account.catalog.known_jobs()
        return jobs is not None and any(job.tags for job in jobs.by_id.values())

    def _places(self, job: Job) -> Iterable[_Place]:
        return ((legal_name(tag),) for tag in dict.fromkeys(job.tags))


def _has_a_place(job: Job) -> bool:
    return is_job_id(job.id)


def _rank(claim: Claim) -> tuple[object, ...]:
    return claim.rank


def _newest(jobs: Iterable[Job], otherwise_ns: int) -> int:
    dates = [job.inserted for job in jobs if job.inserted is not None]
    return nanoseconds(max(dates, default=None), otherwise_ns)
