"""Pure: the service's JSON to the model. Strict about the fields we use, deaf to the others.

Which fields there are and what they mean: docs/architecture.md names the sources. Anything not used as an
identity may be missing or null.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Generic, TypeVar, cast

import msgspec

from rescalefs import model
from rescalefs.errors import UnexpectedAnswer

T = TypeVar("T")
_HEX = re.compile("[0-9a-f]+")
S = TypeVar("S", str, tuple[str, ...])


Id = str | int  # a few ids may come as numbers (guess): their type is not documented


class _Wire(msgspec.Struct, rename="camel", frozen=True):
    """A JSON object: `snake_case` here is `camelCase` there; fields not named are not read."""


class Page(_Wire, Generic[T], frozen=True):
    """One page of a list."""

    results: list[T]
    count: int | None = None
    next: str | None = None  # absolute URL; some answers of 2016 lack it


class Checksum(_Wire, frozen=True):
    hash_function: str | None = None
    file_hash: str | None = None


class File(_Wire, frozen=True):
    id: str
    name: str
    relative_path: str | None = None
    decrypted_size: int | None = None
    file_checksums: list[Checksum] | None = None
    type_id: int | None = None
    date_uploaded: str | None = None
    is_uploaded: bool | None = None
    is_deleted: bool | None = None


class StatusBox(_Wire, frozen=True):
    content: str | None = None


class JobSummary(_Wire, frozen=True):
    id: str
    name: str
    owner: str | None = None
    date_inserted: str | None = None
    job_status: StatusBox | None = None
    cluster_status_display: StatusBox | None = None
    analysis_names: list[str] | None = None
    project_id: Id | None = None
    tags: list[Any] | None = None  # of words, or of objects with a name (guess): v2 does not document them


class AnalysisRef(_Wire, frozen=True):
    code: str | None = None
    name: str | None = None


class JobAnalysis(_Wire, frozen=True):
    analysis: AnalysisRef | None = None
    input_files: list[File] | None = None
    env_vars: dict[str, Any] | None = None


class JobDocument(JobSummary, frozen=True):
    jobanalyses: list[JobAnalysis] | None = None
    expected_runs: int | None = None


class StatusEntry(_Wire, frozen=True):
    status: str
    status_date: str
    status_reason: str | None = None


class Company(_Wire, frozen=True):
    code: str | None = None


class Workspace(_Wire, frozen=True):
    id: Id | None = None
    name: str | None = None


class User(_Wire, frozen=True):
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    full_name: str | None = None
    company: Company | None = None
    workspace: Workspace | None = None


class Project(_Wire, frozen=True):
    id: Id
    name: str | None = None


class CoreType(_Wire, frozen=True):
    code: str
    name: str | None = None
    cores: list[int] | None = None
    category_codes: list[str] | None = None
    memory: float | None = None
    storage: float | None = None
    processor_info: str | None = None
    is_active: bool | None = None
    is_deprecated: bool | None = None


class PriceValue(_Wire, frozen=True):
    amount: Decimal | None = None
    currency: str | None = None


class ComputePrice(_Wire, frozen=True):
    core_type: str | None = None
    plan_type: str | None = None
    value: PriceValue | None = None
    os: str | None = None
    is_active: bool | None = None


class AnalysisVersion(_Wire, frozen=True):
    version_code: str
    version: str | None = None
    allowed_core_types: list[str] | None = None
    std_command: str | None = None


class Analysis(_Wire, frozen=True):
    code: str
    name: str | None = None
    vendor_name: str | None = None
    versions: list[AnalysisVersion] | None = None


class Variable(_Wire, frozen=True):
    name: str
    display_value: str | int | float | None = None
    value: float | None = None


class Run(_Wire, frozen=True):
    id: Id
    date_started: str | None = None
    date_completed: str | None = None
    variables: list[Variable] | None = None
    output_file_count: int | None = None
    output_file_size: int | None = None


class DirectoryEntry(_Wire, frozen=True):
    path: str


class Lines(_Wire, frozen=True):
    lines: list[str]


def decode(content: bytes, kind: type[T], what: str) -> T:
    """The JSON as ``kind``. Raises `UnexpectedAnswer`, naming ``what`` was asked and the field that is wrong.

    Numbers may come as strings (the documentation has both).
    """
    try:
        return msgspec.json.decode(content, type=kind, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnexpectedAnswer(
            f"{what}: the server's answer is not what the API promises: {error}"
        ) from error


def parse_time(text: str | None) -> datetime | None:
    """An ISO 8601 time in UTC; with `Z`, an offset, or neither (then UTC: guess). None if it is none."""
    if not text:
        return None
    try:
        time = msgspec.convert(text, datetime)
        return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    except (msgspec.ValidationError, OverflowError):
        return None


def files(wires: Iterable[File]) -> tuple[model.RemoteFile, ...]:
    """The files that are not deleted."""
    return tuple(file(wire) for wire in wires if not wire.is_deleted)


def file(wire: File) -> model.RemoteFile:
    return model.RemoteFile(
        id=wire.id,
        name=wire.name,
        path=wire.relative_path or wire.name,
        size=wire.decrypted_size if wire.decrypted_size is None or wire.decrypted_size >= 0 else None,
        sha512=_sha512(wire.file_checksums or ()),
        type_id=wire.type_id,
        uploaded=parse_time(wire.date_uploaded),
        is_uploaded=wire.is_uploaded is not False,
    )


def _sha512(checksums: Iterable[Checksum]) -> str | None:
    for each in checksums:
        digest = (each.file_hash or "").strip().lower()
        if (each.hash_function or "").lower().replace("-", "") == "sha512" and _is_hex(digest, 128):
            return digest
    return None


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and _HEX.fullmatch(text) is not None


def job(wire: JobSummary) -> model.Job:
    return model.Job(
        id=wire.id,
        name=wire.name,
        status=_shared((wire.job_status and wire.job_status.content) or ""),
        inserted=parse_time(wire.date_inserted),
        owner=_shared(wire.owner or ""),
        cluster_status=_shared((wire.cluster_status_display and wire.cluster_status_display.content) or ""),
        project_id=None if wire.project_id is None else _shared(str(wire.project_id)),
        analyses=_shared(tuple(wire.analysis_names or ())),
        tags=_shared(tuple(_tags(wire.tags or ()))),
    )


def _shared(value: S) -> S:
    """The same object for equal ones: thousands of jobs have few states, owners and programs between them."""
    return cast("S", _kept(value))


@functools.lru_cache(maxsize=4096)
def _kept(value: object) -> object:
    return value


def _tags(found: Iterable[Any]) -> Iterable[str]:
    for each in found:
        name = each.get("name") if isinstance(each, dict) else each
        if isinstance(name, str) and name.strip():
            yield name.strip()


def job_detail(content: bytes, what: str) -> model.JobDetail:
    """A job's own page."""
    wire = decode(content, JobDocument, what)
    analyses = wire.jobanalyses or []
    inputs = {each.id: each for analysis in analyses for each in analysis.input_files or ()}
    env_vars = (analyses[0].env_vars if analyses else None) or {}
    return model.JobDetail(
        job=job(wire),
        inputs=files(inputs.values()),
        env_vars={name: str(value) for name, value in env_vars.items()},
        expected_runs=wire.expected_runs,
        document=document_without_secrets(content),
    )


