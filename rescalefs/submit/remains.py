"""Pure: names that programs give to files of their own -> what such a file is, and whose.

A rule is narrow: it takes a name only where the name, and what lies beside the file, leave no doubt. All
else is an input: `rotor.part`, `model.tmp`, `case.bak`, `.params.python`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Remains:
    """A file or folder that is not an input by itself."""

    whose: str
    is_transfer: bool = False  # it becomes an input under another name, or it broke off


class Surroundings(Protocol):
    """What can be asked about the file besides its name."""

    def is_folder(self) -> bool: ...

    def has_beside(self, name: str) -> bool:
        """Whether there is a file of this name in the same folder."""
        ...

    def begins_with(self, data: bytes) -> bool: ...


OURS = Remains("rescalefs shows a file of this name here")

_APPLE_DOUBLE = b"\x00\x05\x16\x07"  # the first bytes of every such file (RFC 1740)
# An extension: a letter first, as numbers and versions in a name (`blade.02.part`, `wing.v2.part`) are none.
_EXTENSION = r"\.(?!(?:v|r|rev)\d+\.)(?:[A-Za-z][A-Za-z0-9]{0,7}|7z)"
# rsync and GLib: six characters that mkstemp(3) draws from 62.
_DRAWN = r"[A-Za-z0-9]{6}"
# What people write there: a word, a number, or a word with a number. Of drawn names, 1 in 40 looks so.
_WRITTEN = re.compile(r"[A-Z]?[a-z]*[0-9]*|[A-Z]*[0-9]*")


def _always(_name: str, _around: Surroundings) -> bool:
    return True


def _folder(_name: str, around: Surroundings) -> bool:
    return around.is_folder()


def _file(_name: str, around: Surroundings) -> bool:
    return not around.is_folder()


def _apple_double(name: str, around: Surroundings) -> bool:
    return around.has_beside(name[2:]) or around.begins_with(_APPLE_DOUBLE)


def _backup(name: str, around: Surroundings) -> bool:
    return _file(name, around) and around.has_beside(name[:-1])


def _drawn(name: str, around: Surroundings) -> bool:
    return _file(name, around) and not _WRITTEN.fullmatch(name.rpartition(".")[2])


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: str
    remains: Remains
    fits: Callable[[str, Surroundings], bool] = _always


_MACOS = Remains("macOS keeps it in folders")
_WINDOWS = Remains("Windows keeps it in folders")
_STORAGE = Remains("a storage device keeps it in folders")
_DESKTOP = Remains("a desktop keeps it in folders")
_OFFICE = Remains("an office program keeps it while a document is open")
_EDITOR = Remains("an editor keeps it beside a file")
_VERSIONS = Remains("version control keeps it")
_PYTHON = Remains("Python and Jupyter keep it")
_DELETED = Remains("deleted while a program had it open")
_SYNCHRONISER = Remains("a program that synchronises folders keeps it")


def _transfer(whose: str) -> Remains:
    return Remains(whose, is_transfer=True)


_RULES = (
    _Rule(r"\.DS_Store|Icon\r", _MACOS, _file),
    _Rule(r"\.Apple(?:Double|DB|Desktop)|\.Spotlight-V100|\.fseventsd|\.TemporaryItems|\.Trashes", _MACOS),
    _Rule(r"\._.+", _MACOS, _apple_double),
    _Rule(r"(?i:Thumbs\.db|ehthumbs\.db|desktop\.ini)", _WINDOWS, _file),
    _Rule(r".+[:\uf03a]Zone\.Identifier", _WINDOWS, _file),  # U+F03A: how SMB spells a colon
    _Rule(r"\$RECYCLE\.BIN|System Volume Information", _WINDOWS, _folder),
    _Rule(r"@eaDir|#recycle|@Recycle|\.@__thumb", _STORAGE, _folder),  # Synology, QNAP
    _Rule(r"\.directory", _DESKTOP, _file),  # KDE
    _Rule(r"\.Trash-[0-9]+", _DESKTOP),
    _Rule(r"~\$.+|~WR[A-Z][0-9]{4}\.tmp|\.~lock\..+#", _OFFICE, _file),
    _Rule(r"\.#.+|#.+#", _EDITOR, _file),  # Emacs; GROMACS' backups are called so, too
    _Rule(r"\..+\.sw[a-p]|\..+\.un~|\..+\.kate-swp", _EDITOR, _file),  # Vim and nano, Vim, Kate
    _Rule(r".+~", _EDITOR, _backup),
    _Rule(r"\.git|\.svn|\.hg|\.bzr|\.jj", _VERSIONS),
    _Rule(r"__pycache__|\.ipynb_checkpoints", _PYTHON, _folder),
    _Rule(r"\.fuse_hidden[0-9a-f]{8,}|\.nfs[0-9a-f]{8,}", _DELETED, _file),  # libfuse, the kernel's NFS
    _Rule(r"\.stfolder|\.stversions|\.dropbox|\.dropbox\.attr|\.dropbox\.cache", _SYNCHRONISER),
    _Rule(r".+\.filepart", _transfer("WinSCP"), _file),
    _Rule(rf".+{_EXTENSION}\.part", _transfer("Firefox, KDE or another program"), _file),
    _Rule(r".+\.crdownload", _transfer("Chrome"), _file),
    _Rule(r".+\.opdownload", _transfer("Opera"), _file),
    _Rule(rf".+(?:{_EXTENSION}|\.[0-9a-z]{{8}})\.partial", _transfer("rclone or a browser"), _file),
    _Rule(r".+\.aria2", _transfer("aria2"), _file),
    _Rule(r".+\.lftp-pget-status", _transfer("lftp"), _file),
    _Rule(r".+\.gstmp", _transfer("gsutil"), _file),
    _Rule(r"\.azDownload-.+", _transfer("azcopy"), _file),
    _Rule(rf"\.goutputstream-{_DRAWN}", _transfer("a file manager or GNOME editor"), _file),
    _Rule(r"\.syncthing\..+\.tmp|~syncthing~.+\.tmp", _transfer("Syncthing"), _file),
    _Rule(r"\.unison\..+\.unison\.tmp", _transfer("Unison"), _file),
    _Rule(r"\..+\.~[0-9a-f]+", _transfer("Nextcloud or ownCloud"), _file),
    _Rule(r"\.~tmp~|\.rsync-partial", _transfer("rsync"), _folder),
    _Rule(rf"\..+\.{_DRAWN}", _transfer("rsync"), _drawn),
)
_COMPILED = tuple((re.compile(rule.pattern, re.DOTALL), rule) for rule in _RULES)
_ANY = re.compile("|".join(f"(?:{rule.pattern})" for rule in _RULES), re.DOTALL)


def judge(name: str, around: Surroundings) -> Remains | None:
    """What a file or folder of this name is, if it is no input; ``around`` is asked where a rule needs it."""
    if not _ANY.fullmatch(name):  # nearly all
        return None
    for pattern, rule in _COMPILED:
        if pattern.fullmatch(name) and rule.fits(name, around):
            return rule.remains
    return None


def is_a_systems(folder: str) -> bool:
    """Whether a folder of this name, right in the drop folder, is a system's and not a drop."""
    return any(
        rule.remains in {_MACOS, _WINDOWS, _STORAGE, _PYTHON} and pattern.fullmatch(folder)
        for pattern, rule in _COMPILED
        if rule.fits is _folder
    )
