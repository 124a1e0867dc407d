"""A folder that is still being filled is waited for, what is left out is listed, and doubts are told."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from rescalefs.clock import SystemClock
from rescalefs.submit import Awaited, JobSpec
from rescalefs.submit.advice import what_to_do
from rescalefs.submit.leftovers import LeftBehind
from rescalefs.submit.machine import State
from rescalefs.submit.oneshot import plan
from tests.submit.rig import GOOD, FakeRescale, Rig, drop_files, make_settings, only


def job(command: str, **changes: Any) -> dict[str, Any]:
    document = copy.deepcopy(GOOD)
    document["jobanalyses"][0].update(command=command, **changes)
    return document


def planned(folder: Path, rescale: FakeRescale) -> Any:
    return plan(folder, rescale, make_settings(folder.parent), SystemClock())


def test_a_drop_of_job_json_alone_waits_for_the_input_that_comes_later(
    rig: Rig, rescale: FakeRescale
) -> None:
    wing = drop_files(rig.settings.folder / "wing", job("true"), {})
    rig.turns(6)
    said = "for input files: there is nothing but job.json here. "
    said += 'If that is meant, write "inputFiles": [] into job.json'
    assert rig.status() == f"waiting {said}"
    assert rig.log()[-1] == f"waiting {said}"
    assert rescale.on_server == {}
    drop_files(wing, None, {"mesh.msh": b"1 2 3\n"})
    rig.turns()
    assert rescale.inputs(only(rescale.on_server.values()).id) == {"mesh.msh": b"1 2 3\n"}


def test_a_drop_that_says_it_has_no_inputs_goes_at_once(rig: Rig, rescale: FakeRescale) -> None:
    drop_files(rig.settings.folder / "wing", job("python solve.py", inputFiles=[]), {})
    rig.turns()
    assert rescale.inputs(only(rescale.on_server.values()).id) == {}


def test_a_drop_whose_inputs_are_at_the_server_goes_at_once(rig: Rig, rescale: FakeRescale) -> None:
    with Path("/dev/null").open("rb", buffering=0) as nothing:
        file = rescale.upload("old.py", nothing, 0, 1)
    first, second = job("true", inputFiles=[{"id": file.id}]), job("python old.py")
    document = {**first, "jobanalyses": [first["jobanalyses"][0], second["jobanalyses"][0]]}
    drop_files(rig.settings.folder / "wing", document, {})
    rig.turns()
    assert len(rescale.on_server) == 1


def test_a_file_that_the_command_names_is_waited_for(rig: Rig, rescale: FakeRescale) -> None:
    wing = drop_files(rig.settings.folder / "wing", job("python solve.py wing.msh"), {"solve.py": b"1"})
    rig.turns(6)
    assert rig.status() == (
        "waiting for wing.msh, which the command names and the folder lacks. "
        'If that is meant, write "inputFiles": ["."] into job.json'
    )
    (report,) = rig.ledger.reports()
    assert what_to_do(report).startswith("add what is missing")
    drop_files(wing, None, {"wing.msh": b"1"})
    rig.turns()
    assert set(rescale.inputs(only(rescale.on_server.values()).id)) == {"solve.py", "wing.msh"}


def test_what_waits_still_waits_after_a_restart_and_becomes_one_job(
    rig: Rig, rescale: FakeRescale, tmp_path: Path
) -> None:
    wing = drop_files(rig.settings.folder / "wing", job("cat mesh.msh"), {"a": b"1"})
    rig.turns()
    waiting = rig.status()
    with Rig(make_settings(tmp_path), rescale, rig.clock) as again:
        again.turns(2)
        assert again.status() == waiting
        drop_files(wing, None, {"mesh.msh": b"1"})
        again.turns()
        assert len(rescale.on_server) == 1


@pytest.mark.parametrize("meant", [["."], ["solve.py"], ["*"]])
def test_a_job_json_that_names_its_inputs_is_taken_by_its_word(
    meant: list[str], rig: Rig, rescale: FakeRescale
) -> None:
    drop_files(
        rig.settings.folder / "wing", job("python solve.py wing.msh", inputFiles=meant), {"solve.py": b"1"}
    )
    rig.turns()
    assert set(rescale.inputs(only(rescale.on_server.values()).id)) == {"solve.py"}
    assert "warning: the command names wing.msh, which is not sent" in rig.log()


def test_a_file_that_differs_in_case_is_waited_for_with_a_hint(rig: Rig) -> None:
    drop_files(rig.settings.folder / "wing", job("cat Mesh.msh"), {"mesh.msh": b"1"})
    rig.turns()
    assert "for Mesh.msh (there is mesh.msh: on the cluster, upper and lower case differ)" in rig.status()


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("cat mesh.msh", ("inputs.zip",)),
        ("cd case && ./Allrun", ("case/Allrun",)),
        ("cat fl\u00e4che.txt", ("fla\u0308che.txt",)),
        ("solver result.csv", ("a",)),
        ("cat job.json", ("a",)),
    ],
)
def test_what_may_be_there_on_the_cluster_is_not_waited_for(
    command: str, files: tuple[str, ...], rig: Rig, rescale: FakeRescale
) -> None:
    drop_files(rig.settings.folder / "wing", job(command), dict.fromkeys(files, b"1"))
    rig.turns()
    assert len(rescale.on_server) == 1


def test_a_transfer_is_waited_for_by_its_name(rig: Rig, rescale: FakeRescale) -> None:
    files = {"solve.py": b"1", "sub/mesh.msh.filepart": b"1", ".mesh.msh.Ab12Cd": b"1"}
    wing = drop_files(rig.settings.folder / "wing", job("true"), files)
    rig.turns(6)
    assert rig.status() == (
        "waiting for a transfer to end: .mesh.msh.Ab12Cd, which rsync writes. If it broke off, remove that; "
        "to send it as it is, name it in inputFiles in job.json (1 more, see status.log)"
    )
    assert any("sub/mesh.msh.filepart, which WinSCP writes" in line for line in rig.log())
    (wing / "sub" / "mesh.msh.filepart").rename(wing / "sub" / "mesh.msh")
    rig.turns()
    assert "sub/mesh.msh.filepart" not in rig.status()
    assert rescale.on_server == {}
    (wing / ".mesh.msh.Ab12Cd").unlink()
    rig.turns()
    assert set(rescale.inputs(only(rescale.on_server.values()).id)) == {"solve.py", "sub.tar"}


def test_a_transfer_that_begins_while_a_drop_is_uploaded_makes_it_wait(
    rig: Rig, rescale: FakeRescale
) -> None:
    wing = drop_files(rig.settings.folder / "wing")
    while not any(each.state is State.UPLOADING for each in rig.ledger.drops()):
        rig.survey.everything()
        rig.worker.serve_one(rig.ledger.open_drops())
        rig.clock.advance(1.0)
    drop_files(wing, None, {"late.msh.crdownload": b"1"})
    rig.turns()
    assert "late.msh.crdownload, which Chrome writes" in rig.status()
    assert rescale.on_server == {}


def test_a_leftover_that_job_json_names_is_sent(rig: Rig, rescale: FakeRescale) -> None:
    wanted = job("true", inputFiles=["wing.dat.part"])
    drop_files(rig.settings.folder / "wing", wanted, {"wing.dat.part": b"1"})
    rig.turns()
    assert set(rescale.inputs(only(rescale.on_server.values()).id)) == {"wing.dat.part"}


def test_what_is_left_out_is_listed_with_the_reason(rig: Rig, rescale: FakeRescale, tmp_path: Path) -> None:
    files = dict.fromkeys(
        ("a.msh", "rotor.part", ".params.python", "Icon\r", ".DS_Store", "sub/b.msh", "sub/.DS_Store",
         ".git/HEAD", "@eaDir/a.msh", "a.msh:Zone.Identifier", "status"), b"1"
    )  # fmt: skip
    wing = drop_files(rig.settings.folder / "wing", job("true"), files)
    rig.turns()
    sent = rescale.inputs(only(rescale.on_server.values()).id)
    assert set(sent) == {"a.msh", "rotor.part", ".params.python", "sub.tar"}
    assert b"DS_Store" not in sent["sub.tar"]
    assert [line for line in rig.log() if line.startswith("left out")] == [
        r"left out, as macOS keeps it in folders: .DS_Store, Icon\r, sub/.DS_Store",
        "left out, as version control keeps it: .git",
        "left out, as a storage device keeps it in folders: @eaDir",
        "left out, as Windows keeps it in folders: a.msh:Zone.Identifier",
        "left out, as rescalefs shows a file of this name here: status",
    ]
    outcome = planned(wing, rescale)
    assert isinstance(outcome, JobSpec)
    assert LeftBehind("sub/.DS_Store", "macOS keeps it in folders") in outcome.left_behind


def test_what_inputfiles_does_not_name_is_listed_too(rig: Rig, rescale: FakeRescale) -> None:
    files = dict.fromkeys(("a.msh", "b.msh", "sub/c", "sub/d", "sub.x", "other/e", "other/f/g"), b"1")
    drop_files(rig.settings.folder / "wing", job("true", inputFiles=["a.msh", "sub/c"]), files)
    rig.turns()
    assert "left out, as inputFiles does not name it: b.msh, other, sub.x, sub/d" in rig.log()


def test_a_plan_says_the_same_as_the_daemon(rescale: FakeRescale, tmp_path: Path) -> None:
    folder = drop_files(tmp_path / "wing", job("cat mesh.msh"), {"a.msh.crdownload": b"1"})
    outcome = planned(folder, rescale)
    assert isinstance(outcome, Awaited)
    said = [each.split(",")[0] for each in outcome.reasons]
    assert said == ["for a transfer to end: a.msh.crdownload", "for mesh.msh"]


def warnings(folder: Path, rescale: FakeRescale, document: Any, files: dict[str, bytes]) -> tuple[str, ...]:
    outcome = planned(drop_files(folder, document, files), rescale)
    assert isinstance(outcome, JobSpec)
    return outcome.warnings


def test_a_script_that_runs_itself_is_warned_of(rescale: FakeRescale, tmp_path: Path) -> None:
    script = {"run.sh": b"#!/bin/sh\n", "solver": b"x", "a.py": b"x"}
    may_not = "itself, which may not be executable on the cluster: write"
    assert warnings(tmp_path / "a", rescale, job("./run.sh && ./solver; ./a.py"), script) == (
        f"the command runs run.sh {may_not} `bash run.sh`, or `chmod +x run.sh` before it",
        f"the command runs solver {may_not} `bash solver`, or `chmod +x solver` before it",
        f"the command runs a.py {may_not} `chmod +x a.py` before it",
    )
    for command in ("bash run.sh", "chmod +x run.sh; ./run.sh", "/opt/run.sh"):
        assert warnings(tmp_path / "b", rescale, job(command), script) == ()


def test_a_script_in_a_subfolder_keeps_its_mode(rescale: FakeRescale, tmp_path: Path) -> None:
    case = {"case/Allrun": b"#!/bin/sh\n"}
    assert len(warnings(tmp_path / "a", rescale, job("cd case && ./Allrun"), case)) == 1
    (tmp_path / "a" / "case" / "Allrun").chmod(0o755)
    assert warnings(tmp_path / "a", rescale, job("cd case && ./Allrun"), {}) == ()


def test_windows_line_ends_are_warned_of_where_a_shell_reads_them(
    rescale: FakeRescale, tmp_path: Path
) -> None:
    files = {
        "run.sh": b"#!/bin/bash\r\necho\r\n",
        "fine.sh": b"echo\n",
        "a.py": b"print(1)\r\n",
        "solver": b"\0\r\n",
    }
    command = "chmod +x solver\r\nbash run.sh\r\nbash fine.sh && python a.py && ./solver"
    shell = r"Windows line ends (\r\n), and a shell on Linux takes the \r for part of a word"
    told = warnings(tmp_path / "a", rescale, job(command), files)
    assert told == (f"the command has {shell}: write \\n", f"run.sh has {shell}: `dos2unix run.sh`")


def test_no_more_is_warned_of_than_a_person_reads(rescale: FakeRescale, tmp_path: Path) -> None:
    command = "solver " + " ".join(f"{number}.cfg" for number in range(1000))
    told = warnings(tmp_path / "a", rescale, job(command, inputFiles=["b"]), {"b": b"1"})
    assert len(told) == 21
    assert told[-1] == "980 more like these"


def test_a_file_that_the_command_names_and_is_not_sent_is_warned_of(
    rescale: FakeRescale, tmp_path: Path
) -> None:
    named = job("python solve.py && post a.csv && cat job.json", inputFiles=["b.msh"])
    assert warnings(tmp_path / "a", rescale, named, {"solve.py": b"1", "b.msh": b"1"}) == (
        "the command names solve.py, which lies here and is not among inputFiles",
        "the command names a.csv, which is not sent: right only if the job makes it",
        "the command names job.json, which is not sent",
    )
