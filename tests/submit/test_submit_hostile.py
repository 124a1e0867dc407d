"""Folders that nobody should drop, on a real disk: each is refused with its reason, none blocks or leaks."""

from __future__ import annotations

import json
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rescalefs.errors import Forbidden, Unreachable
from rescalefs.model import RemoteFile
from rescalefs.submit.folder import look
from rescalefs.submit.parcels import why_unfit
from tests.submit.rig import GOOD, FakeRescale, Rig, drop_files, only
from tests.submit.test_submit_spec import SHORT, job


def _link_out(path: Path) -> None:
    outside = path.parents[2] / "secret.json"
    outside.write_text(json.dumps(GOOD))
    path.symlink_to(outside)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's address is short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


NO_JOB_FILES: list[tuple[Callable[[Path], object], str]] = [
    (_link_out, "is a link that leaves the folder; put the file itself there; for example cp -rL"),
    (lambda path: path.symlink_to("nothing"), "is a link to nothing; remove it, or put the file there"),
    (lambda path: path.symlink_to("job.json"), "is a link in a circle"),
    (lambda path: path.symlink_to("."), "is a link in a circle: to itself, or to a folder that it lies in"),
    (
        os.mkfifo,
        "is neither a file nor a folder, but a pipe, a socket or a device; remove it; for example rm",
    ),
    (_socket, "is neither a file nor a folder, but a pipe, a socket or a device; remove it; for example rm"),
    (Path.mkdir, "is a folder, and a file of this name says what to run"),
    (lambda path: path.write_bytes(b" " * (17 << 20)), "is larger than 16 MiB"),
]


@pytest.mark.parametrize(("make", "message"), NO_JOB_FILES, ids=[each[1][:30] for each in NO_JOB_FILES])
def test_a_job_json_that_is_no_file_of_the_folder_is_refused_with_the_reason(
    rig: Rig, rescale: FakeRescale, make: Callable[[Path], object], message: str
) -> None:
    folder = drop_files(rig.settings.folder / "wing", None)
    make(folder / "job.json")
    rig.turns(4)
    assert rig.status().startswith("rejected: job.json ")
    assert message in rig.status()
    (folder / "job.json").rename(rig.settings.folder.parent / "away")
    drop_files(folder)
    rig.turns(4)
    assert only(rescale.on_server.values()).definition["name"] == "wing", "mended, it starts by itself"


def test_a_job_json_that_is_a_link_within_the_folder_is_read(rig: Rig, rescale: FakeRescale) -> None:
    folder = drop_files(rig.settings.folder / "wing", None)
    (folder / "real.json").write_text(json.dumps(GOOD))
    (folder / "job.json").symlink_to("real.json")
    rig.turns(4)
    assert rig.status() == "Pending"


def test_a_held_drop_whose_job_json_becomes_a_pipe_stays_held(rig: Rig, rescale: FakeRescale) -> None:
    folder = drop_files(rig.settings.folder / "wing", {**GOOD, "hold": True})
    rig.turns(4)
    (folder / "job.json").unlink()
    os.mkfifo(folder / "job.json")
    rig.turns(4)
    assert rig.status().startswith("held: ")
    assert only(rescale.on_server.values()).statuses == []


def test_an_input_that_becomes_a_pipe_blocks_nobody(rig: Rig, rescale: FakeRescale) -> None:
    folder = drop_files(rig.settings.folder / "wing")
    rig.survey.everything()
    rig.clock.advance(2.5)
    rig.survey.everything()
    assert rig.worker.serve_one(rig.ledger.open_drops())  # checked
    assert rig.worker.serve_one(rig.ledger.open_drops())  # handed out to be sent
    (folder / "mesh.msh").unlink()
    os.mkfifo(folder / "mesh.msh")
    rig.turns(4)
    assert "mesh.msh is neither a file nor a folder" in rig.status()
    assert not rescale.on_server


ODD = ["-rf", "a..b", "...", "~", "$(x)", "a%22b", "fl\u00e4che", "fla\u0308che", "Bild\u202f1.png"]
REFUSED = {
    b"a\nb": "a\\nb has a name with control characters or broken letters; rename it; for example a_b",
    b"a\x1b[31m": "a\\x1b[31m has a name with control characters",
    b"\xff": "\\udcff has a name with control characters or broken letters",
}


