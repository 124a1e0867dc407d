"""Path -> node: the one place that says what the mount looks like.

    /
    ├── jobs/<id>/            jobfolder.py
    ├── by-name/<name>        -> ../jobs/<id>; views.py, as the others
    ├── by-status/<status>/<id>, by-date/YYYY/MM/<id>, by-project/<name>/<id>
    ├── by-tag/<tag>/<id>     only if the server tells tags
    ├── catalog/              what can be had: offers.py
    ├── submit/               only its mark; the mount serves it
    └── .rescalefs/           texts that others write

A directory that depends on the server is a small class. It keeps what it made as long as the answer that it
was made of stays the same, so a path that is known costs a look-up for each of its names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

from rescalefs.background import Background
from rescalefs.clock import Clock
from rescalefs.errors import ApiError, NoSuchPath, NotADirectory
from rescalefs.model import Job, LiveFile, Outcome, RemoteFile
from rescalefs.tree.account import Account
from rescalefs.tree.catalog import Catalog
from rescalefs.tree.nodes import (
    ROOT_INODE,
    Directory,
    DropFolder,
    FixedDirectory,
    Node,
    Text,
    TextNode,
    inode_of,
    nanoseconds,
)
from rescalefs.tree.outputs import Verification
from rescalefs.tree.service import JobService
from rescalefs.tree.settings import TreeSettings
from rescalefs.tree.views import ByDate, ByName, ByProject, ByStatus, ByTag, Jobs

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
        account = Account(self._catalog, clock, verification, settings.sorting)
        began = account.began_ns
        own = {name: _own_text(name, write, clock) for name, write in texts.items()}
        offers = self._catalog.offers
        sheets = {
            name: TextNode(inode_of("catalog", name), partial(offers.text, name)) for name in offers.names
        }
        fixed: Mapping[str, Node] = {
            "jobs": Jobs(account),
            "by-name": ByName(account),
            "by-status": ByStatus(account, "by-status"),
            "by-date": ByDate(account, "by-date"),
            "by-project": ByProject(account, "by-project"),
            "catalog": FixedDirectory(inode_of("catalog"), began, sheets),
            "submit": DropFolder(inode_of("submit"), began),
            ".rescalefs": FixedDirectory(inode_of("own"), began, own),
        }
        self._root: Directory = _Root(began, fixed, ByTag(account, "by-tag"))

    def start(self) -> None:
        """Keep what is known fresh in the background."""
        self._catalog.start()

    def await_listing(self, seconds: float) -> None:
        """Wait until the server was asked for its jobs since `start`, or in vain; no longer than this."""
        self._catalog.await_listing(seconds)

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

    def jobs(self) -> tuple[Job, ...]:
        """All jobs as the list shows them. May ask the server, and raise its `ApiError`."""
        return tuple(self._catalog.jobs().by_id.values())

    def heard(self, job_id: str, status: str) -> None:
        """Someone saw this status of a job at the server: from now on the tree knows it, too."""
        self._catalog.heard(job_id, status)

    def concluded(self, job_id: str, outcome: Outcome) -> None:
        """Someone found out how a job ended: from now on the tree knows it, too."""
        self._catalog.concluded(job_id, outcome)

    def made(self, job: Job) -> None:
        """Someone just made this job: from now on the tree has it, without a request."""
        self._catalog.made(job)

    def renew_live(self, job_id: str, run_id: str | None) -> None:
        """Ask the server now what a run (None: the job's only one) has in live/; raise its `ApiError`."""
        self._catalog.renew_live(job_id, run_id)

    def output_of(self, file: LiveFile) -> RemoteFile | None:
        """The output that a live file has become; None where there is none yet. May ask, and raise."""
        return self._catalog.output_of(file)

    def forget(self, job_id: str | None = None) -> None:
        """Ask the server afresh about one job, or about everything, when it is looked at next."""
        self._catalog.forget(job_id)

    def failed(self, error: ApiError) -> None:
        """Someone else just asked the server in vain: no need to find that out again at once."""
        self._catalog.health.failed(error)

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


class _Root(FixedDirectory):
    """The mount's own folder: fixed, but for by-tag/, which is there when some job has a tag."""

    __slots__ = ("_tags",)

    def __init__(self, began_ns: int, fixed: Mapping[str, Node], tags: ByTag) -> None:
        super().__init__(ROOT_INODE, began_ns, fixed)
        self._tags = tags

    @property
    def links(self) -> int:
        return super().links + self._tags.is_told

    def entries(self) -> Mapping[str, Node]:
        return {**super().entries(), "by-tag": self._tags} if self._tags.is_told else super().entries()

    def find(self, name: str) -> Node | None:
        if name == "by-tag":
            return self._tags if self._tags.is_told else None
        return super().find(name)


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
