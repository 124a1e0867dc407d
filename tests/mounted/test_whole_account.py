"""Views, catalogue, runs, kinds of files, attributes and the daemon's own files, seen with ordinary tools."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from rescalefs.mount.filesystem import XATTR_PREFIX
from rescalefs.simulator.seed import SeedFile
from rescalefs.tree.facts import FILE_FACTS
from tests.mounted.account import MountedAccount

pytestmark = pytest.mark.fuse

HARDWARE = {"coreType": "granite", "coresPerSlot": 2}
GO_ON = "while [ ! -e GO ]; do sleep 0.05; done"


def sh(command: str, cwd: Path) -> str:
    """Run a shell command that must succeed; return what it printed."""
    cwd.stat()  # see test_unix_tools.py: on Python 3.10 the process that is started must not be the first
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def jobs(shared_account: MountedAccount) -> dict[str, str]:
    """A few finished jobs: name -> id."""
    account, world = shared_account, shared_account.simulator.world
    found = {
        "wing": account.add_finished_job("wing", {"log": b"1\n", "fields/p.bin": bytes(100_000)}),
        "tail": account.add_finished_job("tail", {"log": b"2\n"}),
        "flap": world.add_finished_job("flap", {}, status="Failed", project_id="wGtPc").id,
    }
    account.wait_for(lambda: set(found) <= {path.name for path in (account.root / "by-name").iterdir()})
    return found


def test_every_link_of_every_view_leads_to_its_job(
    shared_account: MountedAccount, jobs: dict[str, str]
) -> None:
    root = shared_account.root
    links = sh("find by-* -type l", root).split("\n")[:-1]
    for view, number in {"by-name": 3, "by-status": 3, "by-date": 3, "by-project": 3}.items():
        own = [link for link in links if link.startswith(view)]
        assert len(own) == number, own
        for link in own:
            assert (root / link / "status").read_text() in ("Completed\n", "Failed\n")
            assert (root / link).resolve() == root / "jobs" / (root / link).resolve().name
    assert (root / "by-status" / "Failed" / jobs["flap"]).is_symlink()
    assert (root / "by-project" / "Wing study" / jobs["flap"]).is_symlink()
    assert sh("cat by-project/none/*/outputs/log | sort", root) == "1\n2\n"


def test_the_catalogue_is_for_sort_awk_and_column(shared_account: MountedAccount) -> None:
    catalog = shared_account.root / "catalog"
    assert sh("ls", catalog).split() == ["analyses.tsv", "coretypes.tsv", "projects.tsv", "user.json"]
    column = (
        "awk -F'\\t' 'NR==1{for(i=1;i<=NF;i++)if($i==\"price_linux_per_core_hour\")print i}' coretypes.tsv"
    )
    at = sh(column, catalog).strip()
    general = f"awk -F'\\t' '/general/ && ${at}!=\"-\"' coretypes.tsv"
    cheapest = sh(f"{general} | sort -t$'\\t' -k{at},{at}g | head -1 | cut -f1", catalog)
    assert cheapest == "granite\n"  # as the seed notebook's rule finds it
    assert "openfoam" in sh("cut -f1 analyses.tsv | sort -u", catalog).split()
    # For `column -t`, which minimal systems lack: every line has as many fields as the heading.
    for table in ("analyses.tsv", "coretypes.tsv", "projects.tsv"):
        assert len(sh(f"awk -F'\\t' '{{print NF}}' {table} | sort -u", catalog).split()) == 1
    assert sh("awk -F'\\t' 'NR==2{print $1, $2}' projects.tsv", catalog) == "wGtPc Wing study\n"
    assert json.loads((catalog / "user.json").read_text())["email"] == "user@simulator.example"
    for file in catalog.iterdir():
        assert file.stat().st_size == len(file.read_bytes())


def test_newer_and_sorted_by_time_tell_the_truth(
    shared_account: MountedAccount, jobs: dict[str, str]
) -> None:
    jobs_folder = shared_account.root / "jobs"
    names = ["wing", "tail", "flap"]
    listed = [name for name in sh("ls -t", jobs_folder).split() if name in jobs.values()]
    assert listed == [jobs[name] for name in reversed(names)]
    newer = sh(f"find . -maxdepth 1 -mindepth 1 -newer {jobs['wing']}", jobs_folder).split()
    assert {jobs["tail"], jobs["flap"]} <= {path.removeprefix("./") for path in newer}
    assert f"./{jobs['wing']}" not in newer
    total = int(sh(f"du -s --apparent-size --block-size=1 {jobs['wing']}/outputs", jobs_folder).split()[0])
    assert total >= 100_002


def test_df_tells_what_the_cache_holds_and_what_may_still_be_dropped(
    shared_account: MountedAccount, jobs: dict[str, str]
) -> None:
    root = shared_account.root
    (root / "jobs" / jobs["wing"] / "outputs" / "fields" / "p.bin").read_bytes()
    shared_account.wait_for(lambda: int(sh("df --output=used -B1 . | tail -n 1", root)) >= 100_000)
    assert int(sh("df --output=used -B1 . | tail -n 1", root)) < 50_000_000
    drops = shared_account.work / "data" / "rescalefs"
    here, there = (os.statvfs(each) for each in (root, drops))
    assert abs(here.f_bavail * here.f_frsize - there.f_bavail * there.f_frsize) < 1 << 30


def test_a_sweep_shows_each_run_while_it_runs_and_after(account: MountedAccount, tmp_path: Path) -> None:
    go = tmp_path / "go"
    drop = account.root / "submit" / "sweep"
    drop.mkdir()
    (drop / "cases.csv").write_text("speed,angle\n10,1\n20,2\n")
    command = "echo speed ${speed} > result.txt; " + GO_ON.replace("GO", str(go))
    analysis = {"analysis": {"code": "user_included", "version": "0"}, "command": command}
    with contextlib.closing(account.client()) as client:
        with (drop / "cases.csv").open("rb") as content:
            cases = client.upload("cases.csv", content, (drop / "cases.csv").stat().st_size)
        definition = {
            "name": "sweep",
            "jobanalyses": [{**analysis, "hardware": HARDWARE}],
            "paramFile": {"id": cases.id},
        }
        job = client.create_job(definition)
        client.submit_job(job.id)
    folder = account.root / "jobs" / job.id
    account.wait_for(lambda: (folder / "runs" / "1" / "live" / "result.txt").exists())
    assert (folder / "runs" / "2" / "status").read_text() in ("Not started\n", "Executing\n")
    assert not (folder / "live").exists()
    take = urllib.request.Request(
        f"{account.simulator.url}/api/v2/jobs/{job.id}/runs/1/snapshot/",
        method="POST",
        headers={"Authorization": f"Token {account.simulator.api_key}"},
    )
    with urllib.request.urlopen(take) as answer:
        assert answer.status == 200
    account.wait_for(lambda: "snapshot" in sh("cut -f2 files.tsv", folder).split())
    go.touch()
    account.wait_for(lambda: account.text(folder / "status") == "Completed\n")
    account.wait_for(lambda: not (folder / "runs" / "1" / "live").exists())
    account.wait_for(lambda: sh("cut -f2 runs.tsv", folder).split() == ["status", "Completed", "Completed"])
    assert sh("ls runs", folder).split() == ["1", "2"]
    lines = [line.split("\t") for line in (folder / "runs.tsv").read_text().splitlines()]
    assert [line[6:] for line in lines] == [["speed", "angle"], ["10", "1"], ["20", "2"]]
    for run in ("1", "2"):
        outputs = folder / "runs" / run / "outputs"
        assert "result.txt: OK" in sh("sha512sum -c ../SHA512SUMS", outputs)
        assert "result.txt" in sh("cut -f7 ../files.tsv", outputs).split()


def test_without_xattrs_there_are_none(shared_account: MountedAccount, jobs: dict[str, str]) -> None:
    with pytest.raises(OSError, match="not supported"):
        os.getxattr(shared_account.root / "jobs" / jobs["wing"] / "outputs" / "log", "user.rescale.id")


@pytest.fixture
def remounted(account: MountedAccount) -> MountedAccount:
    """With other flags than usual."""
    account.run("umount", str(account.root))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    account.environment["RESCALEFS_METRICS_PORT"] = str(port)
    flags = ("--xattrs", "--split-types", "snapshot,checkpoint", "--hide-types", "temporary")
    account.mount(*flags)
    return account


def test_flags_of_the_tree_have_their_effect(remounted: MountedAccount) -> None:
    account, root = remounted, remounted.root
    seeds = (
        SeedFile("log", b"1\n"),
        SeedFile("snap.zip", b"PK", type_id=12),
        SeedFile("scratch", b"x", type_id=10),
    )
    job = root / "jobs" / account.simulator.world.add_finished_job("wing", seeds).id
    assert sh("ls outputs snapshots checkpoints", job).split() == [
        *("checkpoints:", "outputs:", "log", "snapshots:", "snap.zip")
    ]
    assert sh("cd outputs; sha512sum -c ../SHA512SUMS", job).count(": OK") == 2
    assert sorted(sh("cut -f7 files.tsv", job).split()) == ["-", "../snapshots/snap.zip", "log", "path"]

    log = job / "outputs" / "log"
    names = os.listxattr(log)
    assert names == [XATTR_PREFIX + name for name in FILE_FACTS]
    values = {name.removeprefix(XATTR_PREFIX): os.getxattr(log, name).decode() for name in names}
    row = next(line for line in (job / "files.tsv").read_text().splitlines() if line.endswith("\tlog"))
    size, kind, sha512, verified, file_id, uploaded, _, original = row.split("\t")
    assert values == {
        "size": size,
        "type": kind,
        "sha512": sha512,
        "verified": verified,
        "id": file_id,
        "uploaded": uploaded,
        "original": original,
    }
    assert os.getxattr(job, "user.rescale.name") == b"wing"
    with pytest.raises(OSError, match=os.strerror(errno.ENODATA)):
        os.getxattr(log, "user.nosuch")
    with pytest.raises(OSError, match=os.strerror(errno.EOPNOTSUPP)):
        os.setxattr(log, "user.rescale.id", b"x")
    assert os.listxattr(root / "submit") == []

    log.read_bytes()
    own = root / ".rescalefs"
    assert sorted(path.name for path in own.iterdir()) == [
        "config",
        "counters.json",
        "log",
        "metrics",
        "status",
    ]
    config = {line.split("\t")[0]: line.split("\t")[1:] for line in (own / "config").read_text().splitlines()}
    assert config["split_types"] == ["checkpoint,snapshot", "flag --split-types"]
    assert config["patience"] == ["3", "variable RESCALEFS_PATIENCE"]
    assert config["verify"] == ["eof", "default"]
    port = config["metrics_port"][0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        served = answer.read().decode()
    for text in (served, (own / "metrics").read_text()):
        assert "\nrescalefs_server_reachable 1.0\n" in text
        assert "\nprocess_resident_memory_bytes " in text
        fetched = next(line for line in text.splitlines() if line.startswith("rescalefs_fetched_bytes_total"))
        assert float(fetched.split()[1]) >= 2
    account.stop_server()
    account.wait_for(
        lambda: "cannot be reached" in account.text(own / "log") or "refused" in account.text(own / "log")
    )
    account.wait_for(lambda: "\nrescalefs_server_reachable 0.0\n" in account.text(own / "metrics"))
    key = account.environment["RESCALE_API_KEY"]
    assert not any(key in account.text(file) for file in own.iterdir())
