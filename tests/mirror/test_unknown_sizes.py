"""Files whose size the listing does not tell arrive whole, by each way that there is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from rescalefs.fsspec import RescaleFileSystem
from rescalefs.simulator.seed import SeedFile
from tests.mirror.account import Account

LARGE = os.urandom(9 << 20)
CONTENTS = {"a.dat": b"some bytes\n", "sub/large.bin": LARGE, "empty": b""}


@pytest.fixture
def job(account: Account) -> str:
    """Its outputs are listed with a size of -1, which is none; of one there is no checksum either."""
    seeds = [
        SeedFile(path, content, claimed_size=-1, has_checksum=path != "a.dat")
        for path, content in CONTENTS.items()
    ]
    pending = SeedFile("pending", b"later", claimed_size=0, is_uploaded=False)
    return account.simulator.world.add_finished_job("odd", [*seeds, pending]).id


@pytest.fixture
def fs(account: Account) -> Iterator[RescaleFileSystem]:
    with mock.patch.dict(os.environ, account.environment, clear=True):
        RescaleFileSystem.clear_instance_cache()
        system = RescaleFileSystem()
        yield system
        system.close()
        RescaleFileSystem.clear_instance_cache()


def below(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def test_download_brings_them(account: Account, job: str, tmp_path: Path) -> None:
    account.run("download", job, *CONTENTS, "--to", str(tmp_path / "to"))
    assert below(tmp_path / "to") == CONTENTS


def test_sync_brings_them_and_a_second_round_fetches_nothing(account: Account, job: str) -> None:
    account.sync(check=False)
    assert account.outputs(job) == CONTENTS
    assert account.sync(check=False)["fetched"] == 0


def test_sync_asks_for_a_size_before_it_leaves_out_what_is_too_large(account: Account, job: str) -> None:
    account.sync("--max-size", "1M", check=False)
    assert account.outputs(job) == {"a.dat": CONTENTS["a.dat"], "empty": b""}


def test_fsspec_tells_their_size_and_none_of_what_is_not_there_yet(job: str, fs: RescaleFileSystem) -> None:
    top = f"jobs/{job}/outputs"
    sizes = {each["name"]: each["size"] for each in fs.ls(top) if each["type"] == "file"}
    assert sizes == {f"{top}/a.dat": 11, f"{top}/empty": 0, f"{top}/pending": None}
    assert fs.cat_file(f"{top}/sub/large.bin") == LARGE
    with fs.open(f"{top}/sub/large.bin") as file:
        file.seek(-5, os.SEEK_END)
        assert file.read() == LARGE[-5:]
    with pytest.raises(OSError, match="not on the server in full"):
        fs.open(f"{top}/pending")
