"""`rescalefs sync`, as a user runs it, on a simulator over HTTP."""

from __future__ import annotations

import logging
import random
import re
import signal
import subprocess
import time

import pytest

from rescalefs.model import FileType
from rescalefs.simulator import SeedFile, Simulator, SimulatorSettings
from rescalefs.simulator.faults import Bandwidth, Corrupt, Fault, Status
from tests.consoles import printed
from tests.mirror.account import PATIENCE, Account

MIB = 1 << 20
FILES = {"a.txt": b"one\n", "deep/down/b.bin": bytes(range(256)) * 40, "empty": b""}
BIG = random.Random(6).randbytes(9 * MIB + 12_345)


def wait_for(what: str, condition: object) -> None:
    """Poll until ``condition()`` is true."""
    assert callable(condition)
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, f"never happened: {what}"
        time.sleep(0.02)


def test_the_folder_holds_the_tree_and_a_second_sync_asks_for_no_content(account: Account) -> None:
    job = account.add_job("wing 42", {**FILES, "big.bin": BIG})
    first = account.sync()
    assert first["fetched"] == 4
    assert first["failed"] == first["kept"] == 0
    assert account.outputs(job) == {**FILES, "big.bin": BIG}
    here = account.folder / "jobs" / job
    assert (here / "status").read_text() == "Completed\n"
    assert (account.folder / "by-name" / "wing 42").resolve() == here.resolve()
    subprocess.run(["sha512sum", "--quiet", "-c", "../SHA512SUMS"], cwd=here / "outputs", check=True)
    assert list((account.folder / ".rescalefs" / "parts").iterdir()) == []

    account.simulator.traffic.clear()
    second = account.sync()
    assert account.content_requests() == 0
    assert second["fetched"] == second["written"] == second["removed"] == 0
    assert second["unchanged"] >= 4


def test_dates_are_those_of_the_outputs(account: Account) -> None:
    job = account.add_job("dated", FILES)
    account.sync()
    with account.client() as client:
        dates = {file.path: file.uploaded for file in client.output_files(job)}
    for path, date in dates.items():
        assert date is not None
        seen = (account.folder / "jobs" / job / "outputs" / path).stat().st_mtime
        assert seen == pytest.approx(date.timestamp(), abs=0.001)


def test_what_a_person_changed_or_made_stays(account: Account) -> None:
    job = account.add_job("mine", FILES)
    outputs = account.folder / "jobs" / job / "outputs"
    outputs.mkdir(parents=True)
    (outputs / "a.txt").write_text("made before\n")
    (outputs / "empty").write_bytes(b"")  # as the server's: nothing to say
    first = account.sync()
    assert (first["kept"], first["fetched"]) == (1, 1)
    (outputs / "deep" / "down" / "b.bin").write_bytes(b"edited")
    (account.folder / "jobs" / job / "job.json").write_text("{}")
    second = account.sync()
    assert (second["kept"], second["fetched"]) == (3, 0)
    assert (outputs / "a.txt").read_text() == "made before\n"
    assert (outputs / "deep" / "down" / "b.bin").read_bytes() == b"edited"
    assert (account.folder / "jobs" / job / "job.json").read_text() == "{}"


def test_what_was_removed_here_comes_back(account: Account) -> None:
    job = account.add_job("gone", FILES)
    account.sync()
    (account.folder / "jobs" / job / "outputs" / "a.txt").unlink()
    assert account.sync()["fetched"] == 1
    assert account.outputs(job) == FILES


def test_without_its_memory_it_knows_files_by_their_checksums(account: Account) -> None:
    job = account.add_job("forgotten", FILES)
    account.sync()
    for file in (account.folder / ".rescalefs").glob("mirror.sqlite*"):
        file.unlink()
    account.simulator.traffic.clear()
    again = account.sync()
    assert account.content_requests() == 0
    assert (again["kept"], again["failed"]) == (0, 0)
    assert account.outputs(job) == FILES


