from __future__ import annotations

import struct
from types import SimpleNamespace

import pytest

from rescalefs.mount.handshake import (
    FUSE_AUTO_INVAL_DATA,
    FUSE_DIRECT_IO_ALLOW_MMAP,
    FUSE_INIT_EXT,
    MAX_PAGES,
    completed,
    kernel_maps_everything,
    replace_main,
)

OFFERED = 1 << 22


def init_request(flags: int) -> bytes:
    """struct fuse_in_header, and fuse_init_in of protocol 7.36."""
    body = struct.pack("=IIIII", 7, 36, 128 << 10, flags & 0xFFFFFFFF, flags >> 32).ljust(64, b"\0")
    return struct.pack("=IIQQIIII", 40 + len(body), 26, 2, 0, 0, 0, 0, 0) + body


def libfuse_answer(flags: int) -> bytes:
    """struct fuse_out_header, and fuse_init_out as libfuse 2.9 knows it."""
    body = struct.pack("=IIIIHHI", 7, 19, 128 << 10, flags, 64, 48, 128 << 10)
    return struct.pack("=IiQ", 16 + len(body), 0, 2) + body


def test_the_promise_is_added_and_all_else_stays_as_libfuse_said_it() -> None:
    answer = completed(init_request(OFFERED | 0b1011), libfuse_answer(0b0011))
    length, error, unique = struct.unpack_from("=IiQ", answer)
    assert (length, error, unique) == (len(answer), 0, 2)
    body = struct.unpack_from("=IIIIHHIIH", answer, 16)
    assert body == (7, 19, 128 << 10, OFFERED | 0b0011, 64, 48, 128 << 10, 0, MAX_PAGES)
    assert len(answer) == 16 + 64


def test_of_more_than_32_flags_the_second_word_is_announced() -> None:
    offered = FUSE_INIT_EXT | FUSE_AUTO_INVAL_DATA | FUSE_DIRECT_IO_ALLOW_MMAP | 1 << 37
    answer = completed(init_request(offered), libfuse_answer(0b0011))
    body = struct.unpack_from("=IIIIHHIIHHI", answer, 16)
    flags, max_pages, more = body[3], body[8], body[10]
    assert flags == FUSE_INIT_EXT | FUSE_AUTO_INVAL_DATA | 0b0011
    assert max_pages == 0
    assert more == 1 << (36 - 32)


def test_a_kernel_of_32_flags_is_not_taken_for_more() -> None:
    answer = completed(init_request(FUSE_AUTO_INVAL_DATA | FUSE_DIRECT_IO_ALLOW_MMAP), libfuse_answer(0))
    assert struct.unpack_from("=IIIIHHIIHHI", answer, 16)[3:] == (
        *(FUSE_AUTO_INVAL_DATA, 64, 48, 128 << 10, 0, 0, 0, 0),
    )
    old = init_request(FUSE_AUTO_INVAL_DATA)[: 40 + 16]
    assert len(completed(old, libfuse_answer(0))) == len(answer)


@pytest.mark.parametrize(
    ("release", "maps"),
    [("6.6.0-9", True), ("6.18.44", True), ("7.0", True), ("6.5.99", False), ("5.15.0-91-generic", False)],
)
def test_what_a_kernel_maps_is_told_by_its_release(release: str, maps: bool) -> None:
    assert kernel_maps_everything(release) is maps


def test_a_kernel_that_does_not_offer_it_gets_libfuses_answer() -> None:
    answer = libfuse_answer(0b0011)
    assert completed(init_request(0b1011), answer) == answer


def test_a_refusal_stays_one() -> None:
    refusal = struct.pack("=IiQ", 16, -71, 2)
    assert completed(init_request(OFFERED), refusal) == refusal


def test_a_libfuse_that_lacks_a_function_is_left_alone() -> None:
    libfuse = SimpleNamespace(fuse_main_real=max)
    replace_main(libfuse, lambda _: None, lambda _: None)
    assert libfuse.fuse_main_real is max
