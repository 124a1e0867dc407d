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
        raise NotJson("is empty", _EXAMPLE)
    try:
        document = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refused,
            parse_float=_finite,
            parse_int=_short_enough,
        )
    except json.JSONDecodeError as error:
        what = shown(raw(text[error.pos :].split("\n", 1)[0].strip()), most=24)
        where = f"line {error.lineno}, column {error.colno}" + (f", at {what}" if what else "")
        meaning, example = _meaning(text, error)
        raise NotJson(f"is not JSON: {where}: {meaning}", example) from error
    except RecursionError as error:
        raise NotJson(f"is nested more than {_DEEPEST} deep", _EXAMPLE) from error
    except _Unfit as error:
        raise (_first_unfit(text) or NotJson("holds what JSON cannot mean", _EXAMPLE)) from error
    if _is_deeper_than(_DEEPEST, document):
        raise NotJson(f"is nested more than {_DEEPEST} deep", _EXAMPLE)
    if not isinstance(document, dict):
        raise NotJson(f"must be one object in braces, and is {shown(document)}", _EXAMPLE)
    if _HALF.search(json.dumps(document, ensure_ascii=False)):
        raise _first_unfit(text) or NotJson("holds half of a character", _EXAMPLE)
    return document


_EXAMPLE = '{"command": "python solve.py", "software": "miniconda", "coretype": "cheapest"}'
_HALF = re.compile("[\ud800-\udfff]")
_LONGEST_INTEGER = 4000  # digits; Python converts no more than 4300


_DEEPEST = 100  # lists and objects in each other; far from where Python's own recursion ends


def _is_deeper_than(most: int, document: Any) -> bool:
    layer = [document]
    for _ in range(most):
        inner = (each.values() if isinstance(each, dict) else each for each in layer)
        layer = [value for values in inner if not isinstance(values, _PLAIN) for value in values]
    return any(not isinstance(each, _PLAIN) for each in layer)


_PLAIN = (str, int, float, type(None))


class _Unfit(Exception):
    """Something that the grammar takes and the meaning does not. The parser does not tell where."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Unfit
    return found


def _refused(_: str) -> Any:
    raise _Unfit


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise _Unfit
    return value


def _short_enough(number: str) -> int:
    if len(number) > _LONGEST_INTEGER:
        raise _Unfit
    return int(number)


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)


def _first_unfit(text: str) -> NotJson | None:
    """The first such thing in ``text``, with its line."""
    open_objects: list[set[str] | None] = []  # the keys so far; None for a list
    is_key = False
    for token in _TOKEN.finditer(text):
        word = token[0]
        problem = _token_problem(word)
        if word == "{":
            open_objects.append(set())
        elif word == "[":
            open_objects.append(None)
        elif word in {"}", "]"} and open_objects:
            open_objects.pop()
        elif is_key and word.startswith('"') and open_objects and (keys := open_objects[-1]) is not None:
            key = json.loads(word, strict=False)
            if key in keys:
                problem = problem or (f"has the key {shown(key)} twice in one object", f"{shown(key)} once")
            keys.add(key)
        is_key = word in {"{", ","} and bool(open_objects) and open_objects[-1] is not None
        if problem:
            reason, example = problem
            line = text.count("\n", 0, token.start()) + 1
            return NotJson(f"line {line} {reason}", example)
    return None


def _token_problem(word: str) -> tuple[str, str] | None:
    """What is wrong with it by itself, and what would be right."""
    if word.startswith('"'):
        half = _HALF.search(json.loads(word, strict=False))
        reason = f"holds half of a character, \\u{ord(half[0]):x}; write the character itself" if half else ""
        return (reason, '"ä"') if half else None
    if word in {"NaN", "Infinity", "-Infinity"}:
        return f"holds {word}, which is not JSON", "1.5, or null"
    if word.lstrip("-").isdecimal():
        too_long = len(word) > _LONGEST_INTEGER
        return (f"holds a number of {len(word)} digits", "1e30") if too_long else None
    if word.lstrip("-")[:1].isdecimal() and re.fullmatch(r"[-+.\deE]+", word):
        return (
            (f"holds {shown(raw(word))}, a number that is too large", "1e30") if _is_infinite(word) else None
        )
    return None


def _is_infinite(number: str) -> bool:
    try:
        return math.isinf(float(number))
    except ValueError:
        return False


_SAVE = "iconv -t UTF-8, or the encoding in the editor's dialogue to save"


def _decoded(data: bytes) -> str:
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise NotJson("is UTF-16; save it as UTF-8", _SAVE)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reason = f"is not UTF-8: line {line} has a byte that does not belong; save it as UTF-8"
        raise NotJson(reason, _SAVE) from error


_LIKELY = (  # what stands there, what it means, what would be right
    (re.compile(r"\s*(//|/\*|#)"), "JSON has no comments; remove it", '"cores": 2'),
    (re.compile(r"\s*'"), "strings stand in double quotes", '"granite"'),
    (
        re.compile(r"\s*[\u201c\u201d\u2018\u2019]"),
        'strings stand in plain double quotes ("), not in typographic ones',
        '"granite"',
    ),
    (re.compile(r"\s*(True|False|None)\b"), "JSON writes true, false and null", "true"),
    (re.compile(r"\s*[A-Za-z_][\w-]*\s*:"), "keys stand in double quotes", '"cores": 2'),
)
_COMMA_TOO_MANY = re.compile(r",\s*$")


def _meaning(text: str, error: json.JSONDecodeError) -> tuple[str, str]:
    """What the person probably did, else what the parser says; and what would be right."""
    rest = text[error.pos :]
    before = text[: error.pos]
    if rest.lstrip()[:1] in {"}", "]"} and _COMMA_TOO_MANY.search(before):
        return f"there is a comma before the closing {rest.lstrip()[0]}; remove it", "[1, 2]"
    if rest[:1] == "," and rest[1:].lstrip()[:1] in {"}", "]"}:  # where Python 3.13 points to
        return f"there is a comma before the closing {rest[1:].lstrip()[0]}; remove it", "[1, 2]"
    for pattern, meaning, example in _LIKELY:
        if pattern.match(rest):
            return meaning, example
    if not rest.strip():
        return "it ends too early; a brace, bracket or quote is still open", '{"inputFiles": ["mesh.msh"]}'
    return {
        "Expecting ',' delimiter": ("a comma is missing", '"cores": 2, "hours": 1'),
        "Expecting ':' delimiter": ("a colon is missing", '"cores": 2'),
        "Extra data": ("there is more after the closing brace", "one object alone"),
        "Unterminated string starting at": ("the closing quote of this string is missing", '"granite"'),
        "Invalid control character at": ("a string must not run over a line's end", r'"two\nlines"'),
        "Invalid \\escape": ("a backslash is written \\\\", r'"C:\\temp"'),
    }.get(error.msg.removesuffix(": "), (error.msg, _EXAMPLE))
