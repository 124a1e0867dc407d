"""What can be set in this room."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rescalefs.belonging import Key
from rescalefs.submit.limits import Limits


@dataclass(frozen=True)
class SubmitSettings:
    """Where drops lie and are remembered, and how patient we are. Times are in seconds."""

    folder: Path  # the backing directory: what people drop into
    journal: Path  # one account's SQLite file, on this machine's disk
    account: str = "this account"  # what people call it
    key: Key = field(default_factory=Key)  # the API key, as far as it may be known here
    remedy: str = ""  # what to do about a key of another account; empty: what is usual
    settle_time: float = 2.0  # without a change, before a folder counts as complete
    longest_settle: float = 60.0  # the same for a copy that comes in slowly
    rescan: float = 30.0  # between two looks at everything, whatever was or was not reported
    uploads: int = 4  # files sent at once
    desks: int = 2  # threads that check, create and submit
    poll_least: float = 5.0  # between two looks at a job just after something happened to it
    poll_most: float = 60.0  # the same when nothing happens for long
    doubt: float = 180.0  # how long a job may take to show up after the answer to its creation was lost
    lag: float = 20.0  # how long the server's lists and pages may take to show what was done
    catalogue_age: float = 600.0  # how long software, hardware and prices are believed
    trust_upload: float = 3600.0  # how long an uploaded file is believed to be there without asking
    most_entries: int = 1_000_000  # files and folders in one drop
    on_finished: str = ""  # a shell command for each job that has ended
    on_finished_limit: float = 60.0  # how long it may take
    notify: bool = True  # on the desktop, where there is one
    limits: Limits = field(default_factory=Limits)
