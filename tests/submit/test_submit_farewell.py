"""What happens when a job has ended: real commands."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from rescalefs.clock import Clock, SystemClock, Wake
from rescalefs.submit.farewell import Farewell
from rescalefs.submit.report import duration_text
from tests.fakes import FakeClock
from tests.submit.rig import FakeRescale, Rig, drop_files


def ended(rig: Rig, rescale: FakeRescale, name: str = "wing") -> str:
    """A drop whose job has completed; its id."""
    drop_files(rig.settings.folder / name)
    rig.turns(4)
    job = list(rescale.on_server.values())[-1]
    rescale.tell(job.id, "Executing", "Completed")
    rig.turns(8)
    return job.id


def announce(rig: Rig, command: str, clock: Clock | None = None, **changes: object) -> None:
    settings = replace(rig.settings, on_finished=command, **changes)  # type: ignore[arg-type]
    Farewell(settings, clock or SystemClock(), rig.ledger).announce_all(threading.Event())


def test_the_command_finds_the_job_and_the_folder_in_its_environment(
    rig: Rig, rescale: FakeRescale, tmp_path: Path
) -> None:
    job_id = ended(rig, rescale)
    told = tmp_path / "told"
    announce(rig, f'echo "$RESCALEFS_JOB $RESCALEFS_STATUS $RESCALEFS_NAME" > {told}; pwd >> {told}')
    folder = rig.settings.folder / "wing"
    assert told.read_text().splitlines() == [f"{job_id} Completed wing", str(folder)]
    assert rig.log()[-1].startswith("on_finished ran for ")
    told.unlink()
    announce(rig, f"touch {told}")
    assert not told.exists(), "once is enough"


def test_a_command_that_fails_is_told_of_and_not_tried_again(rig: Rig, rescale: FakeRescale) -> None:
    ended(rig, rescale)
    announce(rig, "echo no mail server; exit 3")
    assert rig.log()[-1] == "on_finished failed with exit code 3: no mail server"
    assert rig.ledger.unannounced() == ()


def test_a_command_that_takes_too_long_is_killed_with_all_it_started(
    rig: Rig, rescale: FakeRescale, tmp_path: Path
) -> None:
    ended(rig, rescale)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    announce(rig, f"sleep 1000 > {pipe} & wait", FakeClock(), on_finished_limit=30.0)
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b"", "the end: no process has it open for writing"
    os.close(reader)
    assert rig.log()[-1] == "on_finished was ended after 30 s, its time limit"


def test_a_daemon_that_ends_meanwhile_runs_it_again_when_it_is_back(rig: Rig, rescale: FakeRescale) -> None:
    ended(rig, rescale)
    stop = threading.Event()

    class Ending(FakeClock):
        def wait(self, wake: Wake, seconds: float) -> bool:
            stop.set()
            return super().wait(wake, seconds)

    settings = replace(rig.settings, on_finished="sleep 1000")
    Farewell(settings, Ending(), rig.ledger).announce_all(stop)
    assert len(rig.ledger.unannounced()) == 1
    announce(rig, "true")
    assert rig.ledger.unannounced() == ()


def test_without_a_command_the_end_is_announced_silently_so_a_later_one_does_not_hear_of_old_jobs(
    rig: Rig, rescale: FakeRescale, tmp_path: Path
) -> None:
    ended(rig, rescale)
    before = rig.log()
    announce(rig, "")
    assert rig.log() == before
    announce(rig, f"touch {tmp_path}/told")
    assert not (tmp_path / "told").exists()


def test_the_desktop_is_told_where_there_is_one(
    rig: Rig,
    rescale: FakeRescale,
    tmp_path: Path,
    folder_of_programs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tool = folder_of_programs / "notify-send"
    tool.write_text(f'#!/bin/sh\nprintf "%s|" "$@" > {tmp_path}/said\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":7")
    job_id = ended(rig, rescale)
    announce(rig, "", notify=False)
    assert not (tmp_path / "said").exists()
    second = ended(rig, rescale, "-x")
    announce(rig, "")
    assert (tmp_path / "said").read_text() == f"-a|rescalefs|--|-x: Completed|Job {second} has ended|"
    assert job_id != second
    assert all(drop.announced for drop in rig.ledger.drops())


@pytest.mark.parametrize("command", ["env", "command -v rescalefs"])
def test_the_command_has_our_program_on_its_path_and_no_key(
    rig: Rig, rescale: FakeRescale, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("RESCALE_API_KEY", "k" * 40)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # as systemd has it
    ended(rig, rescale)
    announce(rig, f"{command} > {rig.settings.folder}/../out")
    out = (rig.settings.folder.parent / "out").read_text()
    assert "k" * 40 not in out
    assert "RESCALEFS_JOB=" in out or out.endswith("/rescalefs\n")


def test_a_command_runs_also_where_no_temporary_file_can_be_made(
    rig: Rig, rescale: FakeRescale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    ended(rig, rescale)
    announce(rig, "echo it said so; exit 3")
    assert rig.log()[-1] == "on_finished failed with exit code 3: it said so"


def test_durations_are_told_in_their_larger_units_and_never_as_nothing() -> None:
    told = {
        0.0: "0 s",
        0.3: "less than 1 s",
        0.7: "1 s",
        59.6: "1 min 0 s",
        522: "8 min 42 s",
        3725: "1 h 2 min",
    }
    assert {seconds: duration_text(seconds) for seconds in told} == told
