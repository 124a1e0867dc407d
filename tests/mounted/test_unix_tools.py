"""Ordinary tools on a real mount of a real (simulated) account, over HTTP: what a user sees."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.mounted.account import MountedAccount

pytestmark = pytest.mark.fuse

NOISE = random.Random(42).randbytes(9_000_001)  # three blocks, the last one short
FILES: dict[str, bytes] = {
    "process_output.log": b"step 1 residual 0.5\nstep 2 residual 0.25\nconverged\n",
    "fields/step_0001/temperature.bin": NOISE,
    "fields/step_0002/temperature.bin": NOISE[::-1],
    "empty.dat": b"",
    "notes with spaces.txt": "größer als gedacht\n".encode(),
}


@pytest.fixture(scope="module")
def outputs(shared_account: MountedAccount) -> Path:
    """The outputs folder of one finished job with FILES in it."""
    job_id = shared_account.add_finished_job("wing", FILES)
    folder = shared_account.root / "jobs" / job_id / "outputs"
    # Looked at before a process is started in it: on Python 3.10 that may hold the lock of the interpreter,
    # and it is in this one that the server runs, which the mount asks about the folder.
    folder.stat()
    return folder


def sh(command: str, cwd: Path) -> str:
    """Run a shell command that must succeed; return what it printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_cat_gives_the_bytes_of_the_file(outputs: Path) -> None:
    for name, content in FILES.items():
        assert subprocess.check_output(["cat", name], cwd=outputs) == content


def test_head_and_tail_read_either_end(outputs: Path) -> None:
    assert sh("head -n 1 process_output.log", outputs) == "step 1 residual 0.5\n"
    assert sh("tail -n 1 process_output.log", outputs) == "converged\n"
    first = subprocess.check_output(["head", "-c", "1000", "fields/step_0001/temperature.bin"], cwd=outputs)
    last = subprocess.check_output(["tail", "-c", "1000", "fields/step_0001/temperature.bin"], cwd=outputs)
    assert (first, last) == (NOISE[:1000], NOISE[-1000:])


def test_grep_finds_lines_in_all_files(outputs: Path) -> None:
    assert sh("grep -r --include='*.log' residual . | sort", outputs) == (
        "./process_output.log:step 1 residual 0.5\n./process_output.log:step 2 residual 0.25\n"
    )


def test_find_sees_every_file_with_its_type_and_size(outputs: Path) -> None:
    found = sh(r"find . -type f -printf '%P\t%s\n'", outputs).splitlines()
    assert sorted(found) == sorted(f"{name}\t{len(content)}" for name, content in FILES.items())


def test_ls_lists_recursively(outputs: Path) -> None:
    listing = sh("ls -lR", outputs)
    assert "temperature.bin" in listing
    assert "notes with spaces.txt" in listing
    assert listing.count("./fields") == 3


def test_du_and_wc_tell_the_true_size(outputs: Path) -> None:
    assert sh("wc -c < fields/step_0001/temperature.bin", outputs).strip() == str(len(NOISE))
    apparent = int(sh("du -s --apparent-size --block-size=1 fields", outputs).split()[0])
    assert 2 * len(NOISE) <= apparent <= 2 * len(NOISE) + 3 * 65536


def test_sha512sum_says_ok(outputs: Path) -> None:
    verdicts = sh("sha512sum -c ../SHA512SUMS", outputs).splitlines()
    assert sorted(verdicts) == sorted(f"{name}: OK" for name in FILES)


def test_cp_rsync_and_tar_take_everything_along(outputs: Path, tmp_path: Path) -> None:
    sh(f"cp -r . {tmp_path}/cp", outputs)
    sh(f"rsync -a ./ {tmp_path}/rsync/", outputs)
    sh(f"tar -cf {tmp_path}/all.tar .", outputs)
    for copy in ("cp", "rsync"):
        for name, content in FILES.items():
            assert (tmp_path / copy / name).read_bytes() == content
    # rsync keeps times, so a second run finds nothing to send.
    assert sh(f"rsync -ai ./ {tmp_path}/rsync/", outputs) == ""
    with tarfile.open(tmp_path / "all.tar") as archive:
        sizes = {member.name.removeprefix("./"): member.size for member in archive if member.isfile()}
    assert sizes == {name: len(content) for name, content in FILES.items()}


