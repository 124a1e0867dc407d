"""Pure: which kinds of files have folders of their own, and which are not shown."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from rescalefs.model import FileType, RemoteFile

_NAMES = {
    **{each: f"{each.name.lower().replace('_', '-')}s" for each in FileType},
    FileType.TEMPORARY: "temporary",
}


@dataclass(frozen=True, slots=True)
class Sorting:
    """What users chose; without a choice all files are in inputs/ and outputs/."""

    split: Collection[FileType] = ()
    hide: Collection[FileType] = ()  # goes before ``split``

    @property
    def folders(self) -> dict[str, FileType]:
        """The folders beside inputs/ and outputs/: snapshots/, checkpoints/, ..."""
        if not self.split:  # as it mostly is, and each look at a job asks
            return {}
        return {_NAMES[each]: each for each in FileType if each in self.split and each not in self.hide}

    def is_hidden(self, file: RemoteFile) -> bool:
        """Whether it is shown nowhere."""
        return file.type_id in self.hide

    def folder(self, file: RemoteFile) -> str | None:
        """The folder that has it in place of inputs/ or outputs/."""
        if file.type_id is None or file.type_id not in self.split or self.is_hidden(file):
            return None
        return _NAMES[FileType(file.type_id)]

    def is_plain(self, file: RemoteFile) -> bool:
        """Whether it is in inputs/ or outputs/."""
        return file.type_id not in self.hide and file.type_id not in self.split


ALL_TOGETHER = Sorting()
