"""Containers and other machines that lack what a desktop has: mounting works, or says in one line why not.

What takes root to set up runs only then; an ordinary user runs the same command with less taken away.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rescalefs.mount.mountpoint import mount_at
from tests.mounted.account import PATIENCE, ROOT, MountedAccount

pytestmark = pytest.mark.fuse

IS_ROOT = os.geteuid() == 0
NOBODY = 65534

# As root, in a mount namespace of its own with $1 to work in: takes away /etc/mtab, ldconfig, the name
# `fusermount`, and a TMPDIR from which programs may be run. Then it becomes an ordinary user, who may read an
# interpreter below /root all the same. The other arguments are a command.
BARE = f"""
set -eu
work=$1; shift
mount -t tmpfs -o noexec bare "$work"
export TMPDIR="$work/tmp"
mkdir -m 1777 "$TMPDIR"
mkdir "$work/upper" "$work/scratch" "$work/etc"
mknod "$work/upper/fusermount" c 0 0  # for an overlay: there is no such file
mount -t overlay -o "lowerdir=/usr/bin,upperdir=$work/upper,workdir=$work/scratch" bare /usr/bin
cp -a /etc/passwd /etc/group "$work/etc"
mount --bind "$work/etc" /etc
mount --bind /dev/null "$(command -v /sbin/ldconfig)"
mknod -m 666 "$work/fuse" c 10 229
mount --bind "$work/fuse" /dev/fuse
! test -e /etc/mtab && ! test -e /bin/fusermount
exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --inh-caps +dac_read_search \\
    --ambient-caps +dac_read_search "$@"
"""


@pytest.fixture
def unmounted() -> Iterator[MountedAccount]:
    """An account that is not mounted yet, in a folder that every user may pass. pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="rescalefs-test-"))
    folder.chmod(0o755)
    (folder / "home").mkdir()
    account = MountedAccount(folder / "home")
    try:
        yield account
    finally:
        account.close()
        shutil.rmtree(folder)


def rescalefs(account: MountedAccount, words: str, prefix: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a shell command in which `rescalefs` is ours, behind a prefix."""
    ours = f'rescalefs() {{ {shlex.quote(sys.executable)} -m rescalefs "$@"; }}\nset -eu\n'
    return subprocess.run(
        [*prefix, "bash", "-c", ours + words, "bash", str(account.root)],
        cwd=ROOT,
        env=account.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def failing_fusermount(folder: Path) -> Path:
    """A folder for PATH with a fusermount3 that only fails."""
    (folder / "fusermount3").symlink_to("/bin/false")
    return folder


def test_it_mounts_and_unmounts_without_mtab_without_ldconfig_and_with_fusermount3_alone(
    unmounted: MountedAccount, tmp_path: Path
) -> None:
    """As root all of it is really taken away; for an ordinary user fusermount3 is what fails without mtab."""
    prefix: list[str] = []
    if IS_ROOT:
        for each in (unmounted.work, *unmounted.work.rglob("*")):
            os.chown(each, NOBODY, NOBODY)
        apart = ["unshare", "--mount", "--propagation", "private"]
        (unmounted.work.parent / "bare").mkdir()
        prefix = [*apart, "bash", "-c", BARE, "bare", str(unmounted.work.parent / "bare")]
    failing = "" if IS_ROOT else f"PATH={shlex.quote(str(failing_fusermount(tmp_path)))}:$PATH "
    done = rescalefs(
        unmounted,
        f'rescalefs mount "$1"; ls "$1"; {failing}rescalefs umount "$1"\n'
        f'rescalefs mount "$1"; kill "$(sed -n "s/^process: //p" "$1/.rescalefs/status")"\n'
        'for _ in $(seq 600); do mountpoint -q "$1" || exit 0; sleep 0.05; done; exit 9',
        prefix,
    )
    assert done.returncode == 0, done.stderr
    assert {"jobs", "submit"} <= set(done.stdout.split())


def test_why_a_mount_was_refused_is_told_in_the_words_of_fusermount(unmounted: MountedAccount) -> None:
    """A container without the right to mount: root lacks a capability, a user is kept from gaining any."""
    if IS_ROOT:
        prefix = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]
    else:
        prefix = ["setpriv", "--no-new-privs"]
    done = rescalefs(unmounted, 'rescalefs mount "$1"', prefix)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"rescalefs: cannot mount on {unmounted.root}: fuse")
    assert "Operation not permitted. In a container: docker run --device /dev/fuse" in line
    assert mount_at(unmounted.root) is None


def test_umount_works_where_fusermount_does_not(account: MountedAccount, tmp_path: Path) -> None:
    """fusermount3 fails where there is no /etc/mtab; here, it always fails."""
    account.run("umount", str(account.root), PATH=f"{failing_fusermount(tmp_path)}:{os.environ['PATH']}")
    assert mount_at(account.root) is None
