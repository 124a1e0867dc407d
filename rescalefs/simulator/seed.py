"""What a test or a demo plants in the world without running a job: outputs of any name and honesty. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from rescalefs.simulator import records
from rescalefs.simulator.contents import copied, generated

Content: TypeAlias = bytes | Path | int  # an int is a size: bytes are made up for it


@dataclass(frozen=True, slots=True)
class SeedFile:
    """One output file to plant. Nothing is checked: hostile names and false claims are the point."""

    path: str | None  # the relativePath; None: the answer has none
    content: Content = b""
    name: str | None = None  # None: the last part of the path
    claimed_sha512: str | None = None  # told in place of the true one
    has_checksum: bool = True
    claimed_size: int | None = None  # told in place of the true one
    is_uploaded: bool = True
    is_deleted: bool = False
    type_id: int = records.OUTPUT
    run_id: str = "1"

    @property
    def shown_name(self) -> str:
        """The file's name as clients see it."""
        return self.name if self.name is not None else (self.path or "unnamed").rsplit("/", 1)[-1]

    def chunks(self) -> Iterator[bytes]:
        """The bytes to store."""
        if isinstance(self.content, bytes):
            return iter((self.content,))
        if isinstance(self.content, Path):
            return copied(self.content)
        return generated(self.content, seed=str(self.path))


Seeds: TypeAlias = Mapping[str, Content] | Iterable[SeedFile]


def seed_files(seeds: Seeds) -> tuple[SeedFile, ...]:
    """The files of either form: a mapping of path to content, or ready-made ones."""
    if isinstance(seeds, Mapping):
        return tuple(SeedFile(path, content) for path, content in seeds.items())
    return tuple(seeds)


def seed_from_json(document: Mapping[str, Any]) -> SeedFile:
    """What `POST /simulator/jobs/` takes for a file: the fields of `SeedFile`, content as text or size."""
    fields = dict(document)
    content = fields.pop("content", "")
    return SeedFile(content=content if isinstance(content, int) else str(content).encode(), **fields)
