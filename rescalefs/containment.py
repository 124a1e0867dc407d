"""Keeps what one item from outside raises at that item, and the log readable meanwhile."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LONGEST_REASON = 300  # characters
_MOST_FRAMES = 20  # the innermost ones; where there is no end of them, they are all alike


class Once:
    """Remembers what was logged, so that an item which raises at each round fills no disk. Thread-safe.

    Two errors are one where the same line raised the same type while the same was done.
    """

    def __init__(self, most: int = 1000) -> None:
        self._most = most
        # Each step is one of a dict, without a lock: a fork may come at any moment, and copy one as held.
        self._seen: dict[tuple[str, type[BaseException], str, int], object] = {}

    def is_new(self, what: str, error: BaseException) -> bool:
        """Whether this was not asked before. When too many differ, all count as new once more."""
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = (where.tb_frame.f_code.co_filename, where.tb_lineno) if where is not None else ("", 0)
        key = (what, type(error), *place)
        mine = object()
        if self._seen.setdefault(key, mine) is not mine:
            return False
        if len(self._seen) > self._most:
            self._seen.clear()
        return True


_logged = Once()


def log_once(logger: logging.Logger, what: str, error: BaseException, where: str = "") -> None:
    """Log that ``error`` ended ``what``: with its traceback the first time, without it at DEBUG after that.

    ``where`` names the item; it does not make the failure another one.
    """
    said = (f"{what} ({where})" if where else what, type(error).__name__, shortened(error))
    if _logged.is_new(what, error):
        # The frames alone, and few: the text of an error may hold megabytes, or what no log can write.
        frames = "".join(traceback.format_tb(error.__traceback__, -_MOST_FRAMES))
        logger.error("%s: unforeseen %s: %s\n%s", *said, frames.rstrip().encode("utf-8", "replace").decode())
    else:
        logger.debug("%s: again %s: %s", *said)


def warn_once(logger: logging.Logger, what: str, error: BaseException, where: str) -> None:
    """Log an item's foreseen trouble once, without a traceback, which would not help the reader."""
    level = logging.WARNING if _logged.is_new(what, error) else logging.DEBUG
    logger.log(level, "%s (%s): %s", what, where, shortened(error))


def shortened(error: BaseException) -> str:
    """What an error says, in at most a line: the text may come from outside."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001  # an error whose own text cannot be made is still to be logged
        return ""
    return text[:_LONGEST_REASON].encode("utf-8", "replace").decode()


@contextmanager
def contained(
    logger: logging.Logger,
    what: str,
    where: str = "",
    failed: Callable[[Exception], object] = lambda _: None,
) -> Iterator[None]:
    """Work on one item from outside: an answer, a drop, a job, a file, a name.

    What it raises ends with the item: it is logged once with its traceback, ``failed`` is called to mark the
    item, and the caller's loop goes on. ``what`` names the kind of work and ``where`` the item, so that equal
    failures of many items are one traceback in the log. Exceptions that end a process or a thread pass.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001  # whatever it is: one bad item never ends a loop
        log_once(logger, what, error, where)
        failed(error)