def test_hostile_names_are_sent_where_they_are_only_odd_and_refused_where_they_lie(
    rig: Rig, rescale: FakeRescale
) -> None:
    folder = drop_files(rig.settings.folder / "wing", files=dict.fromkeys(ODD, b"x"))
    for name in ("status", "status.log", "job"):
        (folder / name).write_text("a leftover of a copy")
    drop_files(rig.settings.folder / "bad", files={})
    for raw in REFUSED:
        Path(os.fsdecode(os.fsencode(rig.settings.folder / "bad") + b"/" + raw)).write_bytes(b"x")
    rig.turns(4)
    assert set(rescale.inputs(only(rescale.on_server.values()).id)) == set(ODD)
    log = "\n".join(rig.log("bad"))
    for message in REFUSED.values():
        assert f"rejected: {message}" in log
    assert any("the same name on the cluster" in line for line in rig.log("wing"))


@pytest.mark.parametrize("name", ["-x", "a..b", "status", "job.json", "fla\u0308che", "a b"])
def test_a_drop_may_have_any_name(rig: Rig, rescale: FakeRescale, name: str) -> None:
    drop_files(rig.settings.folder / name, SHORT)
    rig.turns(4)
    assert rig.status(name) == "Pending"
    assert only(rescale.on_server.values()).definition["name"] == name


def test_a_drop_named_with_a_line_end_is_told_to_be_renamed_or_to_name_its_job(
    rig: Rig, rescale: FakeRescale
) -> None:
    folder = drop_files(rig.settings.folder / "a\nb", SHORT)
    rig.turns(4)
    assert rig.status("a\nb") == (
        'rejected: name is "a\\nb": the folder\'s name, with control characters or broken letters in it; '
        'rename the folder, or give the job a name; for example "a_b"'
    )
    drop_files(folder, {**SHORT, "name": "wing"})
    rig.turns(4)
    assert only(rescale.on_server.values()).definition["name"] == "wing"


def test_a_folder_loop_is_refused_as_one(rig: Rig) -> None:
    folder = drop_files(rig.settings.folder / "wing")
    (folder / "sub").mkdir()
    (folder / "sub" / "up").symlink_to("..")
    rig.turns(4)
    assert "sub/up is a link in a circle: to itself, or to a folder that it lies in" in rig.status()


@pytest.fixture
def nested(tmp_path: Path) -> Iterator[Callable[[str, int], Path]]:
    """Makes a folder of folders; removes them without recursion, which pytest would not."""
    here = Path.cwd()
    folder = tmp_path / "submit" / "wing"
    made: list[str] = []

    def make(name: str, depth: int) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        for _ in range(depth):
            os.mkdir(name)  # noqa: PTH102  (a Path would be as slow as it is long)
            os.chdir(name)
            made.append(name)
        return folder

    yield make
    for name in reversed(made):
        os.chdir("..")
        os.rmdir(name)  # noqa: PTH106
    os.chdir(here)


def test_a_folder_nested_deeper_than_python_calls_may_be_is_listed(
    nested: Callable[[str, int], Path],
) -> None:
    assert len(look(nested("d", 1050), 2000).entries) == 1050


def test_a_folder_that_lies_deeper_than_paths_can_be_long_is_refused(
    rig: Rig, nested: Callable[[str, int], Path]
) -> None:
    folder = nested("d" * 250, 18)
    drop_files(folder)
    rig.turns(4)
    assert "lies too deep: its path is too long to look into it" in rig.status()
    assert len(rig.status()) < 1000


def test_a_job_json_nested_deeper_than_python_calls_may_be_is_refused(rig: Rig) -> None:
    drop_files(rig.settings.folder / "wing", json.dumps(SHORT)[:-1] + ', "a": ' + "[" * 600 + "]" * 600 + "}")
    rig.turns(4)
    assert rig.status().startswith("rejected: job.json is nested more than 100 deep")


def test_a_folder_with_more_in_it_than_is_looked_at_is_refused(rig: Rig) -> None:
    with Rig(replace(rig.settings, most_entries=3), rig.service, rig.clock) as small:
        drop_files(small.settings.folder / "wing", files={f"{number}": b"x" for number in range(5)})
        small.turns(4)
        assert small.status() == (
            "rejected: the folder has more than 3 entries; pack some of it, or drop less; "
            "for example tar -cf data.tar data"
        )