def test_a_dry_run_says_what_a_round_does_and_does_nothing(account: Account) -> None:
    job = account.add_job("planned", FILES)
    done = account.run("sync", str(account.folder), "--dry-run")
    assert not account.folder.exists()
    assert account.content_requests() == 0
    told = {tuple(line.split("\t")[:2]) for line in done.stdout.decode().splitlines()}
    assert ("fetch", f"jobs/{job}/outputs/deep/down/b.bin") in told
    assert ("write", f"jobs/{job}/job.json") in told
    assert ("link", "by-name/planned") in told
    account.sync()
    assert {(act, path) for act, path in told if not (account.folder / path).exists()} == set()


def test_selections_by_job_pattern_size_and_state(account: Account) -> None:
    wanted, other = account.add_job("wing-1", {**FILES, "big.bin": BIG}), account.add_job("nose", FILES)
    account.sync("--jobs", "wing-*", "--exclude", "*.txt", "--max-size", "1M")
    assert set(account.outputs(wanted)) == {"deep/down/b.bin", "empty"}
    assert not (account.folder / "jobs" / other).exists()
    assert not (account.folder / "by-name" / "nose").is_symlink()
    account.sync("--jobs", other, "--include", "deep/*", "--finished")
    assert set(account.outputs(other)) == {"deep/down/b.bin"}
    assert account.run("sync", str(account.folder), "--max-size", "much", check=False).returncode == 2
    told = account.run(
        *("sync", str(account.folder), "--once", "--jobs", "wimg", "--jobs", "nose", "--include", "*.nc"),
        check=False,
    )
    assert told.returncode == 1
    assert b"--jobs wimg fits no job\n" in told.stderr
    assert b"--include *.nc fits no file of these jobs\n" in told.stderr
    assert b"--jobs nose" not in told.stderr


def test_wrong_bytes_are_fetched_afresh_once_and_never_appear(account: Account) -> None:
    good = account.add_job("once wrong", {"a.bin": FILES["deep/down/b.bin"]})
    account.simulator.faults.add(Fault(Corrupt(at=5), "contents", times=1))
    assert account.sync()["failed"] == 0
    assert account.outputs(good) == {"a.bin": FILES["deep/down/b.bin"]}
    bad = account.add_job("ever wrong", {"b.bin": BIG, "c.bin": b"fine"})
    account.simulator.faults.add(Fault(Corrupt(at=3 * MIB), "contents", times=99))
    done = account.run("sync", str(account.folder), "--once", check=False)
    assert done.returncode == 1
    assert f"jobs/{bad}/outputs/b.bin: failed" in done.stderr.decode()
    assert account.outputs(bad) == {"c.bin": b"fine"}
    account.simulator.faults.clear()
    account.sync()
    assert account.outputs(bad)["b.bin"] == BIG


def test_a_round_that_the_server_asks_to_wait_waits_and_is_whole(account: Account) -> None:
    job = account.add_job("throttled", FILES)
    account.simulator.faults.add(
        Fault(Status(429, retry_after=0.1), f"jobs/{job}/files"),
        Fault(Status(429, retry_after=0.1), "contents", times=2),
    )
    done = account.sync()
    assert (done["fetched"], done["failed"]) == (3, 0)
    assert account.outputs(job) == FILES
    assert account.simulator.faults.unused() == []
    assert account.content_requests() <= len(FILES) + 2  # one more for each refusal


def test_a_file_of_many_jobs_is_fetched_once(account: Account) -> None:
    with account.client() as client:
        content = b"shared input\n" * 100
        (account.folder.parent / "in").write_bytes(content)
        with (account.folder.parent / "in").open("rb") as stream:
            uploaded = client.upload("shared.inp", stream, len(content))
        analysis = {
            "analysis": {"code": "user_included", "version": "0"},
            "command": "true",
            "hardware": {"coreType": "granite", "coresPerSlot": 2},
            "inputFiles": [{"id": uploaded.id}],
        }
        jobs = [client.create_job({"name": name, "jobanalyses": [analysis]}).id for name in "xyz"]
    account.sync()
    for job_id in jobs:
        assert (account.folder / "jobs" / job_id / "inputs" / "shared.inp").read_bytes() == content
    assert account.content_requests() == 1


