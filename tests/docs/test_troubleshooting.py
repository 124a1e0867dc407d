"""docs/troubleshooting.md: each message on the page is one of the program's, word by word."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
MESSAGES = re.findall(r"^> `(.+)`$", PAGE, re.MULTILINE)
_VALUE = re.compile(r"<[^<>]+>")
_FORMAT = re.compile(r"%[-.\d]*[sdrfi]")
_ALL_ON_THE_PAGE = ("Misconfigured", "Told")
"""What is made with a message that only a person can act on, so the page has each of them."""
_TELLING = 10  # characters that a message has to have without its values, at least


def _literals(expression: ast.AST) -> str:
    """A string of the source with NUL for each value in it; empty for what is no string."""
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        return _FORMAT.sub("\0", expression.value)
    if isinstance(expression, ast.JoinedStr):
        return "".join(_literals(part) or "\0" for part in expression.values)
    return ""


@cache
def _said() -> tuple[str, ...]:
    """All strings of the program, without the backticks that would end a code span."""
    return tuple(_strings())


def _strings() -> Iterator[str]:
    for path in sorted((ROOT / "rescalefs").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if text := _literals(node):
                yield text.replace("`", "")


def _is_said(message: str) -> bool:
    """Whether every part of it stands in some string of the program.

    A part is what lies between two values or two ends of a sentence, because the program puts reasons and
    remedies together.
    """
    parts = [part.strip(" ().:") for between in _VALUE.split(message) for part in between.split(". ")]
    return all(any(part in text for text in _said()) for part in parts if part)


def test_the_page_has_messages() -> None:
    assert len(MESSAGES) >= 4
    assert len(MESSAGES) == len(set(MESSAGES))


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_on_the_page_is_one_of_the_program(message: str) -> None:
    assert len(_VALUE.sub("", message)) >= _TELLING
    assert _is_said(message)


def _made() -> Iterator[tuple[str, str]]:
    """Where in the source something of `_ALL_ON_THE_PAGE` is made, and each literal part of what it says."""
    for path in sorted((ROOT / "rescalefs").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in _ALL_ON_THE_PAGE:
                parts = [part for each in node.args for part in _literals(each).split("\0")]
                yield f"{path.name}:{node.lineno}", "\n".join(part.strip(" .") for part in parts)


@pytest.mark.parametrize(("where", "parts"), tuple(_made()))
def test_what_only_a_person_can_mend_is_on_the_page(where: str, parts: str) -> None:
    told = [part for part in parts.splitlines() if len(part) >= _TELLING]
    assert any(all(part in message for part in told) for message in MESSAGES), parts


def test_a_message_that_the_program_does_not_have_is_noticed() -> None:
    assert _is_said("<request>: the server at <address> is not reached (<reason>)")
    assert not _is_said("<request>: the server has not been reached (<reason>)")
    assert not _is_said("the server is not reached, says <somebody>")


def test_every_heading_says_what_one_sees_and_has_something_below() -> None:
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    for section in sections:
        heading, _, text = section.partition("\n")
        assert len(text.strip()) > 40, heading


def test_the_page_is_reached_from_the_readme() -> None:
    assert "docs/troubleshooting.md" in (ROOT / "README.md").read_text()
