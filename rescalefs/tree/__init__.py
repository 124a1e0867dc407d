"""Which paths exist, and what each one is.

The door: a `Tree` answers `node(path)` with a node (see `nodes`) from what it knows of the account, and asks
the server, through a `JobService`, for what it does not know or knows no longer.

- Listings are shared by all who want them, kept on disk, and renewed in the background; when the server is
  away, the last known ones are shown. What was never known raises the server's error.
- Names from the server become legal, unique and stable names that never leave the tree (see `naming`).

It knows nothing of HTTP, of reading bytes, of submitting, nor of FUSE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rescalefs.doors import opened_by_name

if TYPE_CHECKING:
    from rescalefs.tree.layout import Tree
    from rescalefs.tree.naming import is_job_id
    from rescalefs.tree.nodes import (
        Directory,
        DropFolder,
        LinkNode,
        LiveNode,
        Node,
        RemoteNode,
        Text,
        TextNode,
        nanoseconds,
    )
    from rescalefs.tree.outputs import placed
    from rescalefs.tree.service import JobService
    from rescalefs.tree.settings import TreeSettings
    from rescalefs.tree.sorting import Sorting
else:
    __getattr__ = opened_by_name(
        __name__,
        {
            "layout": ("Tree",),
            "naming": ("is_job_id",),
            "nodes": (
                "Directory",
                "DropFolder",
                "LinkNode",
                "LiveNode",
                "Node",
                "RemoteNode",
                "Text",
                "TextNode",
                "nanoseconds",
            ),
            "outputs": ("placed",),
            "service": ("JobService",),
            "settings": ("TreeSettings",),
            "sorting": ("Sorting",),
        },
    )

__all__ = [
    "Directory",
    "DropFolder",
    "JobService",
    "LinkNode",
    "LiveNode",
    "Node",
    "RemoteNode",
    "Sorting",
    "Text",
    "TextNode",
    "Tree",
    "TreeSettings",
    "is_job_id",
    "nanoseconds",
    "placed",
]
