"""A file whose bytes at the server become others while somebody has it open."""

from __future__ import annotations

import errno
import os
import random

import pytest

from rescalefs.simulator import SeedFile
from tests.mounted.account import MountedAccount

pytestmark = pytest.mark.fuse

NOISE = random.Random(9).randbytes(40_000_001)


@pytest.mark.parametrize("has_checksum", [True, False])
def test_a_file_replaced_while_it_is_open_is_stale(account: MountedAccount, has_checksum: bool) -> None:
    world = account.simulator.world
    job = world.add_finished_job("wing", [SeedFile("noise.bin", NOISE, has_checksum=has_checksum)])
    with (account.root / "jobs" / job.id / "outputs" / "noise.bin").open("rb", buffering=0) as opened:
        assert os.pread(opened.fileno(), 100, 30_000_000) == NOISE[30_000_000:30_000_100]
        (file,) = world.outputs(job.id)
        world.contents.path(file.id).write_bytes(NOISE[::-1][:39_000_000])
        with pytest.raises(OSError, match="Stale file handle") as failure:
            os.pread(opened.fileno(), 100, 10_000_000)
        assert failure.value.errno == errno.ESTALE
