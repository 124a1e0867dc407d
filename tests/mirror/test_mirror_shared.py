"""Processes that share a folder, and processes that are ended: real ones, on a simulator over HTTP."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from rescalefs.simulator import Simulator, SimulatorSettings
from rescalefs.simulator.faults import Bandwidth, Fault, Status
from tests.mirror.account import PATIENCE, ROOT, Account
from tests.mirror.rounds import below
from tests.mirror.test_mirror_sync import wait_for

MIB = 1 << 20
chance = random.Random(12)
FILES = {
    "big.bin": chance.randbytes(9 * MIB + 77),
    **{f"small/{n}": chance.randbytes(900) for n in range(30)},
}
TOTAL = sum(map(len, FILES.values()))


def slow(account: Account, bytes_per_second: float) -> None:
    account.simulator.faults.add(Fault(Bandwidth(bytes_per_second), "contents", times=None))


@contextmanager
def running(
    account: Account, *words: str, limit: int | None = None, descriptors: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`rescalefs` in a process of its own; with ``limit``, it can write no larger files (bytes)."""

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    process = subprocess.Popen(
        account.command(*words),
        cwd=ROOT,
        env=account.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=limited,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def sent(account: Account) -> int:
    """Bytes of contents that the server has sent."""
    return sum(size for route, size in account.simulator.traffic.bytes_sent().items() if "contents" in route)


def test_two_downloads_into_one_folder_share_the_work_and_both_succeed(
    account: Account, tmp_path: Path
) -> None:
    job, to = account.add_job("wing", FILES), tmp_path / "to"
    slow(account, 2e6)
    with (
        running(account, "download", job, "--to", str(to)) as first,
        running(account, "download", job, "--to", str(to)) as second,
    ):
        assert [first.wait(PATIENCE), second.wait(PATIENCE)] == [0, 0]
    assert below(to) == FILES
    assert sent(account) < TOTAL * 1.2


def test_a_download_goes_on_with_the_part_of_one_that_is_killed_beside_it(
    account: Account, tmp_path: Path
) -> None:
    job, to = account.add_job("wing", FILES), tmp_path / "to"
    slow(account, 1e6)
    with running(account, "download", job, "--to", str(to), "--connections", "2") as first:
        wait_for("the first to begin", lambda: list(to.glob(".rescalefs-download/*.spans")))
        with running(account, "download", job, "--to", str(to)) as second:
            wait_for("the small files", lambda: len(list(to.glob("small/*"))) == 30)
            first.kill()
            account.simulator.faults.clear()
            assert second.wait(PATIENCE) == 0
    assert below(to) == FILES
    assert not (to / ".rescalefs-download").exists()


def test_two_jobs_with_files_of_one_name_never_mix(account: Account, tmp_path: Path) -> None:
    other = {path: content[::-1] for path, content in FILES.items()}
    jobs = {account.add_job("wing", FILES): FILES, account.add_job("nose", other): other}
    to = tmp_path / "to"
    slow(account, 4e6)
    first, second = jobs
    with (
        running(account, "download", first, "--to", str(to)) as one,
        running(account, "download", second, "--to", str(to)) as two,
    ):
        codes = [one.wait(PATIENCE), two.wait(PATIENCE)]
    found = below(to)
    assert found.keys() == FILES.keys()
    for path, content in found.items():
        assert content in (FILES[path], other[path])
    for code, files in zip(codes, jobs.values(), strict=True):
        assert code == (0 if found == files else 1)


def test_a_download_into_a_folder_that_is_synced_and_the_sync_both_succeed(account: Account) -> None:
    job = account.add_job("wing", FILES)
    outputs = account.folder / "jobs" / job / "outputs"
    slow(account, 3e6)
    with (
        running(account, "sync", str(account.folder), "--once") as sync,
        running(account, "download", job, "--to", str(outputs)) as download,
    ):
        assert [sync.wait(PATIENCE), download.wait(PATIENCE)] == [0, 0]
    assert account.outputs(job) == FILES
    account.simulator.faults.clear()
    again = account.sync()
    assert (again["fetched"], again["kept"], again["failed"]) == (0, 0, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_what_a_signal_interrupts_is_gone_on_with(
    account: Account, tmp_path: Path, number: signal.Signals
) -> None:
    size = 24 * MIB
    content = random.Random(int(number)).randbytes(size)
    job, to = account.add_job("wing", {"a.bin": content}), tmp_path / "to"
    slow(account, 300e3)
    with running(account, "download", job, "--to", str(to)) as process:
        wait_for("a third of it", lambda: sent(account) > size // 3)
        process.send_signal(number)
        assert process.wait(PATIENCE) != 0
    assert not (to / "a.bin").exists()
    had = sent(account)
    account.simulator.faults.clear()
    account.run("download", job, "--to", str(to))
    assert (to / "a.bin").read_bytes() == content
    # A kill costs each of 32 connections at most what comes in a second; what is on the line is lost anyway.
    lost = 32 * 300e3 if number == signal.SIGKILL else had / 4
    assert sent(account) - had < size - had + lost + MIB
    assert [path.name for path in to.iterdir()] == ["a.bin"]


def test_a_download_killed_at_random_moments_ends_with_the_right_bytes(
    account: Account, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed: {seed}")  # shown when it fails
    moments = random.Random(seed)
    job, to = account.add_job("wing", FILES), tmp_path / "to"
    slow(account, 2e6)
    for _ in range(4):
        begun = sent(account)
        with running(account, "download", job, "--to", str(to)) as process:
            wait_for("it to begin", lambda: sent(account) > begun or process.poll() is not None)  # noqa: B023
            time.sleep(moments.random() * 0.5)
            process.kill()
        for path in FILES.keys() & below(to).keys():
            assert (to / path).read_bytes() == FILES[path], seed
    account.simulator.faults.clear()
    account.run("download", job, "--to", str(to))
    assert below(to) == FILES, seed


def test_few_descriptors_cost_time_alone(account: Account, tmp_path: Path) -> None:
    files = {f"f{number}": FILES["big.bin"][: MIB + 1 + number] for number in range(60)}
    job, to = account.add_job("wing", files), tmp_path / "to"
    with running(account, "download", job, "--to", str(to), "--connections", "8", descriptors=30) as process:
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said.decode()
    assert below(to) == files


# --- disks


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Callable[[int], None]]:
    """A disk of this many bytes, as root; gives what makes it larger."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)

    def grow(more: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={more}", place], check=True)

    try:
        yield grow
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def messages(process: subprocess.Popen[bytes]) -> str:
    process.terminate()
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    return said.decode()


def test_sync_says_once_that_a_file_does_not_fit_brings_the_others_and_goes_on(
    account: Account, tmp_path: Path
) -> None:
    """Root has a small disk; for others, the system limits the size of files."""
    large, fits = random.Random(1).randbytes(12 * MIB), {"b.txt": b"hello", "deep/c": b"c" * 50_000}
    job = account.add_job("wing", {"a.bin": large, **fits})
    if os.geteuid() == 0:
        with small_disk(tmp_path / "disk", 6 * MIB) as grow:
            account.folder = tmp_path / "disk" / "account"
            with running(account, "sync", str(account.folder)) as process:
                _sync_goes_on(account, job, fits, process, lambda: grow(200 * MIB))
                wait_for("the large file", lambda: account.outputs(job) == {"a.bin": large, **fits})
                said = messages(process)
        assert said.count("No space left on device") >= 1
    else:
        with running(account, "sync", str(account.folder), limit=6 * MIB) as process:
            _sync_goes_on(account, job, fits, process, lambda: None)
            said = messages(process)
        account.sync()
        assert account.outputs(job) == {"a.bin": large, **fits}
        assert "File too large" in said
    assert len([line for line in said.splitlines() if "a.bin" in line]) <= 2  # not in every round
    assert "Traceback" not in said


def _sync_goes_on(
    account: Account,
    job: str,
    fits: dict[str, bytes],
    process: subprocess.Popen[bytes],
    make_room: Callable[[], None],
) -> None:
    wait_for("what fits", lambda: account.outputs(job) == fits)
    later = account.add_job("later", {"d": b"new"})
    wait_for("a job that is made meanwhile", lambda: account.outputs(later) == {"d": b"new"})
    make_room()
    last = account.add_job("last", {"e": b"newest"})
    wait_for("a job that is made later", lambda: account.outputs(last) == {"e": b"newest"})
    assert process.poll() is None


@pytest.mark.parametrize("is_new", [True, False])
def test_a_sync_that_starts_on_a_full_disk_goes_on_once_there_is_room(
    account: Account, tmp_path: Path, is_new: bool
) -> None:
    """Root has a small disk; other users take the right to write from the folder."""
    account.add_job("wing", {"a": b"a"})
    with full_disk(tmp_path / "disk") as fill:
        account.folder = tmp_path / "disk" / "account"
        if is_new:
            (account.folder / ".rescalefs").mkdir(parents=True, mode=0o700)
            (account.folder / ".rescalefs" / "lock").touch()
            # A full tmpfs still takes an empty folder; one without the right to write takes none.
            (account.folder / ".rescalefs" / "parts").mkdir(mode=0o700)
        else:
            account.sync()
        make_room = fill(account.folder / ".rescalefs")
        job = account.add_job("later", {"b": b"b" * 5000})
        with running(account, "sync", str(account.folder)) as process:
            read_until(process, b"failed: ")
            assert account.outputs(job) == {}
            make_room()
            wait_for("the new job", lambda: account.outputs(job) == {"b": b"b" * 5000})
            wait_for("the drop folder", (account.folder / "submit").is_dir)
            assert process.poll() is None


@contextmanager
def full_disk(place: Path) -> Iterator[Callable[[Path], Callable[[], None]]]:
    """A disk; gives what makes it take nothing for a folder there, which gives what ends that."""
    if os.geteuid() != 0:

        def closed(_: Path) -> Callable[[], None]:
            every = [each for each in place.rglob("*") if each.is_dir()]

            def allow(mode: int) -> None:
                for each in every:
                    each.chmod(mode)

            allow(0o500)
            return lambda: allow(0o700)

        place.mkdir()
        yield closed
        return
    with small_disk(place, 2 * MIB) as grow:

        def filled(_: Path) -> Callable[[], None]:
            with suppress(OSError), (place / "ballast").open("wb", buffering=0) as ballast:
                while True:
                    ballast.write(b"x" * 4096)
            return lambda: grow(50 * MIB)

        yield filled


def test_a_folder_that_takes_no_files_is_one_line_and_exit_code_1(account: Account, tmp_path: Path) -> None:
    job = account.add_job("wing", {"a": b"a", "b": b"b"})
    (tmp_path / "file").write_text("not a folder")
    links = tmp_path / "links"
    links.mkdir()
    (links / ".rescalefs-download").symlink_to(tmp_path)
    for to in (tmp_path / "file", tmp_path / "file" / "below", links, Path("/proc/nothing")):
        done = account.run("download", job, "--to", str(to), check=False)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
        assert b"Traceback" not in done.stderr
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_sync_whose_folder_is_removed_puts_nothing_there_until_it_is_back(account: Account) -> None:
    account.add_job("wing", {"a": b"a"})
    aside = account.folder.with_name("unmounted")
    with running(account, "sync", str(account.folder)) as process:
        read_until(process, b"done: ")
        account.folder.rename(aside)
        account.folder.mkdir()  # the mountpoint of a disk that is gone
        later = account.add_job("later", {"b": b"b"})
        read_until(process, b"failed: ", b"removed, or unmounted")
        assert list(account.folder.iterdir()) == []
        account.folder.rmdir()
        aside.rename(account.folder)
        between = read_until(process, b"over: ", b"removed, or unmounted")
        wait_for("the later job", lambda: account.outputs(later) == {"b": b"b"})
        assert "failed" not in between + messages(process)


def read_until(process: subprocess.Popen[bytes], *words: bytes) -> str:
    """Read what it says up to a line with these words; return the lines before."""
    assert process.stderr is not None
    lines: list[str] = []
    while line := process.stderr.readline():
        if all(word in line for word in words):
            return "".join(lines)
        lines.append(line.decode())
    raise AssertionError("it has ended: " + "".join(lines))


def test_a_running_sync_takes_the_key_that_takes_the_place_of_a_refused_one(
    account: Account, tmp_path: Path
) -> None:
    job = account.add_job("wing", {"a": b"a"})
    profile = tmp_path / "home" / ".config" / "rescale" / "apiconfig"
    profile.parent.mkdir(parents=True)

    def write_profile(key: str) -> None:
        profile.write_text(f"[default]\napibaseurl = {account.simulator.url}\napikey = {key}\n")
        profile.chmod(0o600)

    write_profile(account.simulator.api_key)
    account.environment["HOME"] = str(tmp_path / "home")
    del account.environment["RESCALE_API_URL"], account.environment["RESCALE_API_KEY"]
    port, data = int(account.simulator.url.rpartition(":")[2]), account.simulator.data
    with running(account, "sync", str(account.folder)) as process:
        wait_for("the first job", lambda: account.outputs(job) == {"a": b"a"})
        account.simulator.close()
        with Simulator(SimulatorSettings(port=port, data=data, api_key="f" * 40)) as renewed:
            later = renewed.world.add_finished_job("tail", {"b": b"b"}).id
            assert "Traceback" not in read_until(process, b"failed: ", b"401")
            assert process.poll() is None
            write_profile(renewed.api_key)
            wait_for("the later job", lambda: account.outputs(later) == {"b": b"b"})
            said = messages(process)
    assert "f" * 40 not in said


def test_a_sync_goes_on_after_a_server_that_refuses_everything_for_a_while(account: Account) -> None:
    job = account.add_job("wing", {"a": b"a"})
    with running(account, "sync", str(account.folder)) as process:
        wait_for("the first job", lambda: account.outputs(job) == {"a": b"a"})
        for number in (401, 403, 500):
            account.simulator.faults.add(Fault(Status(number), "", times=None))
            later = account.add_job(f"job {number}", {"b": b"b"})
            time.sleep(1.5)  # some rounds
            account.simulator.faults.clear()
            wait_for("the later job", lambda: account.outputs(later) == {"b": b"b"})  # noqa: B023
        said = messages(process)
    assert "Traceback" not in said
