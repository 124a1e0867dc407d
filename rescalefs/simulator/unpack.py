"""Archives among a job's inputs: recognised by name, unpacked without ever leaving the folder.

Older Pythons, 3.11.2 of Debian 12 among them, lack tarfile's own filters, so it is done here, for both kinds
of archive alike: regular files, folders, and links that stay inside; anything else is refused.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
import zlib
from lzma import LZMAError
from pathlib import Path
from typing import IO

_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_ZIP_ENDING = ".zip"
_CHUNK = 1 << 20

# What the libraries raise for what is no archive, or only the beginning of one.
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, OSError, RuntimeError)


class BadArchive(ValueError):
    """The archive is broken, or reaches outside the folder it is unpacked in."""


class _Outside(ValueError):
    """A member leads outside."""


def is_archive(name: str) -> bool:
    """Whether a file of this name is unpacked on the cluster."""
    return name.lower().endswith((*_TAR_ENDINGS, _ZIP_ENDING))


def unpack(archive: Path, name: str, folder: Path) -> None:
    """Unpack ``archive``, which clients know as ``name``, into ``folder``; BadArchive when that cannot be."""
    unpack_kind = _unpack_zip if name.lower().endswith(_ZIP_ENDING) else _unpack_tar
    try:
        unpack_kind(archive, folder)
    except (_Outside, *_BROKEN) as error:
        raise BadArchive(f"cannot unpack {name}: {error}") from error


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            target = _target(folder, member.filename)
            if member.is_dir():
                target.mkdir(exist_ok=True)
                continue
            with opened.open(member) as source:
                _write(target, source, member.external_attr >> 16)


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as opened:
        for member in opened:
            target = _target(folder, member.name)
            if member.isdir():
                target.mkdir(exist_ok=True)
            elif member.issym():
                _link(folder, target, member.linkname)
            elif member.isreg() or member.islnk():
                source = opened.extractfile(member)  # of a hard link: the bytes it stands for
                if source is not None:
                    with source:
                        _write(target, source, member.mode)
            else:
                raise _Outside(f"{member.name!r} is neither a file nor a folder nor a link")


def _target(folder: Path, name: str) -> Path:
    """Where a member goes; its parent exists, and is inside even if a member before made it a link."""
    target = Path(os.path.normpath(folder / name))
    if not target.is_relative_to(folder) or "\0" in name:
        raise _Outside(f"{name!r} leads outside the folder")
    if target == folder:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise _Outside(f"{name!r} leads outside the folder")
    return target


def _write(target: Path, source: IO[bytes], mode: int) -> None:
    target.unlink(missing_ok=True)  # not through a link that has this name
    with target.open("xb") as copy:
        shutil.copyfileobj(source, copy, _CHUNK)
    if mode & 0o777:  # an archive made on Windows has none
        target.chmod(mode & 0o777 | 0o600)


def _link(folder: Path, target: Path, to: str) -> None:
    if not (target.parent.resolve() / to).resolve().is_relative_to(folder.resolve()):
        raise _Outside(f"the link {target.name!r} leads outside the folder")
    target.unlink(missing_ok=True)
    target.symlink_to(to)
