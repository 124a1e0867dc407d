from __future__ import annotations

import errno

import pytest
import requests

from rescalefs.errors import ContentError, TimedOut, WrongBytes
from rescalefs.mount.attributes import Attributes, Owner, described
from rescalefs.mount.errnos import errno_for
from rescalefs.mount.handles import Handles, OpenContent, OpenLog, OpenText, ReadOnlyThing
from rescalefs.mount.mappings import Mappings, TextPages
from rescalefs.mount.pagecache import PageCache
from rescalefs.tree.nodes import Text
from tests.fakes import FakeClock
from tests.mount.trees import MemoryFile

PLAIN: Attributes = described(0o100444, 7, Owner(1, 2), 5, 0)


def read(thing: OpenText | OpenLog | OpenContent, offset: int, size: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: thing.read_into(memoryview(buffer), offset)])


def pages(content: bytes) -> TextPages:
    text = Text(content, 0)
    return TextPages(Mappings(FakeClock()), "/x", text, lambda: text)


def content(file: MemoryFile, cache: PageCache | None = None) -> OpenContent:
    cache = cache or PageCache()
    return OpenContent("/x", file, PLAIN, cache, cache.lease("/x", "v"), lambda: True)


def test_a_remote_file_is_read_at_any_offset_and_short_only_at_its_end() -> None:
    opened = content(MemoryFile(b"hello"))
    assert read(opened, 0, 3) == b"hel"
    assert read(opened, 3, 100) == b"lo"
    assert read(opened, 5, 100) == b""
    assert read(opened, 99, 100) == b""


@pytest.mark.parametrize("stops_at", [0, 4])
def test_a_read_that_comes_back_short_before_the_end_is_an_error_and_never_an_end_of_file(
    stops_at: int,
) -> None:
    with pytest.raises(ContentError, match=r"/x: . of 5 bytes"):
        read(content(MemoryFile(b"hello", stops_at=stops_at)), 0, 10)


def test_an_error_of_some_socket_or_disk_of_ours_keeps_its_errno_to_itself() -> None:
    for failure in (OSError(errno.ENOSPC, "cache full"), requests.ConnectionError("gone")):
        with pytest.raises(ContentError) as caught:
            read(content(MemoryFile(b"hello", failure=failure)), 0, 5)
        assert errno_for(caught.value) == errno.EIO


def test_a_time_limit_passes_as_it_is_and_the_next_read_may_succeed() -> None:
    file = MemoryFile(b"hello", failure=TimedOut("slow"))
    opened = content(file)
    with pytest.raises(TimedOut):
        read(opened, 0, 5)
    file.failure = None
    assert read(opened, 0, 5) == b"hello"


def test_after_wrong_bytes_no_reader_of_the_same_pages_reaches_the_end() -> None:
    cache = PageCache()
    file, same = MemoryFile(b"hello", failure=WrongBytes("hash")), MemoryFile(b"hello")
    one, other = content(file, cache), content(same, cache)
    with pytest.raises(WrongBytes):
        read(one, 0, 5)
    with pytest.raises(WrongBytes):
        read(other, 0, 5)
    one.close()
    other.close()
    assert read(content(same, cache), 0, 5) == b"hello"
    assert (file.closed, same.closed) == (True, True)


def test_bytes_fetched_afresh_do_not_continue_what_was_given_before() -> None:
    file = MemoryFile(b"hello")
    opened = content(file)
    assert read(opened, 0, 3) == b"hel"
    file.version = "v, after a block was found wrong"
    with pytest.raises(WrongBytes, match="Open it again"):
        read(opened, 3, 2)
    with pytest.raises(WrongBytes):
        read(opened, 0, 3)


def test_a_log_grows_under_its_reader() -> None:
    now = [b"one\n"]
    log = OpenLog(now[0], lambda: now[0], PLAIN, pages(b"one\n"))
    assert read(log, 0, 100) == b"one\n"
    assert read(log, 4, 100) == b""
    now[0] = b"one\ntwo\n"
    assert read(log, 4, 100) == b"two\n"


@pytest.mark.parametrize("later", [None, b"", b"another drop's log, and longer"])
def test_a_log_that_became_another_keeps_what_was_read(later: bytes | None) -> None:
    log = OpenLog(b"one\n", lambda: later, PLAIN, pages(b"one\n"))
    assert read(log, 0, 100) == b"one\n"


def test_what_is_read_only_cannot_be_written() -> None:
    thing = ReadOnlyThing()
    for call in (
        lambda: thing.write(memoryview(b"x"), 0),
        lambda: thing.truncate(0),
        lambda: thing.allocate(0, 0, 1),
    ):
        with pytest.raises(OSError, match=r"Bad file descriptor|Invalid argument"):
            call()
    thing.sync(True)
    thing.close()


def test_numbers_are_never_used_twice_and_unknown_ones_are_refused() -> None:
    handles: Handles[str] = Handles()
    one = handles.put("one")
    assert handles.take(one) == "one"
    assert handles.put("two") != one
    with pytest.raises(OSError, match="Bad file descriptor"):
        handles[one]
    with pytest.raises(OSError, match="Bad file descriptor"):
        handles.take(one)
    assert len(handles) == 1
