"""`make reexport`: the mount behind Samba, NFS and GIO; prints what works with which version.

Needs root, and what scripts/setup-reexport installs. Ends with 1 where something does not work.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.mounted.account import ROOT, MountedAccount
from tests.reexport.servers import nfs, samba

PI = ROOT / "examples" / "pi"
RESULT = os.urandom(3_000_000)


class Failed(Exception):
    """Something did not work; says what."""


class Check:
    """One way to the account, and what was tried of it."""

    def __init__(self, account: MountedAccount, job_id: str, work: Path) -> None:
        self.account = account
        self.job_id = job_id
        self.work = work

    def run(self, *command: str | Path, fails_with: str = "") -> str:
        """Run a program; it has to succeed, or to fail and say ``fails_with``."""
        words = [str(each) for each in command]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
        said = done.stdout + done.stderr
        if fails_with and fails_with in said:
            return said
        if done.returncode or fails_with:
            raise Failed(f"{words}: {done.returncode}\n{said}")
        return said

    def same(self, copy: Path) -> None:
        if copy.read_bytes() != RESULT:
            raise Failed(f"{copy} is not what the job wrote")

    def completed(self, drop: str) -> None:
        self.account.wait_for_status(self.account.root / "submit" / drop, "Completed")

    # --- the ways

    def samba(self) -> None:
        with samba(self.account.root, self.work / "samba") as client:
            outputs, copy = f"jobs/{self.job_id}/outputs", self.work / "smb.bin"
            if "files.tsv" not in self.run(*client, f"ls jobs/{self.job_id}/*"):
                raise Failed("a job's folder is not listed")
            self.run(*client, f"get {outputs}/fields/p.bin {copy}")
            self.same(copy)
            if "outputs" not in self.run(*client, "ls by-name/wing/*"):
                raise Failed("a link is not followed")
            self.run(*client, f"put {PI}/job.json {outputs}/job.json", fails_with="WRITE_PROTECTED")
            self.run(*client, f"lcd {PI.parent}; cd submit; recurse; prompt; mput {PI.name}")
            self.completed(PI.name)
            self.run(*client, f"cd submit; rename {PI.name} by-smb")
            self.completed("by-smb")
            self.run(*client, f"get submit/by-smb/status {self.work}/status")
            if (self.work / "status").read_text() != "Completed\n":
                raise Failed("the status of a drop is not what it is")

    def nfs(self) -> None:
        with nfs(self.account.root, self.work / "nfs") as address:
            outputs, copy = f"/jobs/{self.job_id}/outputs", self.work / "nfs.bin"
            if "fields" not in self.run("nfs-ls", address.format(outputs)):
                raise Failed("a folder is not listed")
            self.run("nfs-cp", address.format(f"{outputs}/fields/p.bin"), copy)
            self.same(copy)
            # Not a drop: the server keeps what was written open for writing (docs/reexport.md).
            self.run("nfs-cp", PI / "job.json", address.format("/submit/job.json"), fails_with="ROFS")

    def gio(self) -> None:
        root, copy = self.account.root, self.work / "gio.bin"
        self.run("gio", "copy", root / "jobs" / self.job_id / "outputs" / "fields" / "p.bin", copy)
        self.same(copy)
        drop = root / "submit" / "by-gio"
        self.run("gio", "mkdir", drop)
        for file in PI.iterdir():
            if file.is_file():
                self.run("gio", "copy", "--preserve", file, drop)
        self.completed("by-gio")
        self.run("gio", "trash", drop / "range.inp", fails_with="Unable to")
        self.run("gio", "rename", drop, "renamed-by-gio")


def main() -> int:
    failures = 0
    with tempfile.TemporaryDirectory(prefix="rescalefs-reexport-") as folder:
        work = Path(folder)
        with closing(MountedAccount(work / "account")) as account:
            account.mount()
            job_id = account.add_finished_job("wing", {"fields/p.bin": RESULT})
            account.wait_for(lambda: (account.root / "by-name" / "wing").is_symlink())
            check = Check(account, job_id, work)
            ways: list[tuple[str, list[str], Callable[[], None]]] = [
                ("Samba", ["smbd", "--version"], check.samba),
                ("NFS 4, for reading", ["ganesha.nfsd", "-v"], check.nfs),
                ("GIO (Nautilus, Thunar)", ["gio", "version"], check.gio),
            ]
            for name, version, act in ways:
                failures += _tried(name, version, act)
    return int(bool(failures))


def _tried(name: str, version: list[str], act: Callable[[], None]) -> bool:
    """Print what came of it; tell whether it failed."""
    if shutil.which(version[0]) is None:
        print(f"{name}: {version[0]} is missing; scripts/setup-reexport installs it")
        return True
    number = subprocess.run(version, capture_output=True, text=True, check=False).stdout.splitlines()[:1]
    try:
        act()
    except (Failed, AssertionError, OSError, subprocess.TimeoutExpired) as error:
        print(f"{name} ({' '.join(number)}): FAILED: {error}")
        return True
    print(f"{name} ({' '.join(number)}): works", flush=True)
    return False


if __name__ == "__main__":
    sys.exit(main())
