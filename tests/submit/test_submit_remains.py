"""Which files in a drop are no inputs: names that real tools were seen to use, and real inputs like them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rescalefs.submit.folder import FolderTooLarge, folders, look
from tests.submit.rig import drop_files

LEFT_OUT = [
    ".DS_Store", "Icon\r", ".AppleDouble/mesh.msh", ".Spotlight-V100/x", "Thumbs.db", "thumbs.db",
    "ehthumbs.db", "Desktop.ini", "mesh.msh:Zone.Identifier", "mesh.msh\uf03aZone.Identifier",
    "$RECYCLE.BIN/x", "System Volume Information/x", "@eaDir/mesh.msh@SynoEAStream", "#recycle/x",
    ".@__thumb/x", ".directory", ".Trash-1000/files/x", "~$report.docx", "~WRL0003.tmp",
    ".~lock.table.ods#", ".#solve.py", "#solve.py#", "#md.log.1#", ".solve.py.swp", ".solve.py.swo",
    ".solve.py.un~", ".solve.py.kate-swp", ".git/HEAD", ".svn/entries", ".hg/store/x",
    "__pycache__/solve.cpython-311.pyc", ".ipynb_checkpoints/x-checkpoint.ipynb",
    ".fuse_hidden0000000a00000001", ".nfs000000000001", ".stfolder/x", ".dropbox",
]  # fmt: skip
TRANSFERS = [
    "mesh.msh.filepart", "Allrun.filepart", "mesh.msh.part", "mesh.kD8dj2kF.msh.part", "data.7z.part",
    "mesh.msh.crdownload", "mesh.msh.opdownload", "mesh.msh.partial", "mesh.msh.1a2b3c4d.partial",
    "mesh.msh.aria2", "mesh.msh.lftp-pget-status", "mesh.msh_.gstmp", ".azDownload-0b2a-mesh.msh",
    ".goutputstream-ABC123", ".syncthing.mesh.msh.tmp", "~syncthing~mesh.msh.tmp",
    ".unison.mesh.msh.3f2a.unison.tmp", ".mesh.msh.~1a2b3c", ".mesh.msh.Ab12Cd", ".Allrun.q9XzK1",
    ".~tmp~/mesh.msh",
]  # fmt: skip
INPUTS = [
    "mesh.msh", ".env", ".gitignore", ".gitattributes", ".config", "part", "rotor.part", "a.part.gz",
    "wing.v2.part", "blade.02.part", "model.tmp", "case.bak", "case.old", "case.orig", "status.txt", "-n",
    "data.123456", ".params.python", ".case.backup", ".mesh.Coarse", ".run.202401", ".case.RANS01",
    ".case.run001", "wing.download", "x.partial.csv", "git", "svn", "pycache", "@case", "4913", "Icon",
    "icon.png", "report~1.doc", "case~", "._own", "swp", "a.swp", "# notes", "$case", "core.1234",
    "nohup.out", "lost", "Thumbs.dbx", "crdownload", "filepart.txt", ".nfs", ".Trash.txt",
]  # fmt: skip


def make(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)


@pytest.mark.parametrize("where", ["", "sub/"])
def test_what_systems_and_tools_leave_is_left_out_and_inputs_like_it_are_sent(
    tmp_path: Path, where: str
) -> None:
    make(tmp_path, *(where + each for each in (*LEFT_OUT, *TRANSFERS, *INPUTS)))
    seen = look(tmp_path, 1000)
    files = {each.path.removeprefix(where) for each in seen.entries if each.path != "sub"}
    assert files == set(INPUTS)
    left = {each.path.removeprefix(where): each.remains.is_transfer for each in seen.left_out}
    tops = {each.split("/")[0]: False for each in LEFT_OUT} | {each.split("/")[0]: True for each in TRANSFERS}
    assert left == tops


def test_a_backup_and_an_apple_double_are_told_by_what_lies_beside_them_or_is_in_them(
    tmp_path: Path,
) -> None:
    make(tmp_path, "case.cfg", "case.cfg~", "other~", "._case.cfg", "._input")
    (tmp_path / "._orphan").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00")
    assert [each.path for each in look(tmp_path, 1000).left_out] == ["._case.cfg", "._orphan", "case.cfg~"]


def test_what_job_json_names_is_an_input_whatever_it_is_called(tmp_path: Path) -> None:
    make(
        tmp_path,
        ".mesh.msh.Ab12Cd",
        "mesh.msh.part",
        ".git/config",
        ".git/HEAD",
        ".DS_Store",
        "a.crdownload",
        "b.txt",
    )
    files = ["*", "*.part", ".mesh.msh.Ab12Cd", ".git/config", "**/*"]
    drop_files(tmp_path, {"command": "true", "inputFiles": files}, {})
    seen = look(tmp_path, 1000)
    assert [each.path for each in seen.left_out] == [".DS_Store", "a.crdownload"]
    assert seen.transfers == ("a.crdownload",)
    drop_files(tmp_path, {"jobanalyses": [{"inputFiles": [{"path": "a.crdownload"}], "command": "true"}]}, {})
    assert "a.crdownload" in look(tmp_path, 1000).by_path


def test_our_own_names_are_never_inputs(tmp_path: Path) -> None:
    make(tmp_path, "status", "b.txt")
    drop_files(tmp_path, {"inputFiles": ["status"]}, {})
    assert [each.path for each in look(tmp_path, 1000).left_out] == ["status"]


def test_a_transfer_that_ends_is_a_change_and_one_that_goes_on_is_none(tmp_path: Path) -> None:
    make(tmp_path, "mesh.msh.filepart", ".DS_Store")
    before = look(tmp_path, 1000).fingerprint
    (tmp_path / "mesh.msh.filepart").write_text("more of it")
    (tmp_path / ".DS_Store").unlink()
    assert look(tmp_path, 1000).fingerprint == before
    (tmp_path / "mesh.msh.filepart").rename(tmp_path / "mesh.msh")
    assert look(tmp_path, 1000).fingerprint != before


def test_what_is_left_out_counts_towards_the_limit(tmp_path: Path) -> None:
    make(tmp_path, *(f"{number}/.DS_Store" for number in range(4)))
    with pytest.raises(FolderTooLarge):
        look(tmp_path, 7)
    assert len(look(tmp_path, 8).left_out) == 4


def test_a_folder_is_a_drop_whatever_temporary_files_are_called(tmp_path: Path) -> None:
    for name in (
        "rotor.part",
        "wing",
        "a.filepart",
        "x.crdownload",
        "~$x",
        "#x#",
        "part",
        "@eaDir",
        "__pycache__",
        ".git",
    ):
        (tmp_path / name).mkdir()
    assert folders(tmp_path).keys() == {
        "rotor.part",
        "wing",
        "a.filepart",
        "x.crdownload",
        "~$x",
        "#x#",
        "part",
    }
