"""Pure: text to the value of a setting. Each raises ValueError with what would be right."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal

from rescalefs.model import FileType

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})


def size(text: str) -> int:
    """Bytes. K, M, G and T are powers of 1024, as `ls -h` and `du -h` have them."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError("needs a size such as 500M or 20G")
    return int(float(found[1]) * 1024 ** _POWERS[found[2].lower()])


def seconds(text: str) -> float:
    """A number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ValueError("needs a number of seconds above 0, such as 30 or 0.5")
    return value


def truth(text: str) -> bool:
    """Yes or no, in the usual words."""
    word = text.strip().lower()
    if word not in _YES | _NO:
        raise ValueError("needs true or false")
    return word in _YES


def connections(text: str) -> int | Literal["auto"]:
    """How many connections; `auto` finds out."""
    if text.strip().lower() == "auto":
        return "auto"
    if not text.strip().isdecimal() or not 1 <= int(text) <= 128:
        raise ValueError("needs auto, or a number from 1 to 128")
    return int(text)


def port(text: str) -> int | None:
    """A port, or none."""
    if text.strip().lower() == "none":
        return None
    if not text.strip().isdecimal() or not 1 <= int(text) <= 65535:
        raise ValueError("needs none, or a port from 1 to 65535")
    return int(text)


def amount(text: str) -> Decimal | None:
    """An amount of money without its currency, or none."""
    if text.strip().lower() == "none":
        return None
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or value <= 0:
        raise ValueError("needs none, or an amount above 0 without its currency, such as 20 or 2.50")
    return value


_SORTED_TYPES = {
    each.name.lower().replace("_", "-"): each
    for each in FileType
    if each not in (FileType.INPUT, FileType.OUTPUT)
}


def file_types(text: str) -> frozenset[FileType]:
    """Kinds of files with commas between them, or none; inputs and outputs cannot be chosen."""
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    if words == ["none"]:
        return frozenset()
    if not words or set(words) - _SORTED_TYPES.keys():
        raise ValueError(f"needs none, or some of {', '.join(_SORTED_TYPES)}")
    return frozenset(_SORTED_TYPES[word] for word in words)


def as_text(value: object) -> str:
    """A value as it can be given to the parser that made it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, frozenset):
        return ",".join(word for word, each in _SORTED_TYPES.items() if each in value) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def path(text: str) -> Path:
    """A path, `~` allowed; made absolute, because the daemon has no working directory of its own."""
    if not text.strip():
        raise ValueError("needs a path, such as ~/.cache/rescalefs")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError("names a home that is not there; write the whole path") from None


def word(text: str) -> str:
    """Any text that is not empty."""
    if not text.strip():
        raise ValueError("needs a word")
    return text.strip()


def command(text: str) -> str:
    """A command for the shell; empty for `off`."""
    return "" if text.strip().lower() == "off" else word(text)


def one_of(*words: str) -> Callable[[str], str]:
    """One of a few words."""

    def parse(text: str) -> str:
        if text.strip().lower() not in words:
            raise ValueError(f"needs one of {', '.join(words)}")
        return text.strip().lower()

    return parse
