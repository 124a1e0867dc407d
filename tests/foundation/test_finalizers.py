"""Code that Python runs at any moment only leaves a note: read from the source, so that it stays so.

Finalisers, callbacks of weak references, signal handlers, logging handlers and `atexit` may run inside any
line, also inside one that holds a lock of ours, on the same thread: there, to wait for that lock is to hang.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import rescalefs

ROOT = Path(rescalefs.__file__).parent

# What may be called there: what is one step of the interpreter, or documented as re-entrant.
HARMLESS = {
    "append",  # collections.deque
    "appendleft",
    "pop",
    "put",  # queue.SimpleQueue
    "ask",  # background.Ending
    "abandon",
    "close_stream",
    "closed",  # descriptors.Share
    "os.close",
    "os.getpid",
    "os.write",
    "self.format",
    "extend",
    "self._clock.monotonic",
    "self._folds.takes",  # logs.Folds: values in, values out
    "self._folds.due",
    "self._put",  # logs.LogWriter: into a queue, as a test there shows
}
# At the end of the process, on the main thread, with every other thread still running. What is named here may
# wait for locks that those give back; a forked child has none of these threads and must not do it.
AT_EXIT = {"_close_at_exit", "_withdraw", "gc.freeze"}
# The only handler of signals is that of signals.py, which takes no lock and raises; it has tests of its own.
# It puts back the one that was there before.
OWN_HANDLERS = {"signal.SIG_DFL", "handler", "_handle"}


# What gives a function to the interpreter: its kind, and which argument the function is.
REGISTERS = {
    "weakref.finalize": ("weak reference", 1),
    "finalize": ("weak reference", 1),
    "weakref.ref": ("weak reference", 1),
    "weakref.WeakMethod": ("weak reference", 1),
    "atexit.register": ("atexit", 0),
    "gc.callbacks.append": ("collector", 0),
    "signal.signal": ("signal", 1),
    "os.register_at_fork": ("fork", 0),
}


class Hook(NamedTuple):
    """A place where code is left that Python will run at a moment of its own."""

    where: str
    kind: str
    body: ast.AST | str  # the function, or the name of one that this module does not define


def hooks(path: Path) -> Iterator[Hook]:
    tree = ast.parse(path.read_text())
    functions = {each.name: each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}
    for node in ast.walk(tree):
        for kind, body in (*defined(node), *registered(node)):
            found: ast.AST | str = body
            if isinstance(body, ast.expr) and not isinstance(body, ast.Lambda):
                text = ast.unparse(body)
                found = functions.get(text.rpartition(".")[2], text)
            yield Hook(f"{path.name}:{getattr(node, 'lineno', 0)}", kind, found)


def defined(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Methods with a name that makes them a hook."""
    if isinstance(node, ast.FunctionDef) and node.name == "__del__":
        yield "finaliser", node
    if isinstance(node, ast.ClassDef) and any(
        ast.unparse(base).startswith("logging.") for base in node.bases
    ):
        methods = (each for each in node.body if isinstance(each, ast.FunctionDef))
        yield from (("logging handler", each) for each in methods if each.name in ("emit", "handle", "flush"))


def registered(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Functions that are given to the interpreter."""
    if isinstance(node, ast.Assign) and any("excepthook" in ast.unparse(each) for each in node.targets):
        yield "excepthook", node.value
    if isinstance(node, ast.Call):
        kind, place = REGISTERS.get(ast.unparse(node.func), ("", 0))
        if kind and len(node.args) > place:
            yield kind, node.args[place]


def too_much(body: ast.AST) -> list[str]:
    """What a function does that may wait."""
    found = [
        f"with {ast.unparse(item.context_expr)}"
        for node in ast.walk(body)
        if isinstance(node, ast.With)
        for item in node.items
    ]
    calls = [ast.unparse(node.func) for node in ast.walk(body) if isinstance(node, ast.Call)]
    found += [call for call in calls if not {call, call.rpartition(".")[2]} & HARMLESS]
    return found


ALL = [hook for path in sorted(ROOT.rglob("*.py")) for hook in hooks(path)]


def test_the_hooks_are_found() -> None:
    assert {"finaliser", "weak reference", "atexit", "logging handler"} <= {hook.kind for hook in ALL}


def does_more(hook: Hook) -> list[str]:
    """What a hook does beyond leaving a note."""
    body = hook.body
    name = body if isinstance(body, str) else getattr(body, "name", "")
    allowed = {"atexit": AT_EXIT, "signal": OWN_HANDLERS}.get(hook.kind, set())
    if name in allowed:
        return []
    if isinstance(body, str):
        return [] if body.rpartition(".")[2] in HARMLESS else [body]
    return too_much(body)


@pytest.mark.parametrize("hook", ALL, ids=lambda hook: f"{hook.kind} {hook.where}")
def test_code_that_python_runs_at_any_moment_only_leaves_a_note(hook: Hook) -> None:
    assert not does_more(hook), f"{hook.where}: a {hook.kind} leaves a note, and a thread does the work"


@pytest.mark.parametrize(
    "source",
    [
        "class A:\n    def __del__(self):\n        self.close()\n",
        "class A:\n    def __del__(self):\n        with self.lock:\n            pass\n",
        "import weakref\nweakref.finalize(x, library.close)\n",
        "import weakref\nweakref.finalize(x, lambda: event.set())\n",
        "import atexit\natexit.register(engine.close)\n",
        "import logging\nclass H(logging.Handler):\n    def emit(self, r):\n        self.lock.acquire()\n",
        "import sys\nsys.excepthook = log.exception\n",
    ],
)
def test_a_hook_that_does_more_is_found(source: str, tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(source)
    (hook,) = hooks(path)
    assert does_more(hook)
