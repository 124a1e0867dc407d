from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescalefs.submit.folder import FolderTooLarge, folders, identity, job_file_mark, look
from rescalefs.submit.listing import Entry, Kind, Listing


def test_a_look_leaves_out_our_names_and_the_job_file(tmp_path: Path) -> None:
    for name in ["status", "status.log", "job", "job.json", "mesh.msh"]:
        (tmp_path / name).write_text(name)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "status").write_text("a file of the user's own")
    seen = look(tmp_path, 1000)
    assert [each.path for each in seen.entries] == ["mesh.msh", "sub", "sub/status"]
    assert [each.path for each in seen.left_out] == ["job", "status", "status.log"]
    assert seen.job_file is not None
    assert seen.job_file.size == len("job.json")


def test_links_within_the_drop_are_files_and_others_are_told_apart(tmp_path: Path) -> None:
    drop = tmp_path / "wing"
    (drop / "sub").mkdir(parents=True)
    (drop / "mesh.msh").write_text("12345")
    (tmp_path / "secret").write_text("outside")
    (drop / "sub" / "inside").symlink_to("../mesh.msh")
    (drop / "out").symlink_to(tmp_path / "secret")
    (drop / "loop").symlink_to("loop")
    (drop / "nothing").symlink_to("not-there")
    (drop / "around").symlink_to(drop / "sub")
    (drop / "up").symlink_to("..")
    (drop / "itself").symlink_to(".")
    (drop / "sub" / "parent").symlink_to(drop)
    os.mkfifo(drop / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(drop / "sock"))
        kinds = {each.path: each.kind for each in look(drop, 1000).entries}
    assert kinds == {
        "mesh.msh": Kind.FILE,
        "sub": Kind.FOLDER,
        "sub/inside": Kind.FILE,
        "out": Kind.LINK_OUT,
        "loop": Kind.LINK_LOOP,
        "nothing": Kind.BROKEN_LINK,
        "around": Kind.LINK_TO_FOLDER,
        "up": Kind.LINK_LOOP,
        "itself": Kind.LINK_LOOP,
        "sub/parent": Kind.LINK_LOOP,
        "pipe": Kind.SPECIAL,
        "sock": Kind.SPECIAL,
    }


def test_the_fingerprint_changes_with_every_change_that_may_matter(tmp_path: Path) -> None:
    file = tmp_path / "a"
    seen = set()

    def note() -> None:
        seen.add(look(tmp_path, 1000).fingerprint)

    note()
    file.write_text("1")
    os.utime(file, ns=(1, 1))
    note()
    file.write_text("22")
    os.utime(file, ns=(1, 1))
    note()
    os.utime(file, ns=(1, 2))
    note()
    file.rename(tmp_path / "b")
    note()
    (tmp_path / "c").mkdir()
    note()
    (tmp_path / "job.json").write_text("{}")
    note()
    shutil.copy2(tmp_path / "b", tmp_path / "b2")
    (tmp_path / "b2").replace(tmp_path / "b")  # the same size and time, another file
    note()
    assert len(seen) == 8
    (tmp_path / "b").chmod(0o600)
    note()
    assert len(seen) == 8, "a chmod that leaves it readable is no other content"


def test_a_folder_is_itself_under_any_name_and_its_copy_is_another(tmp_path: Path) -> None:
    first = tmp_path / "wing"
    first.mkdir()
    known = identity(first)
    first.rename(tmp_path / "wing-2")
    assert identity(tmp_path / "wing-2") == known
    shutil.copytree(tmp_path / "wing-2", first)
    assert identity(first) != known


def test_a_new_folder_with_a_reused_inode_number_is_told_apart_by_its_birth(tmp_path: Path) -> None:
    seen = set()
    for _ in range(50):
        (tmp_path / "wing").mkdir()
        seen.add(identity(tmp_path / "wing"))
        (tmp_path / "wing").rmdir()
    assert len(seen) == 50
    assert all(each.born is not None for each in seen), "this file system keeps times of birth"


def test_only_plain_visible_folders_can_be_drops(tmp_path: Path) -> None:
    for name in ("wing", ".hidden", "fl\udce4che"):  # the last one is Latin-1 on disk
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "wing")
    assert set(folders(tmp_path)) == {"wing"}


