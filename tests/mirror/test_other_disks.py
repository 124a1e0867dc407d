"""Sync and download on disks that fold names, round dates, lack links, or refuse names: on a real mount."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rescalefs.simulator import Simulator
from tests.mirror.account import Account
from tests.otherdisks import Disk, mounted

pytestmark = pytest.mark.fuse

FAT = {"folds": True, "strips": True, "rounds": 2, "links": False, "symlinks": False, "fat_names": True}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    with mounted(tmp_path_factory.mktemp("other")) as found:
        yield found


@pytest.fixture
def account(simulator: Simulator, tmp_path: Path, disk: Disk) -> Account:
    """An account of this test's own, synced to the other disk."""
    disk.become()
    account = Account(simulator, tmp_path)
    account.folder = disk.path / tmp_path.name
    return account


def synced(account: Account, *words: str) -> tuple[int, dict[str, int], str]:
    """One round: exit code, counts, and what is said."""
    done = account.run("sync", str(account.folder), "--once", "--json", *words, check=False)
    said = done.stderr.decode()
    assert done.stdout, said
    return done.returncode, json.loads(done.stdout), said


@pytest.mark.parametrize(
    ("quirks", "one", "other"),
    [
        pytest.param({"folds": True}, "out/Mesh.msh", "out/mesh.msh", id="case"),
        pytest.param(FAT, "out/Mesh.msh", "out/mesh.msh", id="FAT"),
        pytest.param(FAT, "a.", "a", id="a dot at the end"),
        pytest.param({"form": "NFD"}, "\u00e9.txt", "e\u0301.txt", id="NFD"),
        pytest.param({"form": "NFC"}, "\u00e9.txt", "e\u0301.txt", id="NFC"),
    ],
)
def test_of_two_names_that_are_one_the_first_is_there_and_the_other_is_told_in_every_round(
    account: Account, disk: Disk, quirks: dict[str, object], one: str, other: str
) -> None:
    disk.become(**quirks)
    contents = {one: b"first", other: b"other", "rest": b"rest"}
    job = account.add_job("wing", contents)
    outputs = account.folder / "jobs" / job / "outputs"
    for _ in range(3):
        code, counts, said = synced(account)
        assert (code, counts["failed"]) == (1, 1)
        assert "on this disk it is the same name as" in said
        assert f"jobs/{job}/outputs/{one}" in said
        assert f"jobs/{job}/outputs/{other}" in said
        (placed,) = [name for name in (one, other) if f"outputs/{name}: failed" not in said]
        assert (outputs / placed).read_bytes() == contents[placed]
        assert (outputs / "rest").read_bytes() == b"rest"
    assert counts["fetched"] == 0
    assert synced(account, "--exclude", other)[0] == 0


def test_the_bytes_of_one_name_are_never_taken_for_those_of_the_other(account: Account, disk: Disk) -> None:
    job = account.add_job("wing", {"A": b"upper", "a": b"lower"})
    synced(account)
    outputs = account.folder / "jobs" / job / "outputs"
    lower, upper = (outputs / "a").stat(), outputs / "A"
    os.utime(upper, ns=(lower.st_atime_ns, lower.st_mtime_ns))
    # As an earlier version left it on a disk that folds names: marks for both, and the bytes of one of them.
    (outputs / "a").unlink()
    disk.become(folds=True)
    for _ in range(2):
        code, _, said = synced(account)
        assert code == 1
        assert "the same name as" in said
    assert [path.name for path in outputs.iterdir()] == ["A"]
    assert upper.read_bytes() == b"upper"


def test_folders_that_are_one_hold_the_files_of_both_and_are_told(account: Account, disk: Disk) -> None:
    disk.become(folds=True)
    job = account.add_job("wing", {"Out/a": b"1", "out/b": b"2"})
    code, _, said = synced(account)
    assert code == 1
    assert f"on this disk it is the same folder as jobs/{job}/outputs/Out" in said
    assert account.outputs(job) == {"Out/a": b"1", "Out/b": b"2"}


