"""Who is measured: rescalefs and its peers, each brought to the same point by the same few methods."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.origin import BIG_FILE

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Mounted:
    """A mounted contender: where its files are, and which process serves them."""

    root: Path
    big: Path
    many: Path
    pid: int


@dataclass(frozen=True)
class RescaleMount:
    """`rescalefs mount`, with whatever flags."""

    name: str
    flags: Sequence[str] = field(default_factory=tuple)

    @contextlib.contextmanager
    def mounted(self, url: str, work: Path) -> Iterator[Mounted]:
        """Mount on an empty folder; what ``work`` keeps (the cache) is there again the next time."""
        mountpoint = work / "mnt"
        mountpoint.mkdir(parents=True, exist_ok=True)
        command = [str(BIN / "rescalefs"), "mount", str(mountpoint), "--cache-dir", str(work / "cache")]
        subprocess.run([*command, *self.flags], check=True, env=environment(url, work))
        try:
            outputs = mountpoint / "jobs" / "big" / "outputs"
            many = mountpoint / "jobs" / "many" / "outputs"
            yield Mounted(mountpoint, outputs / BIG_FILE, many, _server_of(mountpoint))
        finally:
            subprocess.run([str(BIN / "rescalefs"), "umount", str(mountpoint)], check=True)


@dataclass(frozen=True)
class RcloneMount:
    """`rclone mount` of the same contents over plain HTTP."""

    name: str
    flags: Sequence[str] = field(default_factory=tuple)

    @contextlib.contextmanager
    def mounted(self, url: str, work: Path) -> Iterator[Mounted]:
        """Mount on an empty folder; what ``work`` keeps (the cache) is there again the next time."""
        mountpoint = work / "mnt"
        mountpoint.mkdir(parents=True, exist_ok=True)
        command = [
            *[str(BIN / "rclone"), "mount", ":http:", str(mountpoint), "--http-url", f"{url}/plain/"],
            *["--config", "/dev/null", "--cache-dir", str(work / "cache"), "--read-only"],
            # Else what it has cached is written down 5 s after it is read: unmounted before, it starts anew.
            *["--no-checksum", "--log-level", "ERROR", "--vfs-handle-caching", "0"],
        ]
        process = subprocess.Popen([*command, *self.flags], env=environment(url, work))
        try:
            _wait_until_mounted(mountpoint, process)
            yield Mounted(mountpoint, mountpoint / BIG_FILE, mountpoint / "many", process.pid)
        finally:
            subprocess.run(["fusermount", "-u", str(mountpoint)], check=True)
            process.wait(30)


Mount = RescaleMount | RcloneMount


def rclones(streams: int) -> list[RcloneMount]:
    """The settings worth trying; the fastest of them is what counts."""
    full = ("--vfs-cache-mode", "full")
    parallel = ("--vfs-read-chunk-streams", str(streams))
    return [
        RcloneMount(f"rclone x{streams} 4M", (*full, *parallel, "--vfs-read-chunk-size", "4M")),
        RcloneMount(f"rclone x{streams} 16M", (*full, *parallel, "--vfs-read-chunk-size", "16M")),
        RcloneMount(
            f"rclone x{streams} 16M uncached",
            ("--vfs-cache-mode", "off", *parallel, "--vfs-read-chunk-size", "16M", "--buffer-size", "64M"),
        ),
        RcloneMount("rclone plain", (*full, "--vfs-read-ahead", "512M", "--buffer-size", "64M")),
    ]


def download(tool: str, url: str, to: Path, connections: int) -> list[str]:
    """The command with which a tool fetches the big file into a folder."""
    plain = f"{url}/plain/{BIG_FILE}"
    if tool == "aria2c":
        return [
            *["aria2c", "--quiet", "--allow-overwrite", "--file-allocation=none", f"-x{connections}"],
            *[f"-s{connections}", "-k1M", "-d", str(to), "-o", "aria.out", plain],
        ]
    if tool == "curl":
        return ["curl", "--silent", "--fail", "-o", str(to / "curl.out"), plain]
    flags = [f"--connections={connections}"] if connections else []
    return [str(BIN / "rescalefs"), "download", "big", BIG_FILE, "--to", str(to / "out"), *flags]


def environment(url: str, work: Path) -> dict[str, str]:
    """Nothing of the person's own settings, and all state below ``work``."""
    homes = {f"XDG_{kind}_HOME": str(work / kind.lower()) for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
    # Any key does: the origin doesn't ask.
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(work),
        "RESCALE_API_URL": url,
        "RESCALE_API_KEY": "0" * 40,
        **homes,
    }


def forget(work: Path) -> None:
    """Remove what a contender keeps between mounts."""
    shutil.rmtree(work, ignore_errors=True)


def _server_of(mountpoint: Path) -> int:
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if str(mountpoint) in words and "--foreground" in words:
            return int(process.pid)
    raise SystemExit(f"benchmarks: no process serves {mountpoint}")


def _wait_until_mounted(mountpoint: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if mountpoint.is_mount():
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit(f"benchmarks: nothing mounted on {mountpoint}: {process.args!r}")
