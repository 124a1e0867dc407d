from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from rescalefs.mount.inodes import SmallInodes
from rescalefs.tree.nodes import ROOT_INODE, inode_of


def test_numbers_are_small_unique_and_stay() -> None:
    inodes = SmallInodes()
    large = [inode_of("file", str(number)) for number in range(5000)]
    assert max(large) > 1 << 32
    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(lambda _: [inodes(each) for each in large], range(4))
    assert len(set(first)) == len(large)
    assert max(first) <= len(large) + 1
    assert ROOT_INODE not in first
    assert all(each == first for each in others)
    assert inodes(ROOT_INODE) == ROOT_INODE
