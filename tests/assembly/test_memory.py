"""What the C library does with memory once it was told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Eight threads at once, each of which has taken memory: how many heaps are there?
_HEAPS = """
import ctypes, sys, threading
from rescalefs.assembly.memory import keep_few_arenas
if "few" in sys.argv:
    keep_few_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
together = threading.Barrier(8)
def allocate():
    libc.malloc(ctypes.c_size_t(1000))
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for each in threads: each.start()
for each in threads: each.join()
told = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, told)
libc.fclose(told)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is glibc that has such heaps")
def test_threads_share_two_heaps(tmp_path: Path) -> None:
    def heaps(*words: str) -> int:
        told = tmp_path / "told"
        subprocess.run([sys.executable, "-c", _HEAPS, str(told), *words], check=True)
        return told.read_text().count("<heap nr=")

    assert heaps() > 2
    assert heaps("few") <= 2
