"""Pure: the text files of a job, as bytes.

Each is made for ordinary tools: `awk -F'\\t'`, `sort`, `column -t`, `sha512sum -c`. Lines end with a newline,
cells are separated by one tab, and a cell without a value holds `-`, so that columns can be counted on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

from rescalefs.model import FileType, JobStatus, RemoteFile, Run, is_terminal

NOT_SUBMITTED = "Not submitted"  # Rescale has no word for a job that was saved and never submitted

FILE_COLUMNS = ("size", "type", "sha512", "verified", "id", "uploaded", "path", "original")
RUN_COLUMNS = ("run", "status", "started", "completed", "files", "size")  # and one for each variable

_NONE = "-"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_ESCAPED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\\\]")
_SUM_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r"})
_TYPE_WORDS = {int(each): each.name.lower().replace("_", "-") for each in FileType}


@dataclass(frozen=True, slots=True)
class Row:
    """One file and where it is, relative to outputs/."""

    path: str
    file: RemoteFile


def iso(moment: datetime | None) -> str:
    """`2016-04-21T17:24:34.898495Z`: always UTC and of one length, so that text sorts as time does."""
    if moment is None:
        return _NONE
    utc = moment.astimezone(timezone.utc).replace(tzinfo=None)
    return utc.isoformat(timespec="microseconds") + "Z"


def status_line(status: str) -> bytes:
    """The file `status`: one line, the newest status."""
    return _line(_one_line(status) if status.strip() else NOT_SUBMITTED)


def status_table(statuses: Iterable[JobStatus]) -> bytes:
    """The files `statuses` and `cluster_statuses`: time, status, reason; oldest first, without a header."""
    return b"".join(
        _line("\t".join((iso(each.date), _one_line(each.status), _one_line(each.reason or ""))))
        for each in statuses
    )


def files_table(rows: Iterable[tuple[Row, str]]) -> bytes:
    """The file `files.tsv`: a header, and one line for each output with its verification, in order of path.

    `path` is the path in the mount, seen from outputs/, and `-` for what is not shown; `original` is the
    server's, where tab, newline and backslash are escaped as `\\t`, `\\n`, `\\\\`, and other control
    characters as `\\xNN` or `\\uNNNN`.
    """
    lines = ["\t".join(FILE_COLUMNS)]
    lines.extend(
        "\t".join(
            (
                _NONE if file.size is None else str(file.size),
                type_word(file.type_id),
                file.sha512 or _NONE,
                verified,
                _escaped(file.id),
                iso(file.uploaded),
                row.path or _NONE,
                _escaped(file.path or file.name) or _NONE,
            )
        )
        for row, verified in rows
        for file in (row.file,)
    )
    return "\n".join(lines).encode() + b"\n"


def run_state(run: Run, job_status: str) -> str:
    """One word for a run: the API has dates alone. One that never ended has its job's end."""
    if run.completed is not None:
        return "Completed"
    if is_terminal(job_status):
        return job_status
    return "Not started" if run.started is None else "Executing"


def runs_table(runs: Iterable[Run], job_status: str) -> bytes:
    """The file `runs.tsv`: a header, and one line for each run with its variables; size in bytes.

    A variable of the name of another column has `~variable` after its name.
    """
    known = list(runs)
    names = list(dict.fromkeys(name for run in known for name in run.variables))
    headers = (f"{name}~variable" if name in RUN_COLUMNS else cell(name) for name in names)
    return table(
        (*RUN_COLUMNS, *headers),
        (
            (
                run.id,
                run_state(run, job_status),
                iso(run.started),
                iso(run.completed),
                "" if run.files is None else str(run.files),
                "" if run.size is None else str(run.size),
                *(run.variables.get(name, "") for name in names),
            )
            for run in known
        ),
    )


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> bytes:
    """A header and one line for each row; an empty cell becomes `-`."""
    lines = ["\t".join(columns)]
    lines.extend("\t".join(map(cell, row)) for row in rows)
    return "\n".join(lines).encode(errors="replace") + b"\n"


def cell(text: str) -> str:
    """Any text as one cell: tabs and line ends become blanks."""
    return _one_line(text)


def checksum_list(rows: Iterable[Row]) -> bytes:
    """The file `SHA512SUMS`, for `sha512sum -c` in outputs/; files without a checksum are left out."""
    return b"".join(_checksum_line(row.path, row.file.sha512) for row in rows if row.file.sha512)


def _checksum_line(path: str, sha512: str) -> bytes:
    escaped = path.translate(_SUM_ESCAPES)
    if escaped == "-":
        escaped = "./-"  # `-` alone would be standard input
    # A leading backslash tells sha512sum that the name is escaped.
    return _line(f"{'' if escaped == path or escaped == './-' else chr(92)}{sha512}  {escaped}")


def type_word(type_id: int | None) -> str:
    """What the kind of a file is called; the number where we have no word for it."""
    if type_id is None:
        return _NONE
    return _TYPE_WORDS.get(type_id, str(type_id))


def _one_line(text: str) -> str:
    return _CONTROL.sub(" ", text).strip() or _NONE


def _line(text: str) -> bytes:
    return text.encode(errors="replace") + b"\n"


def _escaped(text: str) -> str:
    return _ESCAPED.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    return _ESCAPES.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
