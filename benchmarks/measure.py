"""What a process tree costs: wall and CPU seconds, peak memory."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
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


def cost_of(command: Sequence[str]) -> Cost:
    """Run a command that must succeed; return what it and its children took."""
    began = time.perf_counter()
    process = psutil.Popen(list(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    cpu = 0.0
    while process.poll() is None:
        try:
            peak = max(peak, peak_memory(process.pid))
            cpu = max(cpu, cpu_seconds(process.pid))
        except (psutil.Error, OSError):
            break
        time.sleep(0.02)
    if process.wait() != 0:
        raise SystemExit(f"benchmarks: {command[0]} ended with {process.returncode}: {' '.join(command)}")
    return Cost(time.perf_counter() - began, cpu, peak)


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


def forget_peak(pid: int) -> None:
    """Start the peak anew from what is resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def drop_kernel_cache() -> None:
    """Have the kernel forget all file contents it keeps (needs root)."""
    subprocess.run(["sync"], check=True)
    Path("/proc/sys/vm/drop_caches").write_text("3")
