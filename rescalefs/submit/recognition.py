"""Pure: which drop a folder is, where the file system's numbers do not tell.

On ext4, xfs, btrfs and their like, a folder's number and time of birth tell (see `survey`). A FUSE file
system may give a folder another number after each mount, some network disks and exFAT do so as well, and many
keep no time of birth. There a number proves little. Name, number, time of birth and `job.json` are then
weighed against each other. A folder that may be a drop with a job is never taken for a new one: a person is
asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from rescalefs.submit.machine import Drop, State


@dataclass(frozen=True, slots=True)
class Seen:
    """A folder in the drop folder, as of now."""

    name: str
    inode: int
    born: int | None
    job_file: str  # the mark of its job.json; empty where there is none


@dataclass(frozen=True, slots=True)
class Same:
    """The folder is this drop."""

    drop: Drop


@dataclass(frozen=True, slots=True)
class Asks:
    """The folder may be this drop, which has a job, or a new one: a person has to say so."""

    drop: Drop


def recognise(folder: Seen, drops: Iterable[Drop], present: Collection[str]) -> Same | Asks | None:
    """Which drop the folder is; None where it is a new one.

    ``present`` are the names of all folders in the drop folder. ``drops`` are those that lie, or lay, there,
    the oldest first.
    """
    latest_first = tuple(drops)[::-1]
    exact = next((each for each in latest_first if _is_exactly(folder, each)), None)
    if exact is not None:
        return Same(exact)
    here = next((drop for drop in latest_first if drop.here and drop.folder == folder.name), None)
    lost = [drop for drop in latest_first if not drop.here or drop.folder not in present]
    if here is not None and _is_by_number(folder, here):
        return Same(here)
    moved = next((drop for drop in lost if _has_moved(folder, drop)), None)
    if here is not None and not (moved is not None and not is_same_job_file(folder.job_file, here.job_file)):
        return _under_its_name(folder, here)
    if moved is not None:
        return Same(moved)
    doubtful = next((drop for drop in lost if has_job(drop) and _may_be(folder, drop)), None)
    return Asks(doubtful) if doubtful is not None else None


def has_job(drop: Drop) -> bool:
    """Whether there is a job of the drop's, or was, or may be."""
    return drop.job_id is not None or drop.doubtful or drop.state is State.IN_DOUBT or drop.asked > 0


def is_same_job_file(mark: str, known: str) -> bool:
    """Whether two marks tell of one file, or of a copy of it with its time."""
    return known != "" and mark.partition("-")[2] == known.partition("-")[2]


def _is_exactly(folder: Seen, drop: Drop) -> bool:
    return folder.inode == drop.inode and _births(folder, drop) is True


def _is_by_number(folder: Seen, drop: Drop) -> bool:
    return folder.inode == drop.inode and _births(folder, drop) is not False


def _under_its_name(folder: Seen, drop: Drop) -> Same | Asks | None:
    """A folder where the drop lay when it was last seen, with another number."""
    births = _births(folder, drop)
    is_same_file = is_same_job_file(folder.job_file, drop.job_file)
    if births is True or (births is None and (is_same_file or not has_job(drop))):
        return Same(drop)
    if has_job(drop) and (births is None or is_same_file):
        return Asks(drop)
    return None


def _has_moved(folder: Seen, drop: Drop) -> bool:
    """Whether a drop that is not at its place any more is this folder under another name, or is back."""
    births = _births(folder, drop)
    is_same_file = is_same_job_file(folder.job_file, drop.job_file)
    if births is True:
        # Two folders that were made in one tick of the clock have one time of birth.
        return is_same_file
    if births is False or folder.inode != drop.inode:
        return False
    return is_same_file or (drop.here and not has_job(drop))


def _may_be(folder: Seen, drop: Drop) -> bool:
    """Whether a drop that is not at its place any more might be this folder, by something that says so."""
    is_same_file = is_same_job_file(folder.job_file, drop.job_file)
    births = _births(folder, drop)
    if births is False:
        return is_same_file and folder.name == drop.folder
    return is_same_file or (drop.here and folder.inode == drop.inode)


def _births(folder: Seen, drop: Drop) -> bool | None:
    """Whether the times of birth agree; None where one of them is not known."""
    if folder.born is None or drop.born is None:
        return None
    return folder.born == drop.born
