"""A run's working directory on the cluster: laid out before its commands, collected after them."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rescalefs.simulator import records
from rescalefs.simulator.unpack import BadArchive, is_archive, unpack

LOG = "process_output.log"


class LayoutFailed(RuntimeError):
    """An input cannot be put in its place; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored file as a working directory needs it."""

    name: str
    content: Path


Find = Callable[[str], Stored]  # by file id; raises LookupError


@dataclass(frozen=True, slots=True)
class Output:
    """A file that a run leaves behind."""

    relative_path: str  # as clients see it: always UTF-8
    path: Path
    type_id: int


def lay_out(folder: Path, analysis: Mapping[str, Any], variables: Mapping[str, str], find: Find) -> None:
    """Put an analysis' inputs, scripts and completed templates in ``folder``; `LayoutFailed` if that fails.

    An archive that is to be decompressed is replaced by what is in it.
    """
    try:
        for entry in analysis["inputFiles"]:
            _place(folder, find(entry["id"]), decompress=entry["decompress"])
        for field in ("preProcessScript", "postProcessScript"):
            if analysis[field]:
                _place(folder, find(analysis[field]["id"]), decompress=False)
        for task in analysis["templateTasks"]:
            template = find(task["templateFile"]["id"]).content.read_text(errors="surrogateescape")
            target = _inside(folder, task["processedFilename"])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(completed(template, variables), errors="surrogateescape")
    except LookupError as error:
        raise LayoutFailed(f"input file {error} does not exist any more") from error
    except BadArchive as error:
        raise LayoutFailed(str(error)) from error
    except OSError as error:
        raise LayoutFailed(f"cannot lay out the inputs: {error}") from error


def commands(analysis: Mapping[str, Any]) -> Iterator[str]:
    """What an analysis runs, in order."""
    for command in (
        analysis["preProcessScriptCommand"],
        analysis["command"],
        analysis["postProcessScriptCommand"],
    ):
        if command:
            yield command


def completed(template: str, variables: Mapping[str, str]) -> str:
    """The template with ``{name}`` and ``${name}`` replaced where ``name`` is a variable; no other."""
    if not variables:
        return template
    names = "|".join(re.escape(name) for name in variables)
    return re.sub(rf"\$?\{{({names})\}}", lambda match: variables[match[1]], template)


def outputs(folder: Path, inputs: Iterable[str]) -> Iterator[Output]:
    """Every regular file below ``folder``, in order of its path; ``inputs`` are the paths that were laid out.

    A symbolic link counts as the file it points to, if that lies in the folder, too.
    """
    laid_out = set(inputs)
    root = folder.resolve()
    for path in live_files(folder):
        resolved = path.resolve()
        if not resolved.is_relative_to(root) or not resolved.is_file():
            continue
        relative = path.relative_to(folder).as_posix()
        type_id = records.INPUT if relative in laid_out else records.OUTPUT
        yield Output(os.fsencode(relative).decode("utf-8", "replace"), resolved, type_id)


def live_files(folder: Path) -> list[Path]:
    """The paths below ``folder`` that are no directories, sorted; what vanishes meanwhile is left out."""
    return sorted(Path(parent) / name for parent, _, names in os.walk(folder) for name in names)


def find_live(folder: Path, relative: str) -> Path | None:
    """The file at a path below ``folder``, if it is there and does not lead outside."""
    path = (folder / relative).resolve()
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None


def pack(folder: Path, archive: Path) -> None:
    """Write the folder, as it is now, into a `.tar.gz`; a file that changes meanwhile is cut or left out."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in live_files(folder):
            with suppress(OSError):
                tar.add(path, path.relative_to(folder).as_posix(), recursive=False)


def _place(folder: Path, stored: Stored, *, decompress: bool) -> None:
    if decompress and is_archive(stored.name):
        unpack(stored.content, stored.name, folder)
        return
    shutil.copyfile(stored.content, _inside(folder, stored.name))


def _inside(folder: Path, name: str) -> Path:
    target = Path(os.path.normpath(folder / name))
    if target == folder or not target.is_relative_to(folder) or "\0" in name:
        raise LayoutFailed(f"{name!r} is not a path inside the working directory")
    return target
