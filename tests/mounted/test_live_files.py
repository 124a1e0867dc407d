"""`tail -f` through the mount on a job that runs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.mounted.account import MountedAccount

pytestmark = pytest.mark.fuse

# Writes a line, and waits to be told to go on: so the test, and no clock, decides what is there when.
SOLVER = """
import pathlib, time
go = pathlib.Path(GO)
with open("residuals.log", "w") as log:
    for step in range(1, 4):
        log.write(f"step {step}\\n")
        log.flush()
        while not (go / str(step)).exists():
            time.sleep(0.02)
    log.write("done\\n")
"""


def test_tail_f_follows_a_running_job_and_outputs_take_over(account: MountedAccount, tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.mkdir()
    drop = account.root / "submit" / "solver"
    drop.mkdir()
    (drop / "solver.py").write_text(SOLVER.replace("GO", repr(str(go))))
    hardware = {"coreType": "granite", "coresPerSlot": 2}
    analysis = {"analysis": {"code": "miniconda", "version": "4.8.4"}, "command": "python solver.py"}
    (drop / "job.json").write_text(
        json.dumps({"name": "solver", "jobanalyses": [{**analysis, "hardware": hardware}]})
    )
    log = drop / "job" / "live" / "residuals.log"
    account.wait_for(lambda: account.text(log) == "step 1\n")
    assert log.stat().st_size == 7
    with subprocess.Popen(["tail", "-f", str(log)], stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        assert tail.stdout.readline() == "step 1\n"
        (go / "1").touch()
        assert tail.stdout.readline() == "step 2\n"
        (go / "2").touch()
        assert tail.stdout.readline() == "step 3\n"
        with log.open() as still_open:
            (go / "3").touch()
            account.wait_for_status(drop, "Completed")
            account.wait_for(lambda: not (drop / "job" / "live").exists())
            assert tail.stdout.readline() == "done\n"
            assert os.fstat(still_open.fileno()).st_size == len("step 1\nstep 2\nstep 3\ndone\n")
            assert still_open.read() == "step 1\nstep 2\nstep 3\ndone\n"
        tail.terminate()
    account.wait_for(lambda: account.text(drop / "job" / "outputs" / "residuals.log").endswith("done\n"))
