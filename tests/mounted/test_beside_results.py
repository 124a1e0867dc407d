"""docs/programs.md: writing beside results, and what inotify tells of. The page's own commands run here."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.mounted.account import MountedAccount

pytestmark = pytest.mark.fuse

PAGE = (Path(__file__).parents[2] / "docs" / "programs.md").read_text()
BLOCKS = [
    "\n".join(line[4:] for line in block.splitlines())
    for block in re.findall(r"((?:^    .+\n)+)", PAGE, re.MULTILINE)
]
FILES = {"0/U": b"velocity\n", "constant/mesh": b"mesh\n"}


@pytest.fixture(scope="module")
def job(shared_account: MountedAccount) -> str:
    job_id = shared_account.add_finished_job("case", FILES)
    shared_account.wait_for(lambda: (shared_account.root / "jobs" / job_id).exists())
    return job_id


def block(words: str) -> str:
    (found,) = [each for each in BLOCKS if words in each]
    return found


def sh(script: str, home: Path, *before: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(home)}
    command = [*before, "bash", "-euc", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_nothing_can_be_written_beside_results_themselves(shared_account: MountedAccount, job: str) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
        (shared_account.root / "jobs" / job / "outputs" / "case.foam").touch()


def test_a_folder_of_links_takes_new_files(shared_account: MountedAccount, job: str) -> None:
    done = sh(block("cp -rs").replace("XkpTse", job), shared_account.work)
    assert (done.returncode, done.stderr) == (0, "")
    case = shared_account.work / "case"
    assert {name: (case / name).read_bytes() for name in FILES} == FILES
    assert (case / "case.foam").exists()
    assert not (case / "0").is_symlink()  # so that files can be made in it, too
    (case / "0" / "U").unlink()  # as if the job had not written it before
    with_the_rest = re.findall("`(cp -[a-zA-Z]+)` in\nplace of `cp -rsT` adds", PAGE)
    add = block("cp -rs").replace("XkpTse", job).replace("cp -rsT", with_the_rest[0])
    done = sh(add, shared_account.work)
    assert (done.returncode, done.stderr) == (0, "")
    assert (case / "0" / "U").read_bytes() == FILES["0/U"]
    assert {each.name for each in case.iterdir()} == {"0", "constant", "case.foam"}


def test_an_overlay_takes_new_and_changed_files(shared_account: MountedAccount, job: str) -> None:
    """In a mount namespace of its own. A system that gives users none is one for the folder of links."""
    home = shared_account.work / "overlay"
    home.mkdir()
    is_root = os.geteuid() == 0
    script = (
        block("mount -t overlay").replace("XkpTse", job).replace("$HOME/Rescale", str(shared_account.root))
    )
    if (
        is_root
    ):  # of another file system, because an overlay, which containers have, can hold no changes of another
        script = f"mkdir {home}/case.changes; mount -t tmpfs tmpfs {home}/case.changes\n{script}"
    else:
        script = script.replace(",workdir", ",userxattr,workdir")
    script += "\necho more >> ~/case/0/U; rm ~/case/constant/mesh; cat ~/case/0/U; ls ~/case ~/case/constant"
    private = ("unshare", "-m") if is_root else ("unshare", "-Urm")
    if sh("true", home, *private).returncode:
        assert not is_root
        shutil.rmtree(shared_account.work / "case", ignore_errors=True)  # of the same test, a while ago
        test_a_folder_of_links_takes_new_files(shared_account, job)
        return
    done = sh(script, home, *private)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        *("velocity", "more", f"{home}/case:", "0", "case.foam", "constant", f"{home}/case/constant:")
    ]
    assert (shared_account.root / "jobs" / job / "outputs" / "0" / "U").read_bytes() == FILES["0/U"]


class Watch:
    """inotify(7), without waiting."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert libc.inotify_add_watch(self._descriptor, os.fsencode(folder), 0x00000FFF) >= 0

    def has_events(self, of: str) -> bool:
        """Whether something was told of a name since the last time."""
        try:
            return of.encode() in os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self._descriptor)


def test_inotify_tells_of_changes_through_the_mount_and_not_of_those_at_the_server(
    shared_account: MountedAccount,
) -> None:
    submit, jobs = Watch(shared_account.root / "submit"), Watch(shared_account.root / "by-name")
    (shared_account.root / "submit" / "note").write_text("x")
    assert submit.has_events("note")
    shared_account.add_finished_job("brand-new", {})
    names = shared_account.root / "by-name"
    shared_account.wait_for(lambda: (names / "brand-new").is_symlink())
    assert not jobs.has_events("brand-new")
    submit.close()
    jobs.close()
