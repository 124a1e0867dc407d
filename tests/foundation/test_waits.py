"""Every wait has a limit: the source is searched for calls that could wait for ever."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "rescalefs"

# The names by which Python's locks, events, queues, futures, threads and processes are waited for.
WAITING = frozenset({"result", "exception", "get", "wait", "join", "acquire", "communicate", "wait_for"})

# Calls without a limit that cannot wait for ever, or are meant to; each with its reason.
ALLOWED = {
    "api/transport.py: state.outcome.exception": "the attempt has ended",
    "assembly/ownfiles.py: self.acquire": "a logging handler's own lock, held for an append",
    "logs.py: self.acquire": "a logging handler's own lock, held for an append",
    "mount/session.py: self._ending.wait": "a mount lives until it is told to end; signals end this wait",
    "reading/live.py: growing.acquire": "counts who has a file open, and does not wait",
    "requester.py: _who.get": "the value of a context variable",
    "simulator/running.py: process.wait": "the process has ended: its group is killed just before",
    "simulator/scheduler.py: self._ready.get": "an idle worker, which the end of the simulator wakes",
    "simulator/server.py: self._ending.wait": "a server lives until it is told to end; signals end this wait",
    "simulator/server.py: simulator.wait": "a server lives until it is told to end; signals end this wait",
    "simulator/timeline.py: self._wake.wait": "nothing is due; the end of the simulator wakes it",
    "submit/oneshot.py: tenure.acquire": "tries once, and does not wait",
    "submit/submitter.py: self._tenure.acquire": "tries once, and does not wait",
}


def unlimited(source: str) -> Iterator[str]:
    """The callees of calls that name no limit."""
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        if call.func.attr in WAITING and not _is_limited(call):
            yield ast.unparse(call.func)


def _is_limited(call: ast.Call) -> bool:
    """Whether something is given that may be a limit: all of these take one, most as their first argument."""
    named = [word for word in call.keywords if word.arg in ("timeout", "blocking")]
    if named:
        return not all(isinstance(word.value, ast.Constant) and word.value.value is None for word in named)
    return bool(call.args)


def test_no_call_of_ours_waits_for_ever() -> None:
    found = {
        f"{module.relative_to(PACKAGE).as_posix()}: {callee}"
        for module in PACKAGE.rglob("*.py")
        for callee in unlimited(module.read_text())
    }
    assert found - ALLOWED.keys() == set(), "give a limit, or a reason in ALLOWED"
    assert ALLOWED.keys() - found == set(), "these are gone: remove them from ALLOWED"


def test_the_search_finds_what_it_is_for() -> None:
    waits = "f.result(); q.get(); e.wait(timeout=None); t.join(5); lock.acquire(timeout=1); d.get('key')"
    assert list(unlimited(waits)) == ["f.result", "q.get", "e.wait"]
