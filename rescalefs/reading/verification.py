"""How far the bytes of a file are known to be right."""

from __future__ import annotations

import enum


class Verification(str, enum.Enum):
    """What `files.tsv` tells of each file."""

    YES = "yes"  # SHA-512 agreed, and each block has had a digest since
    NO = "no"
    PARTIAL = "partial"  # a part of it was read, so SHA-512 can't tell yet
    FAILED = "failed"  # the bytes do not match, and did not when fetched afresh
    UNAVAILABLE = "unavailable"  # the server has no SHA-512 of it
