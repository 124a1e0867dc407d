"""What error answers of a Django REST Framework application say."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescalefs.api.complaints import complaints, without_signatures

JSON = "application/json"


@pytest.mark.parametrize(
    ("document", "lines"),
    [
        ({"detail": "Invalid token."}, ("Invalid token.",)),
        ({"non_field_errors": ["One.", "Two."]}, ("One.", "Two.")),
        ({"name": ["This field is required."]}, ("name: This field is required.",)),
        ({"name": "This field is required."}, ("name: This field is required.",)),
        (["You can't.", "Really."], ("You can't.", "Really.")),
        ("You can't.", ("You can't.",)),
        (
            {"jobanalyses": [{}, {"hardware": {"coresPerSlot": ["1 is too few."], "slots": ["0"]}}]},
            ("jobanalyses[1].hardware.coresPerSlot: 1 is too few.", "jobanalyses[1].hardware.slots: 0"),
        ),
        (
            {"jobanalyses": [{"non_field_errors": ["No command."]}, ["bare"]]},
            ("jobanalyses[0]: No command.", "jobanalyses[1]: bare"),
        ),
        ({"a": {"detail": {"b": [3, True, None, ""]}}}, ("a.b: 3", "a.b: True")),
        ({"detail": "two\n  lines"}, ("two lines",)),
        ({}, ()),
        (None, ()),
    ],
)
def test_nested_errors_become_lines_that_name_the_field(document: Any, lines: tuple[str, ...]) -> None:
    assert complaints(json.dumps(document), JSON) == lines


def test_html_says_nothing_to_people() -> None:
    assert complaints("<h1>502 Bad Gateway</h1>", "text/html; charset=utf-8") == ()


def test_plain_text_is_one_line_and_stays_short() -> None:
    assert complaints("upstream\r\n timed   out\n", "text/plain") == ("upstream timed out",)
    assert complaints("  \n", "text/plain") == ()
    (line,) = complaints("x" * 10_000, "text/plain")
    assert len(line) == 300


def test_of_many_complaints_the_first_are_enough() -> None:
    found = complaints(json.dumps({f"f{number}": ["wrong"] for number in range(1000)}), JSON)
    assert len(found) == 30
    assert found[0] == "f0: wrong"


def test_nesting_without_end_is_no_trouble() -> None:
    assert len(complaints("[" * 100_000, JSON)) == 1


def test_what_would_move_a_terminals_cursor_is_replaced() -> None:
    assert complaints(json.dumps({"detail": "\x1b[2Jgone"}), JSON) == ("?[2Jgone",)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_whatever_comes_gives_short_printable_lines(document: Any) -> None:
    found = complaints(json.dumps(document), JSON)
    assert len(found) <= 30
    assert all(0 < len(line) <= 300 and line.isprintable() for line in found)


@pytest.mark.parametrize(
    "secret",
    [
        "https://store.blob.core.windows.net/c/a.dat?sv=2024&sig=CANARY%3D&se=2026",
        "GET https://b.s3.amazonaws.com/k?X-Amz-Signature=CANARY&X-Amz-Credential=AKIA/CANARY failed",
        "'https://storage.googleapis.com/b/o?x-goog-signature=CANARY'",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=CANARY==;EndpointSuffix=core",
        "SharedAccessSignature sig=CANARY",
        "AWSAccessKeyId=CANARY",
        "password=CANARY",
        "Authorization: Token CANARY",
        "sent with Token CANARY0123456789",
        "Bearer CANARY.0123.abc",
        "X-Amz-Signature: CANARY",
        '{"AccountKey": "CANARY"}',
        "SecretAccessKey=CANARY and sessionToken=CANARY",
        "url%3Fx%26sig%3DCANARY",
        "https://h/p?CANARY",
        "https://user:CANARY@h/p",
    ],
)
def test_no_signed_address_and_no_key_of_a_store_is_shown(secret: str) -> None:
    """Also where the body is a bare string (Interlink's test suites, 2025)."""
    for body in (json.dumps(secret), json.dumps({"detail": [secret]}), secret):
        assert "CANARY" not in " ".join(complaints(body, JSON))
    assert "CANARY" not in without_signatures(secret)


def test_a_field_that_gives_a_secret_is_hidden_by_its_name() -> None:
    body = {"AccountKey": "CANARY", "detail": {"sig": "CANARY"}, "a": [{"encodedEncryptionKey": "CANARY"}]}
    assert complaints(json.dumps(body), JSON) == ("AccountKey: …", "sig: …", "a[0].encodedEncryptionKey: …")
    asked = {"apiKey": ["This field is required."]}
    assert complaints(json.dumps(asked), JSON) == ("apiKey: This field is required.",)


def test_other_words_stay_as_they_are() -> None:
    for said in (
        "Is the version right? It is 4.8.4",
        "coresPerSlot: 1 is too few.",
        "token: This field is required.",
        "a = b?",
    ):
        assert without_signatures(said) == said


@pytest.mark.parametrize("piece", ["a", "a.", "a://", "key", "x-amz-", "Token ", "%26", "https://a@", "sig="])
def test_a_long_answer_is_looked_through_in_little_time(piece: str) -> None:
    began = time.process_time()
    without_signatures(piece * (16_384 // len(piece)))
    assert time.process_time() - began < 1.0  # far more than it takes, and far less than a quadratic search
