"""Troubles that pass, and items that are bad: rounds go on, and say what is wrong once."""

from __future__ import annotations

import ast
import errno
import logging
import os
import threading
from pathlib import Path

import pytest

import rescalefs
from rescalefs import containment
from rescalefs.errors import ApiError, Forbidden, NotFound, Unauthenticated
from rescalefs.mirror import DropNotes, Folding, Ledger
from rescalefs.mirror import part as parts
from rescalefs.mirror import transfers as transfers_
from rescalefs.reading import write_fully
from tests.fakes import FakeClock, Fault
from tests.mirror.rounds import NoTails, Rounds, output, rounds, shelf_in

MIB = 1 << 20
SMALL, LARGE = b"small", b"large" * (MIB // 2)
CONTENTS = {"small": SMALL, "large": LARGE}


class FullDisk:
    """Takes so many bytes, and then says what a disk says; what is removed makes no room."""

    def __init__(self, room: int, number: int = errno.ENOSPC) -> None:
        self.room = room
        self.number = number
        self.written = 0
        self._lock = threading.Lock()

    def write(self, fd: int, data: bytes, offset: int) -> None:
        with self._lock:
            if self.written + len(data) > self.room:
                raise OSError(self.number, os.strerror(self.number))
            self.written += len(data)
        write_fully(fd, data, offset)


def two_jobs(here: Rounds) -> None:
    for job in "ab":
        here.service.add(job, name=job)
    here.service.files["a"] = (output("small", SMALL), output("large", LARGE))
    here.service.files["b"] = (output("other", b"other"),)
    here.source.contents["other"] = b"other"


def all_is_here(here: Rounds) -> bool:
    return here.outputs("a") == CONTENTS and here.outputs("b") == {"other": b"other"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_after_a_disk_that_took_nothing_the_next_rounds_bring_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with rounds(tmp_path / "to", CONTENTS, NoTails()) as here:
        two_jobs(here)
        disk = FullDisk(0, number)
        monkeypatch.setattr(parts, "write_fully", disk.write)
        for _ in range(3):
            assert here.round()["fail"] >= 3
            assert {detail for act, _, detail in here.acts if act == "fail"} <= {
                os.strerror(number),
                "there is not enough space: it has 2621440 bytes, and did not fit. It is tried again",
            }
            assert here.outputs("a") == here.outputs("b") == {}
        disk.room = 1 << 30
        here.clock.advance(3600)
        assert here.round()["fail"] == 0
        assert all_is_here(here)


def test_a_full_disk_is_not_asked_for_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with rounds(tmp_path / "to", {"x": SMALL}, NoTails(), connections=1) as here:
        here.service.add("a")
        here.service.files["a"] = tuple(output(f"f{n}", SMALL) for n in range(500))
        here.source.contents |= {f"f{n}": SMALL for n in range(500)}
        disk = FullDisk(0)
        monkeypatch.setattr(parts, "write_fully", disk.write)
        for _ in range(3):
            assert here.round()["fail"] >= 500
        assert len(here.source.requests) <= 3 * 8
        disk.room = 1 << 30
        assert here.round()["fail"] == 0
        assert len(here.outputs()) == 500


def test_a_file_that_does_not_fit_keeps_no_other_from_it_and_is_not_fetched_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rounds(tmp_path / "to", CONTENTS, NoTails()) as here:
        two_jobs(here)

        def write(fd: int, data: bytes, offset: int) -> None:
            if offset + len(data) > MIB:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            write_fully(fd, data, offset)

        monkeypatch.setattr(parts, "write_fully", write)
        here.round()
        assert here.of("fail") == ["jobs/a/outputs/large"]
        assert here.outputs("a") == {"small": SMALL}
        assert here.outputs("b") == {"other": b"other"}
        assert list((tmp_path / "to" / "parts").iterdir()) == []  # it would keep others from fitting
        asked = len(here.source.requests)
        here.round()
        assert here.of("fail") == ["jobs/a/outputs/large"]
        assert len(here.source.requests) == asked
        monkeypatch.setattr(parts, "write_fully", write_fully)
        here.clock.advance(61)
        here.round()
        assert all_is_here(here)


@pytest.mark.parametrize("error", [Unauthenticated("401"), Forbidden("403"), NotFound("404")])
def test_a_key_that_is_refused_for_a_while_ends_nothing(tmp_path: Path, error: ApiError) -> None:
    with rounds(tmp_path / "to", CONTENTS, NoTails()) as here:
        two_jobs(here)
        here.source.misbehave(*(Fault(error=error) for _ in range(4)))
        while here.round()["fail"]:
            pass
        assert all_is_here(here)


ODD = (
    ValueError("a price of NaN"),
    RecursionError("too deep"),
    KeyError("cores"),
    MemoryError(),
    OSError(errno.EACCES, "Permission denied"),
)


@pytest.mark.parametrize("error", ODD, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["job", "folder", "content", "place"])
def test_one_bad_item_fails_alone_whatever_it_raises(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
    error: Exception,
) -> None:
    with rounds(tmp_path / "to", CONTENTS, NoTails(), connections=1) as here:
        two_jobs(here)
        with monkeypatch.context() as patch:
            patch.setattr(containment, "_logged", containment.Once())
            bad = _break(here, patch, where, error)
            with caplog.at_level(logging.ERROR):
                here.round()
        assert bad in here.of("fail")
        assert not [path for path in here.of("fail") if path.startswith("jobs/b")]
        assert here.outputs("b") == {"other": b"other"}
        assert (here.folder / "jobs/b/status").read_text() == "Completed\n"
        assert (here.folder / "by-name/b").is_symlink()
        unforeseen = where == "folder" or not isinstance(error, OSError)
        assert ("in bad\n    raise error" in caplog.text) == unforeseen  # where it was raised
        here.clock.advance(60)
        here.round()
        assert all_is_here(here)


def _break(here: Rounds, patch: pytest.MonkeyPatch, where: str, error: Exception) -> str:
    """Have something of job a raise; return the path that is to fail."""
    owner, name, told_by, path = {
        "job": (here.mirror._tree, "node", "/jobs/a", "jobs/a"),
        "folder": (here.service, "output_files", "a", "jobs/a/outputs"),
        "content": (here.source, "open_range", output("large", LARGE), "jobs/a/outputs/large"),
        "place": (here.shelf, "place", "jobs/a/outputs/small", "jobs/a/outputs/small"),
    }[where]
    usual = getattr(owner, name)

    def bad(first: object, *rest: object) -> object:
        if first == told_by or (where == "content" and getattr(first, "id", "") == "large"):
            raise error
        return usual(first, *rest)

    patch.setattr(owner, name, bad)
    return path


def test_many_jobs_that_share_many_inputs_do_not_wait_for_the_threads_that_serve_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers_, "_WAITING", 4)
    inputs = tuple(output(f"in{n}", b"%d" % n, checksum=False) for n in range(30))
    with rounds(tmp_path / "to", {f"in{n}": b"%d" % n for n in range(30)}, NoTails(), connections=2) as here:
        for number in range(20):
            here.service.add(f"j{number}")
            here.service.inputs[f"j{number}"] = inputs
        # No copies on this machine: all that wait for the same file are added by the thread that brought it.
        monkeypatch.setattr(here.shelf, "copy_of", lambda *_: None)
        done = threading.Event()

        def go() -> None:
            here.round()
            done.set()

        threading.Thread(target=go, daemon=True).start()
        assert done.wait(60)
        assert here.acts
        assert not here.of("fail")
        assert len(list(here.folder.glob("jobs/*/inputs/in*"))) == 600


# --- what is missing from a list


def links(here: Rounds) -> set[str]:
    return {path.name for path in (here.folder / "by-name").iterdir()}


def test_a_list_that_comes_back_empty_once_removes_no_link(tmp_path: Path) -> None:
    with rounds(tmp_path / "to", CONTENTS, NoTails()) as here:
        two_jobs(here)
        here.round()
        for _ in range(2):
            here.service.unlisted = {"a", "b"}
            here.clock.advance(400)
            here.round()
            assert links(here) == {"a", "b"}
            here.service.unlisted = set()
            here.clock.advance(400)
            here.round()
            assert links(here) == {"a", "b"}


def test_a_job_that_is_missing_for_some_minutes_loses_its_links_and_has_them_again(tmp_path: Path) -> None:
    with rounds(tmp_path / "to", CONTENTS, NoTails()) as here:
        two_jobs(here)
        here.round()
        here.service.unlisted = {"b"}
        seen = []
        for _ in range(4):
            here.clock.advance(80)
            here.round()
            seen.append(links(here))
        assert seen == [{"a", "b"}, {"a", "b"}, {"a", "b"}, {"a"}]
        assert here.outputs("b") == {"other": b"other"}
        here.service.unlisted = set()
        here.clock.advance(80)
        here.round()
        assert links(here) == {"a", "b"}


def test_a_link_of_a_job_that_is_there_goes_at_once(tmp_path: Path) -> None:
    with rounds(tmp_path / "to", CONTENTS, NoTails()) as here:
        here.service.add("a", status="Executing")
        here.round()
        assert (here.folder / "by-status/Executing/a").is_symlink()
        here.service.add("a")
        here.clock.advance(60)
        here.round()
        assert not (here.folder / "by-status/Executing").exists()
        assert (here.folder / "by-status/Completed/a").is_symlink()


# --- what is said


class Said(list[str]):
    def tell(self, act: str, path: str, detail: str) -> None:
        self.append(f"{act} {path} {detail}")


def test_a_trouble_is_told_once_counted_and_told_when_it_is_over() -> None:
    said, clock = Said(), FakeClock()
    folding = Folding(said.tell, clock)

    def round_of(*paths: str) -> list[str]:
        said.clear()
        for path in paths:
            folding.note("fail", path, "No space left on device")
        folding.note("same", "quiet", "")
        folding.note("keep", "mine", "changed here")
        folding.end_round()
        return list(said)

    many = [f"f{n}" for n in range(100)]
    full = "No space left on device"
    assert round_of(*many) == [
        *(f"fail f{n} {full}" for n in range(3)),
        "keep mine changed here",
        f"fail 97 more {full}",
    ]
    assert round_of(*many) == round_of(*many[1:]) == []
    clock.advance(3601)
    assert f"fail f1 {full}" in round_of(*many)
    assert round_of() == [f"over  {full}"]
    assert round_of() == []
    assert round_of("f1") == [f"fail f1 {full}"]


def test_a_drop_folder_that_cannot_be_read_or_written_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Views:
        def status(self, drop: str) -> bytes | None:
            if drop == "odd":
                raise ValueError("a status of another kind")
            return b"Executing\n"

        def log(self, drop: str) -> bytes | None:
            return None

        def job_id(self, drop: str) -> str | None:
            return None

    shelf = shelf_in(tmp_path)
    (tmp_path / "submit").write_text("not a folder")
    notes = DropNotes(shelf, Views())
    for _ in range(3):
        notes.write()
    (tmp_path / "submit").unlink()
    for name in ("odd", "wing"):
        (tmp_path / "submit" / name).mkdir(parents=True)
    for _ in range(3):
        notes.write()
    assert (tmp_path / "submit/wing/status").read_bytes() == b"Executing\n"
    assert len(caplog.messages) == 3  # the folder, the drop, and the traceback of the drop


def test_a_list_of_marks_on_a_full_disk_fails_like_a_file(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "mirror.sqlite")
    ledger._let_go()  # the connection that it has: two would be open
    ledger._open().execute("PRAGMA max_page_count = 1")
    with pytest.raises(OSError, match="full") as caught:
        ledger.note_fact("a long one", "x" * 100_000)
    assert caught.value.errno == errno.ENOSPC
    assert ledger.fact("a long one") is None
    ledger.close()


# --- waits


def test_no_wait_of_this_room_is_without_a_limit() -> None:
    """Each one looks again by itself, or is for what has a limit of its own."""
    waits = {"wait": 1, "wait_for": 2, "result": 1, "get": 99, "join": 1, "acquire": 1}
    top = Path(rescalefs.__file__).parent
    untimed = []
    for file in (*(top / "mirror").glob("*.py"), top / "assembly/mirror.py", top / "assembly/download.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                needed = waits.get(call.func.attr, 0)
                is_text = isinstance(call.func.value, ast.Constant)  # ", ".join(…)
                if needed and needed < 99 and not is_text and len(call.args) + len(call.keywords) < needed:
                    untimed.append(f"{file.name}:{call.lineno} {ast.unparse(call)}")
    assert untimed == []
