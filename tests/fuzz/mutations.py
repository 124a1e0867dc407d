"""Answers of the server, made odd: types, depth, numbers, names, dates, repeats and absences, and the bytes.

All chance comes from a `Random` of a seed, so that what fails is found again.
"""

from __future__ import annotations

import copy
import gzip
import json
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

NUMBERS: list[Any] = [
    0, -1, 1, 2**31, 2**63, 2**64, 10**18, 10**400, -(10**400), 0.1, -0.0, 1e308, 1e-320,
    float("nan"), float("inf"), float("-inf"),
]  # fmt: skip
NAMES: list[Any] = [
    "", " ", ".", "..", "/", "\\", "../../../etc/passwd", "/etc/passwd", "a/../../b", "a\0b", "\n", "\x1b[2J",
    "x" * 300, "x" * 5000, "/".join("d" * 200), "é" * 200, "\ud800", "\udfff\ud800", "\u202egpj.exe", "-rf",
    "~", "a:b", "CON", "status", "job", "job.json", ".rescalefs", "submit", "\ufeff", "\U0010ffff",
    "%2e%2e%2f", "a\tb", "${HOME}", "'; rm -rf /", "{}", "NaN", "null", "true", "1e999", "0x10", "٣",
]  # fmt: skip
DATES: list[Any] = [
    "0000-00-00T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-02-30T00:00:00Z",
    "2026-01-01T24:00:00Z", "2026-01-01", "10000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "now", "1e999",
    "2026-01-01T00:00:00.123456789123Z", "2026-01-01T00:00:00+99:99", 1767225600, -1e18,
]  # fmt: skip
OTHERS: list[Any] = [None, True, False, [], {}, [[]], {"": None}, [None], {"id": "x"}]


def odd_value(random: Random) -> Any:
    """Anything but what was promised."""
    kind = random.randrange(5)
    if kind == 4:
        return nested(random.choice([2, 50, 500, 5000]))
    return copy.deepcopy(random.choice((NUMBERS, NAMES, DATES, OTHERS)[kind]))


def nested(depth: int) -> Any:
    """A list in a list in a list. Made by hand, as what reads it may well refuse it."""
    return Raw("[" * depth + "]" * depth)


class Raw:
    """A piece of JSON as it is, which no encoder could write."""

    def __init__(self, text: str) -> None:
        self.text = text


Place = tuple[Any, Any]  # a container, and a key or an index in it


def places(document: Any) -> list[Place]:
    """All places in a document, found without recursion."""
    found: list[Place] = []
    waiting = [document]
    while waiting:
        each = waiting.pop()
        keys = list(each) if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else ()
        found += [(each, key) for key in keys]
        waiting += [each[key] for key in keys]
    return found


def mutated(document: Any, random: Random) -> Any:
    """A copy with some places changed."""
    document = [copy.deepcopy(document)]  # so that the top has a place, too
    for _ in range(random.choice([1, 1, 2, 3, 8])):
        found = places(document)
        if found:
            random.choice(CHANGES)(*random.choice(found), random)
    return document[0] if document else None


def _replace(container: Any, key: Any, random: Random) -> None:
    container[key] = odd_value(random)


def _remove(container: Any, key: Any, _: Random) -> None:
    del container[key]


def _repeat(container: Any, key: Any, random: Random) -> None:
    if isinstance(container, list):
        container[key:key] = [copy.deepcopy(container[key])] * random.choice([1, 2, 50])
    else:
        container[f"{key}_"] = copy.deepcopy(container[key])


def _wrap(container: Any, key: Any, random: Random) -> None:
    inner = container[key]
    container[key] = random.choice([[inner], {"results": inner}, json.dumps(inner, default=str)])


def _swap(container: Any, key: Any, random: Random) -> None:
    other = random.choice(list(container) if isinstance(container, dict) else range(len(container)))
    container[key], container[other] = container[other], container[key]


CHANGES: list[Callable[[Any, Any, Random], None]] = [
    _replace, _replace, _replace, _replace, _remove, _repeat, _wrap, _swap,
]  # fmt: skip


def encoded(document: Any) -> bytes:
    """Encode as JSON, also what is none: NaN, lone surrogates, numbers without end."""
    raws: list[Raw] = []

    def keep(value: Any) -> str:
        raws.append(value)
        return f"\uf8ff{len(raws) - 1}\uf8ff"

    text = json.dumps(document, default=keep)
    for number, raw in enumerate(raws):
        text = text.replace(f'"\\uf8ff{number}\\uf8ff"', raw.text)
    return text.encode()


def odd_bytes(body: bytes, random: Random) -> bytes:
    """Cut, flipped, or something else altogether."""
    kind = random.randrange(6)
    at = random.randrange(len(body) + 1)
    if kind == 0:
        return body[:at]
    if kind == 1:
        return body[:at] + bytes([random.randrange(256)]) + body[at + 1 :]
    if kind == 2:
        return body + body
    if kind == 3:
        return b""
    if kind == 4:
        return b"\xef\xbb\xbf" + body
    return random.choice([b"<html>busy</html>", b"null", b"[]", b"{}", b"0", b'"', b"\0" * 100, b"\xff\xfe"])


def packed(body: bytes, random: Random) -> tuple[bytes, str]:
    """Compressed, rightly or not, and how it is said to be."""
    return random.choice(
        [
            (gzip.compress(body), "gzip"),
            (zlib.compress(body), "deflate"),
            (body, "gzip"),
            (gzip.compress(body)[:-9], "gzip"),
            (gzip.compress(body + b" " * (64 << 20), 1), "gzip"),
        ]
    )
