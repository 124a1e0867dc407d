"""One bad item never ends a loop, and every loop of a thread is of that kind."""

from __future__ import annotations

import ast
import itertools
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import rescalefs
from rescalefs.background import Background, Rounds
from rescalefs.containment import contained, log_once, shortened
from tests.fakes import FakeClock

log = logging.getLogger(__name__)
SOURCE = Path(rescalefs.__file__).parent


class OddError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def test_what_an_item_raises_ends_with_the_item_which_is_marked() -> None:
    done: list[int] = []
    failed: list[Exception] = []
    for item in (1, 0, 2):
        with contained(log, "dividing in a test", str(item), failed.append):
            done.append(2 // item)
    assert done == [2, 1]
    assert [type(each) for each in failed] == [ZeroDivisionError]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_a_process_or_a_thread_passes(error: type[BaseException]) -> None:
    with pytest.raises(error), contained(log, "ending in a test"):
        raise error


def test_a_failure_is_logged_once_with_its_traceback_however_many_items_have_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for item in range(100):
        with contained(log, "failing alike in a test", f"item {item}"):
            raise OverflowError("date value out of range")
    loud = [record for record in caplog.records if record.levelno > logging.DEBUG]
    assert len(loud) == 1
    assert 'raise OverflowError("date value out of range")' in loud[0].getMessage()
    assert "item 0" in loud[0].getMessage()
    assert "OverflowError: date value out of range" in loud[0].getMessage()


def test_an_error_that_cannot_even_be_told_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    log_once(log, "being odd in a test", ValueError("\ud800\n" + "x" * 10_000))
    assert len(shortened(ValueError("x" * 10_000))) <= 300
    assert shortened(OddError()) == ""
    assert all(record.getMessage().encode() for record in caplog.records)


def test_a_thread_whose_rounds_fail_goes_on_and_pauses_ever_longer() -> None:
    clock, stop = FakeClock(), threading.Event()
    rounds = []

    def step() -> None:
        rounds.append(clock.monotonic())
        if len(rounds) == 12:
            stop.set()
        if len(rounds) != 6:
            raise OverflowError("one bad item")

    Rounds(clock, log, "rounds of a test").run(step, stop)
    assert len(rounds) == 12
    pauses = [after - before for before, after in itertools.pairwise(rounds)]
    assert pauses == [0.5, 1, 2, 4, 8, 0, 0.5, 1, 2, 4, 8]


def test_a_crash_of_our_own_making_still_ends_all() -> None:
    def body(_: threading.Event) -> None:
        raise RuntimeError("a broken invariant")

    background = Background()
    background.start("crashing", body)
    with pytest.raises(RuntimeError, match="a broken invariant"):
        background.close()


# --- the walk: what runs in our threads

# Loops that work on no item from outside, or whose items cannot raise, each with the reason.
_EXCEPTED = {
    "_ring_at_the_end": "waits for the end",
    "_close_on_stop": "waits for the end",
    "_part_with_readers": "waits for the end",
    "_close_when_abandoned": "waits for the end",
    "_watch": "of signals and of the mount's device: waits for the end",
}


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _modules() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")}


class Body(NamedTuple):
    """A function that is given to `Background.start`."""

    name: str
    module: ast.Module | None  # None: of another object, in whichever module


def _started(tree: ast.Module) -> Iterator[Body]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or len(node.args) < 2:
            continue
        if not isinstance(node.func, ast.Attribute) or node.func.attr != "start":
            continue
        body = node.args[1]
        if isinstance(body, ast.Attribute):
            is_own = isinstance(body.value, ast.Name) and body.value.id == "self"
            yield Body(body.attr, tree if is_own else None)
        elif isinstance(body, ast.Name):
            yield Body(body.id, tree)


def _contains(node: ast.AST) -> bool:
    """Whether an error of an item ends within: a handler of all, or one of our two helpers."""
    for each in ast.walk(node):
        if isinstance(each, ast.ExceptHandler):
            parts = ast.walk(each.type) if each.type else iter(())
            kinds = {part.id for part in parts if isinstance(part, ast.Name)}
            if each.type is None or {"Exception", "BaseException"} & kinds:
                return True
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id == "contained":
            return True
    return False


def _outermost(node: ast.AST) -> Iterator[ast.While]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.While):
            yield child
        else:
            yield from _outermost(child)


def _uncontained(function: ast.FunctionDef, local: dict[str, ast.FunctionDef]) -> Iterator[ast.While]:
    for loop in _outermost(function):
        if _contains(loop):
            continue
        called = {
            node.func.attr
            for node in ast.walk(loop)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        # One call deeper: `while self._fetch_one(stop)`.
        if not any(name in local and _contains(local[name]) for name in called):
            yield loop


def _takes_stop(function: ast.FunctionDef) -> bool:
    """Functions like the bodies of threads."""
    return any(each.arg.strip("_") in ("stop", "") for each in function.args.args)


def test_every_loop_of_a_thread_contains_what_its_items_raise() -> None:
    modules = _modules()
    bodies = {body for tree in modules.values() for body in _started(tree)}
    assert len(bodies) > 15  # else the walk no longer finds them
    found = []
    for path, tree in modules.items():
        helpers = {function.name: function for function in _functions(tree)}
        local = {function.name: function for function in _functions(tree) if _takes_stop(function)}
        names = {body.name for body in bodies if body.module in (None, tree)}
        for name in names & local.keys() - _EXCEPTED.keys():
            found += [
                f"{path.relative_to(SOURCE)}:{loop.lineno}: the loop of {name} ends with the first item that "
                "raises. Use Rounds or contained, and mark the item"
                for loop in _uncontained(local[name], helpers)
            ]
    assert not found, "\n".join(found)


def test_the_walk_finds_a_loop_that_contains_nothing() -> None:
    tree = ast.parse(
        "def body(stop):\n    while not stop.is_set():\n        item = take()\n        item.act()\n"
        "class A:\n    def b(self):\n        background.start('x', body)\n"
    )
    assert [body.name for body in _started(tree)] == ["body"]
    (function,) = [each for each in _functions(tree) if each.name == "body"]
    assert list(_uncontained(function, {}))
