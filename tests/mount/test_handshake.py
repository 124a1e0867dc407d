from __future__ import annotations

import struct
from types import SimpleNamespace

from rescalefs.mount.handshake import MAX_PAGES, replace_main, with_max_pages

OFFERED = 1 << 22


def init_request(flags: int) -> bytes:
    """struct fuse_in_header, and fuse_init_in of protocol 7.36."""
    body = struct.pack("=IIII", 7, 36, 128 << 10, flags).ljust(64, b"\0")
    return struct.pack("=IIQQIIII", 40 + len(body), 26, 2, 0, 0, 0, 0, 0) + body


def libfuse_answer(flags: int) -> bytes:
    """struct fuse_out_header, and fuse_init_out as libfuse 2.9 knows it."""
    body = struct.pack("=IIIIHHI", 7, 19, 128 << 10, flags, 64, 48, 128 << 10)
    return struct.pack("=IiQ", 16 + len(body), 0, 2) + body


def test_the_promise_is_added_and_all_else_stays_as_libfuse_said_it() -> None:
    answer = with_max_pages(init_request(OFFERED | 0b1011), libfuse_answer(0b0011))
    length, error, unique = struct.unpack_from("=IiQ", answer)
    assert (length, error, unique) == (len(answer), 0, 2)
    body = struct.unpack_from("=IIIIHHIIH", answer, 16)
    assert body == (7, 19, 128 << 10, OFFERED | 0b0011, 64, 48, 128 << 10, 0, MAX_PAGES)
    assert len(answer) == 16 + 64


def test_a_kernel_that_does_not_offer_it_gets_libfuses_answer() -> None:
    answer = libfuse_answer(0b0011)
    assert with_max_pages(init_request(0b1011), answer) == answer


def test_a_refusal_stays_one() -> None:
    refusal = struct.pack("=IiQ", 16, -71, 2)
    assert with_max_pages(init_request(OFFERED), refusal) == refusal


def test_a_libfuse_that_lacks_a_function_is_left_alone() -> None:
    libfuse = SimpleNamespace(fuse_main_real=max)
    replace_main(libfuse, lambda _: None)
    assert libfuse.fuse_main_real is max
