"""How the pages are written: lines that fit, and words that name who acts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LONGEST = 119  # characters
_VAGUE = re.compile(r"\b(whoever|nobody|somebody)\b", re.IGNORECASE)


def _lines(page: Path) -> Iterator[tuple[int, str]]:
    """The lines of a page that an author can break: no rows of tables, and no quoted messages."""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if not line.startswith(("|", "> `")):
            yield number, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_line_of_a_page_is_wider_than_an_editors_window(page: Path) -> None:
    assert [number for number, line in _lines(page) if len(line) > _LONGEST] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_names_the_user_the_thread_or_the_program_that_it_means(page: Path) -> None:
    assert [line for _, line in _lines(page) if _VAGUE.search(line)] == []


def test_there_are_pages() -> None:
    assert len(PAGES) > 100
