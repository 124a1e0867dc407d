"""What becomes of a home that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rescalefs.errors import BadSettings


@contextmanager
def home_needed() -> Iterator[None]:
    """Around what looks for a folder of the user's: say what to do where there is no home."""
    try:
        yield
    except RuntimeError as error:  # pathlib's and platformdirs' way to say so
        raise BadSettings(
            "there is no home folder to look for settings, keys and caches in. Set HOME to one"
        ) from error
