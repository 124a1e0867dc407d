"""Commands as process groups of their own."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import IO

import pytest

from rescalefs.background import Background
from rescalefs.simulator.console import exit_code
from rescalefs.simulator.running import (
    MARK,
    Leash,
    kill_marked,
    provide_python,
    run_command,
)

PATH = os.environ["PATH"]


def run(
    command: str, folder: Path, leash: Leash | None = None, env: dict[str, str] | None = None
) -> int | None:
    """Run it with what it prints appended to a file `log`."""
    with (folder / "log").open("ab", buffering=0) as log:
        return run_command(
            command, folder, {"PATH": PATH, **(env or {})}, lambda piece: _write(log, piece), leash or Leash()
        )


def _write(log: IO[bytes], piece: bytes) -> None:
    log.write(piece)


def wait_until_written(path: Path) -> str:
    """What another process wrote, once it has."""
    for _ in range(1000):
        if path.exists() and (text := path.read_text()).endswith("\n"):
            return text
        threading.Event().wait(0.01)
    raise AssertionError(f"nobody wrote {path}")


def is_alive(pid: int) -> bool:
    """Whether it runs; one that has ended and waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_output_and_errors_are_appended_to_the_log(tmp_path: Path) -> None:
    assert run("echo out; echo err >&2", tmp_path) == 0
    assert run("pwd", tmp_path) == 0
    assert (tmp_path / "log").read_text() == f"out\nerr\n{tmp_path}\n"


def test_the_environment_is_the_jobs_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESCALE_API_KEY", "secret")
    run("env", tmp_path, env={"ANGLE": "3"})
    log = (tmp_path / "log").read_text()
    assert "ANGLE=3\n" in log
    assert "secret" not in log


def test_an_exit_code_is_that_of_a_shell(tmp_path: Path) -> None:
    assert exit_code(run("exit 3", tmp_path) or 0) == 3
    assert exit_code(run("kill -SEGV $$", tmp_path) or 0) == 139


def test_what_is_printed_is_handed_on_before_the_command_ends(tmp_path: Path) -> None:
    heard: list[bytes] = []

    def hear(piece: bytes) -> None:
        heard.append(piece)
        (tmp_path / "go").touch()

    command = "printf part; while [ ! -e go ]; do sleep 0.01; done; printf ' and rest'"
    assert run_command(command, tmp_path, {"PATH": PATH}, hear, Leash()) == 0
    assert b"".join(heard) == b"part and rest"
    assert heard[0] == b"part"


def test_a_command_that_closed_its_output_is_waited_for(tmp_path: Path) -> None:
    assert run("exec >&- 2>&-; sleep 0.05; touch done", tmp_path) == 0
    assert (tmp_path / "done").exists()


def test_one_that_left_the_group_and_holds_the_output_does_not_hold_up_the_end(tmp_path: Path) -> None:
    mark = f"test-{tmp_path.name}-{os.getpid()}/"
    stays = 'trap "" PIPE; : > left; while :; do echo y; done 2> /dev/null'  # also once its output is closed
    leaves = f"setsid sh -c '{stays}' & until [ -e left ]; do sleep 0.01; done"
    assert run(leaves, tmp_path, env={MARK: mark}) == 0
    assert kill_marked(mark) >= 1


def test_what_a_command_left_in_the_background_ends_with_it(tmp_path: Path) -> None:
    assert run("sleep 1000 & echo $! > pid", tmp_path) == 0
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_pulling_the_leash_ends_the_whole_group(tmp_path: Path) -> None:
    leash, background = Leash(), Background()
    ended: list[int | None] = []
    command = "sleep 1000 & echo $! > pid; wait"
    background.start("run", lambda _: ended.append(run(command, tmp_path, leash)))
    child = int(wait_until_written(tmp_path / "pid"))
    leash.pull("enough")
    leash.pull("more than enough")
    background.close()
    assert leash.reason == "enough"
    assert ended[0] is not None
    assert ended[0] < 0
    assert not is_alive(child)


def test_a_command_that_ignores_being_asked_is_killed(tmp_path: Path) -> None:
    leash, background = Leash(), Background()
    ended: list[int | None] = []
    command = "trap '' TERM; echo ready > ready; while true; do sleep 0.05; done"
    background.start("run", lambda _: ended.append(run(command, tmp_path, leash)))
    wait_until_written(tmp_path / "ready")
    leash.pull("please")
    assert not ended
    leash.kill("now")
    background.close()
    assert ended == [-9]


def test_a_leash_pulled_beforehand_keeps_a_command_from_starting(tmp_path: Path) -> None:
    leash = Leash()
    leash.pull("no")
    assert run("touch started", tmp_path, leash) is None
    assert not (tmp_path / "started").exists()


def test_processes_that_left_their_group_are_found_by_their_mark(tmp_path: Path) -> None:
    mark = f"test-{tmp_path.name}-{os.getpid()}"
    leaves = "setsid sh -c 'echo $$ > pid; exec sleep 1000' & until [ -s pid ]; do sleep 0.01; done"
    run(leaves, tmp_path, env={MARK: f"{mark}/job"})
    child = int(wait_until_written(tmp_path / "pid"))
    assert is_alive(child)
    assert kill_marked(f"{mark}/job") >= 1
    assert not is_alive(child)
    assert kill_marked(f"{mark}/") == 0


def test_there_is_a_python_on_the_path(tmp_path: Path) -> None:
    provide_python(tmp_path / "bin")
    path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    assert run("python -c 'print(6 * 7)'", tmp_path, env={"PATH": path}) == 0
    assert (tmp_path / "log").read_text() == "42\n"
