"""No signal is lost, whatever the main thread waits for, and whichever thread the kernel gives it to."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import rescalefs
from rescalefs import signals

NUMBER = signal.SIGUSR1


@contextmanager
def sent_to_another_thread(count: int = 1, number: int = NUMBER) -> Iterator[threading.Event]:
    """Signals that the main thread's wait does not notice; the event is set when all have been sent."""
    sent = threading.Event()

    def send() -> None:
        for _ in range(count):
            signal.pthread_kill(threading.get_ident(), number)
        sent.set()

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield sent
    finally:
        sender.join(20)


@pytest.mark.parametrize("wait", ["lock", "event", "thread"])
def test_a_signal_that_another_thread_got_ends_the_wait_of_the_main_thread(wait: str) -> None:
    lock, never = threading.Lock(), threading.Event()
    lock.acquire()
    thread = threading.Thread(target=never.wait, args=(60,))
    thread.start()
    waits = {"lock": lambda: lock.acquire(timeout=60), "event": lambda: never.wait(60)}
    try:
        with (
            pytest.raises(signals.Terminated) as caught,
            signals.interrupting([NUMBER]),
            sent_to_another_thread(),
        ):
            waits.get(wait, lambda: thread.join(60))()
    finally:
        never.set()
        thread.join(20)
    assert caught.value.number == NUMBER


def test_sigint_raises_what_it_always_raises() -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        signals.interrupting(),
        sent_to_another_thread(number=signal.SIGINT),
    ):
        threading.Event().wait(60)


def test_a_reported_signal_acts_once_and_on_another_thread() -> None:
    acted: list[tuple[int, int]] = []
    done = threading.Event()

    def act(number: int) -> None:
        acted.append((number, threading.get_ident()))
        done.set()

    with signals.reported(act, [NUMBER]):
        with sent_to_another_thread(5) as sent:
            assert sent.wait(20)
        assert done.wait(20)
        signal.raise_signal(NUMBER)
    ((number, thread),) = acted
    assert number == NUMBER
    assert thread != threading.get_ident()


def test_a_second_sigint_interrupts_what_the_first_signal_did_not_end() -> None:
    acted = threading.Event()

    def waits_for_ever() -> None:
        signal.raise_signal(NUMBER)
        assert acted.wait(20)
        with sent_to_another_thread(number=signal.SIGINT):
            threading.Event().wait(60)

    reported = signals.reported(lambda _: acted.set(), [NUMBER, signal.SIGINT], again=True)
    with pytest.raises(KeyboardInterrupt), reported:
        waits_for_ever()


def test_no_second_signal_breaks_off_the_cleaning_up() -> None:
    cleaned: list[bool] = []

    def cleans_up() -> None:
        try:
            signal.raise_signal(NUMBER)
        finally:
            signal.raise_signal(NUMBER)
            cleaned.append(True)

    with pytest.raises(signals.Terminated), signals.interrupting([NUMBER], again=False):
        cleans_up()
    assert cleaned


def test_a_deferred_signal_comes_after_the_block() -> None:
    noted: list[bool] = []

    def defers() -> None:
        with signals.deferred():
            signal.raise_signal(NUMBER)
            threading.Event().wait(0.2)  # some nudges long
            noted.append(True)
        threading.Event().wait(60)

    with pytest.raises(signals.Terminated), signals.interrupting([NUMBER]):
        defers()
    assert noted


def test_all_is_as_before_when_the_block_is_over() -> None:
    numbers = (NUMBER, signal.SIGTERM, signal.SIGINT, signal.SIGURG)
    before = [signal.getsignal(number) for number in numbers]
    threads = threading.active_count()
    with signals.interrupting(numbers[:3]), signals.reported(lambda _: None, numbers[:3]):
        assert [signal.getsignal(number) for number in numbers] != before
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.set_wakeup_fd(-1) == -1
    assert threading.active_count() == threads


def test_off_the_main_thread_signals_go_their_usual_way() -> None:
    before = signal.getsignal(NUMBER)
    seen: list[object] = []

    def body() -> None:
        with signals.interrupting([NUMBER]), signals.reported(lambda _: None, [NUMBER]), signals.deferred():
            seen.append(signal.getsignal(NUMBER))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(20)
    assert seen == [before]


def test_no_other_module_installs_a_handler() -> None:
    root = Path(rescalefs.__file__).parent
    calls = {
        (path.relative_to(root).as_posix(), ast.unparse(node.args[1]))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "signal.signal"
    }
    assert calls == {
        ("signals.py", "self._handle"),
        ("signals.py", "handler"),  # what was there before
        ("cli/main.py", "signal.SIG_DFL"),  # to end by the signal itself
        ("__main__.py", "signal.SIG_DFL"),  # while the command is imported, no traceback
    }


_DEAD_LOCK = """
import ctypes, signal, threading
from rescalefs import signals
signals._DEAF = 0.2
libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
with signals.{how}:
    threading.Timer(0.1, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)).start()
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)  # for ever, and no signal ends it
"""


@pytest.mark.parametrize("how", ["interrupting(patience=60)", "reported(lambda _: None, patience=0.2)"])
def test_what_cannot_be_interrupted_is_ended_all_the_same(how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _DEAD_LOCK.format(how=how)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stderr.startswith("rescalefs: SIGTERM came")
