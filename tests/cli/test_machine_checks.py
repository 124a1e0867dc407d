"""What `rescalefs doctor` says about machines in all states of health."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rescalefs import filesystems
from rescalefs.cli import machine_checks as checks
from rescalefs.cli.finding import Finding, Verdict
from rescalefs.mount.libfuse import Unloadable
from rescalefs.mount.mountpoint import Condition

BROKEN, DOUBTFUL, FINE = Verdict.BROKEN, Verdict.DOUBTFUL, Verdict.FINE


def test_a_missing_fuse_device_is_mended_by_loading_the_module(tmp_path: Path) -> None:
    finding = checks.fuse_device(tmp_path / "fuse")
    assert (finding.verdict, finding.found) == (BROKEN, f"{tmp_path}/fuse is missing")
    assert "modprobe fuse" in finding.remedy


def test_a_fuse_device_that_opens_is_fine() -> None:
    assert checks.fuse_device(Path(os.devnull)).verdict is FINE


def test_libfuse_is_found_by_loading_it() -> None:
    assert checks.libfuse().verdict is FINE

    def unloadable() -> str:
        raise Unloadable("libfuse 2 cannot be loaded (libnosuch.so.2: not there)", "Install it: apt-get")

    finding = checks.libfuse(unloadable)
    assert finding.verdict is BROKEN
    assert "libnosuch.so.2" in finding.found
    assert finding.remedy == "Install it: apt-get"


def test_a_kernel_that_maps_no_texts_is_doubtful_and_not_broken() -> None:
    assert checks.mappings("6.6.1").verdict is FINE
    old = checks.mappings("6.1.0-28-amd64")
    assert old.verdict is DOUBTFUL
    assert "Linux 6.1.0-28-amd64" in old.found
    assert "copy them first" in old.remedy


def test_inode_numbers_are_named_with_the_setting_that_makes_them_small() -> None:
    assert "inode32 = true" in checks.inode_numbers(False).found
    assert "below 2^32" in checks.inode_numbers(True).found
    assert {checks.inode_numbers(small).verdict for small in (False, True)} == {FINE}


def test_only_root_mounts_without_fusermount() -> None:
    assert checks.fusermount(lambda _: None, is_root=False).verdict is BROKEN
    assert checks.fusermount(lambda _: None, is_root=True).verdict is FINE


def test_fusermount_has_to_be_set_user_id_unless_root_runs_it(tmp_path: Path) -> None:
    program = tmp_path / "fusermount"
    program.touch(mode=0o755)
    finding = checks.fusermount(lambda _: str(program), is_root=False)
    assert (finding.verdict, finding.remedy) == (BROKEN, f"chmod u+s {program}, as root")
    assert checks.fusermount(lambda _: str(program), is_root=True).verdict is FINE
    program.chmod(0o4755)
    assert checks.fusermount(lambda _: str(program), is_root=False).verdict is FINE


def test_allow_other_wants_its_line_outside_of_comments(tmp_path: Path) -> None:
    settings = tmp_path / "fuse.conf"
    assert checks.allow_other(settings, is_root=False).verdict is BROKEN
    settings.write_text("#user_allow_other\n")
    assert checks.allow_other(settings, is_root=False).verdict is BROKEN
    settings.write_text("mount_max = 10\nuser_allow_other\n")
    assert checks.allow_other(settings, is_root=False).verdict is FINE
    assert checks.allow_other(tmp_path / "none", is_root=True).verdict is FINE


def test_low_inotify_limits_come_with_the_command_that_raises_them(tmp_path: Path) -> None:
    (tmp_path / "max_user_watches").write_text("100\n")
    (tmp_path / "max_user_instances").write_text("128\n")
    watches, instances = checks.inotify(tmp_path)
    assert (watches.verdict, watches.remedy) == (
        DOUBTFUL,
        "sysctl -w fs.inotify.max_user_watches=8192, as root",
    )
    assert (instances.check, instances.verdict) == ("inotify instances", FINE)


def test_a_machine_without_inotify_still_works(tmp_path: Path) -> None:
    assert [finding.verdict for finding in checks.inotify(tmp_path)] == [DOUBTFUL, DOUBTFUL]


def test_a_cache_folder_with_room_is_fine_and_is_not_made_by_looking(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert checks.cache_folder(folder, limit=1).verdict is FINE
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_may_outgrow_its_disk_is_doubtful(tmp_path: Path) -> None:
    finding = checks.cache_folder(tmp_path / "cache", limit=1 << 60)
    assert finding.verdict is DOUBTFUL
    assert finding.remedy.startswith("--cache-size ")


def test_what_is_in_the_cache_already_counts_as_room_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    before = checks.cache_folder(folder, limit=1 << 60).found
    (folder / "block").write_bytes(b"x" * (1 << 16))
    assert checks.cache_folder(folder, limit=1 << 60).found.split()[0] == before.split()[0]
    assert checks._size_below(folder) >= 1 << 16


def test_a_cache_is_doubtful_only_if_others_get_to_a_file_in_it(tmp_path: Path) -> None:
    blocks = tmp_path / "account" / "blocks"
    blocks.mkdir(parents=True)
    for folder in (tmp_path, blocks.parent, blocks):
        folder.chmod(0o755)
    assert checks.cache_folder(tmp_path, limit=1).verdict is FINE  # nothing to read there
    (blocks / "1").touch(mode=0o644)
    finding = checks.cache_folder(tmp_path, limit=1)
    assert (finding.verdict, finding.remedy) == (DOUBTFUL, f"chmod 700 {tmp_path}")
    assert str(blocks / "1") in finding.found
    blocks.chmod(0o700)
    assert checks.cache_folder(tmp_path, limit=1).verdict is FINE
    blocks.chmod(0o755)
    (blocks / "1").chmod(0o600)
    assert checks.cache_folder(tmp_path, limit=1).verdict is FINE


def test_a_cache_folder_that_is_none_is_doubtful_and_not_broken() -> None:
    finding = checks.cache_folder(Path("/proc/rescalefs"), limit=1)
    assert finding.verdict is DOUBTFUL
    assert "every read asks the server" in finding.found


def test_dead_and_silent_mounts_are_named_with_the_way_to_end_them() -> None:
    conditions = {"/a": Condition.ANSWERS, "/b": Condition.DEAD, "/c": Condition.SILENT}

    def found(*mountpoints: str) -> Finding:
        return checks.mounts(map(Path, mountpoints), lambda path: conditions[str(path)])

    assert (found("/a", "/b").verdict, found("/a", "/b").remedy) == (DOUBTFUL, "rescalefs umount /b")
    assert found("/b", "/c").found == "no process serves /b any more; /c does not answer"
    assert found("/a").found == "/a answers"
    assert found().verdict is FINE


def test_the_python_we_run_on_is_named() -> None:
    assert checks.python_version().verdict is FINE


def test_a_cache_folder_without_file_locks_is_doubtful_and_named_with_its_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lockless = filesystems.Ability(locks=False, file_locks=False)
    monkeypatch.setattr(filesystems, "ability_of", lambda _: lockless)
    finding = checks.cache_folder(tmp_path, 0)
    assert finding.verdict is DOUBTFUL
    assert filesystems.file_system_of(tmp_path) in finding.found
    assert "--cache-dir" in finding.remedy
