"""What can be set about the tree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rescalefs.tree.sorting import ALL_TOGETHER, Sorting


@dataclass(frozen=True, slots=True)
class TreeSettings:
    """Where listings are kept, and how old they may be. Times in seconds."""

    directory: Path | None = None  # of this account alone; None keeps nothing across restarts
    poll_every: float = 20.0  # one request each; a new job shows after at most this. 180 requests an hour
    list_all_every: float = 1800.0  # all pages; finds what polling the newest cannot see
    live: float = 4.0  # how old an answer about a job that has not ended may be
    rest: float = 5.0  # after a refusal or failure, before the same is asked again
    patience: float = 5.0  # how long to wait for something newer than what is known
    deadline: float = 150.0  # how long to wait for another thread's answer; above the client's own limit
    files_in_memory: int = 30_000  # about 1 KiB each; listings beyond are read back from the directory
    refreshers: int = 4  # threads, while there is something to refresh
    sorting: Sorting = ALL_TOGETHER  # which kinds of files are where
