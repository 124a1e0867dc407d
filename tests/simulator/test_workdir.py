"""Working directories: laid out before the commands, collected after them."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Literal

import pytest

from rescalefs.simulator import records
from rescalefs.simulator.definition import plain_definition
from rescalefs.simulator.unpack import is_archive
from rescalefs.simulator.workdir import (
    LayoutFailed,
    Stored,
    commands,
    completed,
    find_live,
    lay_out,
    outputs,
    pack,
)


class Shelf:
    """Stored files, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "shelf"
        self.work = folder / "work"
        self.folder.mkdir()
        self.work.mkdir()
        self.names: dict[str, str] = {}

    def put(self, name: str, content: bytes) -> dict[str, Any]:
        file_id = f"file{len(self.names)}"
        self.names[file_id] = name
        (self.folder / file_id).write_bytes(content)
        return {"id": file_id, "decompress": True}

    def find(self, file_id: str) -> Stored:
        return Stored(self.names[file_id], self.folder / file_id)

    def lay_out(self, variables: dict[str, str] | None = None, **analysis: Any) -> list[str]:
        plain = plain_definition("true")["jobanalyses"][0]
        lay_out(self.work, {**plain, **analysis}, variables or {}, self.find)
        return sorted(path.relative_to(self.work).as_posix() for path in self.work.rglob("*"))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def zipped(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            info = zipfile.ZipInfo(name.replace("__", "/"))
            info.external_attr = 0o755 << 16
            archive.writestr(info, text)
    return buffer.getvalue()


def tarred(mode: Literal["w", "w:gz"], *members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


def member(name: str, size: int = 1, **facts: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    for fact, value in facts.items():
        setattr(info, fact, value)
    return info


def test_inputs_are_copied_so_that_a_command_cannot_spoil_what_is_stored(shelf: Shelf) -> None:
    entry = shelf.put("range.inp", b"0 10\n")
    assert shelf.lay_out(inputFiles=[entry]) == ["range.inp"]
    (shelf.work / "range.inp").write_bytes(b"spoilt")
    assert (shelf.folder / entry["id"]).read_bytes() == b"0 10\n"


def test_archives_are_replaced_by_what_is_in_them(shelf: Shelf) -> None:
    entries = [
        shelf.put("mesh.zip", zipped(mesh__points="1", Allrun="#!/bin/sh")),
        shelf.put("case.tar.gz", tarred("w:gz", member("case/a"))),
        shelf.put("plain.tar", tarred("w", member("b"))),
        shelf.put("short.TGZ", tarred("w:gz", member("c"))),
    ]
    assert shelf.lay_out(inputFiles=entries) == [
        *("Allrun", "b", "c", "case", "case/a"),
        *("mesh", "mesh/points"),
    ]
    assert os.access(shelf.work / "Allrun", os.X_OK)


def test_an_archive_stays_one_when_the_client_says_so(shelf: Shelf) -> None:
    entry = {**shelf.put("mesh.zip", zipped(a="1")), "decompress": False}
    assert shelf.lay_out(inputFiles=[entry]) == ["mesh.zip"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("up.zip", zipped(**{"..__..__evil": "x"})),
        ("up.tar", tarred("w", member("../../evil"))),
        ("link.tar", tarred("w", member("l", 0, type=tarfile.SYMTYPE, linkname="/etc/passwd"))),
        (
            "through.tar",
            tarred(
                "w",
                member("l", 0, type=tarfile.SYMTYPE, linkname="sub"),
                member("sub", 0, type=tarfile.SYMTYPE, linkname=".."),
            ),
        ),
        ("device.tar", tarred("w", member("d", 0, type=tarfile.CHRTYPE))),
        ("broken.zip", b"no zip"),
        ("broken.tgz", b"no tar"),
        ("cut.tgz", tarred("w:gz", member("a", 100_000))[:60]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # archives hold the time: no name for a test
)
def test_an_archive_that_is_broken_or_reaches_outside_is_refused(
    shelf: Shelf, name: str, content: bytes
) -> None:
    with pytest.raises(LayoutFailed, match=name):
        shelf.lay_out(inputFiles=[shelf.put(name, content)])
    assert not (shelf.work.parent.parent / "evil").exists()


def test_links_that_stay_inside_are_kept(shelf: Shelf) -> None:
    archive = tarred(
        "w",
        member("case/0/U"),
        member("case/latest", 0, type=tarfile.SYMTYPE, linkname="0"),
        member("case/latest/p"),
        member("case/same", 0, type=tarfile.LNKTYPE, linkname="case/0/U"),
    )
    shelf.lay_out(inputFiles=[shelf.put("links.tar", archive)])
    assert (shelf.work / "case" / "latest" / "U").read_bytes() == b"x"
    assert (shelf.work / "case" / "0" / "p").read_bytes() == b"x"
    assert (shelf.work / "case" / "same").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "..", ".", "nu\0l"])
def test_an_input_cannot_be_laid_outside(shelf: Shelf, name: str) -> None:
    with pytest.raises(LayoutFailed):
        shelf.lay_out(inputFiles=[shelf.put(name, b"x")])


def test_an_input_that_was_deleted_is_named(shelf: Shelf) -> None:
    with pytest.raises(LayoutFailed, match="gone"):
        shelf.lay_out(inputFiles=[{"id": "gone", "decompress": True}])


def test_templates_are_completed_with_the_variables_of_the_run(shelf: Shelf) -> None:
    template = shelf.put("wing.tpl", b'{"angle": ${angle}, "name": "{name}", "other": {x}}')
    task = {"processedFilename": "case/wing.json", "templateFile": template}
    shelf.lay_out({"angle": "1.5", "name": "a"}, templateTasks=[task])
    text = (shelf.work / "case" / "wing.json").read_text()
    assert text == '{"angle": 1.5, "name": "a", "other": {x}}'
    assert completed("{a}", {}) == "{a}"


def test_scripts_are_laid_out_and_run_before_and_after(shelf: Shelf) -> None:
    script = shelf.put("prepare.sh", b"echo")
    analysis = {
        **plain_definition("main")["jobanalyses"][0],
        "preProcessScript": script,
        "preProcessScriptCommand": "before",
        "postProcessScriptCommand": "after",
    }
    assert list(commands(analysis)) == ["before", "main", "after"]
    assert shelf.lay_out(**analysis) == ["prepare.sh"]


def test_outputs_are_the_regular_files_inside_the_folder(shelf: Shelf) -> None:
    work = shelf.work
    (work / "deep" / "er").mkdir(parents=True)
    (work / "deep" / "er" / "a").write_text("1")
    (work / "in.txt").write_text("2")
    os.mkfifo(work / "pipe")
    (work / "inside").symlink_to("in.txt")
    (work / "outside").symlink_to("/etc/passwd")
    (work / "dangling").symlink_to("nowhere")
    Path(os.fsdecode(os.fsencode(work) + b"/b\xff")).write_text("3")
    found = {each.relative_path: each.type_id for each in outputs(work, ["in.txt"])}
    assert found == {
        "b\ufffd": records.OUTPUT,
        "deep/er/a": records.OUTPUT,
        "in.txt": records.INPUT,
        "inside": records.OUTPUT,
    }


def test_a_live_file_is_found_only_inside(shelf: Shelf) -> None:
    (shelf.work / "log").write_text("x")
    (shelf.work / "away").symlink_to("/etc/passwd")
    assert find_live(shelf.work, "log") == (shelf.work / "log").resolve()
    for path in ("../shelf", "../../etc/passwd", "/etc/passwd", "away", "none", ""):
        assert find_live(shelf.work, path) is None


def test_a_snapshot_holds_the_folder_as_it_is(shelf: Shelf) -> None:
    (shelf.work / "d").mkdir()
    (shelf.work / "d" / "log").write_text("x")
    archive = shelf.folder / "snapshot.tar.gz"
    pack(shelf.work, archive)
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["d/log"]


def test_archives_are_known_by_their_names() -> None:
    assert all(map(is_archive, ["a.zip", "a.tar", "a.tar.gz", "A.TGZ", "a.tar.xz", "a.tbz2"]))
    assert not any(map(is_archive, ["a.gz", "zip", "a.zip.txt", "a.7z"]))
