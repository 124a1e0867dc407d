"""Readers that share connections, and what becomes of the fetches that nobody wants any more."""

from __future__ import annotations

import threading
from pathlib import Path
from random import Random

from tests.fakes import Fault, MemorySource
from tests.reading.engines import read, remote, running

MIB = 1 << 20
CONTENT = Random(5).randbytes(24 * MIB)


def test_one_reader_with_every_connection_busy_does_not_starve_another(tmp_path: Path) -> None:
    held, sent = threading.Event(), threading.Event()
    hangs = [Fault(after=0, hang=held, sent=sent) for _ in range(2)]
    source = MemorySource({"f": CONTENT, "g": CONTENT[::-1]}, hangs)
    with running(source, tmp_path, connections=2, block_size=MIB, leaf_size=1 << 16) as engine:
        cat = engine.open(remote(CONTENT))
        reader = threading.Thread(target=lambda: read(cat, 0, 9 * MIB))
        reader.start()
        try:
            while len(source.requests) < 2:
                assert sent.wait(20)
            head = engine.open(remote(CONTENT[::-1], "g"))
            assert read(head, 0, 1000) == CONTENT[::-1][:1000]
        finally:
            held.set()
            reader.join(20)


def test_a_read_to_the_end_of_a_request_does_not_give_up_that_very_request(tmp_path: Path) -> None:
    """What is being read counts as wanted, though nobody waits for it yet."""
    source = MemorySource({"f": CONTENT}, chunk=1 << 16)
    with running(source, tmp_path, connections=1, block_size=MIB, leaf_size=1 << 16) as engine:
        file = engine.open(remote(CONTENT))
        for start in range(0, len(CONTENT), MIB):
            assert read(file, start, start + MIB) == CONTENT[start : start + MIB]
    starts = [start for _, start, _ in source.requests]
    assert not any(start % MIB for start in starts)
    assert source.bytes_sent == len(CONTENT)


def test_a_large_read_uses_all_connections(tmp_path: Path) -> None:
    held, sent = threading.Event(), threading.Event()
    source = MemorySource({"f": CONTENT}, [Fault(hang=held, sent=sent) for _ in range(4)])
    with running(source, tmp_path, connections=4, block_size=MIB, leaf_size=1 << 16) as engine:
        file = engine.open(remote(CONTENT))
        result: list[bytes] = []
        reader = threading.Thread(target=lambda: result.append(read(file, 2 * MIB, 22 * MIB)))
        reader.start()
        while len(source.requests) < 4:
            assert sent.wait(20)
        held.set()
        reader.join(20)
        assert result == [CONTENT[2 * MIB : 22 * MIB]]


def test_a_reader_that_goes_elsewhere_ends_the_fetch_of_what_it_left(tmp_path: Path) -> None:
    gate, sent = threading.Event(), threading.Event()
    source = MemorySource({"f": CONTENT}, [Fault(after=MIB, hang=gate, sent=sent)], chunk=1 << 16)
    with running(source, tmp_path, connections=1, block_size=MIB, leaf_size=1 << 16) as engine:
        file = engine.open(remote(CONTENT))
        assert read(file, 0, 1 << 18) == CONTENT[: 1 << 18]
        assert sent.wait(20)
        assert read(file, 20 * MIB, 20 * MIB + 10) == CONTENT[20 * MIB : 20 * MIB + 10]
        gate.set()
    assert source.bytes_sent <= MIB + 4 * (1 << 16)
