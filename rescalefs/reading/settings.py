"""What can be set about reading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

VerifyMode = Literal["eof", "strict", "off"]


@dataclass(frozen=True, slots=True)
class ReadingSettings:
    """How to read, how much to keep and what to verify. Sizes in bytes, times in seconds."""

    cache_dir: Path
    cache_size: int = 20 * GIB
    block_size: int = 4 * MIB  # unit of the cache; a multiple of leaf_size
    leaf_size: int = 64 * KIB  # unit of readiness and of digests; docs/decisions/0006-blocks-and-extents.md
    connections: int | Literal["auto"] = "auto"
    verify: VerifyMode = "eof"
    deadline: float = 60.0  # one read's limit without progress
    retry_pause: float = 0.2  # before a broken transfer is resumed for the first time; doubles after that
    open_blocks: int = 512  # descriptors kept for blocks; the usual limit of a process is 1024

    def __post_init__(self) -> None:
        if self.leaf_size <= 0 or self.block_size % self.leaf_size:
            raise ValueError("block_size must be a multiple of leaf_size")
        if self.connections != "auto" and self.connections < 1:
            raise ValueError("connections must be 'auto' or at least 1")
