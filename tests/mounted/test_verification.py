"""Bytes that are wrong, wherever they went wrong, never reach a reader of the whole file without an error."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from pathlib import Path

import pytest

from rescalefs.simulator import Fault, SeedFile
from rescalefs.simulator.faults import Corrupt, Cut, IgnoreRange, Short, Status, WrongContentRange
from tests.mounted.account import MountedAccount

pytestmark = pytest.mark.fuse

NOISE = random.Random(7).randbytes(9_000_001)


def planted(account: MountedAccount, *files: SeedFile) -> Path:
    job = account.simulator.world.add_finished_job("wing", files)
    return account.root / "jobs" / job.id


def verified(job: Path) -> dict[str, str]:
    """The state of each file, as files.tsv tells it."""
    header, *rows = [line.split("\t") for line in (job / "files.tsv").read_text().splitlines()]
    return {row[header.index("path")]: row[header.index("verified")] for row in rows}


def test_who_was_given_a_wrong_byte_gets_an_error_and_the_next_reader_the_right_ones(
    account: MountedAccount,
) -> None:
    job = planted(account, SeedFile("noise.bin", NOISE))
    account.simulator.faults.add(Fault(Corrupt(5_000_000), path="contents"))
    with (job / "outputs" / "noise.bin").open("rb", buffering=0) as file:
        # By itself: else all might be there and found wrong before this read has given it away.
        assert os.pread(file.fileno(), 10, 5_000_000) != NOISE[5_000_000:5_000_010]
        with pytest.raises(OSError, match="Input/output error"):
            file.read()
    assert (job / "outputs" / "noise.bin").read_bytes() == NOISE
    account.wait_for(lambda: verified(job) == {"noise.bin": "yes"})


def test_strict_lets_no_byte_out_before_all_are_right(account: MountedAccount) -> None:
    job = planted(account, SeedFile("noise.bin", NOISE))
    account.run("umount", str(account.root))
    account.mount("--verify", "strict")
    account.simulator.faults.add(Fault(Corrupt(5_000_000), path="contents"))
    with (job / "outputs" / "noise.bin").open("rb") as file:
        assert file.read(10) == NOISE[:10]
    assert verified(job) == {"noise.bin": "yes"}
    assert (job / "outputs" / "noise.bin").read_bytes() == NOISE


def test_off_reads_what_comes_and_claims_nothing(account: MountedAccount) -> None:
    wrong = hashlib.sha512(b"other").hexdigest()
    job = planted(account, SeedFile("noise.bin", NOISE, claimed_sha512=wrong))
    account.run("umount", str(account.root))
    account.mount("--verify", "off")
    assert (job / "outputs" / "noise.bin").read_bytes() == NOISE
    assert verified(job)["noise.bin"] != "yes"


def test_a_file_that_is_wrong_at_the_server_is_an_error_and_said_so(account: MountedAccount) -> None:
    job = planted(account, SeedFile("noise.bin", NOISE, claimed_sha512=hashlib.sha512(b"other").hexdigest()))
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output error") as failure:
            (job / "outputs" / "noise.bin").read_bytes()
        assert failure.value.errno == errno.EIO
    account.wait_for(lambda: verified(job) == {"noise.bin": "failed"})
    log = account.last_words()
    assert hashlib.sha512(b"other").hexdigest()[:16] in log
    assert hashlib.sha512(NOISE).hexdigest()[:16] in log


def test_without_a_checksum_it_is_read_and_said_so(account: MountedAccount) -> None:
    job = planted(account, SeedFile("noise.bin", NOISE, has_checksum=False), SeedFile("empty", b""))
    assert (job / "outputs" / "noise.bin").read_bytes() == NOISE
    assert (job / "outputs" / "empty").read_bytes() == b""
    assert verified(job)["noise.bin"] == "unavailable"


@pytest.mark.parametrize(
    "effect",
    [
        Cut(after=1_000_000),
        Short(by=10),
        IgnoreRange(),
        WrongContentRange(),
        Status(503, html=True),
        Status(429, retry_after=1),
    ],
    ids=lambda effect: type(effect).__name__,
)
def test_an_answer_that_went_wrong_costs_time_and_no_byte(account: MountedAccount, effect: Cut) -> None:
    job = planted(account, SeedFile("noise.bin", NOISE))
    account.simulator.faults.add(Fault(effect, path="contents"))
    assert (job / "outputs" / "noise.bin").read_bytes() == NOISE


def test_a_file_that_is_not_there_in_full_says_so(account: MountedAccount) -> None:
    files = SeedFile("half.bin", b"12345", is_uploaded=False), SeedFile("gone", b"", is_deleted=True)
    job = planted(account, *files)
    assert [path.name for path in (job / "outputs").iterdir()] == ["half.bin"]
    with pytest.raises(BlockingIOError):
        (job / "outputs" / "half.bin").read_bytes()


def test_a_flipped_bit_in_the_cache_is_never_served(account: MountedAccount) -> None:
    job = planted(account, SeedFile("noise.bin", NOISE))
    assert (job / "outputs" / "noise.bin").read_bytes() == NOISE
    account.run("umount", str(account.root))
    blocks = [path for path in (account.work / "cache").rglob("*.val") if path.stat().st_size > 100_000]
    assert blocks
    for block in blocks:
        content = bytearray(block.read_bytes())
        content[len(content) // 2] ^= 1
        block.write_bytes(content)
    account.mount()
    assert (job / "outputs" / "noise.bin").read_bytes() == NOISE


def test_hostile_names_stay_in_the_tree(account: MountedAccount) -> None:
    names = [
        "../../escape",
        "/etc/passwd",
        "a\nb",
        "a",
        "a/b",
        "x",
        "x",
        "..",
        "n" * 300,
        "\x00nul",
        "C:\\win",
    ]
    job = planted(account, *(SeedFile(name, name.encode("utf-8", "replace") + b"!") for name in names))
    outputs = job / "outputs"
    found = [path for path in outputs.rglob("*") if path.is_file()]
    assert len(found) == len(names)
    assert sorted(path.read_bytes() for path in found) == sorted(name.encode() + b"!" for name in names)
    assert all("\n" not in str(path) for path in found)
    assert not (job / "escape").exists()
