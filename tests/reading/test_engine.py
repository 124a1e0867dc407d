"""The engine as its callers see it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rescalefs.errors import FileChanged, NotYetUploaded, RescaleFSError, TimedOut, Unreachable, WrongBytes
from rescalefs.model import RemoteFile
from rescalefs.reading import Verification
from tests.fakes import FakeClock, Fault, MemorySource
from tests.reading.engines import BLOCK, LEAF, read, read_all, remote, running, settled

TEXT = bytes(range(251)) * 8  # 2008 bytes: 31 blocks and a piece; no two leaves are alike


@pytest.mark.parametrize("size", [0, 1, LEAF, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK])
def test_a_file_of_any_size_is_read_and_verified(tmp_path: Path, size: int) -> None:
    content = TEXT[:size]
    with running(MemorySource({"f": content}), tmp_path) as engine:
        file = engine.open(remote(content))
        assert read_all(file) == content
        assert read(file, size, size + 10) == b""
        assert engine.verification(remote(content)) is Verification.YES


def test_a_second_read_asks_nobody(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT})
    with running(source, tmp_path) as engine:
        read_all(engine.open(remote(TEXT)))
        asked = len(source.requests)
        assert read_all(engine.open(remote(TEXT))) == TEXT
        assert len(source.requests) == asked
        assert source.bytes_sent == len(TEXT)


def test_a_restart_finds_the_bytes_and_the_verdict(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT})
    with running(source, tmp_path) as engine:
        read_all(engine.open(remote(TEXT)))
    asked = len(source.requests)
    with running(source, tmp_path) as engine:
        file = engine.open(remote(TEXT))
        assert read(file, 0, 10) == TEXT[:10]
        assert engine.verification(remote(TEXT)) is Verification.YES
        assert read_all(file) == TEXT
    assert len(source.requests) == asked


def test_a_restart_finds_pieces_of_blocks(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT})
    with running(source, tmp_path) as engine:
        file = engine.open(remote(TEXT))
        assert read(file, 500, 510) == TEXT[500:510]
        assert source.bytes_sent == LEAF
        file.close()
    with running(source, tmp_path) as engine:
        file = engine.open(remote(TEXT))
        assert read(file, 500, 510) == TEXT[500:510]
        assert source.bytes_sent == LEAF
        assert read_all(file) == TEXT
    assert source.bytes_sent == len(TEXT)


def test_a_random_read_fetches_the_leaves_it_touches_and_no_more(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT})
    with running(source, tmp_path) as engine:
        file = engine.open(remote(TEXT))
        assert read(file, 1000, 1020) == TEXT[1000:1020]
        assert source.requests == [("f", 992, 1024)]


def test_what_is_not_uploaded_cannot_be_opened(tmp_path: Path) -> None:
    file = RemoteFile("f", "f", "f", 5, is_uploaded=False)
    with running(MemorySource({}), tmp_path) as engine, pytest.raises(NotYetUploaded):
        engine.open(file)


def test_a_size_that_the_listing_leaves_out_is_learned_from_the_server(tmp_path: Path) -> None:
    with running(MemorySource({"f": TEXT}), tmp_path) as engine:
        file = engine.open(RemoteFile("f", "f", "f", None))
        assert file.size == len(TEXT)
        assert read_all(file) == TEXT


@pytest.mark.parametrize("listed", [len(TEXT) - 1, len(TEXT) + 1])
def test_a_size_that_the_server_contradicts_is_a_changed_file(tmp_path: Path, listed: int) -> None:
    with running(MemorySource({"f": TEXT}), tmp_path) as engine:
        file = engine.open(RemoteFile("f", "f", "f", listed))
        with pytest.raises(FileChanged):
            read(file, 0, 10)


def test_a_file_without_a_checksum_is_served_and_not_called_verified(tmp_path: Path) -> None:
    file = remote(TEXT, checksum=None)
    with running(MemorySource({"f": TEXT}), tmp_path) as engine:
        assert read_all(engine.open(file)) == TEXT
        assert engine.verification(file) is Verification.UNAVAILABLE


def test_the_verification_of_a_file_follows_what_was_read_of_it(tmp_path: Path) -> None:
    file = remote(TEXT)
    with running(MemorySource({"f": TEXT}), tmp_path) as engine:
        assert engine.verification(file) is Verification.NO
        opened = engine.open(file)
        read(opened, 500, 510)
        assert engine.verification(file) is Verification.PARTIAL
        read_all(opened)
        assert engine.verification(file) is Verification.YES


@pytest.mark.parametrize("verify", ["eof", "strict"])
def test_a_checksum_that_never_agrees_fails_the_last_read(tmp_path: Path, verify: str) -> None:
    file = remote(TEXT, checksum="ab" * 64)
    source = MemorySource({"f": TEXT})
    with running(source, tmp_path, verify=verify) as engine:
        opened = engine.open(file)
        with pytest.raises(WrongBytes):
            read_all(opened)
        again = engine.open(file)
        with pytest.raises(WrongBytes):
            read_all(again)
        assert engine.verification(file) is Verification.FAILED
        assert source.bytes_sent <= 2 * len(TEXT)
        with pytest.raises(WrongBytes):
            read(again, 0, 1)


def test_wrong_bytes_that_were_given_end_in_an_error_and_are_right_when_read_again(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT}, [Fault(after=5, flip=True)])
    with running(source, tmp_path) as engine:
        opened = engine.open(remote(TEXT))
        before = opened.version
        # By itself: else all might be there and found wrong before this read has given it away.
        assert read(opened, 500, 510) != TEXT[500:510]
        with pytest.raises(WrongBytes):
            read_all(opened)
        again = engine.open(remote(TEXT))
        assert again.version != before
        assert read_all(again) == TEXT
        assert engine.verification(remote(TEXT)) is Verification.YES


def test_wrong_bytes_that_nobody_was_given_are_fetched_again_and_never_noticed(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT}, [Fault(after=20, flip=True)])
    with running(source, tmp_path) as engine:
        assert read(engine.open(remote(TEXT)), 0, len(TEXT)) == TEXT


def test_strict_gives_nothing_before_all_is_verified(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT}, [Fault(after=20, flip=True)])
    with running(source, tmp_path, verify="strict") as engine:
        assert read(engine.open(remote(TEXT)), 0, 5) == TEXT[:5]
        assert engine.verification(remote(TEXT)) is Verification.YES


def test_strict_finds_the_verdict_of_an_earlier_run_and_waits_for_no_other(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT})
    with running(source, tmp_path) as engine:
        read_all(engine.open(remote(TEXT)))
    with running(source, tmp_path, verify="strict", deadline=1e9) as engine:
        assert read(engine.open(remote(TEXT)), 500, 510) == TEXT[500:510]
    assert source.bytes_sent == len(TEXT)


def test_off_reads_what_comes(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT}, [Fault(after=20, flip=True)])
    with running(source, tmp_path, verify="off") as engine:
        got = read_all(engine.open(remote(TEXT)))
        assert got != TEXT
        assert len(got) == len(TEXT)
        assert engine.verification(remote(TEXT)) is Verification.NO


def test_a_file_read_back_to_front_is_verified_with_its_last_piece(tmp_path: Path) -> None:
    file = remote(TEXT)
    with running(MemorySource({"f": TEXT}), tmp_path) as engine:
        opened = engine.open(file)
        for start in reversed(range(0, len(TEXT), 200)):
            assert read(opened, start, start + 200) == TEXT[start : start + 200]
        assert engine.verification(file) is Verification.YES


def test_a_file_read_back_to_front_with_a_wrong_byte_is_never_read_in_full(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT}, [Fault(after=3, flip=True)])
    with running(source, tmp_path) as engine:
        opened = engine.open(remote(TEXT))
        with pytest.raises(WrongBytes):  # noqa: PT012  (which of the reads raises is not promised)
            for start in reversed(range(0, len(TEXT), 200)):
                read(opened, start, start + 200)


def test_two_halves_read_by_two_readers_are_verified_together(tmp_path: Path) -> None:
    with running(MemorySource({"f": TEXT}), tmp_path) as engine:
        one, two = engine.open(remote(TEXT)), engine.open(remote(TEXT))
        assert read(one, 1000, len(TEXT)) == TEXT[1000:]
        assert read(two, 0, 1000) == TEXT[:1000]
        assert engine.verification(remote(TEXT)) is Verification.YES


def test_what_an_earlier_run_left_unverified_is_verified_when_it_is_read(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT})
    with running(source, tmp_path, verify="off") as engine:
        read_all(engine.open(remote(TEXT)))
    asked = len(source.requests)
    with running(source, tmp_path) as engine:
        assert read_all(engine.open(remote(TEXT))) == TEXT
        assert engine.verification(remote(TEXT)) is Verification.YES
    assert len(source.requests) == asked


def test_wrong_bytes_that_an_earlier_run_left_are_found_when_it_is_read(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT}, [Fault(after=20, flip=True)])
    with running(source, tmp_path, verify="off") as engine:
        read_all(engine.open(remote(TEXT)))
    with running(source, tmp_path) as engine:
        opened = engine.open(remote(TEXT))
        read(opened, 500, 510)  # by itself, so that something was given before all of it is hashed
        with pytest.raises(WrongBytes):
            read_all(opened)
        assert read_all(engine.open(remote(TEXT))) == TEXT


def test_bytes_fetched_again_after_eviction_are_held_against_the_verified_ones(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT})
    with running(source, tmp_path) as engine:
        read_all(engine.open(remote(TEXT)))
    _forget_blocks(tmp_path)
    source.misbehave(Fault(flip=True))
    with running(source, tmp_path) as engine:
        assert read_all(engine.open(remote(TEXT))) == TEXT
    _forget_blocks(tmp_path)
    source.misbehave(Fault(flip=True), Fault(flip=True), Fault(flip=True))
    with running(source, tmp_path) as engine, pytest.raises(WrongBytes):
        read(engine.open(remote(TEXT)), 500, 510)


def _forget_blocks(cache: Path) -> None:
    for path in (cache / "blocks").rglob("*.val"):
        path.unlink()


def test_two_threads_that_want_one_block_share_one_fetch(tmp_path: Path) -> None:
    gate, sent = threading.Event(), threading.Event()
    source = MemorySource({"f": TEXT}, [Fault(after=0, hang=gate, sent=sent)])
    with running(source, tmp_path) as engine, ThreadPoolExecutor(2) as threads:
        files = [engine.open(remote(TEXT)) for _ in range(2)]
        first = threads.submit(read, files[0], 600, 620)
        assert sent.wait(10)
        second = threads.submit(read, files[1], 600, 620)
        while not any(stream.demands for stream in files[1]._content.streams[1:]):
            pass  # until the second reader waits, too
        gate.set()
        assert first.result() == second.result() == TEXT[600:620]
        assert len(source.requests) == 1


def test_two_readers_of_one_file_fetch_it_once(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT})
    with running(source, tmp_path) as engine, ThreadPoolExecutor(4) as threads:
        results = [threads.submit(read_all, engine.open(remote(TEXT))) for _ in range(4)]
        assert all(result.result() == TEXT for result in results)
    assert source.bytes_sent == len(TEXT)


def test_a_leaf_is_given_before_the_rest_of_its_request_has_come(tmp_path: Path) -> None:
    gate = threading.Event()
    source = MemorySource({"f": TEXT}, [Fault(after=100, hang=gate)])
    with running(source, tmp_path) as engine:
        file = engine.open(remote(TEXT))
        assert read(file, 0, 90) == TEXT[:90]
        gate.set()


def test_a_broken_transfer_goes_on_at_the_byte_where_it_broke(tmp_path: Path) -> None:
    faults = [Fault(after=37, error=Unreachable("cut")), Fault(after=40, short=True)]
    source = MemorySource({"f": TEXT}, faults)
    with running(source, tmp_path, block_size=128 * LEAF) as engine:
        assert read(engine.open(remote(TEXT)), 0, len(TEXT)) == TEXT
    assert [start for _, start, _ in source.requests] == [0, 37, 77]
    assert source.bytes_sent == len(TEXT)


def test_what_cannot_be_fetched_is_an_error_and_can_be_tried_again(tmp_path: Path) -> None:
    faults = [Fault(error=Unreachable("down")) for _ in range(4)]
    source = MemorySource({"f": TEXT}, faults)
    with running(source, tmp_path) as engine:
        file = engine.open(remote(TEXT))
        with pytest.raises(Unreachable, match="down"):
            read(file, 500, 510)
        assert read(file, 500, 510) == TEXT[500:510]
    assert len(source.requests) == 5


def test_a_read_that_gets_nothing_ends_with_its_deadline(tmp_path: Path) -> None:
    gate = threading.Event()
    source = MemorySource({"f": TEXT}, [Fault(hang=gate)])
    with running(source, tmp_path, clock=FakeClock()) as engine:
        file = engine.open(remote(TEXT))
        with pytest.raises(TimedOut):
            read(file, 500, 510)
        gate.set()


def test_what_was_waited_for_in_vain_is_not_waited_for_at_once_again(tmp_path: Path) -> None:
    gate = threading.Event()
    source = MemorySource({"f": TEXT}, [Fault(hang=gate)] * 4)
    clock = FakeClock()
    with running(source, tmp_path, clock=clock) as engine:
        file = engine.open(remote(TEXT))
        with pytest.raises(TimedOut):
            read(file, 500, 510)
        waited = len(clock.waits)
        with pytest.raises(TimedOut):
            read(file, 500, 501)
        assert not any(clock.waits[waited:])
        clock.advance(10)  # whoever asks later is another one
        with pytest.raises(TimedOut):
            read(file, 500, 510)
        assert any(clock.waits[waited:])
        gate.set()


def test_a_reader_that_leaves_ends_the_fetch_of_what_only_it_wanted(tmp_path: Path) -> None:
    content = bytes(4 << 20)
    gate = threading.Event()
    source = MemorySource({"f": content}, [Fault(after=1 << 16, hang=gate)], chunk=1 << 12)
    with running(source, tmp_path, leaf_size=1 << 16, block_size=1 << 20) as engine:
        file = engine.open(remote(content))
        read(file, 0, 1)
        file.close()
        extents = engine._board._extents  # `close` leaves a note, and another thread ends the fetch
        settled(lambda: all(extent.cancelled for extent in list(extents)))
        gate.set()
    assert source.bytes_sent <= (1 << 16) + (1 << 12)


@pytest.mark.parametrize("verify", ["eof", "strict"])  # waits for bytes, and for the verdict
def test_closing_the_engine_ends_every_wait(tmp_path: Path, verify: str) -> None:
    gate, sent = threading.Event(), threading.Event()
    source = MemorySource({"f": TEXT}, [Fault(hang=gate, sent=sent)])
    with ThreadPoolExecutor(1) as threads, running(source, tmp_path, verify=verify, deadline=600.0) as engine:
        result = threads.submit(read, engine.open(remote(TEXT)), 0, 10)
        assert sent.wait(10)
        engine.close()
        with pytest.raises(Unreachable):
            result.result(20)
        gate.set()


FAULTS = st.builds(
    Fault,
    after=st.integers(0, 150),
    error=st.sampled_from([None, None, Unreachable("cut"), TimedOut("slow"), FileChanged("other")]),
    short=st.booleans(),
    flip=st.booleans(),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_read_equals_the_same_slice_of_the_file(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Under any faults, with little room, across restarts: whoever has read all of it has read it right."""
    content = TEXT[: data.draw(st.integers(0, 400), label="size")]
    leaf = data.draw(st.sampled_from([7, 16, 40]), label="leaf")
    block = leaf * data.draw(st.sampled_from([1, 3, 8]), label="leaves in a block")
    reads = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 300)), max_size=6)
    source = MemorySource({"f": content}, chunk=data.draw(st.integers(1, 64), label="chunk"))
    cache = tmp_path_factory.mktemp("cache")
    for _ in range(data.draw(st.integers(1, 2), label="runs")):
        source.misbehave(*data.draw(st.lists(st.none() | FAULTS, max_size=6), label="faults"))
        with running(
            source,
            cache,
            block_size=block,
            leaf_size=leaf,
            open_blocks=data.draw(st.sampled_from([2, 64]), label="open blocks"),
            cache_size=data.draw(st.sampled_from([1, 64 << 20]), label="cache size"),
        ) as engine:
            file = engine.open(remote(content))
            given_all = bytearray(len(content))
            wrong = False
            try:
                for start, length in [*data.draw(reads, label="reads"), (0, 250), (250, 250)]:
                    got = read(file, start, start + length)
                    right = content[start : start + length]
                    assert len(got) == len(right)
                    wrong = wrong or got != right
                    given_all[start : start + length] = b"\1" * len(right)
            except RescaleFSError:
                continue
            # A wrong byte may only have been given to one who did not read everything.
            assert 0 not in given_all
            assert not wrong


def test_threads_that_read_at_random_get_the_right_bytes(tmp_path: Path) -> None:
    content = TEXT * 20
    source = MemorySource({"f": content}, [Fault(after=n * 13, error=Unreachable("cut")) for n in range(20)])
    with running(source, tmp_path, open_blocks=16, cache_size=200_000) as engine:

        def some(seed: int) -> bool:
            file = engine.open(remote(content))
            starts = [(seed * 7919 + n * 104729) % len(content) for n in range(30)]
            good = all(read(file, at, at + 333) == content[at : at + 333] for at in starts)
            file.close()
            return good

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(some, range(8)))
