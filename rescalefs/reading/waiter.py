"""How a thread that reads waits for others to bring what it needs."""

from __future__ import annotations

import threading

from rescalefs.errors import RescaleFSError


class Waiter:
    """One thread that waits; woken when it should look again, or with the error that ends its wait."""

    __slots__ = ("error", "event", "mask")

    def __init__(self, mask: int = 0) -> None:
        self.mask = mask  # the leaves of a block that it waits for
        self.event = threading.Event()
        self.error: RescaleFSError | None = None

    def wake(self, error: RescaleFSError | None = None) -> None:
        """End the wait."""
        if error is not None:
            self.error = error
        self.event.set()
