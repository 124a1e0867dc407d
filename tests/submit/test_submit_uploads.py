"""Archives and streams: the same files give the same bytes, and their size is known before the first one."""

from __future__ import annotations

import io
import os
import re
import tarfile
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from rescalefs.api import ApiSettings, RescaleClient
from rescalefs.errors import Forbidden, Unauthenticated
from rescalefs.simulator import Fault, Simulator
from rescalefs.simulator.faults import Status
from rescalefs.submit import packing
from rescalefs.submit.folder import look
from rescalefs.submit.listing import Entry, Kind
from rescalefs.submit.parcels import Parcel
from rescalefs.submit.streams import ContentChanged, ParcelStream
from tests.fakes import FakeClock
from tests.submit.rig import FakeRescale, Rig, drop_files, make_settings


def parcel_of(folder: Path, top: str) -> Parcel:
    listing = look(folder, 100_000)
    return Parcel(f"{top}.tar", (listing.by_path[top], *listing.below(top)), is_archive=True)


def pieces(part: packing.Part, size: int) -> Iterator[bytes]:
    buffer = bytearray(size)
    while count := part.readinto(memoryview(buffer)):
        yield bytes(buffer[:count])


names = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/"), min_size=1, max_size=40
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(names, st.binary(max_size=2000), max_size=5), st.integers(1, 5000))
def test_an_archive_unpacks_to_the_files_that_went_in(contents: dict[str, bytes], chunk: int) -> None:
    paths = {f"sub/{number}-{name}"[:200]: data for number, (name, data) in enumerate(contents.items())}
    members = tuple(Entry(path, Kind.FILE, len(data)) for path, data in sorted(paths.items()))
    data = b"".join(
        piece
        for part in packing.archive(members, lambda entry: io.BytesIO(paths[entry.path]))
        for piece in pieces(part, chunk)
    )
    assert len(data) == packing.size(members)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        unpacked = {each.name: archive.extractfile(each) for each in archive}
        assert {name: file.read() for name, file in unpacked.items() if file} == paths


def test_a_copied_folder_packs_into_the_same_bytes(tmp_path: Path) -> None:
    sent = []
    for copy, time in (("one", 1_000), ("two", 2_000)):
        sub = tmp_path / copy / "sub"
        (sub / "deep").mkdir(parents=True)
        (sub / "empty").mkdir()
        (sub / "deep" / "ü.dat").write_bytes(b"x" * 700)
        (sub / "run.sh").write_text("#!/bin/sh\n")
        (sub / "run.sh").chmod(0o700)
        os.utime(sub / "run.sh", (time, time))
        with ParcelStream(parcel_of(tmp_path / copy, "sub"), tmp_path / copy) as stream:
            sent.append(stream.read())
    assert sent[0] == sent[1]
    with tarfile.open(fileobj=io.BytesIO(sent[0])) as archive:
        assert [each.name for each in archive] == [
            "sub",
            "sub/deep",
            "sub/deep/ü.dat",
            "sub/empty",
            "sub/run.sh",
        ]
        assert archive.getmember("sub/run.sh").mode == 0o755
        assert archive.getmember("sub/deep/ü.dat").mode == 0o644


def test_a_stream_can_be_rewound_and_its_digest_is_of_what_was_read_last(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    parcel = Parcel("a", (look(tmp_path, 10).by_path["a"],))
    with ParcelStream(parcel, tmp_path) as stream:
        assert stream.read(3) == b"123"
        assert stream.tell() == 3
        stream.seek(0)
        assert stream.read() == b"12345"
        assert stream.xxh3 == xxhash.xxh3_128_digest(b"12345")
        with pytest.raises(io.UnsupportedOperation):
            stream.seek(2)


@pytest.mark.parametrize("change", ["longer", "shorter", "other time", "replaced", "link"])
def test_a_file_that_is_not_the_listed_one_is_not_sent(tmp_path: Path, change: str) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"12345")
    parcel = Parcel("a", (look(tmp_path, 10).by_path["a"],))
    if change in {"longer", "shorter"}:
        file.write_bytes(b"1" * (9 if change == "longer" else 2))
    elif change == "other time":
        os.utime(file, (1, 1))
    else:
        file.rename(tmp_path / "b")
        (tmp_path / "secret").write_bytes(b"54321")
        if change == "replaced":
            (tmp_path / "secret").rename(file)
        else:
            file.symlink_to("secret")
    with ParcelStream(parcel, tmp_path) as stream, pytest.raises(ContentChanged):
        stream.read()


def test_a_file_that_ends_early_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"x" * (3 << 20))
    with ParcelStream(Parcel("a", (look(tmp_path, 10).by_path["a"],)), tmp_path) as stream:
        assert stream.read(10) == b"x" * 10
        os.truncate(file, 1 << 20)
        with pytest.raises(packing.Shrunk):
            stream.read()


