"""From a dropped folder to results a link away: a real daemon, a real simulator, real commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mounted.account import ROOT, MountedAccount

pytestmark = pytest.mark.fuse

HEAT = ROOT / "examples" / "heat"
SHORT_RUN = {"seconds = 60": "seconds = 0", "cells = 48": "cells = 12", "steps = 240": "steps = 20"}


def run_here(job: Path, folder: Path) -> dict[str, bytes]:
    """Run the command of a job in a copy of its folder; return every file it leaves, by path."""
    shutil.copytree(job, folder)
    command = json.loads((folder / "job.json").read_text())["jobanalyses"][0]["command"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", command], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    files = files_below(folder)
    del files["job.json"]
    return files


def outputs_of(drop: Path) -> dict[str, bytes]:
    """Every output, by path; without the console's, which only the cluster writes."""
    outputs = drop / "job" / "outputs"
    files = files_below(outputs)
    assert files.pop("process_output.log")
    return files


def files_below(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture
def short_heat(tmp_path: Path) -> Path:
    """The heat example, made to run for less than a second."""
    job = tmp_path / "short" / "heat"
    shutil.copytree(HEAT, job)
    text = (job / "heat.inp").read_text()
    for old, new in SHORT_RUN.items():
        assert old in text
        text = text.replace(old, new)
    (job / "heat.inp").write_text(text.replace("megabytes = 20", "megabytes = 1"))
    return job


def test_a_folder_that_is_filled_by_hand_is_submitted_once_it_is_complete(account: MountedAccount) -> None:
    wing = account.root / "submit" / "wing"
    wing.mkdir()
    job = {"command": "cat mesh.msh > copy", "software": "miniconda", "coretype": "cheapest", "hours": 1}
    (wing / "job.json").write_text(json.dumps(job))
    account.wait_for_status(wing, "waiting for mesh.msh, which the command names and the folder lacks")
    (wing / "mesh.msh.filepart").write_text("1 2")
    account.wait_for_status(wing, "waiting for a transfer to end: mesh.msh.filepart, which WinSCP writes")
    (wing / ".DS_Store").write_text("")
    (wing / "mesh.msh.filepart").write_text("1 2 3")
    assert account.jobs() == []
    (wing / "mesh.msh.filepart").rename(wing / "mesh.msh")
    account.wait_for_status(wing, "Completed")
    assert (wing / "job" / "outputs" / "copy").read_text() == "1 2 3"
    assert "left out, as macOS keeps it in folders: .DS_Store" in (wing / "status.log").read_text()
    assert account.jobs() == ["wing"]


def test_a_dropped_example_ends_as_completed_with_the_bytes_that_its_command_wrote(
    account: MountedAccount, pi_job: Path, short_heat: Path, tmp_path: Path
) -> None:
    for job in (pi_job, short_heat):
        drop = account.root / "submit" / job.name
        subprocess.run(["cp", "-r", str(job), str(drop)], check=True)
        account.wait_for_status(drop, "Completed")
        assert (drop / "job").readlink().name in {path.name for path in (account.root / "jobs").iterdir()}
        expected = run_here(job, tmp_path / "here" / job.name)
        assert outputs_of(drop) == expected
        checked = ["sha512sum", "--quiet", "-c", "../SHA512SUMS"]
        subprocess.run(checked, cwd=drop / "job" / "outputs", check=True)
    assert sorted(account.jobs()) == ["heat in a square plate", "pi by Leibniz"]


def test_a_drop_into_the_backing_directory_is_submitted_too(account: MountedAccount, pi_job: Path) -> None:
    status = (account.root / ".rescalefs" / "status").read_text()
    backing = Path(
        next(line for line in status.splitlines() if line.startswith("drop folder: ")).split(": ")[1]
    )
    shutil.copytree(pi_job, backing / "direct")
    drop = account.root / "submit" / "direct"
    account.wait_for_status(drop, "Completed")
    assert sorted(path.name for path in (backing / "direct").iterdir()) == sorted(
        path.name for path in pi_job.iterdir()
    )
    assert "Completed" in (drop / "status.log").read_text()


def test_a_wrong_job_file_is_refused_with_all_its_problems_and_mending_it_starts_it(
    account: MountedAccount, pi_job: Path
) -> None:
    drop = account.root / "submit" / "typo"
    shutil.copytree(pi_job, drop)
    right = (drop / "job.json").read_text()
    (drop / "job.json").write_text(right.replace("granite", "granit").replace("4.8.4", "4.8.5"))
    account.wait_for(lambda: account.text(drop / "status").startswith("rejected"))
    said = (drop / "status.log").read_text()
    assert "coreType" in said
    assert '"granite"' in said  # the nearest name
    assert '"4.8.4"' in said
    assert account.jobs() == []
    (drop / "job.json").write_text(right)
    account.wait_for_status(drop, "Completed")
    assert account.jobs() == ["pi by Leibniz"]


def test_a_killed_daemon_goes_on_where_it_was_and_makes_no_second_job(
    account: MountedAccount, pi_job: Path
) -> None:
    drop = account.root / "submit" / "pi"
    shutil.copytree(pi_job, drop)
    account.wait_for(lambda: "job " in account.text(drop / "status.log"))
    os.kill(account.daemon(), signal.SIGKILL)
    account.mount()
    account.wait_for_status(drop, "Completed")
    assert account.jobs() == ["pi by Leibniz"]


def test_cp_r_of_a_finished_drop_is_a_new_submission(account: MountedAccount, pi_job: Path) -> None:
    submit = account.root / "submit"
    shutil.copytree(pi_job, submit / "first")
    account.wait_for_status(submit / "first", "Completed")
    subprocess.run(["cp", "-r", "first", "second"], cwd=submit, check=True)
    # Until it has settled, the copy shows the files that were copied, the old link among them.
    account.wait_for(lambda: (submit / "second" / "job").readlink() != (submit / "first" / "job").readlink())
    account.wait_for_status(submit / "second", "Completed")
    assert account.jobs() == ["pi by Leibniz"] * 2


def test_renaming_a_drop_does_not_submit_it_again(account: MountedAccount, pi_job: Path) -> None:
    submit = account.root / "submit"
    shutil.copytree(pi_job, submit / "first")
    account.wait_for_status(submit / "first", "Completed")
    (submit / "first").rename(submit / "renamed")
    account.wait_for_status(submit / "renamed", "Completed")
    assert account.jobs() == ["pi by Leibniz"]


def test_submit_without_a_mount_makes_one_job_however_often_it_is_called(
    account: MountedAccount, pi_job: Path, tmp_path: Path
) -> None:
    job = tmp_path / "elsewhere"
    shutil.copytree(pi_job, job)
    plan = json.loads(account.run("submit", str(job), "--dry-run").stdout)
    assert [file["name"] for file in plan["uploads"]] == ["calculate_pi.py", "range.inp"]
    assert account.jobs() == []
    first = json.loads(account.run("submit", str(job), "--wait", "--json").stdout)
    again = json.loads(account.run("submit", str(job), "--json").stdout)
    assert first["status"] == again["status"] == "Completed"
    assert first["job"] == again["job"]
    assert account.jobs() == ["pi by Leibniz"]
    (job / "job.json").write_text("{}")
    refused = tmp_path / "refused"
    shutil.copytree(job, refused)
    done = account.run("submit", str(refused), check=False)
    assert done.returncode == 1
    assert "command" in done.stderr


def test_submit_on_a_drop_seen_through_the_mount_leaves_it_to_the_daemon(
    account: MountedAccount, pi_job: Path
) -> None:
    drop = account.root / "submit" / "pi"
    shutil.copytree(pi_job, drop)
    account.wait_for_status(drop, "Completed")
    done = account.run("submit", str(drop), check=False)
    assert done.returncode == 1
    assert "is being submitted by the mounted rescalefs" in done.stderr
    link = account.root.parent / "link"
    link.symlink_to(account.root / "submit")
    assert account.run("submit", str(link / "pi"), check=False).returncode == 1
    assert account.jobs() == ["pi by Leibniz"]


def test_a_folder_below_a_drop_is_the_same_folder_by_both_of_its_paths(
    account: MountedAccount, pi_job: Path
) -> None:
    shutil.copytree(pi_job, account.root / "submit" / "group" / "pi")
    account.wait_for(lambda: account.text(account.root / "submit" / "group" / "status"))
    (drops,) = (
        line.partition(": ")[2]
        for line in account.text(account.root / ".rescalefs" / "status").splitlines()
        if line.startswith("drop folder: ")
    )
    first = account.run("submit", str(account.root / "submit" / "group" / "pi")).stdout
    assert account.run("submit", str(Path(drops) / "group" / "pi")).stdout == first
    assert account.jobs() == ["pi by Leibniz"]


def test_a_drop_is_listed_with_what_to_do_and_stopped_from_its_folder(
    account: MountedAccount, pi_job: Path
) -> None:
    submit = account.root / "submit"
    (submit / "empty").mkdir()
    shutil.copytree(pi_job, submit / "long")
    job = json.loads((submit / "long" / "job.json").read_text())
    job["jobanalyses"][0]["command"] = "sleep 1000"
    (submit / "long" / "job.json").write_text(json.dumps(job))
    account.wait_for_status(submit / "long", "Executing")
    found = {each["drop"]: each for each in json.loads(account.run("drops", "--json").stdout)}
    assert found["empty"]["to_do"] == "add job.json, which says what to run"
    assert found["long"]["status"] == "Executing"
    assert found["long"]["job"] in found["long"]["to_do"]
    with pytest.raises(OSError, match="Invalid argument"):
        (submit / "long" / "control").write_text("halt")
    (submit / "long" / "control").write_text("stop\n")
    stopped = "Completed, but stopped by a user\n"
    account.wait_for(lambda: account.text(submit / "long" / "status") == stopped)
    account.wait_for(lambda: "ended after" in (submit / "long" / "status.log").read_text())
    found = {each["drop"]: each for each in json.loads(account.run("drops", "--json").stdout)}
    assert found["long"]["state"] == "stopped"
    assert "has been told to stop" in (submit / "long" / "status.log").read_text()
    done = account.run("delete", str(submit / "long"), "--yes")
    assert done.stdout == f"job {found['long']['job']} is deleted\n"
    assert account.jobs() == []
