"""What looks at everything, or for its own names everywhere, costs little and leaves requests for others."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.mounted.account import MountedAccount
from tests.mounted.conftest import MountNow

pytestmark = pytest.mark.fuse

WORDS = ["HEAD", "CVS", "Makefile"]  # may be outputs, but no jobs
NAMES = [
    *(".git", ".hg", ".svn", ".hidden", ".Trash", ".Trash-1000", ".directory", ".DS_Store"),
    *("._job.json", "desktop.ini", "autorun.inf", ".xdg-volume-info", ".thumbnails", "Thumbs.db", ".envrc"),
]


def test_the_kind_by_which_crawlers_can_leave_the_mount_out(shared_account: MountedAccount) -> None:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    assert [kind for _, path, kind, *_ in mounts if path == str(shared_account.root)] == ["fuse.rescalefs"]


def questions(account: MountedAccount) -> list[str]:
    """The requests of the server's log that are not the poll for new jobs."""
    return [
        entry.path for entry in account.simulator.traffic.entries() if not entry.path.endswith("/v2/jobs/")
    ]


def test_names_that_tools_look_for_everywhere_ask_the_server_nothing(shared_account: MountedAccount) -> None:
    account = shared_account
    job_id = account.add_finished_job("wing", {"log": b"1\n", "deep/.directory": b"an output\n"})
    job = account.root / "jobs" / job_id
    account.wait_for(lambda: (account.root / "by-name" / "wing").is_symlink())
    # How a job ended is asked for once, in the background, soon after it was listed.
    account.wait_for(lambda: f"/api/v2/jobs/{job_id}/statuses/" in questions(account))
    for view in ("by-status/Completed", "by-project/none"):
        assert list((account.root / view).iterdir())
    account.simulator.traffic.clear()
    folders = [account.root, *account.root.glob("by-*"), account.root / "by-status" / "Completed"]
    folders += [account.root / "jobs", job, account.root / "catalog"]
    looked_for = [folder / name for folder in folders for name in NAMES + WORDS]
    looked_for += [folder / name for folder in (job / "outputs", job / "inputs") for name in NAMES]
    for path in looked_for:
        assert not path.exists()
    assert questions(account) == []
    assert (job / "outputs" / "deep" / ".directory").read_text() == "an output\n"


def test_an_absent_job_is_asked_for_once(shared_account: MountedAccount) -> None:
    shared_account.simulator.traffic.clear()
    for _ in range(5):
        assert not (shared_account.root / "jobs" / "nosuch").exists()
    assert questions(shared_account) == ["/api/v2/jobs/nosuch/"]


def test_a_walk_leaves_requests_for_a_person(account: MountedAccount, mount: MountNow) -> None:
    account.run("umount", str(account.root))
    for number in range(100):
        account.add_finished_job(f"wing-{number}", {"log": b"1\n"})
    command = ["-m", "tests.mounted.small_budget", "mount", "--foreground", str(account.root)]
    mounted = mount(command, account.root, account.environment)
    account.wait_for(lambda: len(list((mounted.path / "jobs").iterdir())) == 100)
    walk = subprocess.run(
        ["du", "-a", mounted.path / "jobs"],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # a process group of its own, as a shell gives each command
    )
    assert walk.returncode == 1
    assert walk.stderr.count("Input/output error") > 20
    assert "the program looks at too many files" in mounted.said()
    unseen = _without_outputs(account, mounted.path / "jobs")
    assert len(unseen) > 10
    for job in unseen[:8]:
        assert (job / "outputs" / "log").read_text() == "1\n"
        assert (job / "statuses").read_text()


def _without_outputs(account: MountedAccount, jobs: Path) -> list[Path]:
    """The jobs whose outputs the server was not asked for."""
    asked = {path.split("/")[4] for path in questions(account) if path.endswith("/files/")}
    return [job for job in jobs.iterdir() if job.name not in asked]
