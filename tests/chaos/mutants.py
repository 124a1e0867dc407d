"""Places that are broken on purpose, one at a time: a storm must notice each.

A mutant replaces a piece of a module's source while it is imported, in the processes of the storm alone. Each
piece has to be there exactly once, and a test of the suite looks: who changes such a place moves its mutant.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One break: where, what, and what a storm must see of it."""

    name: str
    what: str
    module: str
    pieces: tuple[tuple[str, str], ...]  # of the source, and what stands there instead
    notices: tuple[str, ...]  # kinds of violations of which at least one must be seen
    storm: str = ""  # more words for the storm's command line: what brings it out soon

    def broken(self, source: str) -> str:
        """The source with the break in it. `LookupError` where a piece is not there exactly once."""
        for piece, instead in self.pieces:
            if source.count(piece) != 1:
                raise LookupError(f"{self.name}: {self.module} has this {source.count(piece)} times: {piece}")
            source = source.replace(piece, instead)
        return source

    @property
    def file(self) -> Path:
        """Where the module's source is."""
        return CHECKOUT / f"{self.module.replace('.', '/')}.py"


MUTANTS = (
    Mutant(
        "any-hash-will-do",
        "the SHA-512 of a file that was read to its end is not compared",
        "rescalefs.reading.board",
        (("if found == content.file.sha512:", "if found:"),),
        ("wrong result",),
        "--weather corrupt",
    ),
    Mutant(
        "one-byte-early",
        "a transfer that begins within a file asks for one byte too many before it",
        "rescalefs.reading.fetcher",
        (
            (
                "open_range(file, start, extent.span.stop)",
                "open_range(file, max(0, start - 1), extent.span.stop)",
            ),
            ("if body.start != extent.position:", "if False:"),
        ),
        ("wrong result", "never recovers"),
        "--weather cut --verify eof",
    ),
    Mutant(
        "whole-for-a-range",
        "the whole file in place of a range is taken for the range",
        "rescalefs.api.bodies",
        (("            self._skip = start\n", "            self._skip = 0\n"),),
        ("wrong result", "never recovers"),
        "--weather ignore-range --verify eof",
    ),
    Mutant(
        "error-looks-like-an-end",
        "a read that fails says that the file ends there",
        "rescalefs.mount.adapter",
        (
            (
                (
                    "        return self.operations.filesystem.read_into("
                    "opened.fh, view, offset, not opened.lock_owner)\n"
                ),
                (
                    "        read = self.operations.filesystem.read_into\n"
                    "        try:\n"
                    "            return read(opened.fh, view, offset, not opened.lock_owner)\n"
                    "        except Exception:\n"
                    "            return 0\n"
                ),
            ),
        ),
        ("wrong result",),
        "--weather 'refused connections' --weather 'server error'",
    ),
    Mutant(
        "half-a-list",
        "what a server sends as the first page of a list is taken for all of it",
        "rescalefs.api.pages",
        (
            ("        if count is not None and items and count > len(items):", "        if False:"),
            ("        while last.entries and last.next:", "        while False:"),
        ),
        ("wrong result",),
    ),
    Mutant(
        "create-without-a-look",
        "the answer to creating a job was lost: another is made, and the first is not looked for",
        "rescalefs.submit.worker",
        (
            (
                (
                    "        traces = self._finder.look(drop)\n"
                    "        if traces.job is not None:\n"
                    "            self._forget_doubt(drop)\n"
                ),
                (
                    '        return machine.NotCreated("it was not looked for", certain=True)\n'
                    "        traces = self._finder.look(drop)\n"
                    "        if traces.job is not None:\n"
                    "            self._forget_doubt(drop)\n"
                ),
            ),
        ),
        ("second job",),
        "--weather 'lost create'",
    ),
    Mutant(
        "journal-not-read",
        "after a start, the journal of the drops counts as empty",
        "rescalefs.submit.ledger",
        (
            (
                "        for entry in self._journal.entries(known):\n",
                "        for entry in self._journal.entries(known) if known else ():\n",
            ),
        ),
        ("second job", "lost job", "wrong status", "daemon ended", "never recovers"),
        "--weather 'kill mount'",
    ),
    Mutant(
        "put-off-for-good",
        "a drop whose act failed once is not tried again",
        "rescalefs.submit.desk",
        (
            (
                "            tray.taken = False\n            tray.failures += 1\n",
                "            tray.failures += 1\n",
            ),
        ),
        ("lost job",),
        "--weather unauthorized --weather 'silent network' --weather 'refused connections'",
    ),
    Mutant(
        "part-not-verified",
        "a fetched file gets its name whatever its SHA-512 is",
        "rescalefs.mirror.transfers",
        (
            (
                "        return not self._verify or file.sha512 is None or digest == file.sha512\n",
                "        return True\n",
            ),
        ),
        ("unverified under its name", "wrong result"),
        "--weather corrupt",
    ),
    Mutant(
        "descriptor-for-each-open",
        "each opening of a file leaves a descriptor behind",
        "rescalefs.mount.adapter",
        (
            (
                "        opened = self.filesystem.open(path, info.flags)\n",
                "        opened = self.filesystem.open(path, info.flags)\n        __import__('os').dup(0)\n",
            ),
        ),
        ("leak", "never recovers", "wrong status", "daemon ended"),
    ),
    Mutant(
        "promise-not-kept",
        "the readers of a transfer that failed are not woken, and wait without a limit",
        "rescalefs.reading.fetcher",
        (
            (
                "            self._board.finish_extent(extent, error)",
                "            error or self._board.finish_extent(extent, error)",
            ),
        ),
        ("over its limit", "never recovers"),
        "--weather 'refused connections' --weather 'server error'",
    ),
    Mutant(
        "flipped-bits-are-served",
        "a block that comes from the disk is not held against its digest",
        "rescalefs.reading.block",
        ((" and digest(part) == self.digest_of(leaf):", ":"),),
        ("wrong result",),
        "--weather 'flipped bits' --weather 'kill mount'",
    ),
    Mutant(
        "deaf",
        "a signal that asks the mount to end is noted in the log, and nothing else",
        "rescalefs.mount.session",
        (
            (
                "        self._ending.ask()\n        log.info",
                "        log.info",
            ),
        ),
        ("does not end",),
        "--weather 'end mount'",
    ),
)


def mutant(name: str) -> Mutant:
    """The one of this name."""
    for each in MUTANTS:
        if each.name == name:
            return each
    raise LookupError(f"there is no mutant {name}; there are {', '.join(each.name for each in MUTANTS)}")


def apply(name: str) -> None:
    """Break it in this process: before anything of rescalefs is imported."""
    sys.meta_path.insert(0, _Finder(mutant(name)))


class _Finder(MetaPathFinder):
    def __init__(self, broken: Mutant) -> None:
        self._broken = broken

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self._broken.module:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(name, spec.origin, self._broken)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, broken: Mutant) -> None:
        super().__init__(name, path)
        self._broken = broken

    def get_code(self, fullname: str) -> CodeType | None:
        source = self._broken.broken(Path(self.path).read_text(encoding="utf-8"))
        code: Any = compile(source, self.path, "exec")
        return code if isinstance(code, CodeType) else None