def test_a_large_file_is_read_in_little_memory(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(64 << 20)
    parcel = Parcel("large", (look(tmp_path, 10).by_path["large"],))
    buffer = bytearray(1 << 16)
    tracemalloc.start()
    try:
        with ParcelStream(parcel, tmp_path) as stream:
            while stream.readinto(buffer):
                pass
            assert stream.tell() == 64 << 20
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("wish", ["Fri, 31 Dec 9999 23:59:59 GMT", "999999999999"])
def test_an_absurd_retry_after_does_not_stop_a_drop_for_an_hour(
    simulator: Simulator, tmp_path: Path, wish: str
) -> None:
    clock = FakeClock()
    simulator.faults.add(Fault(Status(429, retry_after=wish), "jobs/", "POST", times=12))
    client: Any = RescaleClient(ApiSettings(simulator.url, simulator.api_key), clock)
    with closing(client), Rig(make_settings(tmp_path), client, clock) as rig:
        drop_files(rig.settings.folder / "wing")
        rig.turns(120, 5.0)
        (job,) = client.jobs()
        assert rig.ledger.job_id("wing") == job.id


def test_files_that_the_server_will_not_have_now_are_sent_when_it_says(
    simulator: Simulator, tmp_path: Path
) -> None:
    def sent() -> int:
        return sum(entry.path.endswith("files/contents/") for entry in simulator.traffic.entries())

    clock = FakeClock()
    simulator.faults.add(Fault(Status(429, retry_after=300), "files/contents/", "POST"))
    client: Any = RescaleClient(ApiSettings(simulator.url, simulator.api_key), clock)
    with closing(client), Rig(make_settings(tmp_path), client, clock) as rig:
        drop_files(rig.settings.folder / "wing", files={"solve.py": b"print(42)\n", "mesh.msh": b"1 2 3\n"})
        rig.turns(3)
        assert re.fullmatch(r"uploading 0 of 2 files, .*trying again in 300 s, at \S+T\S+Z", rig.status())
        rig.turns(100, 2.5)
        assert sent() == 1
        rig.turns(30, 2.5)
        assert sent() == 3
        assert len(client.jobs()) == 1


def test_a_file_that_the_server_finds_too_large_is_sent_once_and_rejects_the_drop(
    simulator: Simulator, tmp_path: Path
) -> None:
    clock = FakeClock()
    simulator.faults.add(Fault(Status(413), "files/contents/", "POST"))
    client: Any = RescaleClient(ApiSettings(simulator.url, simulator.api_key), clock)
    with closing(client), Rig(make_settings(tmp_path), client, clock) as rig:
        drop_files(rig.settings.folder / "wing", files={"mesh.msh": b"1 2 3\n"})
        rig.turns(100, 5.0)
        assert rig.status().startswith("rejected: mesh.msh: Status 413")
        assert sum(entry.path.endswith("files/contents/") for entry in simulator.traffic.entries()) == 1
        assert client.jobs() == ()
        (rig.settings.folder / "wing" / "mesh.msh").write_bytes(b"1\n")
        rig.turns(20, 5.0)
        assert len(client.jobs()) == 1


def test_a_file_that_is_refused_for_minutes_with_a_good_key_rejects_the_drop(
    rig: Rig, rescale: FakeRescale
) -> None:
    def refuse(request: str) -> None:
        if request == "before upload":
            raise Forbidden("POST files/contents/: 403, blocked")

    rescale.point = refuse
    folder = rig.settings.folder / "wing"
    drop_files(folder, files={"solve.py": b"print(42)\n"})
    rig.turns(10, 5.0)
    assert rig.status().startswith("uploading"), "a refusal that may pass is waited for"
    rig.turns(100, 5.0)
    assert rig.status().startswith("rejected: solve.py: the server takes the API key and refuses this file")
    assert "403, blocked" in rig.status()
    assert rescale.requests.count("upload") == 4
    assert not rescale.on_server
    rescale.point = lambda _: None
    (folder / "solve.py").write_bytes(b"print(43)\n")
    rig.turns(20, 5.0)
    assert len(rescale.on_server) == 1


def test_a_file_waits_for_a_renewed_key_for_as_long_as_the_key_is_refused(
    rig: Rig, rescale: FakeRescale
) -> None:
    def refuse(request: str) -> None:
        if request in ("before upload", "before user"):
            raise Unauthenticated(f"{request}: 401")

    rescale.point = refuse
    drop_files(rig.settings.folder / "wing", files={"solve.py": b"print(42)\n"})
    rig.turns(300, 20.0)
    assert re.fullmatch(r"uploading 0 of 1 file, .*solve\.py: before user: 401.* again in .*", rig.status())
    rescale.point = lambda _: None
    rig.depot.hurry()
    rig.turns(5)
    assert len(rescale.on_server) == 1
