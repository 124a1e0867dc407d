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
_ADDRESS = re.compile(
    r"(?i)(?<![a-z0-9+.-])([a-z][a-z0-9+.-]*://)([^\s\"'<>/?#@]*@)?([^\s\"'<>?]*)(\?[^\s\"'<>]*)?"
)
_NAMES = r"""
    (?: [\w-]* (?: key(?:-?id)? | token | secret | signature | password | passwd | credential s? ) | sig | sas
    | x-(?:amz|goog)-[a-z-]+ | authorization )
"""
_NAMED = re.compile(
    rf"""(?ix) (?: (?<![\w-]) | (?<=%26) | (?<=%3F) ) ({_NAMES})
    (["']? \s* (?: = | %3D ) \s* ["']? | ["'] \s* : \s* ["']) [^\s&;,"'<>]+"""
)
_HEADER = re.compile(
    r"(?i)(?<![\w-])(authorization|x-(?:amz|goog)-[a-z-]+)(\s*:\s*)(?:(?:Token|Bearer|Basic)\s+)?[^\s,;]+"
)
_SCHEME = re.compile(r"\b(Token|Bearer|Basic)(\s+)(?=[^\s]*\d)[A-Za-z0-9+/_.=~-]{8,}")
_FIELD = re.compile(rf"(?ix) {_NAMES}")
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
    """The text without the query and the user of each address, and without the values of secrets.

    ``https://x.blob.core.windows.net/a?sig=AbC`` becomes ``https://x.blob.core.windows.net/a?…``.
    """
    text = _ADDRESS.sub(lambda found: f"{found[1]}{found[3]}{'?…' if found[4] else ''}", text)
    text = _SCHEME.sub(r"\1\2…", _HEADER.sub(r"\1\2…", text))
    return _NAMED.sub(r"\1\2…", text)


def _is_secret(field: str, value: str) -> bool:
    """Whether a field gives a secret: by its name, where its value is one word and no sentence."""
    name = field.rpartition(".")[2].partition("[")[0]
    return _FIELD.fullmatch(name) is not None and " " not in value


def _walk(value: Any, field: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _walk(inner, field if name in _NAMELESS else f"{field}.{name}" if field else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _walk(inner, f"{field}[{number}]" if isinstance(inner, (dict, list)) else field)
    elif value is not None and str(value).strip():
        words = " ".join(str(value).split())
        yield field, "…" if _is_secret(field, words) else words


def _legible(line: str) -> str:
    """Without what could change a terminal: lines end up in logs and on screens."""
    return "".join(each if each.isprintable() else "?" for each in line)
