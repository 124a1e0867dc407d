"""What programs make of files whose size the listing does not tell: never an empty file and exit code 0."""

from __future__ import annotations

import errno
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from rescalefs.simulator.seed import SeedFile
from tests.mounted.account import MountedAccount

pytestmark = pytest.mark.fuse

CONTENTS = {"a.dat": b"some bytes\n", "large.bin": os.urandom(5 << 20), "empty": b""}


def outputs_of(account: MountedAccount, *more: SeedFile) -> Path:
    seeds = [SeedFile(path, content, claimed_size=-1) for path, content in CONTENTS.items()]
    job = account.simulator.world.add_finished_job("odd", [*seeds, *more]).id
    outputs = account.root / "jobs" / job / "outputs"
    account.wait_for(outputs.exists)
    return outputs


def test_tar_cp_and_du_have_all_bytes(account: MountedAccount, tmp_path: Path) -> None:
    outputs = outputs_of(account)
    subprocess.run(["tar", "-cf", tmp_path / "all.tar", "-C", outputs, *CONTENTS], check=True)
    with tarfile.open(tmp_path / "all.tar") as packed:
        found = {each.name: packed.extractfile(each) for each in packed}
        assert {name: file.read() if file else None for name, file in found.items()} == CONTENTS
    subprocess.run(["cp", "-r", outputs, tmp_path / "copy"], check=True)
    assert {each.name: each.read_bytes() for each in (tmp_path / "copy").iterdir()} == CONTENTS
    used = subprocess.run(["du", "-b", "-s", outputs], check=True, capture_output=True, text=True)
    assert int(used.stdout.split()[0]) >= sum(map(len, CONTENTS.values()))


def test_what_is_not_there_in_full_is_an_error_and_no_empty_file(
    account: MountedAccount, tmp_path: Path
) -> None:
    pending = SeedFile("pending", b"later", claimed_size=0, is_uploaded=False)
    outputs = outputs_of(account, pending)
    with pytest.raises(OSError, match=os.strerror(errno.EAGAIN)) as raised:
        (outputs / "pending").stat()
    assert raised.value.errno == errno.EAGAIN
    packed = subprocess.run(
        ["tar", "-cf", tmp_path / "all.tar", "-C", outputs, "a.dat", "pending"],
        check=False,
        capture_output=True,
    )
    assert packed.returncode != 0
    assert (outputs / "a.dat").read_bytes() == CONTENTS["a.dat"]