def test_views_whose_links_are_one_are_told(account: Account, disk: Disk) -> None:
    disk.become(folds=True)
    account.add_job("Wing", {"a": b"1"})
    account.add_job("wing", {"a": b"2"})
    for _ in range(2):
        code, _, said = synced(account)
        assert code == 1
        assert "by-name/Wing" in said
        assert "by-name/wing" in said
    assert len(list((account.folder / "by-name").iterdir())) == 1


def test_a_download_tells_two_names_that_are_one(account: Account, disk: Disk) -> None:
    disk.become(**FAT)
    job = account.add_job("wing", {"Mesh": b"first", "mesh": b"other", "a:b": b"odd"})
    for _ in range(2):
        done = account.run("download", job, "--to", str(account.folder), check=False)
        assert done.returncode == 1
        assert b"on this disk it is the same name as" in done.stderr
        assert b"this disk takes no file called 'a:b' (Invalid argument)" in done.stderr
        held = {path.name: path.read_bytes() for path in account.folder.iterdir() if path.is_file()}
        assert held in ({"Mesh": b"first"}, {"mesh": b"other"})


def test_names_that_the_disk_cannot_hold_are_told_and_the_rest_comes(account: Account, disk: Disk) -> None:
    disk.become(**FAT)
    odd = ["a:b", "what?", "x/b*c/d"]
    job = account.add_job("wing", dict.fromkeys(odd, b"odd") | {"fine": b"1", "x/fine": b"2"})
    code, counts, said = synced(account)
    assert (code, counts["failed"]) == (1, len(odd))
    for name in ("a:b", "what?", "b*c"):
        assert f"this disk takes no file called {name!r} (Invalid argument)" in said
    assert account.outputs(job) == {"fine": b"1", "x/fine": b"2"}
    assert account.content_requests() == 2


@pytest.mark.parametrize("shift", [3600, -3600])
def test_files_of_ours_stay_ours_when_the_disk_moves_their_dates(
    account: Account, disk: Disk, shift: int
) -> None:
    disk.become(rounds=2)
    job = account.add_job("wing", {"a": b"1", "b": b"2"})
    synced(account)
    (account.folder / "jobs" / job / "status").write_text("Completed, says a person\n")
    disk.become(rounds=2, shift=shift)
    asked = account.content_requests()
    code, counts, _ = synced(account)
    assert (code, counts["kept"], counts["fetched"]) == (0, 1, 0)
    assert account.content_requests() == asked


def test_a_disk_without_links_dates_modes_and_syncing_serves(account: Account, disk: Disk) -> None:
    disk.become(links=False, symlinks=False, modes=False, refuse={"utimens": errno.EPERM})
    job = account.add_job("wing", {"a": b"1", "b/c": b"2"})
    assert synced(account)[0] == 0
    assert account.outputs(job) == {"a": b"1", "b/c": b"2"}
    assert synced(account)[1]["fetched"] == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_what_fails_at_the_close_is_told_and_has_no_final_name(
    account: Account, disk: Disk, number: int
) -> None:
    job = account.add_job("wing", {"a": b"1"})
    synced(account, "--exclude", "*")
    disk.become(refuse={"flush": number})
    code, _, said = synced(account)
    assert code == 1
    assert os.strerror(number) in said
    disk.become()
    assert account.outputs(job) == {}
    assert synced(account)[0] == 0
    assert account.outputs(job) == {"a": b"1"}


def test_a_file_that_is_too_large_for_the_disk_is_told_and_others_come(account: Account, disk: Disk) -> None:
    disk.become(max_size=2_000_000)
    job = account.add_job("wing", {"large": bytes(3_000_000), "small": b"1"})
    code, _, said = synced(account)
    assert code == 1
    assert f"jobs/{job}/outputs/large: failed: File too large: this disk, or a limit" in said
    assert account.outputs(job) == {"small": b"1"}
