"""The folder that a mirror fills: what lies there, whose it is, and how something is put there."""

from __future__ import annotations

import enum
import filecmp
import hashlib
import os
import re
import shutil
import stat
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from rescalefs.errors import UserError
from rescalefs.mirror.claims import make_folder
from rescalefs.mirror.dates import is_redated
from rescalefs.mirror.disk import Disk
from rescalefs.mirror.ledger import Ledger, Mark
from rescalefs.mirror.part import Part, sweep
from rescalefs.model import RemoteFile

_CHUNK = 1 << 20
_LITTLE = 1 << 18  # bytes
_LINK = -1  # in the place of a size
_DIGEST = re.compile(r"[0-9a-f]{128}\Z")  # at the end of a version, where the content's SHA-512 is known


class Standing(enum.Enum):
    """What a path holds, compared with what it should hold."""

    MISSING = "missing"
    CURRENT = "current"
    OLD = "old"  # ours, and another version
    FOREIGN = "foreign"  # somebody made or changed it: not to be touched


class Shelf:
    """One folder, and the marks of what we put into it. Paths are relative, with slashes. Thread-safe.

    A name gets its new content in one step. Where something lies that we did not put there, or that has
    changed since, it stays. Not noticed: a change that leaves both size and date of a file as they were.
    A file of which the disk itself has rounded or shifted the date is still ours, see `dates.is_redated`.
    """

    def __init__(self, root: Path, ledger: Ledger, parts: Path, sign: Path | None = None) -> None:
        """Nothing is put there while ``sign`` is missing: then it is another folder, see `check`."""
        self.root = root
        self.parts = parts
        self._sign = sign
        self.ledger = ledger
        self.disk = Disk(parts)

    def standing(self, path: str, version: str, size: int | None, sha512: str | None) -> Standing:
        """Compare by marks, or where none fits by checksum: what agrees is ours from then on."""
        look = self._look(path)
        if look is None:
            return Standing.MISSING
        mark = self._mark_of(path, look)
        if mark is not None:
            return Standing.CURRENT if mark.version == version else Standing.OLD
        if stat.S_ISREG(look.st_mode) and sha512 is not None and size in (None, look.st_size):
            with suppress(OSError):
                if _digest(self.root / path) == sha512:
                    self.ledger.note(path, Mark(look.st_size, look.st_mtime_ns, version))
                    return Standing.CURRENT
        return Standing.FOREIGN

    def of_file(self, path: str, file: RemoteFile) -> Standing:
        """What a path holds, compared with a file at the server."""
        return self.standing(path, file.version, file.size, file.sha512)

    def place(self, path: str, part: Part, version: str, modified_ns: int | None) -> bool:
        """Put a complete part there; False if a file of another origin lies there. The part is used up.

        Where the same bytes lie there, since another process has just put them, that is as good.
        """
        with part:
            look = part.finish(modified_ns)
            target = self._target(path)
            before = self._look(path)
            if before is None or self._mark_of(path, before) is not None:
                mark = Mark(look.st_size, look.st_mtime_ns, version)
                self.ledger.note(path, mark)
                if before is not None:
                    part.path.replace(target)
                if before is not None or _appear(part.path, target):
                    part.placed()
                    self.ledger.keep_only(path, mark)
                    return True
                # On some disks it is a file of ours of another name, with the same size and date.
                self.ledger.forget_mark(path, mark)
            is_same = self._take_over(path, part.path, version)
            part.discard()
            return is_same

    def _take_over(self, path: str, part: Path, version: str) -> bool:
        """Whether what lies there has the bytes of a part; then it is ours from now on."""
        look = self._look(path)
        if look is None or not stat.S_ISREG(look.st_mode):
            return False
        with suppress(OSError):
            if filecmp.cmp(part, self.root / path, shallow=False):
                self.ledger.note(path, Mark(look.st_size, look.st_mtime_ns, version))
                return True
        return False

    def check(self) -> None:
        """Raise `UserError` if the folder is not the one that it was: removed, replaced, or unmounted.

        Not known by its inode number: some network disks give the same folder another one after a while.
        """
        if self._sign is not None and not self._sign.exists():
            raise UserError(
                f"{self._sign} is gone: {self.root} was removed, or unmounted. Nothing is put there"
            )

    def _target(self, path: str) -> Path:
        """The place of a path, with its folder. Raises `UserError` where a link leads out of this folder."""
        self.check()
        target = self.root / path
        if not target.parent.resolve().is_relative_to(self.root.resolve()):
            raise UserError(
                f"{target.parent} leads out of {self.root} by a symbolic link; nothing is put there"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def write(self, path: str, content: bytes, modified_ns: int | None) -> Standing:
        """Have a path hold a text; return what it held before."""
        version = text_version(content)
        found = self.of_text(path, content)
        if found in (Standing.MISSING, Standing.OLD):
            make_folder(self.parts)
            with Part(self.parts, f"{path}\n{version}", resumable=False) as part:
                part.write(content, 0)
                if not self.place(path, part, version, modified_ns):
                    return Standing.FOREIGN
        return found

    def of_text(self, path: str, content: bytes) -> Standing:
        """What a path holds, compared with a text."""
        version = text_version(content)
        return self.standing(path, version, len(content), version.partition(":")[2])

    def is_doubtful(self, path: str, version: str) -> bool:
        """Whether a file that we add to is not as we left it: by a kill before the note, or by a change."""
        look = self._look(path)
        if look is None or not stat.S_ISREG(look.st_mode) or self._mark_of(path, look) is not None:
            return False
        known = [mark.size for mark in self.ledger.marks(path) if mark.version == version]
        return bool(known) and look.st_size >= min(known)

    def begins(self, path: str, chunks: Iterable[bytes]) -> bool:
        """Whether these bytes begin with all that a file has. `OSError` if it cannot be read."""
        with (self.root / path).open("rb") as file:
            for chunk in chunks:
                here = file.read(len(chunk))
                if here != chunk[: len(here)]:
                    return False
                if len(here) < len(chunk):
                    return True
            return not file.read(1)

    def grown(self, path: str, version: str) -> int | None:
        """The size of a file that we add to, 0 where there is none; None if it is not as we left it."""
        look = self._look(path)
        if look is None:
            return 0
        mark = self._mark_of(path, look)
        return look.st_size if mark is not None and mark.version == version else None

    def append(self, path: str, chunks: Iterable[bytes], version: str) -> int:
        """Add to a file of ours; return by how much it grew."""
        grown = 0
        with self._target(path).open("ab", buffering=0) as file:
            for chunk in chunks:
                left = memoryview(chunk)
                while left:  # a full disk takes a part of it, and only then says so
                    count = file.write(left)
                    left, grown = left[count:], grown + count
        look = self._look(path)
        if look is not None:
            mark = Mark(look.st_size, look.st_mtime_ns, version)
            self.ledger.note(path, mark)
            self.ledger.keep_only(path, mark)
        return grown

    def size(self, path: str) -> int | None:
        """The size of what lies there."""
        look = self._look(path)
        return None if look is None else look.st_size

    def doubt(self, path: str, other: str) -> None:
        """Two names are one here. If both have marks, find out by checksum whose bytes lie there.

        Earlier versions did not notice, and noted marks for both.
        """
        if self.ledger.marks(path):
            self.ledger.forget(path)
            self.ledger.forget(other)

    def look(self, path: str) -> tuple[int, int]:
        """Size and date of what lies there; zeros where there is nothing."""
        look = self._look(path)
        return (0, 0) if look is None else (look.st_size, look.st_mtime_ns)

    def is_ours(self, path: str) -> bool:
        """Whether what lies there was put there by us, and has not changed."""
        look = self._look(path)
        return look is not None and self._mark_of(path, look) is not None

    def wrote_elsewhere(self, path: str) -> bool:
        """Whether a file is a copy of a text that we wrote somewhere in this folder."""
        with suppress(OSError):
            return bool(self.ledger.holders(text_version((self.root / path).read_bytes())))
        return False

    def adopt(self, path: str, version: str = "") -> None:
        """Take what lies there for ours, so that it may be replaced."""
        look = self._look(path)
        if look is not None:
            self.ledger.note(path, Mark(look.st_size, look.st_mtime_ns, version))

    def link(self, path: str, target: str) -> Standing:
        """Have a path be a symbolic link; return what it was before. `OSError` where there are none."""
        place = self.root / path
        found = self.link_standing(path, target)
        if found in (Standing.MISSING, Standing.OLD):
            self._target(path)
            make_folder(self.parts)
            fresh = self.parts / f"{hashlib.sha1(os.fsencode(path), usedforsecurity=False).hexdigest()}.link"
            with suppress(FileNotFoundError):
                fresh.unlink()
            fresh.symlink_to(target, target_is_directory=True)
            mark = _link_mark(target)
            self.ledger.note(path, mark)
            fresh.replace(place)
            self.ledger.keep_only(path, mark)
        return found

    def link_standing(self, path: str, target: str) -> Standing:
        """What a path holds, compared with a link."""
        place = self.root / path
        look = self._look(path)
        if look is None:
            return Standing.MISSING
        if not stat.S_ISLNK(look.st_mode):
            return Standing.FOREIGN
        points = str(place.readlink()).replace(os.sep, "/")
        if points == target:
            return Standing.CURRENT
        return Standing.OLD if self._is_our_link(path) else Standing.FOREIGN

    def remove(self, path: str) -> bool:
        """Remove what is ours; False where it is not, or not there. Folders that become empty go as well."""
        if not self.is_ours(path) and not self._is_our_link(path):
            return False
        place = self.root / path
        place.unlink()
        self.ledger.forget(path)
        for folder in place.relative_to(self.root).parents:
            if folder.name == "" or len(folder.parts) < 2:
                break
            try:
                (self.root / folder).rmdir()
            except OSError:
                break
        return True

    def ours_below(self, folder: str) -> list[str]:
        """What we have put into a folder, whose name ends in a slash, as far as it is remembered."""
        return self.ledger.below(folder)

    def copy_of(self, file: RemoteFile, path: str) -> Part | None:
        """A part made of a file of the same version that is here already; None if there is none."""
        for place, _ in self.ledger.holders(file.version):
            look = self._look(place)
            known = None if look is None else self._mark_of(place, look)
            if known is None or known.version != file.version:
                continue
            part = Part(self.parts, f"{path}\n{file.version}", resumable=False)
            try:
                # Where the server has no checksum, its size has to do, and that it is as we put it.
                digest = self._copy(place, part)
                if digest == (file.sha512 or digest) and part.size == known.size and self.is_ours(place):
                    return part
            except BaseException:
                part.discard()
                raise
            part.discard()
        return None

    def _copy(self, place: str, part: Part) -> str:
        """Copy a file into a part; return its SHA-512."""
        digest, position = hashlib.sha512(), 0
        try:
            for chunk in _chunks(self.root / place):
                digest.update(chunk)
                part.write(chunk, position)
                position += len(chunk)
        except (FileNotFoundError, PermissionError):
            return "unreadable"
        return digest.hexdigest()

    def sweep_parts(self, oldest: float) -> None:
        """Remove what is left of attempts, see `part.sweep`."""
        sweep(self.parts, oldest)

    def has_room(self) -> bool:
        """Whether a little can be written; what the disk claims to have left says nothing of quotas."""
        try:
            make_folder(self.parts)
            with Part(self.parts, f"probe {threading.get_ident()}", resumable=False) as part:
                part.write(bytes(_LITTLE), 0)
                part.flush()
        except OSError:
            return False
        return True

    def free(self) -> int:
        """How many bytes the disk claims to have left."""
        return shutil.disk_usage(self.root).free

    def leads_to(self, path: str) -> str | None:
        """Where a link leads; None where there is none."""
        try:
            return str((self.root / path).readlink()).replace(os.sep, "/")
        except OSError:
            return None

    def _look(self, path: str) -> os.stat_result | None:
        try:
            return (self.root / path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _mark_of(self, path: str, look: os.stat_result) -> Mark | None:
        """The mark that a file fits: it is ours. None where it fits none, or is no file."""
        if not stat.S_ISREG(look.st_mode):
            return None
        marks = [mark for mark in self.ledger.marks(path) if mark.size == look.st_size]
        for mark in marks:
            if mark.mtime_ns == look.st_mtime_ns:
                return mark
        for mark in marks:
            if self._is_but_redated(path, look, mark):
                fresh = mark._replace(mtime_ns=look.st_mtime_ns)
                self.ledger.note(path, fresh)
                return fresh
        return None

    def _is_but_redated(self, path: str, look: os.stat_result, mark: Mark) -> bool:
        """Whether a file differs from its mark in nothing but a date that the disk itself has changed."""
        digest = _DIGEST.search(mark.version)
        if not is_redated(mark.mtime_ns, look.st_mtime_ns, digest is not None):
            return False
        with suppress(OSError):
            return digest is None or _digest(self.root / path) == digest[0]
        return False

    def _is_our_link(self, path: str) -> bool:
        place = self.root / path
        if not place.is_symlink():
            return False
        points = str(place.readlink()).replace(os.sep, "/")
        return _link_mark(points) in self.ledger.marks(path)


def text_version(content: bytes) -> str:
    """The version of a text: what it says."""
    return f"text:{hashlib.sha512(content).hexdigest()}"


def _link_mark(target: str) -> Mark:
    """Links have neither a size nor a date worth the name: they are known by where they point."""
    return Mark(_LINK, zlib.crc32(target.encode("utf-8", "surrogateescape")), target)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _digest(path: Path) -> str:
    digest = hashlib.sha512()
    for chunk in _chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def _appear(source: Path, target: Path) -> bool:
    """Give a file the name ``target``, unless that is taken."""
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    except (OSError, NotImplementedError, AttributeError):  # a disk without hard links
        if os.path.lexists(target):
            return False
        source.rename(target)
        return True
    source.unlink()
    return True
