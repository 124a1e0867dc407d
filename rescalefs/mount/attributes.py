"""Pure: what stat(2) tells, as one small tuple."""

from __future__ import annotations

import os
from typing import NamedTuple

# Writable by their owner, as on a disk that is mounted read-only: EROFS is what refuses. A copy made with
# `cp -r` takes the modes along, and has to be its owner's to change and to remove.
FILE_MODE = 0o644
FOLDER_MODE = 0o755
LINK_MODE = 0o777

# Applications size their reads by st_blksize. 128 KiB is the most that libfuse 2 lets the kernel ask for
# at once, and no more than a `head` should cost.
BLOCK_HINT = 128 << 10


class Attributes(NamedTuple):
    """The fields of struct stat that the kernel is given. Times are nanoseconds since the epoch."""

    mode: int
    inode: int
    links: int
    uid: int
    gid: int
    size: int
    blocks: int  # of 512 bytes, as POSIX counts them
    block_hint: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    device: int = 0


class Owner(NamedTuple):
    """Who the files that exist only in the mount belong to: whoever mounted it."""

    uid: int
    gid: int

    @classmethod
    def of_this_process(cls) -> Owner:
        return cls(os.geteuid(), os.getegid())


def described(mode: int, inode: int, owner: Owner, size: int, modified_ns: int, links: int = 1) -> Attributes:
    """The attributes of something that only the mount knows; ``mode`` includes the type."""
    blocks = (size + 511) >> 9
    return Attributes(
        mode,
        inode,
        links,
        owner.uid,
        owner.gid,
        size,
        blocks,
        BLOCK_HINT,
        modified_ns,
        modified_ns,
        modified_ns,
    )


def from_backing(found: os.stat_result) -> Attributes:
    """The attributes of something on a local disk, as they are there."""
    return Attributes(
        found.st_mode,
        found.st_ino,
        found.st_nlink,
        found.st_uid,
        found.st_gid,
        found.st_size,
        found.st_blocks,
        found.st_blksize,
        found.st_atime_ns,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_rdev,
    )