def test_a_copy_is_its_owners_to_change_and_to_remove(outputs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    sh(f"cp -r . {copy}", outputs)
    for path in (copy, *copy.rglob("*")):
        assert path.stat().st_mode & 0o200, path


def test_stat_and_ls_agree(outputs: Path) -> None:
    told = sh("stat -c '%s %U %h' process_output.log", outputs).split()
    _, links, owner, _, size, *_ = sh("ls -l process_output.log", outputs).split()
    assert told == [size, owner, links]


def test_diff_and_cmp_compare_with_local_files(outputs: Path, tmp_path: Path) -> None:
    local = tmp_path / "local.bin"
    local.write_bytes(NOISE)
    sh(f"cmp {local} fields/step_0001/temperature.bin", outputs)
    sh(f"diff {local} fields/step_0001/temperature.bin", outputs)
    assert (
        subprocess.run(["cmp", "-s", local, "fields/step_0002/temperature.bin"], cwd=outputs).returncode == 1
    )


def test_stat_tells_the_truth_about_sizes_owners_times_and_links(
    shared_account: MountedAccount, outputs: Path
) -> None:
    file = outputs / "fields" / "step_0001" / "temperature.bin"
    status = file.stat()
    assert status.st_size == len(NOISE)
    assert (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())
    assert status.st_nlink == 1
    assert oct(status.st_mode) == "0o100644"
    assert status.st_ino == file.stat().st_ino
    assert status.st_blocks == -(-len(NOISE) // 512)
    uploaded = shared_account.uploaded_at(outputs.parent.name, "fields/step_0001/temperature.bin")
    assert abs(status.st_mtime - uploaded.timestamp()) < 0.001
    folder = outputs / "fields"
    assert folder.stat().st_nlink == 2 + 2  # itself, its entry, and two sub-folders
    inodes = {path.stat().st_ino for path in outputs.rglob("*")}
    assert len(inodes) == len(list(outputs.rglob("*")))


def test_every_text_file_has_the_size_that_stat_says(outputs: Path) -> None:
    job = outputs.parent
    for name in ("job.json", "status", "statuses", "cluster_statuses", "files.tsv", "SHA512SUMS"):
        text = job / name
        assert text.stat().st_size == len(text.read_bytes()) > 0, name
    assert (job / "status").read_text() == "Completed\n"


def test_df_answers_with_room_in_it(shared_account: MountedAccount) -> None:
    size, available = sh("df --output=size,avail -B1 . | tail -n 1", shared_account.root).split()
    assert 0 <= int(available) <= int(size)
    assert int(size) > 0


def test_by_name_leads_to_the_job(shared_account: MountedAccount, outputs: Path) -> None:
    link = shared_account.root / "by-name" / "wing"
    shared_account.wait_for(link.is_symlink)
    assert link.resolve() == outputs.parent


@pytest.mark.parametrize(
    "command",
    [
        "touch new",
        "rm process_output.log",
        "mkdir folder",
        "mv process_output.log other",
        "echo x >> process_output.log",
        "chmod u+w process_output.log",
        "ln -s process_output.log link",
        "truncate -s 0 process_output.log",
        "touch -d 2020-01-01 process_output.log",
    ],
)
def test_writing_outside_submit_is_erofs(shared_account: MountedAccount, command: str) -> None:
    job_id = shared_account.add_finished_job("still", {"process_output.log": b"x"})
    folder = shared_account.root / "jobs" / job_id / "outputs"
    folder.stat()  # as above
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Read-only file system" in done.stderr
    assert (folder / "process_output.log").read_bytes() == b"x"


def test_a_flood_of_readers_all_get_the_same_bytes(outputs: Path) -> None:
    digest = hashlib.sha512(NOISE).hexdigest()
    command = "for i in 1 2 3 4 5 6; do sha512sum fields/step_0001/temperature.bin & done; wait"
    lines = sh(command, outputs).splitlines()
    assert [line.split()[0] for line in lines] == [digest] * 6
