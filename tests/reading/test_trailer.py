from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rescalefs.reading.trailer import (
    DIGEST,
    decode,
    digest,
    encode,
    open_record,
    seal_record,
    trailer_size,
)

DIGESTS = digest(b"a") + digest(b"b") + digest(b"c")
SEALED = encode("key", 40, 16, 0b101, DIGESTS)


def test_a_trailer_is_read_as_it_was_written() -> None:
    assert len(SEALED) == trailer_size(3)
    assert decode("key", 40, 16, SEALED) == (0b101, bytearray(DIGESTS))


@given(st.integers(0, len(SEALED) * 8 - 1))
def test_a_trailer_with_any_bit_flipped_is_none(bit: int) -> None:
    flipped = bytearray(SEALED)
    flipped[bit // 8] ^= 1 << bit % 8
    assert decode("key", 40, 16, bytes(flipped)) is None


@given(st.integers(0, len(SEALED) - 1))
def test_a_trailer_cut_anywhere_is_none(length: int) -> None:
    assert decode("key", 40, 16, SEALED[:length]) is None


def test_a_trailer_of_another_block_is_none() -> None:
    assert decode("other", 40, 16, SEALED) is None
    assert decode("key", 41, 16, SEALED) is None


@given(st.binary(max_size=60), st.data())
def test_a_record_opens_only_as_it_was_sealed(record: bytes, data: st.DataObject) -> None:
    sealed = seal_record("key", record)
    assert open_record("key", sealed) == record
    assert open_record("other", sealed) is None
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    flipped = bytearray(sealed)
    flipped[bit // 8] ^= 1 << bit % 8
    assert open_record("key", bytes(flipped)) is None
    assert open_record("key", sealed[: DIGEST - 1]) is None
