"""A mount whose connections all die without a word, as after suspend or on another network."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.forwarder import Forwarder
from tests.mounted.account import MountedAccount

pytestmark = pytest.mark.fuse


def test_a_read_after_all_connections_died_in_silence_has_the_right_bytes_soon(tmp_path: Path) -> None:
    account = MountedAccount(tmp_path)
    port = int(account.simulator.url.rpartition(":")[2])
    with closing(account), closing(Forwarder(lambda: ("127.0.0.1", port))) as network:
        # The times of real use, and not those that make the other tests short.
        for name in ("READ_TIMEOUT", "PATIENCE", "DEADLINE"):
            account.environment[f"RESCALEFS_{name}"] = "60"
        account.environment["RESCALE_API_URL"] = network.url
        job = account.add_finished_job("wing", {"a.txt": b"a" * 5000, "b.txt": b"b" * 5000})
        account.mount()
        outputs = account.root / "jobs" / job / "outputs"
        assert (outputs / "a.txt").read_bytes() == b"a" * 5000
        network.strand()
        began = time.monotonic()
        assert (outputs / "b.txt").read_bytes() == b"b" * 5000
        assert time.monotonic() - began < 30, "the first byte is waited for for 5 s, not for 60"
        account.run("umount", str(account.root))
