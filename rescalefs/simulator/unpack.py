"""Archives among a job's inputs: recognised by name, unpacked without ever leaving the folder."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from pathlib import Path

_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_ZIP_ENDING = ".zip"


class BadArchive(ValueError):
    """The archive is broken, or reaches outside the folder it is unpacked in."""


def is_archive(name: str) -> bool:
    """Whether a file of this name is unpacked on the cluster."""
    return name.lower().endswith((*_TAR_ENDINGS, _ZIP_ENDING))


def unpack(archive: Path, name: str, folder: Path) -> None:
    """Unpack ``archive``, which clients know as ``name``, into ``folder``; BadArchive when that cannot be."""
    try:
        if name.lower().endswith(_ZIP_ENDING):
            _unpack_zip(archive, folder)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")  # refuses paths, links and devices that lead outside
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, RuntimeError) as error:
        raise BadArchive(f"cannot unpack {name}: {error}") from error


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            target = _inside(folder, member.filename)
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(member) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
            mode = member.external_attr >> 16 & 0o777
            if mode:  # zipfile itself would lose the execute bit of a script
                target.chmod(mode | 0o600)


def _inside(folder: Path, name: str) -> Path:
    target = Path(os.path.normpath(folder / name))
    if not target.is_relative_to(folder) or "\0" in name:
        raise BadArchive(f"{name!r} leads outside the folder")
    return target
