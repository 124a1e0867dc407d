"""The threads of libfuse, which Python did not start, and what it keeps for them."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

import pytest

pytestmark = pytest.mark.fuse  # importing the adapter needs libfuse

_START = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
_END = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def called_twice_by_a_thread_of_c(first: Callable[[], object], second: Callable[[], object]) -> None:
    """As libfuse does: two callbacks on one thread that Python does not know, one after the other.

    The second is what a thread-local object of C++ would have for a destructor: it is called when the first
    has returned.
    """
    libc = ctypes.CDLL(None)
    library = ctypes.cast(libc.malloc, ctypes.c_void_p)  # by one of its functions: it must not be unloaded
    thread = ctypes.c_ulong()
    end = _END(lambda _: second() and None)

    def run(_: int | None) -> None:
        first()
        libc.__cxa_thread_atexit_impl(end, None, library)

    start = _START(run)
    assert libc.pthread_create(ctypes.byref(thread), None, start, None) == 0
    assert libc.pthread_join(thread, None) == 0


def remembers() -> bool:
    """Whether what Python knows of a thread outlives the callback in which the kernel was answered."""
    from rescalefs.mount.adapter import Kernel

    known = threading.local()
    found: list[bool] = []

    def first() -> None:
        known.here = True
        assert Kernel._wrapper(lambda: 0) == 0

    called_twice_by_a_thread_of_c(first, lambda: found.append(hasattr(known, "here")))
    return found == [True]


@pytest.fixture
def to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for two more."""
    from rescalefs.mount import adapter

    monkeypatch.setattr(adapter, "_to_keep", iter(range(2)))


@pytest.mark.usefixtures("to_keep")
def test_a_thread_that_answered_the_kernel_keeps_its_state_and_so_do_only_so_many() -> None:
    assert [remembers() for _ in range(4)] == [True, True, False, False]


@pytest.mark.usefixtures("to_keep")
def test_a_thread_is_counted_once_however_often_it_answers() -> None:
    from rescalefs.mount import adapter

    def answers() -> None:
        for _ in range(5):
            adapter.Kernel._wrapper(lambda: 0)

    called_twice_by_a_thread_of_c(answers, answers)
    assert next(adapter._to_keep, None) == 1
