"""The bytes of remote files, at any offset, through a cache of blocks on disk.

Promises: no wrong byte without an error where a checksum is known; no byte fetched twice at the same time; no
read fails because of the cache; no wait without an end. Knows nothing of HTTP, paths or FUSE.
"""

from rescalefs.reading.blocks import CacheUsage
from rescalefs.reading.board import Counters
from rescalefs.reading.engine import OpenFile, ReadEngine
from rescalefs.reading.positioned import BINARY, read_into, write_fully
from rescalefs.reading.settings import ReadingSettings
from rescalefs.reading.source import Body, Source
from rescalefs.reading.upkeep import CacheInfo, CacheUpkeep, CacheVerdict
from rescalefs.reading.verification import Verification

__all__ = [
    "BINARY",
    "Body",
    "CacheInfo",
    "CacheUpkeep",
    "CacheUsage",
    "CacheVerdict",
    "Counters",
    "OpenFile",
    "ReadEngine",
    "ReadingSettings",
    "Source",
    "Verification",
    "read_into",
    "write_fully",
]
