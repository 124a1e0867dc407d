"""The API key: in no process list, no file, no text. The whole suite searches for it (tests/canary.py)."""

from __future__ import annotations

import contextlib
import pickle
import shutil
from pathlib import Path

import pytest

from rescalefs.simulator import Simulator
from tests.canary import CANARY, leaks
from tests.mounted.account import MountedAccount


def command_lines() -> str:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                found.append((process / "cmdline").read_bytes())
    return b"\n".join(found).decode(errors="replace")


def test_the_search_finds_a_key_and_leaves_out_where_it_belongs(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "mount.log").write_bytes(b"\0" * 5000 + CANARY.encode() + b"\n")
    (tmp_path / "apiconfig").write_text(f"apikey = {CANARY}")
    assert leaks(tmp_path) == [str(tmp_path / "logs" / "mount.log")]
    (tmp_path / "logs" / "mount.log").unlink()  # or the search at the end of the session would find it


@pytest.mark.fuse
def test_no_command_line_and_no_text_of_a_mount_has_the_key(account: MountedAccount, pi_job: Path) -> None:
    drop = account.root / "submit" / "pi"
    shutil.copytree(pi_job, drop)
    account.wait_for_status(drop, "Completed")
    assert "rescalefs" in command_lines()
    assert CANARY not in command_lines()
    own = account.root / ".rescalefs"
    texts = [path.read_text() for path in (*own.iterdir(), drop / "status.log", drop / "job" / "job.json")]
    for words in (["status"], ["doctor", "--json"], ["drops", "--json"], ["whoami"], ["-vv", "jobs"]):
        done = account.run(*words, check=False)
        texts += [done.stdout, done.stderr]
    assert not [text for text in texts if CANARY in text]


def test_a_pickled_file_system_carries_no_key(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    from rescalefs.fsspec import RescaleFileSystem

    monkeypatch.setenv("RESCALE_API_URL", simulator.url)
    monkeypatch.setenv("RESCALE_API_KEY", simulator.api_key)
    job_id = simulator.world.add_finished_job("wing", {"log": b"1\n"}).id
    files = RescaleFileSystem(skip_instance_cache=True)
    with files.open(f"jobs/{job_id}/outputs/log") as file:
        assert file.read() == b"1\n"
        pickled = [pickle.dumps(files), pickle.dumps(file)]
    assert not [each for each in pickled if CANARY.encode() in each]
    assert CANARY not in repr(files)
