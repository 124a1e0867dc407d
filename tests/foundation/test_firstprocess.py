"""A container whose first process is ours: signals, orphans and the exit code, as with `docker run --init`.

The tests run `stand_aside` in a process to which the kernel hands its orphans, as it does to a first process.
Only root may make a real one: the last test does that.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PATIENCE = 30.0  # seconds; only something broken takes as long
PR_SET_CHILD_SUBREAPER = 36

# Takes orphans as a first process does, and stands aside. {} is what the child does.
FIRST = f"""
import ctypes, os, signal, subprocess, sys, time
ctypes.CDLL(None).prctl({PR_SET_CHILD_SUBREAPER}, 1)
from rescalefs import firstprocess
firstprocess.stand_aside()
{{}}
"""
ORPHAN = 'subprocess.run(["sh", "-c", "sleep {0} & echo $!"], check=True)'


def started(child: str, *prefix: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", FIRST.format(child)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end_of(process: subprocess.Popen[str]) -> int:
    with process:
        return process.wait(PATIENCE)


@pytest.mark.parametrize(
    ("child", "code"),
    [
        ("sys.exit(0)", 0),
        ("sys.exit(7)", 7),
        ("os.kill(os.getpid(), signal.SIGKILL)", 128 + signal.SIGKILL),
    ],
)
def test_it_ends_as_its_child_ends(child: str, code: int) -> None:
    assert end_of(started(child)) == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_reaches_the_child_and_not_the_first_process(number: signal.Signals) -> None:
    process = started(
        f"signal.signal({number}, lambda *_: sys.exit(5)); print('ready', flush=True); time.sleep(60)"
    )
    assert line_of(process) == "ready"
    process.send_signal(number)
    assert end_of(process) == 5


def test_a_signal_that_comes_before_there_is_a_handler_ends_it() -> None:
    process = started("print('ready', flush=True); time.sleep(60)")
    assert line_of(process) == "ready"
    process.send_signal(signal.SIGTERM)
    assert end_of(process) == 128 + signal.SIGTERM


def test_orphans_are_waited_for_while_the_child_runs() -> None:
    process = started(ORPHAN.format(0) + "; input()")
    orphan = Path("/proc", line_of(process))
    # The first process waits for it at some moment: it is gone then, also as a zombie.
    deadline = os.times().elapsed + PATIENCE
    while orphan.exists():
        assert os.times().elapsed < deadline
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert end_of(process) == 0


def test_it_stays_while_a_process_is_left_and_hands_signals_to_that() -> None:
    process = started(ORPHAN.format(60) + "; sys.exit(3)")
    orphan = int(line_of(process))
    deadline = os.times().elapsed + PATIENCE
    while f"PPid:\t{process.pid}\n" not in Path(f"/proc/{orphan}/status").read_text():
        assert os.times().elapsed < deadline
    while (
        len(list(Path(f"/proc/{process.pid}/task/{process.pid}").glob("children")))
        and len(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()) > 1
    ):
        assert os.times().elapsed < deadline
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert end_of(process) == 3
    assert not Path("/proc", str(orphan)).exists()


def test_a_first_process_that_is_not_ours_is_left_alone() -> None:
    """Where there is another first process, ours is the one process of its command."""
    code = "import os; from rescalefs.cli.main import main; main(['--version']); print(os.getpid())"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.read().splitlines()[-1] == str(process.pid)


def test_a_command_that_is_the_first_process_of_a_container_ends_by_the_first_signal(tmp_path: Path) -> None:
    """As root it really is the first one. An ordinary user may make none: it is one process among many."""
    command = [
        sys.executable,
        "-m",
        "rescalefs",
        "simulator",
        "--port",
        "0",
        "--data",
        str(tmp_path / "data"),
    ]
    if os.geteuid() == 0:
        command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *command]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert line_of(process)
        first = process.pid
        if os.geteuid() == 0:
            (first,) = map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())
        os.kill(first, signal.SIGTERM)
        assert process.wait(PATIENCE) in {0, 130, 143, -signal.SIGTERM}
