"""Reads as programs do that are not shell tools: `python -m tests.chaos.worker mount|fsspec`.

A line of JSON says what to read, a line of JSON what came of it. An `OSError` is an answer; whatever else is
raised is one as well, and named, because a program would have ended of it.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answer = dict[str, Any]
_CHUNK = 300_000  # bytes; no multiple of a page nor of a block
_MOST_HELD = 15  # files that stay open


def _hashed(read: Callable[[int], bytes], most: int | None = None) -> Answer:
    digest, count = hashlib.sha512(), 0
    while most is None or count < most:
        data = read(_CHUNK if most is None else min(_CHUNK, most - count))
        if not data:
            break
        digest.update(data)
        count += len(data)
    return {"count": count, "sha512": digest.hexdigest()}


class OnMount:
    """Through the kernel."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}  # path -> descriptor

    def pread(self, path: str, offset: int, length: int) -> Answer:
        """Read like a careful program: the kernel may give less than asked for, and fail with the rest."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return _pread(descriptor, offset, length)
        finally:
            os.close(descriptor)

    def held(self, path: str, offset: int, length: int) -> Answer:
        """From a file that stays open, whatever happens meanwhile, until it gives an error."""
        if path not in self._held:
            if len(self._held) >= _MOST_HELD:
                os.close(self._held.pop(next(iter(self._held))))
            self._held[path] = os.open(path, os.O_RDONLY)
        try:
            return _pread(self._held[path], offset, length)
        except OSError:
            os.close(self._held.pop(path))
            raise

    def whole(self, path: str) -> Answer:
        with Path(path).open("rb", buffering=0) as file:
            return _hashed(lambda count: file.read(count))

    def mapped(self, path: str) -> Answer:
        """May end in SIGBUS, as in any program, where a page cannot be read."""
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping:
            return _hashed(mapping.read)

    def sizes(self, path: str) -> Answer:
        found = {}
        for where, _, names in os.walk(path, onerror=_raise):
            for name in names:
                whole = os.path.join(where, name)  # noqa: PTH118  (strings, thousands of them)
                found[os.path.relpath(whole, path)] = os.stat(whole).st_size  # noqa: PTH116
        return {"sizes": found}

    def text(self, path: str) -> Answer:
        return {"text": Path(path).read_text(errors="replace")}


class OnFsspec:
    """Through fsspec, in this very process."""

    def __init__(self) -> None:
        import fsspec  # here, as the other kind of worker does without

        self._files = fsspec.filesystem("rescale")

    def pread(self, path: str, offset: int, length: int) -> Answer:
        data = self._files.cat_file(path, start=offset, end=offset + length)
        return {"count": len(data), "sha512": hashlib.sha512(data).hexdigest()}

    def whole(self, path: str) -> Answer:
        with self._files.open(path, "rb") as file:
            return _hashed(lambda count: file.read(count))

    def sizes(self, path: str) -> Answer:
        found = self._files.find(path, detail=True)
        if not found:  # so fsspec tells of a folder that is not there: then `info` says it, as `os.walk` does
            self._files.info(path)
            found = self._files.find(path, detail=True)
        return {"sizes": {name.partition(f"{path}/")[2]: each["size"] for name, each in found.items()}}


def _pread(descriptor: int, offset: int, length: int) -> Answer:
    data = b""
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return {"count": len(data), "sha512": hashlib.sha512(data).hexdigest()}


def _raise(error: OSError) -> None:
    raise error


def main(kind: str) -> None:
    reads: Any = OnFsspec() if kind == "fsspec" else OnMount()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = getattr(reads, asked.pop("op"))(**asked)
        except OSError as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        except Exception as error:  # noqa: BLE001  (it is told, and judged outside)
            answer = {"error": f"{type(error).__name__}: {error}", "is_odd": True}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
