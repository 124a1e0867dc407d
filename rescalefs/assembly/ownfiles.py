"""Texts of .rescalefs/ that need no more than settings and the log."""

from __future__ import annotations

import logging
from collections import deque

from rescalefs.clock import Clock
from rescalefs.config import SETTINGS, Account, Settings, as_text
from rescalefs.logs import Folds, LineFormatter

_LINES = 500  # of the log; some 50 KiB


def config_text(settings: Settings, account: Account) -> bytes:
    """`.rescalefs/config`: a header, and a line for each setting: its name, its value, where that is from."""
    rows = [("setting", "value", "from"), ("server", account.base_url, f"account {account.name}")]
    rows += [
        (each.name, as_text(getattr(settings, each.name)), settings.origins.get(each.name, "default"))
        for each in SETTINGS
    ]
    return "".join("\t".join(row) + "\n" for row in rows).encode(errors="surrogateescape")


class LogTail(logging.Handler):
    """`.rescalefs/log`: the last lines that were logged, wherever else they go. Equal ones are folded."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.setFormatter(LineFormatter())
        self._clock = clock
        self._folds = Folds()  # guarded by the handler's own lock, as the lines are
        self._lines: deque[str] = deque(maxlen=_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        now = self._clock.monotonic()
        taken = self._folds.takes(record, now)
        self._lines.extend(self.format(each) for each in self._folds.due(now))
        if taken:
            self._lines.append(self.format(record))

    def text(self) -> bytes:
        """The lines, oldest first, and how many more there were."""
        self.acquire()
        try:
            lines = [*self._lines, *map(self.format, self._folds.counted(self._clock.monotonic()))]
        finally:
            self.release()
        return "".join(f"{line}\n" for line in lines).encode(errors="replace")
