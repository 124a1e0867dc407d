"""Pure: what stands behind a block's bytes in the cache, so that a wrong byte is never served.

A block's file describes itself: after the bytes come the leaves that are there, a digest of each, and a
digest of all that together with the block's key. So the index needs no trust: if it names the wrong file, or
an older one, or one that was cut short, the trailer does not fit the key and the block counts as absent.
"""

from __future__ import annotations

import struct

import xxhash

DIGEST = 16  # bytes of XXH3-128
_MAGIC = b"RSFSBLK1"
_HEAD = struct.Struct("<8sQII")  # magic, length of the block, leaf size, leaves


def digest(data: bytes | bytearray | memoryview) -> bytes:
    """XXH3-128: it finds every accident, at 30 GB/s. It is no proof against malice; the folder is 0700."""
    return xxhash.xxh3_128_digest(data)


def trailer_size(leaves: int) -> int:
    """How many bytes `encode` makes of a block of so many leaves."""
    return _HEAD.size + -(-leaves // 8) + DIGEST * leaves + DIGEST


def encode(key: str, length: int, leaf_size: int, present: int, digests: bytes | bytearray) -> bytes:
    """The trailer of a block that has the leaves ``present``."""
    leaves = len(digests) // DIGEST
    body = (
        _HEAD.pack(_MAGIC, length, leaf_size, leaves)
        + present.to_bytes(-(-leaves // 8), "little")
        + bytes(digests)
    )
    return body + digest(key.encode() + body)


def decode(key: str, length: int, leaf_size: int, raw: bytes) -> tuple[int, bytearray] | None:
    """The leaves present and all digests; None when this is not, in every bit, the trailer of that block."""
    leaves = -(-length // leaf_size)
    if len(raw) != trailer_size(leaves):
        return None
    body, seal = raw[:-DIGEST], raw[-DIGEST:]
    if digest(key.encode() + body) != seal or _HEAD.unpack_from(body) != (_MAGIC, length, leaf_size, leaves):
        return None
    mask_stop = _HEAD.size + -(-leaves // 8)
    return int.from_bytes(body[_HEAD.size : mask_stop], "little"), bytearray(body[mask_stop:])


def search(key: str, raw: bytes) -> tuple[int, int, int, bytearray] | None:
    """The trailer at the end of ``raw``, whatever block it is of, if its key is right.

    Gives the block's length, its leaf size, the leaves present, and all digests. For those who have only the
    key; `decode` also holds the trailer against what the block should be.
    """
    at = len(raw)
    while (at := raw.rfind(_MAGIC, 0, at)) >= 0:
        tail = raw[at:]
        if len(tail) >= _HEAD.size:
            _, length, leaf_size, leaves = _HEAD.unpack_from(tail)
            if leaf_size > 0 and len(tail) == trailer_size(leaves):
                found = decode(key, length, leaf_size, tail)
                if found is not None:
                    return length, leaf_size, *found
    return None


def seal_record(key: str, record: bytes | bytearray) -> bytes:
    """A record that `open_record` takes back only as it was, and only under the same key."""
    return bytes(record) + digest(key.encode() + record)


def open_record(key: str, raw: bytes) -> bytes | None:
    """What was sealed; None when a bit of it, or the key, is another one."""
    record, seal = raw[:-DIGEST], raw[-DIGEST:]
    return record if digest(key.encode() + record) == seal else None