def document_without_secrets(content: bytes) -> bytes:
    """The JSON indented, its order kept, without the fields that hold keys, as `encodedEncryptionKey`."""
    document = _without_secrets(msgspec.json.decode(content))
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


_SECRET = (
    "encryptionkey",
    "secret",
    "password",
    "credential",
    "apikey",
    "accesskey",
    "accountkey",
    "privatekey",
    "sessiontoken",
    "accesstoken",
    "authtoken",
    "sastoken",
)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        # What people put into envVars is theirs to see; the rest of the service's fields is not.
        return {
            name: inner if name == "envVars" else _without_secrets(inner)
            for name, inner in value.items()
            if not any(word in name.lower().replace("_", "") for word in _SECRET)
        }
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    return value


def statuses(wires: Iterable[StatusEntry], what: str) -> tuple[model.JobStatus, ...]:
    """The history, oldest first, whatever order it came in."""
    found = []
    for wire in wires:
        date = parse_time(wire.status_date)
        if date is None:
            raise UnexpectedAnswer(f"{what}: the statusDate of {wire.status[:40]!r} is not a time")
        found.append(model.JobStatus(wire.status, date, wire.status_reason or None))
    found.reverse()  # the service sends the newest first; the sort is stable, so equal times keep their order
    return tuple(sorted(found, key=lambda status: status.date))


def user(wire: User) -> model.User:
    return model.User(
        email=wire.email or "",
        full_name=wire.full_name or " ".join(filter(None, (wire.first_name, wire.last_name))),
        company=(wire.company and wire.company.code) or "",
        workspace=(wire.workspace and wire.workspace.name) or "",
        workspace_id="" if wire.workspace is None or wire.workspace.id is None else str(wire.workspace.id),
    )


def project(wire: Project) -> model.Project:
    return model.Project(str(wire.id), wire.name or str(wire.id))


def core_type(wire: CoreType) -> model.CoreType:
    return model.CoreType(
        code=wire.code,
        name=wire.name or wire.code,
        cores=tuple(wire.cores or ()),
        categories=tuple(wire.category_codes or ()),
        memory_per_core=None if wire.memory is None else int(wire.memory),
        storage_per_core=wire.storage,
        processor=wire.processor_info or "",
        is_active=wire.is_active is not False,
        is_deprecated=bool(wire.is_deprecated),
    )


def prices(wires: Iterable[ComputePrice]) -> tuple[model.ComputePrice, ...]:
    """The entries that do name a price; none of their fields is promised."""
    return tuple(
        model.ComputePrice(
            core_type=wire.core_type,
            plan=wire.plan_type or "",
            os=wire.os or "",
            amount=wire.value.amount,
            currency=wire.value.currency or "",
            is_active=wire.is_active is not False,
        )
        for wire in wires
        if wire.core_type is not None and wire.value is not None and wire.value.amount is not None
    )


def analysis(wire: Analysis) -> model.Analysis:
    versions = (
        model.AnalysisVersion(
            code=each.version_code,
            name=each.version or each.version_code,
            core_types=tuple(each.allowed_core_types or ()),
            command=each.std_command or "",
        )
        for each in wire.versions or ()
    )
    return model.Analysis(wire.code, wire.name or wire.code, wire.vendor_name or "", tuple(versions))


def run(wire: Run) -> model.Run:
    variables = {
        each.name: _text(each.value if each.display_value is None else each.display_value)
        for each in wire.variables or ()
    }
    return model.Run(
        str(wire.id),
        parse_time(wire.date_started),
        parse_time(wire.date_completed),
        variables,
        wire.output_file_count,
        wire.output_file_size,
    )


def _text(value: str | float | None) -> str:
    return "" if value is None else str(value)
