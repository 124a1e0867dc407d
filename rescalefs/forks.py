"""Notices that the process has forked, as multiprocessing and data loaders do.

A forked child has copies of the parent's locks (perhaps held), of its queues and of its connections, and none
of its threads. So it must use nothing of all that: an object that has such things asks `Process` first. What
runs in a new child from here takes no lock, because a thread that is not there may hold it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from rescalefs.errors import OtherProcess

_depth = [0]  # how many forks lie between the process that imported this and the one that runs
_before: list[Callable[[], None]] = []
_after: list[Callable[[], None]] = []
_in_children: list[Callable[[], None]] = []


def generation() -> int:
    """A number that is another one in each child than in its parents."""
    return _depth[0]


def in_each_child(renew: Callable[[], None]) -> None:
    """Call ``renew`` right after each fork, in the child, before anything else of ours runs there."""
    _in_children.append(renew)


def around_each_fork(before: Callable[[], None], after: Callable[[], None]) -> None:
    """Call ``before`` on the thread that is about to fork, and ``after`` on it in the parent.

    All other threads go on meanwhile, so ``before`` may wait for one; it must not wait for long, nor raise.
    """
    _before.append(before)
    _after.append(after)


class Process:
    """The process that something was made in."""

    __slots__ = ("_generation",)

    def __init__(self) -> None:
        self._generation = _depth[0]

    @property
    def is_this(self) -> bool:
        """Whether it is the one that runs, and no child of it."""
        return self._generation == _depth[0]

    def check(self) -> None:
        """Raise `OtherProcess` in a child: at once, where waiting would never end."""
        if self._generation != _depth[0]:
            raise OtherProcess("it was made before this process was forked; make another one in this process")


def _call(hooks: list[Callable[[], None]]) -> None:
    for hook in hooks:
        hook()


def _begin_child() -> None:
    _depth[0] += 1
    _call(_in_children)


if hasattr(os, "register_at_fork"):  # everywhere but on Windows, which cannot fork
    os.register_at_fork(
        before=partial(_call, _before),
        after_in_parent=partial(_call, _after),
        after_in_child=_begin_child,
    )
