from __future__ import annotations

import os

import pytest

from rescalefs.errors import FileChanged
from rescalefs.mount.mappings import Mappings, Sizes, TextPages
from rescalefs.tree.nodes import Text
from tests.fakes import FakeClock

OLD, NEW, NEWEST = (Text(os.urandom(size), size) for size in (9000, 5000, 12_000))


class Path:
    """One path whose text changes, as the kernel asks for it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.mappings = Mappings(self.clock)
        self.text = OLD

    def size(self) -> int:
        return len(self.mappings.told("/files.tsv", self.text).content)

    def open(self) -> TextPages:
        text = self.mappings.shown("/files.tsv", self.text)
        return TextPages(self.mappings, "/files.tsv", text, lambda: self.text)


def pages(opened: TextPages, size: int) -> bytes:
    buffer = bytearray(-(-size // 4096) * 4096)
    return bytes(buffer[: opened.read_into(memoryview(buffer), 0)])


def test_a_mapped_text_is_shown_for_ten_seconds_after_it_has_changed() -> None:
    path = Path()
    opened = path.open()
    assert pages(opened, path.size()) == OLD.content
    path.text = NEW
    assert path.size() == len(OLD.content)
    assert pages(path.open(), path.size()) == OLD.content
    path.clock.advance(11)
    assert path.size() == len(NEW.content)
    assert pages(opened, path.size())[:5000] == OLD.content[:5000]


def test_a_text_that_is_not_mapped_any_more_is_not_shown() -> None:
    path = Path()
    opened = path.open()
    pages(opened, path.size())
    path.text = NEW
    assert path.size() == len(OLD.content)
    opened.close()
    assert path.size() == len(NEW.content)
    assert pages(path.open(), path.size()) == NEW.content


def test_the_newest_mapping_has_the_pages_and_an_older_one_gets_no_bytes_of_it() -> None:
    path = Path()
    older = path.open()
    pages(older, path.size())
    path.text = NEW
    path.size()
    path.clock.advance(11)
    path.size()
    newer = path.open()
    assert pages(newer, path.size()) == NEW.content
    with pytest.raises(FileChanged, match="another program has mapped a newer version"):
        pages(older, path.size())
    older.close()
    assert pages(newer, path.size()) == NEW.content


def test_a_text_that_changed_between_stat_and_open_is_mapped_as_stat_told_its_size() -> None:
    path = Path()
    path.text = NEW
    opened = path.open()
    path.text = NEWEST
    assert pages(opened, path.size()) == NEWEST.content


def test_a_text_of_no_told_size_is_an_error_and_no_zeros() -> None:
    path = Path()
    path.size()
    path.text = NEW
    with pytest.raises(FileChanged, match="it is shorter"):
        pages(path.open(), len(OLD.content))


def test_sizes_are_remembered_for_the_newest_paths_alone() -> None:
    sizes = Sizes(remembered=2)
    for path in "abca":
        sizes.told(path, 7)
    assert [sizes.of(path) for path in "abc"] == [7, None, 7]
    sizes.check("b", 0, 100, 0)
    with pytest.raises(FileChanged):
        sizes.check("a", 0, 100, 6)
