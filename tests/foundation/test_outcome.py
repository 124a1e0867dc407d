"""How a job ended, from its statuses and the end of its console log."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescalefs.model import JobStatus, RemoteFile, Result
from rescalefs.outcome import TAIL_BYTES, ConsoleEnd, console_end, console_log, judged
from tests import consoles
from tests.consoles import STAMP

SUCCESS = "Completed successfully"
SEE = "(see outputs/process_output.log)"
ZERO, TWO = ConsoleEnd((0,)), ConsoleEnd((2,))


def history(*statuses: tuple[str, str | None]) -> tuple[JobStatus, ...]:
    began = datetime(2026, 11, 1, tzinfo=timezone.utc)
    return tuple(
        JobStatus(status, began + timedelta(seconds=number), reason)
        for number, (status, reason) in enumerate((("Pending", None), ("Executing", None), *statuses))
    )


@pytest.mark.parametrize(
    ("statuses", "console", "result", "words"),
    [
        ([("Completed", SUCCESS)], None, Result.SUCCEEDED, "Completed"),
        ([("COMPLETED", "completed successfully.")], ZERO, Result.SUCCEEDED, "COMPLETED"),
        ([("Completed", SUCCESS)], ConsoleEnd(), Result.SUCCEEDED, "Completed"),
        ([("Completed", None)], ZERO, Result.SUCCEEDED, "Completed"),
        (
            [("Completed", SUCCESS)],
            TWO,
            Result.FAILED,
            f"Completed, but the command ended with exit code 2 {SEE}",
        ),
        (
            [("Completed", SUCCESS)],
            ConsoleEnd((0, 1, 0)),
            Result.FAILED,
            f"Completed, but the commands ended with exit codes 0, 1, 0 {SEE}",
        ),
        (
            [("Stopping", "A run failed"), ("Completed", None)],
            TWO,
            Result.FAILED,
            f"Completed, but the command ended with exit code 2 {SEE}",
        ),
        (
            [("Stopping", "A run failed"), ("Completed", SUCCESS)],
            ZERO,
            Result.FAILED,
            f"Completed, but failed: a run failed {SEE}",
        ),
        (
            [("Stopping", "User Terminated"), ("Completed", None)],
            ConsoleEnd((143,)),
            Result.STOPPED,
            "Completed, but stopped by a user",
        ),
        (
            [("Stopping", "User Terminated"), ("Completed", SUCCESS)],
            ZERO,
            Result.STOPPED,
            "Completed, but stopped by a user",
        ),
        (
            [("Stopping", None), ("Force Stop", None), ("Completed", None)],
            None,
            Result.STOPPED,
            "Completed, but stopped by a user",
        ),
        ([("FORCE_STOP", None)], None, Result.STOPPED, "FORCE_STOP: stopped by a user"),
        ([("Terminated", None)], None, Result.STOPPED, "Terminated"),
        ([("Stopping", None), ("Completed", None)], None, Result.UNKNOWN, "Completed"),
        (
            [("Completed", "Could not allocate compute resources from the compute provider")],
            ConsoleEnd(),
            Result.FAILED,
            "Completed, but failed: could not allocate compute resources from the compute provider",
        ),
        ([("Failed", "mesh.zip is no archive")], None, Result.FAILED, "Failed: mesh.zip is no archive"),
        ([("Failed", None)], None, Result.FAILED, "Failed"),
        (
            [("Completed", None)],
            ConsoleEnd(),
            Result.UNKNOWN,
            "Completed, but whether it worked is not known: neither a reason nor an exit code says so",
        ),
    ],
)
def test_what_came_of_a_job(
    statuses: list[tuple[str, str | None]], console: ConsoleEnd | None, result: Result, words: str
) -> None:
    outcome = judged(history(*statuses), console)
    assert outcome is not None
    assert (outcome.result, outcome.words) == (result, words)
    assert outcome.log_seen is (console is not None)


@pytest.mark.parametrize("status", ["Executing", "Stopping", "Levitating", ""])
def test_a_job_that_goes_on_has_no_outcome(status: str) -> None:
    assert judged(history((status, None))) is None
    assert judged(()) is None


def test_a_log_of_the_real_form_tells_the_exit_code_and_the_last_lines() -> None:
    log = consoles.console_log((["step 1", "step 2", "diverged"], 2))
    assert console_end(log, is_whole=True) == ConsoleEnd((2,), ("step 1", "step 2", "diverged"))


def test_several_analyses_have_an_exit_code_each_and_the_last_one_speaks() -> None:
    log = consoles.console_log((["mesh"], 0), (["solve"], 137), (["plot"], -1))
    assert console_end(log, is_whole=True) == ConsoleEnd((0, 137, -1), ("plot",))


def test_what_a_command_prints_is_no_exit_code() -> None:
    lines = ["Exited with code 3", "Exited with code 4 ", "and went on", "  Exited with code 5"]
    end = console_end(consoles.console_log((lines, 0)), is_whole=True)
    assert end.exit_codes == (0,)
    unstamped = consoles.console_log((["x"], 0)).replace(STAMP.encode(), b"")
    assert console_end(unstamped, is_whole=True).exit_codes == ()


def test_the_end_of_a_huge_log_is_enough() -> None:
    log = consoles.console_log(([f"residual {number} " + "x" * 60 for number in range(20_000)], 1))
    end = console_end(log[-TAIL_BYTES:])
    assert end.exit_codes == (1,)
    assert end.lines[-1].startswith("residual 19999")
    assert len(end.lines) == 6


def test_a_last_line_without_an_end_of_hundreds_of_megabytes_is_cut() -> None:
    log = consoles.console_log((["y" * 5000], 1))
    end = console_end(log[-TAIL_BYTES:])
    assert end.exit_codes == (1,)
    assert all(len(line) <= 201 for line in end.lines)
    assert len(console_end(log, is_whole=True).lines[0]) == 201


@given(st.integers(0, 400), st.booleans())
def test_a_log_cut_anywhere_never_tells_another_exit_code(cut: int, from_the_front: bool) -> None:
    log = consoles.console_log((["12", "Exited"], 12), (["3"], 34))
    part = log[cut:] if from_the_front else log[:-cut] if cut else log
    for is_whole in (True, False):
        assert set(console_end(part, is_whole=is_whole).exit_codes) <= {12, 34}


@given(st.binary(max_size=300))
def test_a_log_of_any_bytes_is_read_and_a_command_that_prints_them_has_its_exit_code(noise: bytes) -> None:
    console_end(noise, is_whole=True)
    stamped = noise.replace(b"\n", b"\n" + STAMP.encode()) + b"\n"
    log = consoles.console_log(([], 0)).partition(STAMP.encode() + b"Exited")
    whole = log[0] + STAMP.encode() + stamped + log[1] + log[2]
    assert console_end(whole, is_whole=True).exit_codes[-1:] == (0,)


def test_megabytes_of_noise_are_read_in_no_time() -> None:
    noise = random.Random(1).randbytes(64 << 10)
    assert console_end(noise).exit_codes == ()


def test_the_console_log_of_several_runs_is_none_of_them() -> None:
    first = RemoteFile("1", "process_output.log", "process_output.log", 10)
    second = RemoteFile("2", "process_output.log", "process_output.log", 10)
    other = RemoteFile("3", "process_output.log", "old/process_output.log", 10)
    assert console_log((other, first)) is first
    assert console_log((first, second)) is None
    assert console_log((other,)) is None
