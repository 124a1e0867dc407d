"""Pure: JSON that is almost JSON, as some servers send it: made readable, its doubtful values left out.

Python's own json writes NaN and Infinity, which are no JSON, and names of files that are no Unicode as lone
surrogates. One such value would hide the thousand entries around it.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

_HALF = re.compile("[\ud800-\udfff]")
_MOST_DIGITS = 18  # of a whole number; Python refuses to read or write those of thousands


def repaired(content: bytes) -> bytes:
    """Return the document as strict JSON. Raises `ValueError` or `RecursionError` where it is none.

    Numbers that cannot be written become null. What is no Unicode becomes U+FFFD, also half of a pair.
    """
    text = content.decode("utf-8-sig", "replace")
    document = json.loads(text, parse_constant=_nothing, parse_int=_whole, parse_float=_finite)
    return _HALF.sub("\ufffd", json.dumps(document, ensure_ascii=False)).encode()


def _nothing(_: str) -> None:
    return None


def _whole(text: str) -> int | None:
    return int(text) if len(text) <= _MOST_DIGITS else None


def _finite(text: str) -> Any:
    found = float(text)
    return found if math.isfinite(found) else None
