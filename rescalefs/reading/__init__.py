"""The bytes of remote files, at any offset, through a cache of blocks on disk.

Promises: no wrong byte without an error where a checksum is known; no byte fetched twice at the same time; no
read fails because of the cache; no wait without an end. Knows nothing of HTTP, paths or FUSE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rescalefs.doors import opened_by_name

if TYPE_CHECKING:
    from rescalefs.reading.blocks import CacheUsage
    from rescalefs.reading.board import Counters
    from rescalefs.reading.engine import OpenFile, ReadEngine
    from rescalefs.reading.lead import Lead
    from rescalefs.reading.positioned import BINARY, read_into, write_fully
    from rescalefs.reading.settings import ReadingSettings
    from rescalefs.reading.source import Body, Source
    from rescalefs.reading.upkeep import CacheInfo, CacheUpkeep, CacheVerdict
    from rescalefs.reading.verification import Verification
else:
    __getattr__ = opened_by_name(
        __name__,
        {
            "blocks": ("CacheUsage",),
            "board": ("Counters",),
            "engine": ("OpenFile", "ReadEngine"),
            "lead": ("Lead",),
            "positioned": ("BINARY", "read_into", "write_fully"),
            "settings": ("ReadingSettings",),
            "source": ("Body", "Source"),
            "upkeep": ("CacheInfo", "CacheUpkeep", "CacheVerdict"),
            "verification": ("Verification",),
        },
    )

__all__ = [
    "BINARY",
    "Body",
    "CacheInfo",
    "CacheUpkeep",
    "CacheUsage",
    "CacheVerdict",
    "Counters",
    "Lead",
    "OpenFile",
    "ReadEngine",
    "ReadingSettings",
    "Source",
    "Verification",
    "read_into",
    "write_fully",
]