def test_killed_at_random_points_it_ends_byte_for_byte_as_the_account(account: Account) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed: {seed}")  # shown when it fails
    chance = random.Random(seed)
    jobs = {}
    for number in range(2):
        files = {f"f{n}/x{n}.dat": chance.randbytes(chance.randrange(40_000)) for n in range(20)}
        files["big.bin"] = chance.randbytes(chance.randrange(3, 9) * MIB + chance.randrange(999))
        jobs[account.add_job(f"job {number}", files)] = files
    total = sum(len(content) for files in jobs.values() for content in files.values())
    account.simulator.faults.add(Fault(Bandwidth(12e6), "contents", times=None))
    for _ in range(3):
        begun = account.content_requests()
        process = account.start("sync", str(account.folder), "--once")
        while account.content_requests() == begun and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.6)
        process.kill()
        process.wait()
        for job_id, files in jobs.items():
            for path, content in account.outputs(job_id).items():
                assert content == files[path], (seed, path)  # whatever is there is whole
    account.simulator.faults.clear()
    assert account.sync()["failed"] == 0
    for job_id, files in jobs.items():
        assert account.outputs(job_id) == files, seed
    sent = sum(size for route, size in account.simulator.traffic.bytes_sent().items() if "contents" in route)
    # Each kill may cost each connection what it had not noted: at most a stride, or a small file.
    assert sent < total + 3 * 32 * MIB


