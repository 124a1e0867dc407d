"""The SHA-512 of what is sent: it follows, is of those very bytes or of none, and keeps nobody waiting."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rescalefs.model import RemoteFile
from rescalefs.submit.folder import look
from rescalefs.submit.parcels import Parcel
from rescalefs.submit.streams import ContentChanged, ParcelStream, TrailingHash
from tests.fakes import FakeClock
from tests.submit.rig import FakeRescale, Rig, drop_files, make_settings, only

PIECE = 1 << 19  # what is sent at once


def lay_down(folder: Path, content: bytes) -> tuple[Path, Parcel]:
    file = folder / "a"
    file.write_bytes(content)
    return file, Parcel("a", (look(folder, 10).by_path["a"],))


def overwrite(file: Path, at: int, content: bytes) -> None:
    """Without a trace in the file's size and time."""
    facts = file.stat()
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(content)
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def test_a_change_behind_the_sender_and_before_the_hash_is_noticed(tmp_path: Path) -> None:
    file, parcel = lay_down(tmp_path, bytes(10))
    with (
        ParcelStream(parcel, tmp_path) as stream,
        closing(TrailingHash(parcel, tmp_path, FakeClock())) as trail,
    ):
        assert stream.read(6) == bytes(6)
        trail.follow(3)
        assert trail.position == 3
        overwrite(file, 4, b"x")
        assert stream.read() == bytes(4)
        with pytest.raises(ContentChanged, match="a"):
            trail.sha512_of(stream)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_sha512_is_of_the_bytes_that_were_sent_whatever_is_written_meanwhile(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("drop")
    file, parcel = lay_down(folder, bytes(20))
    sent = b""
    with ParcelStream(parcel, folder) as stream, closing(TrailingHash(parcel, folder, FakeClock())) as trail:
        while len(sent) < parcel.size:
            sent += stream.read(data.draw(st.integers(1, 8)))
            trail.follow(data.draw(st.integers(0, len(sent))))
            if data.draw(st.booleans()):
                overwrite(file, data.draw(st.integers(0, 19)), data.draw(st.binary(min_size=1, max_size=1)))
        try:
            digest = trail.sha512_of(stream)
        except ContentChanged:
            return
    assert digest == hashlib.sha512(sent).hexdigest()


class SlowReading(ParcelStream):
    """Takes its time, by the clock: a second for each piece."""

    def __init__(self, parcel: Parcel, folder: Path, clock: FakeClock) -> None:
        super().__init__(parcel, folder)
        self._time = clock

    def readinto(self, buffer: object) -> int:
        count = super().readinto(buffer)
        self._time.advance(count / PIECE)
        return count


def sent_by(line: float, stall: float, parcel: Parcel, folder: Path) -> tuple[float, int]:
    """Send 40 pieces on a line that takes so many seconds for each, and once stands still.

    Return when the last has left, and how many were not hashed then. Up to 8 wait in the kernel meanwhile.
    """
    clock = FakeClock()
    trail = TrailingHash(parcel, folder, clock)
    trail._reading = SlowReading(parcel, folder, clock)
    with closing(trail):
        left = 0.0  # when the newest piece has
        for number in range(1, 41):
            left = max(left, clock.monotonic()) + line + stall * (number == 20)
            clock.advance(max(0.01, left - 8 * line - clock.monotonic()))
            trail.follow(number * PIECE)
        behind = 40 - trail.position // PIECE
        assert trail.sha512() == hashlib.sha512(bytes(parcel.size)).hexdigest()
    return left, behind


@pytest.mark.parametrize("stall", [0.0, 30.0])
def test_on_a_slow_line_the_hash_keeps_pace(tmp_path: Path, stall: float) -> None:
    _, parcel = lay_down(tmp_path, bytes(40 * PIECE))
    took, behind = sent_by(3.5, stall, parcel, tmp_path)
    assert took == pytest.approx(40 * 3.5 + stall, abs=2)
    assert behind <= 1


@pytest.mark.parametrize(("stall", "most"), [(0.0, 1), (30.0, 20)])
def test_on_a_fast_line_the_hash_keeps_the_sender_waiting_for_a_few_pieces_at_most(
    tmp_path: Path, stall: float, most: int
) -> None:
    _, parcel = lay_down(tmp_path, bytes(40 * PIECE))
    took, behind = sent_by(0.1, stall, parcel, tmp_path)
    assert took <= 40 * 0.1 + stall + most
    assert behind >= 40 - most


def test_a_large_file_is_hashed_in_little_memory(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(32 << 20)
    parcel = Parcel("large", (look(tmp_path, 10).by_path["large"],))
    tracemalloc.start()
    try:
        with closing(TrailingHash(parcel, tmp_path, FakeClock())) as trail:
            trail.sha512()
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def changing(file: Path, uploads: Callable[[], int]) -> Callable[[str], None]:
    """Changes the file once: the server has its bytes, and they have not been hashed."""

    def change_once(name: str) -> None:
        if name == "after upload" and uploads() == 1:
            overwrite(file, 0, b"new")

    return change_once


def test_a_file_changed_before_its_hash_is_known_is_sent_again_and_what_was_sent_first_is_not_remembered(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    rescale = FakeRescale(clock)
    with Rig(make_settings(tmp_path), rescale, clock) as rig:
        folder = drop_files(rig.settings.folder / "wing", files={"a.dat": b"old"})
        rescale.point = changing(folder / "a.dat", lambda: len(rescale.files))
        rig.turns(8)
        job = only(rescale.on_server.values())
        assert rescale.inputs(job.id) == {"a.dat": b"new"}
        (known,) = rig.journal.uploads("a.dat", 1, 3)
        file: RemoteFile = rescale.files[known.file_id][0]
        assert known.sha512 == file.sha512 == hashlib.sha512(b"new").hexdigest()
