"""A bar with rate and time left, on standard error where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

Advance = Callable[[int], None]


class Bar:
    """Takes numbers of bytes from any thread; shows nothing until it is told a total, and on no terminal."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._task = None if progress is None else progress.add_task("", total=None, visible=False)

    def expect(self, what: str, total: int | None) -> None:
        """From now on the bar is seen."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=what, total=total, visible=True)

    def advance(self, count: int) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, count)


@contextmanager
def byte_bar(wanted: bool = True) -> Iterator[Bar]:
    """A bar while the block runs."""
    if not (wanted and sys.stderr.isatty()):
        yield Bar(None)
        return
    # Imported here: rich takes longer to import than all the rest of the command line.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bar(progress)
