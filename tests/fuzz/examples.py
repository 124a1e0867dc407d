"""How many examples: few in `make test`, always the same ones; many in `make fuzz`, others each time."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

SEEDS = st.integers(0, 2**32 - 1)

_MANY = int(os.environ.get("FUZZ_EXAMPLES", "0"))


def examples(few: int) -> settings:
    """``few`` of them; in `make fuzz`, as many times more as it is told."""
    return settings(
        max_examples=few * max(1, _MANY),
        derandomize=not _MANY,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
