"""Rounds of a `Mirror` in this process: on a fake of the server, a fake clock, and a real folder."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rescalefs.background import Background
from rescalefs.mirror import Ledger, LiveCopies, Mirror, Report, Selection, Shelf, Transfers
from rescalefs.mirror.service import LiveSource, TailBody
from rescalefs.model import LiveFile, RemoteFile
from tests.fakes import FakeClock, MemorySource
from tests.tree.account import FakeService, file, tree_of


@dataclass
class Rounds:
    """A mirror and what it stands on."""

    service: FakeService
    source: MemorySource
    folder: Path
    clock: FakeClock
    shelf: Shelf
    transfers: Transfers
    mirror: Mirror
    acts: list[tuple[str, str, str]] = field(default_factory=list)  # of the last round

    def round(self) -> Report:
        """Look at all jobs that the server lists."""
        self.acts = []
        report = Report(lambda act, path, detail: self.acts.append((act, path, detail)))
        self.mirror.round(self.service.jobs(), report)
        return report

    def of(self, act: str) -> list[str]:
        """The paths below jobs/ to which this was done in the last round."""
        return sorted(path for what, path, _ in self.acts if what == act and path.startswith("jobs/"))

    def outputs(self, job: str = "a") -> dict[str, bytes]:
        """What is below outputs/ of a job."""
        return below(self.folder / "jobs" / job / "outputs")

    def copies(self, job: str = "a") -> set[str]:
        """The copies of what a job wrote while it ran."""
        top = self.folder / "jobs" / job
        live = [*top.glob("live/**/*"), *top.glob("runs/*/live/**/*")]
        return {path.relative_to(top).as_posix() for path in live if path.is_file()}


def below(folder: Path) -> dict[str, bytes]:
    """All files in a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def output(path: str, content: bytes, checksum: bool = True) -> RemoteFile:
    """An output of which the server tells the truth; its id is its path."""
    digest = hashlib.sha512(content).hexdigest() if checksum else None
    return file(path, path, size=len(content), sha512=digest)


_ledgers: list[Ledger] = []


def shelf_in(folder: Path) -> Shelf:
    """A shelf that remembers what it put there for as long as the test runs."""
    _ledgers.append(Ledger(None))
    return Shelf(folder, _ledgers[-1], folder / "parts")


def close_ledgers() -> None:
    """Close those of all shelves that `shelf_in` made."""
    while _ledgers:
        _ledgers.pop().close()


@contextmanager
def rounds(
    folder: Path,
    contents: Mapping[str, bytes],
    tails: LiveSource,
    selection: Selection | None = None,
    service: FakeService | None = None,
    connections: int = 4,
) -> Iterator[Rounds]:
    """A mirror of jobs whose files have these contents."""
    folder.mkdir(exist_ok=True)
    service, clock, background = service or FakeService(), FakeClock(), Background()
    source, shelf = MemorySource(contents), shelf_in(folder)
    transfers = Transfers(source, shelf.parts, clock, background, connections)
    live = LiveCopies(tails, shelf, clock)
    mirror = Mirror(tree_of(service, clock), shelf, transfers, selection or Selection(), clock, live)
    transfers.start()
    try:
        yield Rounds(service, source, folder, clock, shelf, transfers, mirror)
    finally:
        mirror.stop()
        background.close()


class NoTails:
    """No job runs."""

    def open_tail(self, file: LiveFile, start: int) -> AbstractContextManager[TailBody]:
        raise AssertionError(f"{file} is asked for from {start} on, and nothing runs")


def never() -> threading.Event:
    """An event that nothing sets."""
    return threading.Event()
