"""The tree as real files: what `rescalefs sync` and `rescalefs download` do.

Promises: a file appears under its name only when it is complete and, where the server has a checksum,
verified; what was there is not fetched again, whatever killed the process before; nothing that a person made
or changed is overwritten or removed. Knows nothing of HTTP, FUSE or submitting, and uses nothing that only
Linux has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rescalefs.doors import opened_by_name

if TYPE_CHECKING:
    from rescalefs.mirror.download import Choice, choose, fetch_all, no_such_job, parts_of
    from rescalefs.mirror.drops import DropNotes
    from rescalefs.mirror.ledger import Ledger
    from rescalefs.mirror.live import LiveCopies
    from rescalefs.mirror.mirror import Mirror
    from rescalefs.mirror.report import Report
    from rescalefs.mirror.selection import Selection
    from rescalefs.mirror.service import DropViews, LiveSource
    from rescalefs.mirror.shelf import Shelf
    from rescalefs.mirror.stream import Sink, Stream
    from rescalefs.mirror.transfers import Transfers
    from rescalefs.mirror.trouble import Folding, reason
else:
    __getattr__ = opened_by_name(
        __name__,
        {
            "download": ("Choice", "choose", "fetch_all", "no_such_job", "parts_of"),
            "drops": ("DropNotes",),
            "ledger": ("Ledger",),
            "live": ("LiveCopies",),
            "mirror": ("Mirror",),
            "report": ("Report",),
            "selection": ("Selection",),
            "service": ("DropViews", "LiveSource"),
            "shelf": ("Shelf",),
            "stream": ("Sink", "Stream"),
            "transfers": ("Transfers",),
            "trouble": ("Folding", "reason"),
        },
    )

__all__ = [
    "Choice",
    "DropNotes",
    "DropViews",
    "Folding",
    "Ledger",
    "LiveCopies",
    "LiveSource",
    "Mirror",
    "Report",
    "Selection",
    "Shelf",
    "Sink",
    "Stream",
    "Transfers",
    "choose",
    "fetch_all",
    "no_such_job",
    "parts_of",
    "reason",
]
