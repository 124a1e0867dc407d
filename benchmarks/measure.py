"""What a process tree costs: wall and CPU seconds, peak memory."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Cost:
    """What one run of one contender took. Seconds and bytes."""

    wall: float
    cpu: float = 0.0
    peak_memory: int = 0


def timed(command: Sequence[str], **options: object) -> float:
    """Run a command that must succeed; return its wall seconds."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    return time.perf_counter() - began


def cost_of(command: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """Run a command that must succeed; return what it took, as the kernel accounts it at its end."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"benchmarks: {command[0]} ended with {process.returncode}: {complaint.decode()}")
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def cpu_seconds(pid: int) -> float:
    """User and system seconds of a process and its children so far."""
    process = psutil.Process(pid)
    return sum(
        sum(each.cpu_times()[:2])
        for each in [process, *process.children(recursive=True)]
        if each.is_running()
    )


def peak_memory(pid: int) -> int:
    """The most resident memory that a process has had, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def resident(pid: int) -> int:
    """The memory that a process has just now, in bytes."""
    return int(psutil.Process(pid).memory_info().rss)


def drop_kernel_cache() -> None:
    """Have the kernel forget all file contents it keeps (needs root)."""
    subprocess.run(["sync"], check=True)
    Path("/proc/sys/vm/drop_caches").write_text("3")