def test_too_many_entries_are_not_all_listed(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / str(number)).write_text("")
    with pytest.raises(FolderTooLarge, match="more than 10 entries"):
        look(tmp_path, 10)


def test_the_mark_of_a_job_file_is_empty_where_there_is_none(tmp_path: Path) -> None:
    assert job_file_mark(tmp_path) == ""
    (tmp_path / "job.json").mkdir()
    assert job_file_mark(tmp_path) != "", "something is there, and is told what is wrong with it"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.msh", ["a.msh"]),
        ("*", ["a.msh", "b.txt"]),
        ("sub/*", ["sub/c.msh"]),
        ("**/*.msh", ["a.msh", "sub/c.msh", "sub/deep/d.msh"]),
        ("sub/**", ["sub/c.msh", "sub/deep/d.msh"]),
        ("?.txt", ["b.txt"]),
        ("[ab].*", ["a.msh", "b.txt"]),
        ("[!a].*", ["b.txt"]),
        ("sub[/]c.msh", []),
        ("nothing*", []),
        ("**", ["a.msh", "b.txt", "sub/c.msh", "sub/deep/d.msh"]),
        ("**/deep/**/*.msh", ["sub/deep/d.msh"]),
        ("[z-a]*", []),
        ("*" * 40 + "x", []),
        ("*a" * 40, []),
    ],
)
def test_patterns_name_files_as_in_the_shell(pattern: str, expected: list[str]) -> None:
    paths = ["a.msh", "b.txt", "sub/c.msh", "sub/deep/d.msh"]
    listing = Listing((Entry("sub", Kind.FOLDER), *(Entry(path, Kind.FILE) for path in paths)))
    assert [each.path for each in listing.matching(pattern)] == expected


@given(st.text("[]!-^\\*?az/#&~|", max_size=12))
def test_any_text_is_a_pattern_or_a_name(pattern: str) -> None:
    listing = Listing((Entry("a.msh", Kind.FILE), Entry("sub/" + "a" * 250, Kind.FILE)))
    assert len(listing.matching(pattern)) <= 2


def kind_of(folder: Path, name: str) -> Kind:
    (entry,) = [each for each in look(folder, 100).entries if each.path == name]
    return entry.kind


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        ("{outside}/a.dat", Kind.LINK_OUT),
        ("{outside}/nothing", Kind.LINK_OUT),
        ("../../outside/a.dat", Kind.LINK_OUT),
        ("step/a.dat", Kind.LINK_OUT),
        ("two", Kind.LINK_OUT),
        ("sub/../../../outside", Kind.LINK_OUT),
        ("{top}/sub/b.dat", Kind.FILE),
        ("{top}/../wing/sub/./b.dat", Kind.FILE),
        ("../wing/sub/b.dat", Kind.FILE),
        ("sub//b.dat", Kind.FILE),
        ("within", Kind.FILE),
        ("sub/c.dat", Kind.BROKEN_LINK),
        ("sub/b.dat/c", Kind.BROKEN_LINK),
        ("link", Kind.LINK_LOOP),
        ("..", Kind.LINK_LOOP),
        ("{top}", Kind.LINK_LOOP),
        ("/", Kind.LINK_LOOP),
        ("sub", Kind.LINK_TO_FOLDER),
    ],
)
def test_a_link_is_followed_without_a_touch_outside_the_drop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, kind: Kind
) -> None:
    outside, top = tmp_path / "outside", tmp_path / "submit" / "wing"
    (top / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "a.dat").write_bytes(b"a")
    (top / "sub" / "b.dat").write_bytes(b"b")
    (top / "step").symlink_to(outside)
    (top / "two").symlink_to("step")
    (top / "within").symlink_to("sub/b.dat")
    (top / "link").symlink_to(says.format(top=top, outside=outside))
    touched: list[str] = []
    ours = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        touched.append(str(path))
        return ours(path)

    monkeypatch.setattr(Path, "lstat", lstat)
    assert kind_of(top, "link") is kind
    assert [each for each in touched if not each.startswith(f"{top}/")] == []
