"""docs/security.md: each threat names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


@pytest.mark.parametrize(("module", "name"), NAMED)
def test_a_test_that_the_threat_model_names_exists(module: str, name: str) -> None:
    text = (ROOT / module).read_text()
    assert f"def {name}(" in text if name else "def test_" in text


def test_every_threat_has_a_test() -> None:
    rows = [
        line
        for line in PAGE.splitlines()
        if line.startswith("| ") and not line.startswith(("| ---", "| threat"))
    ]
    assert len(rows) > 20
    for row in rows:
        assert "`tests/" in row.split(" | ")[-1], row
