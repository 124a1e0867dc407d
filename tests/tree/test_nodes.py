"""What nodes promise of themselves."""

from __future__ import annotations

from datetime import datetime, timezone

from hypothesis import given
from hypothesis import strategies as st

from rescalefs.tree.nodes import (
    ROOT_INODE,
    DropFolder,
    FixedDirectory,
    LinkNode,
    Text,
    TextNode,
    inode_of,
    nanoseconds,
)


@given(st.lists(st.text(st.characters())))
def test_inodes_are_64_bits_and_never_the_roots(identity: list[str]) -> None:
    assert ROOT_INODE < inode_of(*identity) < 1 << 64


def test_an_inode_is_the_same_in_every_process() -> None:
    assert inode_of("job", "XkpTse") == 15943468957898417973


def test_inodes_know_where_one_part_ends() -> None:
    assert inode_of("ab", "c") != inode_of("a", "bc")


def test_a_directory_counts_its_sub_directories() -> None:
    inner = FixedDirectory(2, 0, {})
    outer = FixedDirectory(3, 0, {"a": inner, "submit": DropFolder(4, 0), "l": LinkNode(5, 0, "a")})
    assert (inner.links, outer.links) == (2, 4)


def test_a_text_is_as_long_as_it_says() -> None:
    node = TextNode(2, lambda: Text("Grüße\n".encode(), 5))
    assert (node.size, node.modified_ns) == (len(node.text()), 5)


def test_dates_are_exact_to_the_microsecond() -> None:
    moment = datetime(2026, 11, 24, 12, 0, 0, 123457, timezone.utc)
    assert nanoseconds(moment) == int(moment.timestamp()) * 10**9 + 123_457_000
    assert nanoseconds(None, 7) == 7
