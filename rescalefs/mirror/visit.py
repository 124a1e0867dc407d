"""One look at a job: what is found, where it belongs, and when all of it is here."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable

from rescalefs.mirror.names import Names
from rescalefs.model import Job, RemoteFile
from rescalefs.tree import Directory, TextNode


def inner(path: str) -> str:
    """The path below outputs/, inputs/ or live/ of the job, or of one of its runs."""
    return path[len(kind_folder(path)) + 1 :]


def kind_folder(path: str) -> str:
    """That outputs/, inputs/ or live/."""
    names = path.split("/")
    return "/".join(names[: 5 if names[2:3] == ["runs"] else 3])


def is_live(path: str) -> bool:
    """Whether a folder is live/ of a job or a run, and not one of that name that a job wrote."""
    return path.startswith("jobs/") and path.endswith("/live") and kind_folder(path) == path


class Visit:
    """What is found at one look at a job."""

    def __init__(self, job: Job, where: str, folder: Directory, names: Names) -> None:
        self.job = job
        self.where = where
        self.folder = folder
        self.names = names
        self.foreign: list[str] = []  # paths that hold what is not ours
        self.texts: list[tuple[str, TextNode]] = []
        self.growing: list[str] = []  # live/ of runs that have not ended
        # By run, or job, and path: where the outputs are that may take the place of copies in live/.
        self._outputs: dict[tuple[str, str], list[tuple[str, RemoteFile]]] = defaultdict(list)

    def found(self, path: str, file: RemoteFile) -> None:
        """A file of the server."""
        self._outputs[_of_run(path), inner(path)].append((path, file))

    def instead_of(self, live: str) -> list[tuple[str, RemoteFile]]:
        """The outputs, or the input that the job left as it was, that have what a copy in live/ has."""
        return [*self._outputs[_of_run(live), inner(live)], *self._outputs[self.where, inner(live)]]


def _of_run(path: str) -> str:
    """The folder of the run, or of the job, that has this outputs/, inputs/ or live/."""
    return kind_folder(path).rpartition("/")[0]


class Pending:
    """Counts what is under way, and calls ``then`` once, when nothing is: with whether all went well."""

    def __init__(self, then: Callable[[bool], None]) -> None:
        self._then = then
        self._lock = threading.Lock()  # guards _count and _good
        self._count = 1  # the thread that is still adding
        self._good = True

    def one_more(self) -> None:
        with self._lock:
            self._count += 1

    def fail(self) -> None:
        with self._lock:
            self._good = False

    def done(self) -> None:
        with self._lock:
            self._count -= 1
            good, last = self._good, not self._count
        if last:
            self._then(good)
