"""A log stays small and keeps what matters, whatever a program does to make it grow."""

from __future__ import annotations

import logging
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rescalefs import logs
from rescalefs.clock import SystemClock


def line(message: str, *values: object, level: int = logging.WARNING, name: str = "x") -> logging.LogRecord:
    return logging.LogRecord(name, level, __file__, 1, message, values, None)


def taken(folds: logs.Folds, records: list[logging.LogRecord], now: float = 0.0) -> list[str]:
    return [record.getMessage() for record in records if folds.takes(record, now)]


def test_equal_lines_are_written_once_and_counted() -> None:
    folds = logs.Folds()
    assert taken(folds, [line("%s is refused", "/a")] * 1000) == ["/a is refused"]
    assert folds.due(59.0) == []
    (count,) = folds.due(60.0)
    assert count.getMessage() == "999 more lines like this in 60 s, the last: /a is refused"
    assert (count.name, count.levelname) == ("x", "WARNING")


def test_many_different_lines_of_one_kind_are_a_few_and_a_count() -> None:
    folds = logs.Folds()
    written = taken(folds, [line("%s is refused", f"/{number}") for number in range(10_000)])
    assert written == [f"/{number} is refused" for number in range(20)]
    (count,) = folds.due(60.0)
    assert count.getMessage().startswith("9980 more lines like this")
    assert count.getMessage().endswith("/9999 is refused")


def test_another_place_level_or_logger_is_another_kind() -> None:
    folds = logs.Folds()
    records = [line("a"), line("b"), line("a", level=logging.ERROR), line("a", name="y")]
    assert taken(folds, records) == ["a", "b", "a", "a"]


def test_messages_that_a_library_builds_itself_do_not_fill_the_memory() -> None:
    folds = logs.Folds()
    written = taken(folds, [line(f"connection {number} broke") for number in range(10_000)])
    assert len(written) == 520
    (count,) = folds.due(60.0)
    assert count.getMessage().startswith("9480 more lines like this")


def test_counts_become_rarer_while_it_goes_on_and_the_line_comes_again_after_a_pause() -> None:
    folds = logs.Folds()
    times = []
    assert taken(folds, [line("again")]) == ["again"]
    for second in range(1, 20_000):
        assert taken(folds, [line("again")], float(second)) == []
        times += [second] * len(folds.due(float(second)))
    assert times == [60, 180, 420, 900, 1860, 3780, 7380, 10_980, 14_580, 18_180]
    (_,) = folds.due(30_000.0)
    assert folds.due(40_000.0) == []
    assert taken(folds, [line("again")], 40_000.0) == ["again"]


@pytest.mark.parametrize("control", ["\n", "\r", "\x1b[31m", "\0", "\x85", "\u2028", "\u202e"])
def test_a_name_with_control_characters_forges_no_line_and_moves_no_cursor(control: str) -> None:
    forged = f"bad{control}2026-01-01 00:00:00,000 ERROR rescalefs: forged"
    text = logs.LineFormatter().format(line("found drop %s", forged))
    assert text.isprintable()
    assert text.endswith("ERROR rescalefs: forged")


def test_what_an_error_quotes_forges_no_line_in_its_traceback() -> None:
    record = line("the job %s failed", "ü")
    error = ValueError("odd\x1b[2J\n2026-01-01 00:00:00,000 ERROR rescalefs: forged")
    record.exc_info = (ValueError, error, None)
    first, *rest = logs.LineFormatter().format(record).split("\n")
    assert first.endswith("the job ü failed")
    assert rest == [r"  ValueError: odd\x1b[2J", "  2026-01-01 00:00:00,000 ERROR rescalefs: forged"]


def test_a_user_who_asks_for_every_operation_sees_every_one() -> None:
    assert len(taken(logs.Folds(), [line("read", level=logging.DEBUG)] * 100)) == 100


def test_errors_of_one_message_with_different_causes_are_different_lines() -> None:
    folds = logs.Folds()
    records = []
    for cause in ("a", "b", "a"):
        record = line("it failed")
        record.exc_info = (ValueError, ValueError(cause), None)
        records.append(record)
    assert [folds.takes(record, 0.0) for record in records] == [True, True, False]


@pytest.fixture
def own_streams() -> object:
    """Standard output and error of this process as they are now, put back afterwards."""
    kept = [os.dup(1), os.dup(2)]
    yield None
    for number, descriptor in zip((1, 2), kept, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)


def test_a_file_has_a_limit_with_all_that_goes_into_it(tmp_path: Path, own_streams: object) -> None:
    path = tmp_path / "state" / "mount.log"
    file = logs.LogFile(path, most=1000)
    file.take_over()
    for number in range(100):
        file.write(f"{number:099d}\n".encode())
        os.write(2, b"libfuse: %090d\n" % number)  # past us, straight into the file
        file.tick()
    files = sorted(path.parent.iterdir())
    assert [each.name for each in files] == ["mount.log", "mount.log.1", "mount.log.2", "mount.log.3"]
    assert max(each.stat().st_size for each in files) <= 1200
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
    text = "".join(each.read_text() for each in reversed(files))
    assert text.endswith(f"libfuse: {99:090d}\n")
    assert text.count("libfuse") > 10


def test_two_daemons_may_write_into_one_file(tmp_path: Path) -> None:
    path = tmp_path / "mount.log"
    one, other = logs.LogFile(path, most=1000), logs.LogFile(path, most=1000)
    for number in range(30):
        one.write(f"one {number:095d}\n".encode())
        other.write(f"two {number:095d}\n".encode())
        other.tick()
        one.tick()
    text = "".join(each.read_text() for each in sorted(tmp_path.iterdir(), reverse=True))
    for who in ("one", "two"):
        numbers = [int(each.split()[1]) for each in text.splitlines() if each.startswith(who)]
        assert numbers == list(range(numbers[0], 30))
        assert len(numbers) > 10


def test_a_log_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "mount.log"
    path.touch(mode=0o644)
    os.close(logs.open_log(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


class Stuck:
    """A sink whose reader does not read."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.got: list[bytes] = []

    def write(self, data: bytes) -> None:
        assert self.may_go_on.wait(30)
        self.got.append(data)

    def tick(self) -> None:
        pass


def test_who_logs_never_waits_for_who_reads_the_log() -> None:
    sink, stop = Stuck(), threading.Event()
    writer = logs.LogWriter(sink, SystemClock())
    thread = threading.Thread(target=writer.run, args=(stop,))
    thread.start()
    for number in range(10_000):
        writer.handle(line(f"{number}", level=logging.DEBUG))
    stop.set()
    sink.may_go_on.set()
    thread.join(30)
    text = b"".join(sink.got).decode()
    assert "WARNING" not in text
    assert text.count("DEBUG") < 10_000
    assert "lines were left out here" in text


_FULL_PIPE = """
import logging, signal, threading
from rescalefs import logs, signals
ended = threading.Event()
with logs.written(), signals.reported(lambda _: (ended.set(), logging.error("ending"))):
    for number in range(4000):
        logging.error("%s" % ("x" * 100 + str(number)))
    print("full", flush=True)
    ended.wait(60)
"""


def test_a_reader_that_does_not_read_keeps_no_command_from_ending() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _FULL_PIPE], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"full\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
