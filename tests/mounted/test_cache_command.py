"""`rescalefs cache` beside a mount that uses the cache."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.mounted.account import MountedAccount

pytestmark = pytest.mark.fuse

NOISE = random.Random(8).randbytes(5_000_001)


def test_info_verify_and_clear_beside_a_mount(account: MountedAccount) -> None:
    def cache(verb: str, code: int = 0) -> Any:
        done = account.run("cache", verb, "--json", check=False)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    assert cache("info")["blocks"] == 0
    job = account.add_finished_job("wing", {"noise.bin": NOISE})
    file = account.root / "jobs" / job / "outputs" / "noise.bin"
    assert file.read_bytes() == NOISE
    account.wait_for(lambda: cache("info")["verified"] == 1)
    assert cache("info")["used"] > len(NOISE)
    assert cache("verify") == {"blocks": 2, "records": 1, "bad": 0, "strays": 0}

    damaged = max((account.work / "cache").rglob("*.val"), key=lambda path: path.stat().st_size)
    with damaged.open("r+b") as block:
        block.seek(1_000_000)
        block.write(bytes([NOISE[1_000_000] ^ 1]))
    assert cache("verify", code=1) == {"blocks": 2, "records": 1, "bad": 1, "strays": 0}
    assert cache("verify")["bad"] == 0

    with file.open("rb") as opened:
        assert opened.read(100) == NOISE[:100]
        assert cache("clear")["removed_blocks"] == 1
        assert opened.read() == NOISE[100:]
    account.run("umount", str(account.root))
    account.mount()
    assert file.read_bytes() == NOISE
