"""Pure: what is wrong with a drop, said so that a person can mend it."""

from __future__ import annotations

import difflib
import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_MISSING: Any = object()
_LONG = 200  # characters of a path that are shown
_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})  # but not the spaces of other scripts, as in macOS' screenshots


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what stands there, why that cannot be, and what could."""

    field: str
    reason: str
    value: Any = _MISSING
    example: str = ""

    @property
    def has_value(self) -> bool:
        """Whether something stands there."""
        return self.value is not _MISSING

    def __str__(self) -> str:
        said = "" if not self.has_value else f" is {shown(self.value)}:"
        is_said = self.example.startswith('"') and self.example in self.reason  # did you mean "granite"?
        example = f"; for example {self.example}" if self.example and not is_said else ""
        where = self.field if len(self.field) <= _LONG else f"{self.field[: _LONG // 2]}…{self.field[-20:]}"
        return printable(f"{where}{said} {self.reason}{example}")


def shown(value: Any, most: int = 60) -> str:
    """A JSON value as it could stand in the file, cut to a length that can be read."""
    text = value if isinstance(value, _Raw) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= most else f"{text[: most - 1]}…"


class _Raw(str):
    """Text that stands for itself."""

    __slots__ = ()


def raw(text: str) -> str:
    """Have ``text`` shown without quotes."""
    return _Raw(text)


def printable(text: str) -> str:
    """One line: control characters and broken unicode as escapes, so that no name can forge a line."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def has_control_characters(text: str) -> bool:
    """Whether a name has what no name should: line ends and their like, halves of characters."""
    return not text.isprintable() and any(unicodedata.category(each) in _UNFIT for each in text)


def without_these(text: str) -> str:
    """The text with an underscore for each."""
    return "".join("_" if has_control_characters(each) else each for each in text)


def listed(words: Iterable[str], most: int = 8) -> str:
    """``a, b, c``, cut after ``most``."""
    every = list(words)
    rest = len(every) - most
    return ", ".join(every[:most]) + (f" and {rest} more" if rest > 0 else "")


def bytes_text(size: int) -> str:
    """``1.2 GB``."""
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return ("1 byte" if size == 1 else f"{size} bytes") if unit == "bytes" else f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.4g} TB"


def nearest(word: str, words: Iterable[str]) -> list[str]:
    """The names that a person who typed ``word`` may have meant, best first."""
    by_folded: dict[str, str] = {}
    for each in words:
        by_folded.setdefault(each.casefold(), each)  # a code, which stands before its name
    found = difflib.get_close_matches(word.casefold(), by_folded, n=3, cutoff=0.5)
    inside = [folded for folded in by_folded if word and word.casefold() in folded and folded not in found]
    return [by_folded[folded] for folded in [*found, *sorted(inside)[:3]]]
