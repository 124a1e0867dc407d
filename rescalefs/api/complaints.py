"""Pure: what an error answer says, as short lines.

The service is a Django REST Framework application, so its errors are nested like the request: objects of
fields, lists of messages, bare strings. 5xx may be HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

_LONGEST = 300  # characters of one line
_MOST = 30  # lines
# Answers of the service were seen to hold signed addresses of its stores, which open a file to anyone who has
# them (Interlink's test suites, 2025). The names are those of Azure, AWS and Google.
_QUERY = re.compile(r"(?<=[^\s\"'<>?])\?[^\s\"'<>]*=[^\s\"'<>]*")
_SECRET = re.compile(
    r"(?i)\b(sig|signature|x-(?:amz|goog)-[a-z-]+|AWSAccessKeyId|(?:account|shared|access|api)[-_]?(?:access)?key"
    r"|sas|token|password|secret)(\s*=\s*)[^\s&;,\"'<>]+"
)
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
    return tuple(
        _legible(without_signatures(line))[:_LONGEST] for _, line in zip(range(_MOST), lines, strict=False)
    )


def without_signatures(text: str) -> str:
    """The text with the query of each address, and what follows the name of a secret, left out.

    ``https://x.blob.core.windows.net/a?sig=AbC`` becomes ``https://x.blob.core.windows.net/a?…``.
    """
    return _SECRET.sub(r"\1\2…", _QUERY.sub("?…", text))


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
