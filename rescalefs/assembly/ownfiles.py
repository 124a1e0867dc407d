"""Texts of .rescalefs/ that need no more than settings and the log."""

from __future__ import annotations

import logging
from collections import deque

from rescalefs.config import SETTINGS, Account, Settings, as_text

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
    """`.rescalefs/log`: the last lines that were logged, wherever else they go."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._lines: deque[str] = deque(maxlen=_LINES)  # appended to under the handler's own lock

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))

    def text(self) -> bytes:
        """The lines, oldest first."""
        return "".join(f"{line}\n" for line in self._lines.copy()).encode(errors="replace")
