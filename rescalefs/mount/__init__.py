"""The kernel's door: what each file operation means, and the life of a mount.

Promises: errors become errnos we chose; a file's last byte is only reported as read when it was; a mount that
ends leaves nothing behind. Does not know: HTTP, jobs, what a drop's states are, or who plugged it together.

`adapter` is not imported here: it needs libfuse, and this door has to open without it.
"""

from rescalefs.mount.dropfolder import DropFolder
from rescalefs.mount.errnos import errno_for
from rescalefs.mount.filesystem import FileSystem
from rescalefs.mount.mountpoint import check_fuse, clear_stale, is_mounted
from rescalefs.mount.notify import Notifier
from rescalefs.mount.openfiles import OpenFiles
from rescalefs.mount.overlays import DropViews
from rescalefs.mount.session import Ending, MountSettings, mount_background, mount_foreground, umount

__all__ = [
    "DropFolder",
    "DropViews",
    "Ending",
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
