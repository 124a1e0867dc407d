from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescalefs.submit.jobfile import NotJson, parse

BROKEN = {
    b"": "is empty",
    b" \n\t": "is empty",
    b"{": "line 1, column 2: it ends too early; a brace, bracket or quote is still open",
    b'{"a": [1': "it ends too early",
    b'{"a": "x': 'line 1, column 7, at "x: the closing quote of this string is missing',
    b"[]": "must be one object in braces, and is []",
    b'"wing"': 'must be one object in braces, and is "wing"',
    b'{"a": 1,}': "there is a comma before the closing }; remove it",
    b'{"a": [1, 2,\n]}': "there is a comma before the closing ]; remove it",
    b"{'a': 1}": "line 1, column 2, at 'a': 1}: strings stand in double quotes",
    b"{a: 1}": "line 1, column 2, at a: 1}: keys stand in double quotes",
    b'{\n  "a": 1 // cores\n}': (
        'line 2, column 10, at // cores: JSON has no comments; remove it; for example "cores": 2'
    ),
    b'{\n# cores\n"a": 1}': "line 2, column 1, at # cores: JSON has no comments; remove it",
    b'/* a job */ {"a": 1}': 'line 1, column 1, at /* a job */ {"a": 1}: JSON has no comments; remove it',
    b'{"a": True}': "JSON writes true, false and null",
    b'{"a": None}': "JSON writes true, false and null",
    b'{"a": NaN}': "line 1 holds NaN, which is not JSON; for example 1.5, or null",
    b'{"a": "NaN",\n"b": [-Infinity]}': "line 2 holds -Infinity, which is not JSON",
    b'{"a": 1, "a": 2}': 'line 1 has the key "a" twice in one object; for example "a" once',
    b'{"a": {"b": 1, "c": ["b"]},\n "b": {"a": "b",\n\n "\\u0061": 2}}': 'line 4 has the key "a" twice',
    b'{"a" 1}': "line 1, column 6, at 1}: a colon is missing",
    b'{"a": 1\n "b": 2}': 'line 2, column 2, at "b": 2}: a comma is missing',
    b'{"a": "x\ny"}': "a string must not run over a line's end",
    b'{"a": "C:\\temp\\wing"}': "a backslash is written \\\\",
    b'{"a": 1} {"b": 2}': "there is more after the closing brace",
    "{“a”: 1}".encode(): 'strings stand in plain double quotes ("), not in typographic ones',
    b"\xff\xfe{\x00}\x00": "is UTF-16; save it as UTF-8",
    b'{"a":\n"\xe4"}': "is not UTF-8: line 2 has a byte that does not belong",
    b"[" * 100_000: "is nested more than 100 deep",
    b'{"a": ' + b"[" * 600 + b"]" * 600 + b"}": "is nested more than 100 deep",
    b'{"a": 1e999}': "line 1 holds 1e999, a number that is too large; for example 1e30",
    b'{"a": [1,\n2,\n-1.5e+999]}': "line 3 holds -1.5e+999, a number that is too large",
    b'{"a": ["\\ud83d"]}': "line 1 holds half of a character, \\ud83d",
    b'{"a": "\\ud83d\\ude00",\n"\\ude00": 1}': "line 2 holds half of a character, \\ude00",
    b'{"a": ' + b"9" * 5000 + b"}": "line 1 holds a number of 5000 digits",
}


@pytest.mark.parametrize(("data", "message"), BROKEN.items(), ids=[each[1][:40] for each in BROKEN.items()])
def test_broken_json_is_named_with_its_place_and_its_cure(data: bytes, message: str) -> None:
    with pytest.raises(NotJson) as caught:
        parse(data)
    text = str(caught.value.problem)
    assert text.startswith("job.json ")
    assert message in text
    assert caught.value.problem.example
    assert "\n" not in text


def test_a_byte_order_mark_is_no_fault() -> None:
    assert parse(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), values, max_size=4))
def test_whatever_json_writes_is_read_as_it_was(document: dict[str, object]) -> None:
    assert parse(json.dumps(document).encode()) == document


@given(st.binary())
def test_any_bytes_are_an_object_or_one_line_that_says_why_not(data: bytes) -> None:
    try:
        outcome: object = parse(data)
    except NotJson as error:
        outcome = str(error.problem)
    assert isinstance(outcome, dict) or (isinstance(outcome, str) and outcome.isprintable())