def test_a_large_file_goes_on_where_it_was_after_a_kill(
    account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    content = random.Random(7).randbytes(24 * MIB)
    job = account.add_job("large", {"big.bin": content})
    account.simulator.faults.add(Fault(Bandwidth(20e6), "contents", times=10_000))
    process = account.start("sync", str(account.folder), "--once", "--connections", "2")
    parts = account.folder / ".rescalefs" / "parts"

    def noted() -> int:
        lines = [line for file in parts.glob("*.spans") for line in file.read_text().splitlines(True)]
        spans = [line.split() for line in lines if line.endswith("\n")]
        return sum(int(stop) - int(start) for start, stop in spans)

    wait_for("ten MiB", lambda: noted() >= 10 * MIB)
    process.kill()
    process.wait()
    there = noted()
    account.simulator.faults.clear()
    with caplog.at_level(logging.INFO, "rescalefs.mirror"):
        account.sync("--connections", "2")
    assert account.outputs(job) == {"big.bin": content}
    (told,) = re.findall(r"big.bin: (\d+) of \d+ bytes are there from before", caplog.text)
    assert int(told) == there


def test_another_account_or_another_sync_does_not_mix_in(account: Account) -> None:
    account.add_job("a", FILES)
    account.sync()
    account.environment["RESCALE_API_URL"] = account.simulator.url.replace("127.0.0.1", "localhost")
    other = account.run("sync", str(account.folder), "--once", check=False)
    assert other.returncode == 1
    assert b"Choose another folder" in other.stderr


def test_kinds_of_files_are_split_and_hidden_as_in_a_mount(account: Account) -> None:
    seeds = [
        SeedFile("fields/u", b"u", type_id=FileType.SNAPSHOT),
        SeedFile("scratch", b"s", type_id=FileType.TEMPORARY),
        SeedFile("log", b"l"),
    ]
    job = account.simulator.world.add_finished_job("wing", seeds).id
    account.environment |= {"RESCALEFS_SPLIT_TYPES": "snapshot", "RESCALEFS_HIDE_TYPES": "temporary"}
    assert account.sync("--include", "fields/*", "--include", "log")["fetched"] == 2
    here = account.folder / "jobs" / job
    assert account.outputs(job) == {"log": b"l"}
    assert (here / "snapshots" / "fields" / "u").read_bytes() == b"u"
    subprocess.run(["sha512sum", "--quiet", "-c", "../SHA512SUMS"], cwd=here / "outputs", check=True)


def test_it_stays_and_follows_and_submits_what_is_dropped(account: Account) -> None:
    process = account.start("sync", str(account.folder), "--live")
    try:
        drop = account.folder / "submit" / "wing"
        wait_for("the drop folder", drop.parent.is_dir)
        late = account.add_job("late", FILES)
        wait_for("a new job", lambda: account.outputs(late) == FILES)
        drop.mkdir()
        (drop / "in.txt").write_text("hello\n")
        signs = account.folder.parent
        command = (
            f"cat in.txt; echo begun > grows; until [ -e {signs}/more ]; do sleep 0.05; done; "
            f"echo more >> grows; until [ -e {signs}/stop ]; do sleep 0.05; done"
        )
        (drop / "job.json").write_text(
            '{"name": "wing", "jobanalyses": [{"analysis": {"code": "user_included", "version": "0"},'
            f' "command": "{command}", "hardware": {{"coreType": "granite", "coresPerSlot": 2}}}}]}}'
        )
        wait_for("the job's folder", lambda: (drop / "job").is_symlink() and (drop / "job").is_dir())
        grows = drop / "job" / "live" / "grows"
        wait_for("a live file", lambda: grows.is_file() and grows.read_bytes() == b"begun\n")
        with grows.open("rb") as followed:  # as `tail -f` does: the same file all the time
            (signs / "more").touch()
            wait_for("more of it", lambda: b"more\n" in followed.read())
        (signs / "stop").touch()
        log = drop / "job" / "outputs" / "process_output.log"
        wait_for("an output", log.is_file)
        assert printed(log.read_bytes()) == b"hello\n"
        wait_for("the end", lambda: (drop / "status").read_text() == "Completed\n")
        assert "Completed" in (drop / "status.log").read_text()
        wait_for("live/ to go", lambda: not (drop / "job" / "live").exists())
        assert sorted(path.name for path in drop.iterdir()) == [
            "in.txt",
            "job",
            "job.json",
            "status",
            "status.log",
        ]
        refused = account.run("sync", str(account.folder), "--once", check=False)
        assert b"another rescalefs syncs" in refused.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    with account.client() as client:
        assert [job.name for job in client.jobs()].count("wing") == 1


def test_a_folder_stays_its_accounts_and_a_renamed_account_is_said_to_be_the_same(account: Account) -> None:
    account.add_job("wing", {"a.txt": b"a"})
    account.sync()
    account.simulator.world.owner = "ben@simulator.example"
    refused = account.run("sync", str(account.folder), "--once", check=False)
    assert refused.returncode == 1
    said = refused.stderr.decode()
    assert "holds the files of user@simulator.example in workspace Default workspace (" in said
    assert "the API key is of ben@simulator.example" in said
    assert f"`rescalefs sync {account.folder} --same-account`" in said
    dry = account.run("sync", str(account.folder), "--dry-run", check=False)
    assert dry.returncode == 1
    account.run("sync", str(account.folder), "--once", "--same-account")
    assert account.sync()["failed"] == 0


def test_a_renewed_key_of_the_account_goes_on_with_its_folder(account: Account) -> None:
    job = account.add_job("wing", {"a.txt": b"a"})
    account.sync()
    account.simulator.close()
    port, data = int(account.simulator.url.rpartition(":")[2]), account.simulator.data
    with Simulator(SimulatorSettings(port=port, data=data, api_key="f" * 40)) as renewed:
        renewed.world.add_finished_job("tail", {"b.txt": b"b"})
        account.environment["RESCALE_API_KEY"] = renewed.api_key  # so the names of its other folders change
        assert account.sync()["failed"] == 0
    assert (account.folder / "jobs" / job / "outputs" / "a.txt").read_bytes() == b"a"
    assert len(list((account.folder / "jobs").iterdir())) == 2
