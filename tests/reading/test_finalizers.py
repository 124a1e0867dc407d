"""Files that a program forgot: the garbage collector closes them in the middle of any line, of any thread."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fakes import MemorySource
from tests.reading.engines import read_all, remote, running

TEXT = bytes(range(251)) * 8


@contextmanager
def at_every_line_of_reading(act: Callable[[], None]) -> Iterator[None]:
    """Run ``act`` before each line of the room, on each thread that is started meanwhile.

    A finaliser that the collector runs there would be called on the same thread, with the same locks held.
    A few times for each line, because the line that works off what ``act`` leaves would never end.
    """
    times: Counter[tuple[str, int, int]] = Counter()

    def in_function(frame: FrameType, event: str, _: Any) -> Any:
        place = frame.f_code.co_filename, frame.f_lineno, threading.get_ident()
        times[place] += 1
        if event == "line" and times[place] <= 3:
            act()
        return in_function

    def on_call(frame: FrameType, event: str, _: Any) -> Any:
        return in_function if "/rescalefs/reading/" in frame.f_code.co_filename else None

    before = threading.gettrace()
    threading.settrace(on_call)
    try:
        yield
    finally:
        threading.settrace(before)


def test_a_file_may_be_closed_in_the_middle_of_any_line_of_any_thread(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT, "g": TEXT[::-1]})
    with running(source, tmp_path, started=False) as engine:
        forgotten = engine.open(remote(TEXT))
        result: list[bytes] = []

        def reader() -> None:
            for content, name in ((TEXT, "f"), (TEXT[::-1], "g"), (TEXT, "f")):
                file = engine.open(remote(content, name))
                result.append(read_all(file))
                file.close()

        with at_every_line_of_reading(forgotten.close):
            engine.start()
            thread = threading.Thread(target=reader, daemon=True)
            thread.start()
            thread.join(60)
        assert not thread.is_alive(), "the reader waits for a lock that it holds itself"
        assert result == [TEXT, TEXT[::-1], TEXT]


def test_what_only_a_closed_file_wanted_is_stored_before_the_next_one_is_opened(tmp_path: Path) -> None:
    source = MemorySource({"f": TEXT})
    with running(source, tmp_path) as engine:
        for _ in range(3):
            file = engine.open(remote(TEXT))
            read_all(file)
            file.close()
        board = engine._board
        engine.open(remote(TEXT))
        (content,) = board._contents.values()
        assert len(content.streams) == 1
        assert source.bytes_sent == len(TEXT)
