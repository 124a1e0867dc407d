"""Pure: what an error answer says, as short lines.

The service is a Django REST Framework application, so its errors are nested like the request: objects of
fields, lists of messages, bare strings. 5xx may be HTML.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

_LONGEST = 300  # characters of one line
_MOST = 30  # lines
_NAMELESS = frozenset({"detail", "non_field_errors"})


def complaints(text: str, content_type: str) -> tuple[str, ...]:
    """Lines of ``field: message``, in the answer's order; none where it says nothing readable."""
    if "html" in content_type.lower():
        return ()
    try:
        document = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        document = text
    lines = (f"{field}: {message}" if field else message for field, message in _walk(document, ""))
    return tuple(_legible(line)[:_LONGEST] for _, line in zip(range(_MOST), lines, strict=False))


def _walk(value: Any, field: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _walk(inner, field if name in _NAMELESS else f"{field}.{name}" if field else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _walk(inner, f"{field}[{number}]" if isinstance(inner, (dict, list)) else field)
    elif value is not None and str(value).strip():
        yield field, " ".join(str(value).split())


def _legible(line: str) -> str:
    """Without what could change a terminal: lines end up in logs and on screens."""
    return "".join(each if each.isprintable() else "?" for each in line)
