"""Nothing in this room waits without a limit."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[2] / "rescalefs" / "submit"
WAITS = {"wait", "get", "join", "result", "acquire", "communicate"}
NOT_WAITS = {"tenure.acquire", "self._tenure.acquire"}  # it takes locks that it need not wait for


def untimed(source: str) -> list[str]:
    """Calls by these names without an argument: a `dict.get`, or a `str.join`, has one."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in WAITS
        and not node.args
        and not node.keywords
        and ast.unparse(node.func) not in NOT_WAITS
    ]


@pytest.mark.parametrize("module", sorted(ROOM.glob("*.py")), ids=lambda each: each.stem)
def test_every_wait_has_a_limit(module: Path) -> None:
    assert untimed(module.read_text()) == []


def test_the_search_finds_a_wait_without_a_limit() -> None:
    assert untimed("stop.wait()\nqueue.get()\nfuture.result(timeout=1)\n'a'.join([])") == [
        "stop.wait()",
        "queue.get()",
    ]
