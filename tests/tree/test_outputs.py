"""A listing of files becomes folders, a table and checksums."""

from __future__ import annotations

from rescalefs.model import RemoteFile
from rescalefs.tree.nodes import Directory, FixedDirectory, Node, RemoteNode, nanoseconds
from rescalefs.tree.outputs import Outputs, placed
from tests.tree.account import file, minutes

OTHERWISE = nanoseconds(minutes(0))


def at(root: FixedDirectory, path: str) -> Node:
    node: Node = root
    for name in path.split("/"):
        assert isinstance(node, Directory)
        found = node.find(name)
        assert found is not None, path
        node = found
    return node


def outputs(*files: RemoteFile, final: bool = True) -> Outputs:
    return Outputs("XkpTse", files, final)


def test_files_are_in_the_folders_they_had_on_the_cluster() -> None:
    root = outputs(file("1", "log"), file("2", "a/b/c"), file("3", "a/d")).root(OTHERWISE)
    assert set(root.entries()) == {"log", "a"}
    node = at(root, "a/b/c")
    assert isinstance(node, RemoteNode)
    assert node.file.id == "2"
    assert (root.links, at(root, "a").inode) == (3, at(root, "a").inode)


def test_a_folder_is_as_new_as_the_newest_below_it() -> None:
    root = outputs(file("1", "a/b/c", at=7), file("2", "a/d", at=5), file("3", "e/f", at=None)).root(
        OTHERWISE
    )
    assert root.modified_ns == at(root, "a/b").modified_ns == nanoseconds(minutes(7))
    assert at(root, "e").modified_ns == at(root, "e/f").modified_ns == OTHERWISE
    assert outputs().root(OTHERWISE).modified_ns == OTHERWISE


def test_every_node_has_an_inode_of_its_own_that_outlives_the_listing() -> None:
    files = [file(str(number), f"d{number % 7}/f{number}") for number in range(200)]
    first = outputs(*files).root(OTHERWISE)
    second = outputs(*reversed(files), file("new", "d0/new")).root(OTHERWISE)
    paths = [f"d{number}" for number in range(7)] + [each.path for each in files]
    inodes = [at(first, path).inode for path in paths]
    assert len({*inodes, first.inode}) == len(paths) + 1
    assert inodes == [at(second, path).inode for path in paths]


def test_bytes_are_final_once_the_job_has_ended_and_they_are_all_there() -> None:
    def is_final(uploaded: bool, ended: bool) -> bool:
        node = outputs(file("1", uploaded=uploaded), final=ended).root(OTHERWISE).find("1")
        assert isinstance(node, RemoteNode)
        return node.final

    assert is_final(uploaded=True, ended=True)
    assert not is_final(uploaded=False, ended=True)
    assert not is_final(uploaded=True, ended=False)


def test_what_is_made_of_a_listing_is_made_once() -> None:
    listing = outputs(file("1", "a/b"))
    assert listing.root(OTHERWISE) is listing.root(OTHERWISE)
    assert listing.checksums(0).content is listing.checksums(0).content
    assert listing.table(lambda _: "no", 1.0, 0).content is listing.table(lambda _: "no", 2.0, 0).content


def test_the_table_follows_verification_within_two_seconds() -> None:
    verdicts = ["no", "yes"]
    listing = outputs(file("1"))
    first = listing.table(lambda _: verdicts[0], 10.0, 0)
    assert listing.table(lambda _: verdicts[1], 11.0, 0) == first
    assert b"\tyes\t" in listing.table(lambda _: verdicts[1], 12.0, 0).content


def test_texts_are_as_new_as_the_newest_file_they_tell_of() -> None:
    listing = outputs(file("1", at=3), file("2", at=9), file("3", at=None))
    assert listing.checksums(0).modified_ns == nanoseconds(minutes(9))
    assert listing.table(lambda _: "no", 0.0, 0).modified_ns == nanoseconds(minutes(9))
    assert outputs().checksums(OTHERWISE).modified_ns == OTHERWISE


def test_checksums_name_the_files_as_the_folders_do() -> None:
    listing = outputs(file("1", "out", at=1), file("2", "out", at=2), file("3", "none", sha512=None))
    assert listing.checksums(0).content.decode().splitlines() == [
        "ab" * 64 + "  out",
        "ab" * 64 + "  out~2",
    ]


def test_a_file_that_is_listed_twice_has_one_place() -> None:
    assert [row.path for row in placed([file("1", "a"), file("1", "a")])] == ["a"]


def test_side_by_side_only_names_count() -> None:
    rows = placed([file("1", "user/x/mesh.msh", at=1), file("2", "mesh.msh", at=2)], flat=True)
    assert [row.path for row in rows] == ["mesh.msh", "mesh~2.msh"]


def test_listings_are_equal_if_they_say_the_same() -> None:
    assert outputs(file("1")) == outputs(file("1"))
    assert outputs(file("1")) != outputs(file("1"), final=False)
    assert outputs(file("1")) != outputs(file("2"))
    assert outputs() != ()
