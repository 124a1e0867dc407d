"""Pure: the bytes of job.json -> the object in it, or what is wrong with the JSON and on which line."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from rescalefs.submit.listing import JOB_FILE
from rescalefs.submit.problems import Problem, raw, shown


class NotJson(Exception):
    """It cannot be read. Caught by `spec`."""

    def __init__(self, reason: str, example: str = "") -> None:
        super().__init__(reason)
        self.problem = Problem(JOB_FILE, reason, example=example)


def parse(data: bytes) -> dict[str, Any]:
    """The object in ``data``; raises `NotJson`."""
    text = _decoded(data)
    if not text.strip():
        raise NotJson("is empty", '{"command": "…", "software": "…", …}')
    try:
        document = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite
        )
    except json.JSONDecodeError as error:
        raise NotJson(
            f"is not JSON: line {error.lineno}, column {error.colno}: {_meaning(text, error)}"
        ) from error
    except RecursionError as error:
        raise NotJson("is nested too deeply") from error
    except ValueError as error:  # Python converts no longer ones
        raise NotJson("holds a number of thousands of digits") from error
    if not isinstance(document, dict):
        raise NotJson(f"must be one object in braces, and is {shown(document)}", '{"name": "wing", …}')
    _refuse_half_characters(document)
    return document


def _refuse_half_characters(document: dict[str, Any]) -> None:
    r"""JSON can write half of a pair, ``\ud83d`` alone, which no file and no request can hold."""
    text = json.dumps(document, ensure_ascii=False)
    half = next((each for each in text if "\ud800" <= each <= "\udfff"), None)
    if half is not None:
        raise NotJson(f"holds half of a character, \\u{ord(half):x}; write the character itself")


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise NotJson(f"holds {number}, a number that is too large")
    return value


def _decoded(data: bytes) -> str:
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise NotJson("is UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NotJson(
            f"is not UTF-8: line {line} has a byte that does not belong; save it as UTF-8"
        ) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise NotJson(f"has the key {shown(key)} twice in one object; only one can count")
        found[key] = value
    return found


def _refuse_constant(word: str) -> Any:
    raise NotJson(f"holds {raw(word)}, which is not JSON")


_LIKELY = (
    (re.compile(r"\s*(//|/\*|#)"), "JSON has no comments; remove it"),
    (re.compile(r"\s*'"), "strings stand in double quotes"),
    (
        re.compile(r"\s*[\u201c\u201d\u2018\u2019]"),
        'strings stand in plain double quotes ("), not in typographic ones',
    ),
    (re.compile(r"\s*(True|False|None)\b"), "JSON writes true, false and null"),
    (re.compile(r"\s*[A-Za-z_][\w-]*\s*:"), "keys stand in double quotes"),
)
_COMMA_TOO_MANY = re.compile(r",\s*$")


def _meaning(text: str, error: json.JSONDecodeError) -> str:
    """What the person probably did; else what the parser says."""
    rest = text[error.pos :]
    before = text[: error.pos]
    if rest.lstrip()[:1] in {"}", "]"} and _COMMA_TOO_MANY.search(before):
        return f"there is a comma before the closing {rest.lstrip()[0]}; remove it"
    if rest[:1] == "," and rest[1:].lstrip()[:1] in {"}", "]"}:  # where Python 3.13 points to
        return f"there is a comma before the closing {rest[1:].lstrip()[0]}; remove it"
    for pattern, meaning in _LIKELY:
        if pattern.match(rest):
            return meaning
    if not rest.strip():
        return "it ends too early; a brace, bracket or quote is still open"
    return {
        "Expecting ',' delimiter": "a comma is missing",
        "Expecting ':' delimiter": "a colon is missing",
        "Extra data": "there is more after the closing brace",
        "Unterminated string starting at": "the closing quote of this string is missing",
        "Invalid control character at": "a string must not run over a line's end",
        "Invalid \\escape": "a backslash is written \\\\",
    }.get(error.msg.removesuffix(": "), error.msg)
