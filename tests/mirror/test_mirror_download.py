"""`rescalefs download`, on a simulator over HTTP."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

from rescalefs.simulator import Simulator, SimulatorSettings
from rescalefs.simulator.definition import plain_definition
from rescalefs.simulator.faults import Corrupt, Cut, Fault, Status
from tests.mirror.account import PATIENCE, ROOT, Account

MIB = 1 << 20
BIG = random.Random(8).randbytes(7 * MIB + 321)
FILES = {"a.log": b"one\n", "out/b.vtk": b"two\n" * 999, "out/big.bin": BIG}


def below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_all_outputs_or_those_that_fit(account: Account, tmp_path: Path) -> None:
    job = account.add_job("wing", FILES)
    done = account.run("download", job, "--to", str(tmp_path / "all"), "--json")
    assert json.loads(done.stdout) == {
        "fetched": 3,
        "bytes": sum(map(len, FILES.values())),
        "unchanged": 0,
        "failed": 0,
    }
    assert below(tmp_path / "all") == FILES
    account.run("download", job, "*.vtk", "a.log", "--to", str(tmp_path / "some"))
    assert set(below(tmp_path / "some")) == {"a.log", "out/b.vtk"}


def test_what_is_there_is_not_fetched_again_and_not_overwritten(account: Account, tmp_path: Path) -> None:
    job = account.add_job("wing", FILES)
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "a.log").write_text("mine\n")
    done = account.run("download", job, "--to", str(tmp_path / "to"), check=False)
    assert done.returncode == 1
    assert b"a.log: another file of this name is there" in done.stderr
    assert below(tmp_path / "to") == {**FILES, "a.log": b"mine\n"}
    (tmp_path / "to" / "a.log").unlink()
    account.simulator.traffic.clear()
    account.run("download", job, "--to", str(tmp_path / "to"))
    assert account.content_requests() == 1
    assert below(tmp_path / "to") == FILES


def test_to_standard_output_in_order(account: Account) -> None:
    job = account.add_job("wing", FILES)
    assert account.run("download", job, "out/*", "--to", "-").stdout == FILES["out/b.vtk"] + BIG


def test_standard_output_ends_with_its_reader_quietly_and_with_a_signal_at_once(account: Account) -> None:
    job = account.add_job("wing", FILES)
    words = account.command("download", job, "out/big.bin", "--to", "-")
    for end in ("reader", "signal"):
        with subprocess.Popen(
            words, env=account.environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.read(1000) == BIG[:1000]
            if end == "reader":
                process.stdout.close()
            else:  # it waits for a reader who reads no more
                process.terminate()
            assert process.wait(PATIENCE) == (1 if end == "reader" else 130)
            assert process.stderr.read() == b""


def test_cut_connections_and_failing_servers_cost_time_alone(account: Account, tmp_path: Path) -> None:
    job = account.add_job("wing", FILES)
    account.simulator.faults.add(
        Fault(Cut(after=MIB), "contents", times=3), Fault(Status(503), "contents", skip=2, times=2)
    )
    account.run("download", job, "--to", str(tmp_path / "to"))
    assert below(tmp_path / "to") == FILES
    assert not account.simulator.faults.unused()


def test_wrong_bytes_end_with_an_error_and_no_file(account: Account, tmp_path: Path) -> None:
    job = account.add_job("wing", FILES)
    account.simulator.faults.add(Fault(Corrupt(at=5 * MIB), "contents", times=None))
    for target in ("-", str(tmp_path / "to")):
        done = account.run("download", job, "--to", target, check=False)
        assert done.returncode == 1
        assert b"out/big.bin" in done.stderr
    assert "out/big.bin" not in below(tmp_path / "to")


def test_what_is_not_there_is_said(account: Account, tmp_path: Path) -> None:
    job = account.add_job("wing", FILES)
    for words, said in (
        (("download", "nOsuch", "--to", str(tmp_path / "x")), b"there is no job nOsuch; `rescalefs jobs`"),
        (
            ("download", "wing", "--to", str(tmp_path / "x")),
            b"there is no job wing; of that name is " + job.encode(),
        ),
        (("download", job, "*.nc", "--to", str(tmp_path / "x")), b"no output that fits '*.nc'"),
    ):
        done = account.run(*words, check=False)
        assert done.returncode == 1
        assert said in done.stderr
    assert account.run("download", job, "--to", "-", "--json", check=False).returncode == 2
    with account.client() as client:
        client.delete_job(job)
    done = account.run("download", job, "--to", str(tmp_path / "x"), check=False)
    assert f"there is no job {job}; ".encode() in done.stderr


def test_outputs_of_a_job_that_has_just_ended_are_waited_for_where_they_are_listed_late(
    tmp_path: Path,
) -> None:
    settings = SimulatorSettings(port=0, data=tmp_path / "server", outputs_delay=0.5)
    with Simulator(settings) as simulator:
        job = simulator.world.add_finished_job("late", {"a": b"1"}).id
        Account(simulator, tmp_path).run("download", job, "--to", str(tmp_path / "here"))
    assert (tmp_path / "here" / "a").read_bytes() == b"1"


def test_of_a_job_that_has_not_run_no_outputs_are_waited_for(tmp_path: Path) -> None:
    with Simulator(SimulatorSettings(port=0, data=tmp_path / "server")) as simulator:
        job = simulator.world.create_job("saved", plain_definition("true")).id
        done = Account(simulator, tmp_path).run("download", job, "--to", str(tmp_path / "here"))
        asked = simulator.traffic.counts()["GET /api/v2/jobs/{job_id}/files/"]
    assert done.stderr == b"0 files fetched, 0 were there, 0 failed\n"
    assert asked == 1