def test_what_may_not_be_read_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    """As another user, where the tests run as root, who may read all."""
    folder = drop_files(tmp_path / "wing", files={"mesh.msh": b"x", "sub/a": b"x"})
    (folder / "mesh.msh").chmod(0)
    (folder / "sub").chmod(0)
    folder.chmod(0o755)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads: the child starts none
        child = os.fork()
    if child == 0:  # pragma: no cover  (it ends without a trace)
        os.chdir(folder)
        if os.getuid() == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        said = [f"{each.path} {why_unfit(each)[0]}" for each in look(Path(), 100).entries]
        os.write(writing, "\n".join(said).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        assert told.read().splitlines() == [
            "mesh.msh cannot be read: permission denied; chmod u+r it",
            "sub cannot be read: permission denied; chmod u+rx it",
        ]
    os.waitpid(child, 0)
    (folder / "sub").chmod(0o755)


def test_an_id_that_the_server_does_not_have_is_told_before_anything_is_sent(
    rig: Rig, rescale: FakeRescale
) -> None:
    rescale.files["XkpTse"] = (RemoteFile("XkpTse", "a", "a", 1), b"x")
    rescale.files["half"] = (RemoteFile("half", "b", "b", 1, is_uploaded=False), b"")
    wanted = ["mesh.msh", {"id": "nope"}, {"id": "XkpTse"}, {"id": "half"}]
    drop_files(rig.settings.folder / "wing", {**SHORT, "inputFiles": wanted, "paramFile": {"id": "none"}})
    rig.turns(4)
    rejected = [line for line in rig.log() if line.startswith("rejected: ")]
    said = (
        "no such file on the server, or its upload has not ended; for example an id from files.tsv of a job"
    )
    assert [line.split(", or a path")[0] for line in rejected] == [
        f'rejected: paramFile.id is "none": {said}',
        f'rejected: inputFiles[1].id is "nope": {said}',
        f'rejected: inputFiles[3].id is "half": {said}',
    ]
    assert "upload" not in rescale.requests


def test_an_id_that_the_server_does_not_have_is_told_with_all_else_that_is_wrong(rig: Rig) -> None:
    drop_files(rig.settings.folder / "wing", {**SHORT, "hours": -1, "inputFiles": [{"id": "nope"}]})
    rig.turns(4)
    rejected = [line.split(":")[1] for line in rig.log() if line.startswith("rejected: ")]
    assert rejected == [" hours is -1", ' inputFiles[0].id is "nope"']


def test_an_id_that_is_not_this_accounts_is_told_and_a_mended_drop_goes_on(
    rig: Rig, rescale: FakeRescale
) -> None:
    folder = drop_files(rig.settings.folder / "wing", job(a__inputFiles=[{"id": "XkpTse"}]))

    def forbid(point: str) -> None:
        if point == "before file":
            raise Forbidden("GET files/XkpTse/: 403")

    rescale.point = forbid
    rig.turns(4)
    assert rig.status() == (
        'rejected: jobanalyses[0].inputFiles[0].id is "XkpTse": the server says 403: it is not this '
        "account's, or the API key may not use it; "
        "for example an id from files.tsv of a job, or a path in this folder"
    )
    drop_files(folder, job(a__inputFiles=["mesh.msh"]))
    rig.turns(5)
    assert rig.status() == "Pending"


def test_an_id_that_cannot_be_asked_for_now_is_asked_for_again(rig: Rig, rescale: FakeRescale) -> None:
    rescale.files["XkpTse"] = (RemoteFile("XkpTse", "a", "a", 1), b"x")
    drop_files(rig.settings.folder / "wing", job(a__inputFiles=[{"id": "XkpTse"}]))

    def cut(point: str) -> None:
        if point == "before file":
            raise Unreachable("no connection")

    rescale.point = cut
    rig.turns(4)
    assert rig.status().startswith("checking job.json: no connection, trying again in ")
    rescale.point = lambda _: None
    rig.turns(20)
    assert rig.status() == "Pending"
    assert only(rescale.on_server.values()).definition["jobanalyses"][0]["inputFiles"] == [{"id": "XkpTse"}]
