"""Signals that end a command may come one upon the other."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

_PROGRAM = {
    "a command": """
from rescalefs.cli.ending import ended_by_signals
done = threading.Event()
with ended_by_signals(done.set):
    signals_in_signals()
    assert done.wait(20)
""",
    "the simulator": """
from rescalefs.simulator import SimulatorSettings, serve
serve(SimulatorSettings(port=0), lambda _: signals_in_signals())
""",
}
# A handler runs between any two instructions of the main thread, and its own are among them: one more signal
# at each line that the first handler leads to.
_SIGNALS = """
import signal, sys, threading
def signals_in_signals():
    left = 50
    def trace(frame, event, _):
        nonlocal left
        if left and event == "line":
            left -= 1
            signal.raise_signal(signal.SIGTERM)
        return trace
    sys.settrace(trace)
    signal.raise_signal(signal.SIGTERM)
    for _ in range(3):
        pass
    sys.settrace(None)
"""


@pytest.mark.parametrize("what", _PROGRAM)
def test_signals_that_interrupt_each_other_end_it_all_the_same(what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SIGNALS + _PROGRAM[what]],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("raised", "code"),
    [("signals.Terminated(15)", -signal.SIGTERM), ("KeyboardInterrupt", 130), ("ValueError('x')", 1)],
)
def test_a_signal_whose_exception_is_lost_in_an_import_ends_the_command_all_the_same(
    raised: str, code: int
) -> None:
    """CPython 3.10 makes a SystemError of it. A command that fails by itself still shows where."""
    program = f"""
import sys
from rescalefs import signals
from rescalefs.cli import main
def lost(*_, **__):
    try:
        raise {raised}
    except BaseException as error:
        raise SystemError("returned a result with an exception set") from error
main.rescalefs.main = lost
sys.exit(main.main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("Traceback" in done.stderr) == (code == 1)
