"""Pure: how much is too much for one drop."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Limits:
    """How much one drop may send, and its job cost."""

    files: int = 100_000
    file_size: int = 1 << 40  # bytes
    total_size: int = 4 << 40  # bytes
    cost: Decimal | None = None  # in the currency of the prices
