from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rescalefs.errors import CannotMount
from rescalefs.mount import claims, umount

HOLD = (
    "import sys; from pathlib import Path; from rescalefs.mount import claims\n"
    "claims.claim(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_one_process_serves_a_mountpoint_until_it_ends_however_that_is() -> None:
    place = Path("/mnt/ä b\nc")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert claims.daemon_of(place) == (holder.pid, place)
        assert claims.daemons() == [(holder.pid, place)]
        assert claims.is_running(holder.pid)
        with pytest.raises(CannotMount, match=f"process {holder.pid} serves it, .* kill {holder.pid}$"):
            claims.claim(place)
        with pytest.raises(CannotMount, match=f"(?s)nothing is mounted on .* kill {holder.pid}$"):
            umount(place)
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        assert not claims.is_running(holder.pid)  # ended, though nobody has asked how
    assert claims.daemon_of(place) is None
    assert claims.daemons() == []


def test_a_claim_leaves_no_file_behind(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", HOLD, "/mnt/x"], input="", text=True, check=True)
    assert done.returncode == 0
    assert [path for path in (tmp_path / "state").rglob("*") if path.is_file()] == []
    assert claims.daemon_of(Path("/mnt/x")) is None


def test_where_the_home_takes_no_claim_the_folder_of_the_login_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file" / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    place = Path("/mnt/x")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert claims.daemon_of(place) == (holder.pid, place)
        assert claims.daemons() == [(holder.pid, place)]
        with pytest.raises(CannotMount, match=f"process {holder.pid} serves it, .* kill {holder.pid}$"):
            claims.claim(place)
        holder.communicate("")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "file"]


def test_a_claim_that_no_folder_takes_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file" / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file" / "run"))
    claims.claim(Path("/mnt/x"))
    assert "umount will not wait for it" in caplog.text
    assert claims.daemon_of(Path("/mnt/x")) is None
