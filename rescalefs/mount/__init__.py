"""The kernel's door: what each file operation means, and the life of a mount.

Promises: errors become errnos we chose; a file's last byte is only reported as read when it was; a mount that
ends leaves nothing behind. Does not know: HTTP, jobs, what a drop's states are, or who plugged it together.

`adapter` is not imported here: it needs libfuse, and this door has to open without it. What a daemon is built
of is imported when it is asked for: `rescalefs umount` needs none of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from rescalefs.mount.errnos import errno_for
from rescalefs.mount.mountpoint import check_fuse, clear_stale, is_mounted
from rescalefs.mount.notify import Notifier
from rescalefs.mount.session import MountSettings, mount_background, mount_foreground, umount

if TYPE_CHECKING:
    from rescalefs.mount.dropfolder import DropFolder
    from rescalefs.mount.filesystem import FileSystem
    from rescalefs.mount.openfiles import OpenFiles
    from rescalefs.mount.overlays import DropViews

__all__ = [
    "DropFolder",
    "DropViews",
    "FileSystem",
    "MountSettings",
    "Notifier",
    "OpenFiles",
    "check_fuse",
    "clear_stale",
    "errno_for",
    "is_mounted",
    "mount_background",
    "mount_foreground",
    "umount",
]

_ON_DEMAND = {
    "DropFolder": "dropfolder",
    "DropViews": "overlays",
    "FileSystem": "filesystem",
    "OpenFiles": "openfiles",
}


def __getattr__(name: str) -> object:
    if name not in _ON_DEMAND:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ON_DEMAND[name]}"), name)
