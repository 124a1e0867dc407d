"""Files as one stream: in order, in constant memory, ended by whoever reads no more."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import pytest

from rescalefs.background import Background
from rescalefs.errors import Unreachable, WrongBytes
from rescalefs.mirror import Sink, Stream
from rescalefs.model import RemoteFile
from tests.fakes import FakeClock, Fault, MemorySource

MIB = 1 << 20
BIG = random.Random(5).randbytes(5 * MIB + 77)


def remote(file_id: str, content: bytes, **fields: object) -> RemoteFile:
    known = {"size": len(content), "sha512": hashlib.sha512(content).hexdigest(), **fields}
    return RemoteFile(id=file_id, name=file_id, path=file_id, **known)  # type: ignore[arg-type]


@pytest.fixture
def background() -> Iterator[Background]:
    background = Background()
    yield background
    background.close()


def write(source: MemorySource, background: Background, files: list[RemoteFile], sink: Sink) -> None:
    stream = Stream(source, FakeClock(), background, connections=4)
    stream.start()
    try:
        stream.write(files, sink)
    finally:
        stream.close()


def test_all_bytes_in_order_whatever_breaks_and_whoever_knows_the_sizes(background: Background) -> None:
    contents = {"a": b"one\n", "big": BIG, "empty": b"", "z": b"last"}
    broken = (None, Fault(after=1000, error=Unreachable("broke")), None, Fault(after=5, short=True))
    source = MemorySource(contents, broken, chunk=100_000)
    files = [remote(name, body) for name, body in contents.items() if name != "big"]
    files.insert(1, remote("big", BIG, size=None))
    out: list[bytes] = []
    write(source, background, files, out.append)
    assert b"".join(out) == b"one\n" + BIG + b"last"


def test_wrong_bytes_are_told_where_their_file_ends_and_nothing_comes_after_them(
    background: Background,
) -> None:
    source = MemorySource({"a": b"one\n", "z": b"last"})
    files = [remote("a", b"one\n", sha512="0" * 128), remote("z", b"last")]
    out: list[bytes] = []
    with pytest.raises(WrongBytes, match="a: the bytes that went out do not match"):
        write(source, background, files, out.append)
    assert out == [b"one\n"]


def test_a_reader_that_has_enough_ends_it_and_its_error_is_what_is_raised(background: Background) -> None:
    source = MemorySource({"big": BIG}, chunk=1000)

    def sink(data: bytes) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        write(source, background, [remote("big", BIG)], sink)


def test_no_more_is_fetched_ahead_of_a_slow_reader_than_a_window_holds(background: Background) -> None:
    """A file of 1 GiB, of which only the zeros' count matters."""
    size = 1024 * MIB
    source = _Zeros(size)
    stream = Stream(source, FakeClock(), background, connections=4, verify=False)
    stream.start()
    taken = 0

    def sink(data: bytes) -> None:
        nonlocal taken
        taken += len(data)
        assert source.asked - taken <= 64 * MIB + 8 * MIB
        if taken > 200 * MIB:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        stream.write([remote("zeros", b"", size=size)], sink)
    stream.close()


class _Zeros(MemorySource):
    """A large file without its bytes in memory; knows up to where it was asked for."""

    def __init__(self, size: int) -> None:
        super().__init__({"zeros": _Endless(size)}, chunk=MIB)  # type: ignore[dict-item]

    @property
    def asked(self) -> int:
        return max((stop for _, _, stop in self.requests), default=0)


class _Endless:
    """Looks like so many zeros to a `MemoryBody`."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, place: slice) -> bytes:
        start, stop, _ = place.indices(self._size)
        return bytes(stop - start)
