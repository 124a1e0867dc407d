"""The sentences of `status.log`."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from rescalefs.submit.machine import Drop, Uploaded
from rescalefs.submit.report import log_lines

NOON = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("files", "reused", "said"),
    [
        (1, 0, "the server has 1 file, 40 bytes"),
        (1, 1, "the server has 1 file, 40 bytes; it was there already"),
        (2, 1, "the server has 2 files, 40 bytes; 1 of them was there already"),
        (3, 2, "the server has 3 files, 40 bytes; 2 of them were there already"),
    ],
)
def test_what_the_server_had_before_is_counted_as_people_count(files: int, reused: int, said: str) -> None:
    (line,) = log_lines(Drop("1", files=files, size=40), Uploaded("{}", reused=reused), NOON)
    assert line.split("\t")[1].strip() == said
