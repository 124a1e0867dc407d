"""What is on the disk is what counts: other machines may write there, whose locks this one does not see."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import random
import threading
from contextlib import closing
from pathlib import Path

import pytest

from rescalefs.background import Background
from rescalefs.clock import SystemClock
from rescalefs.mirror import Transfers, claims, transfers
from rescalefs.mirror.part import Part
from rescalefs.model import RemoteFile
from tests.fakes import Fault, MemorySource
from tests.mirror.account import Account

CONTENT = random.Random(7).randbytes(600_000)
PATIENCE = 60.0


class Fetched:
    """One small file on its way into a folder."""

    def __init__(
        self, folder: Path, source: MemorySource, background: Background, sha512: str | None
    ) -> None:
        self.content = b""
        self.over = threading.Event()
        self._transfers = Transfers(source, folder, SystemClock(), background, connections=1, pause=0.0)
        self._transfers.start()
        file = RemoteFile("file", "file", "file", len(CONTENT), sha512=sha512)
        self._transfers.add(file, "file", self._done)

    def _done(self, part: Part | None, failure: Exception | None) -> None:
        if part is not None:
            self.content = part.path.read_bytes()
            part.discard()
        self.over.set()

    def close(self) -> None:
        self._transfers.close()


@pytest.mark.parametrize("damage", ["emptied", "overwritten"])
def test_a_small_file_that_another_program_spoils_on_the_disk_is_fetched_afresh(
    tmp_path: Path, damage: str
) -> None:
    fault = Fault(after=300_000, sent=threading.Event(), hang=threading.Event())
    assert fault.sent is not None
    assert fault.hang is not None
    sha512 = hashlib.sha512(CONTENT).hexdigest()
    source = MemorySource({"file": CONTENT}, [fault], chunk=100_000)
    with closing(Background()) as background, closing(Fetched(tmp_path, source, background, sha512)) as one:
        assert fault.sent.wait(PATIENCE)
        (part,) = tmp_path.glob("*.part")
        if damage == "emptied":
            part.write_bytes(b"")
        else:
            with part.open("r+b") as file:
                file.write(b"not these")
        fault.hang.set()
        assert one.over.wait(PATIENCE)
    assert one.content == CONTENT
    assert len(source.requests) == 2


def test_two_machines_that_do_not_see_each_others_locks_do_not_write_into_one_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_lock", lambda _: None)
    fault = Fault(after=300_000, sent=threading.Event(), hang=threading.Event())
    assert fault.sent is not None
    assert fault.hang is not None
    slow, fast = MemorySource({"file": CONTENT}, [fault], chunk=100_000), MemorySource({"file": CONTENT})
    with closing(Background()) as background:
        monkeypatch.setattr(transfers, "this_kernel", lambda: "one")
        with closing(Fetched(tmp_path, slow, background, None)) as here:
            assert fault.sent.wait(PATIENCE)
            monkeypatch.setattr(transfers, "this_kernel", lambda: "other")
            with closing(Fetched(tmp_path, fast, background, None)) as there:
                assert there.over.wait(PATIENCE)
            fault.hang.set()
            assert here.over.wait(PATIENCE)
    assert [here.content, there.content] == [CONTENT, CONTENT]


def test_a_folder_without_locks_is_synced_and_downloaded_into(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    job_id = account.add_job("wing", {"forces.csv": b"1,2\n"})
    monkeypatch.setattr(fcntl, "flock", refused)
    assert account.sync()["fetched"] == 1
    assert account.outputs(job_id) == {"forces.csv": b"1,2\n"}
    assert not list((account.folder / ".rescalefs").glob("lock.*"))  # the note of the process that has ended
    account.run("download", job_id, "--to", str(account.folder / "here"))
    assert (account.folder / "here" / "forces.csv").read_bytes() == b"1,2\n"
