"""Pure: the service's JSON to the model. Strict about the fields we use, deaf to the others.

Which fields there are and what they mean: docs/architecture.md names the sources. Anything not used as an
identity may be missing or null.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Generic, TypeVar, cast

import msgspec

from rescalefs import model
from rescalefs.api.headers import or_none
from rescalefs.api.repair import repaired
from rescalefs.containment import log_once, shortened, warn_once
from rescalefs.errors import UnexpectedAnswer

log = logging.getLogger(__name__)

T = TypeVar("T")
V = TypeVar("V")
_JOB_ID = re.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # what a job's id is made of; it becomes a path
_LONGEST_ID = 200  # characters of other ids
_LARGEST_SIZE = 1 << 60  # bytes; Linux' own limit is some times that
_LARGEST_COUNT = 1 << 40
_MOST_CORES = 1_000_000
_LARGEST_PRICE = Decimal(10) ** 9  # for a core and an hour
_MOST_DIGITS = 40
_SHORT = 200  # characters; what is longer is no word that thousands of jobs share
_MOST_VALUES = 2_000_000  # in one document; a list takes 8 bytes for each, and an empty list some 60
_MOST_VALUES_OF_A_JOB = 4_000_000  # 100,000 inputs, some 30 values each
_MOST_ERRORS = 1_000  # of one answer that are kept apart: an exception takes a KiB
_NOTHING_RIGHT = 10_000  # entries, after which an answer in which none makes sense is read no further
_HEX = re.compile("[0-9a-f]+")
S = TypeVar("S", str, tuple[str, ...])


Id = str | int  # a few ids may come as numbers (guess): their type is not documented


class _Wire(msgspec.Struct, rename="camel", frozen=True):
    """A JSON object: `snake_case` here is `camelCase` there; fields not named are not read."""


class Page(_Wire, frozen=True):
    """One page of a list, its entries not yet read."""

    results: list[msgspec.Raw]
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
    input_files: list[msgspec.Raw] | None = None
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


class Instance(_Wire, frozen=True):
    public_ip: str
    username: str
    ssh_port: int | None = None
    role: str | None = None


class Tag(_Wire, frozen=True):
    name: str


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


def decode(content: bytes, kind: type[T], what: str, most: int = _MOST_VALUES) -> T:
    """The JSON as ``kind``. Raises `UnexpectedAnswer`, naming ``what`` was asked and the field that is wrong.

    Numbers may come as strings (the documentation has both). ``most`` is how many values there may be.
    """
    if content.count(b",") + content.count(b"[") + content.count(b"{") > most:
        raise UnexpectedAnswer(f"{what}: the server's answer has more parts than any should")
    try:
        return msgspec.json.decode(content, type=kind, strict=False)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        # A field of a wrong type stays wrong; what is no JSON may still be read.
        found = None if isinstance(error, msgspec.ValidationError) else _repaired(content, kind)
        if found is not None:
            return found
        raise UnexpectedAnswer(
            f"{what}: the server's answer is not what the API promises: {shortened(error)}"
        ) from error


def _repaired(content: bytes, kind: type[T]) -> T | None:
    """Decode what is almost JSON; None where it is not."""
    try:
        return msgspec.json.decode(repaired(content), type=kind, strict=False)
    except (ValueError, RecursionError):
        return None


@dataclass(frozen=True, slots=True)
class Entry(Generic[V]):
    """One entry of a list: what was made of it, or why that was not possible."""

    identity: object  # what makes two entries the same one: what the service calls them, else all they say
    value: V | None = None  # None: it is left out, as a file that was deleted
    error: Exception | None = None


def entry(raw: msgspec.Raw, kind: type[T], made: Callable[[T], V | None]) -> Entry[V]:
    """What is ``made`` of an entry. Never raises: one that makes no sense must not hide the others."""
    try:
        wire = _forgiving(raw, kind)
        named = getattr(wire, "id", None) or getattr(wire, "code", None) or bytes(raw)
        return Entry(named, made(wire))
    except Exception as error:  # noqa: BLE001  # whatever it is that the server sent
        return Entry(bytes(raw), error=error)


_FIELD = re.compile(r"`\$\.(\w+)")


def _forgiving(raw: msgspec.Raw, kind: type[T]) -> T:
    """The JSON as ``kind``, without those fields that are of a wrong type, where ``kind`` can do without."""
    try:
        return msgspec.json.decode(raw, type=kind, strict=False)
    except msgspec.ValidationError as error:
        first = last = error
    document = msgspec.json.decode(raw)
    while isinstance(document, dict):
        found = _FIELD.search(str(last))
        if found is None or found[1] not in document:
            break
        del document[found[1]]
        try:
            return msgspec.convert(document, kind, strict=False)
        except msgspec.ValidationError as error:
            last = error
    raise first


def entries(
    raws: Iterable[msgspec.Raw],
    kind: type[T],
    made: Callable[[T], V | None],
    what: str,
    rather_none: bool = False,
) -> tuple[V, ...]:
    """What is ``made`` of entries, those that make no sense left out. See `sensible`."""
    return sensible(each_entry(raws, kind, made), what, rather_none)


def each_entry(raws: Iterable[msgspec.Raw], kind: type[T], made: Callable[[T], V | None]) -> list[Entry[V]]:
    """What is ``made`` of each entry of one answer. However many make no sense, they take little memory."""
    found: list[Entry[V]] = []
    wrong: list[Exception] = []
    for raw in raws:
        each = entry(raw, kind, made)
        if each.error is not None:
            if len(wrong) < _MOST_ERRORS:
                wrong.append(each.error)
            else:
                each = dataclasses.replace(each, error=wrong[-1])
        found.append(each)
        if len(found) == _NOTHING_RIGHT and all(other.error is not None for other in found):
            break
    return found


def sensible(found: Iterable[Entry[V]], what: str, rather_none: bool = False) -> tuple[V, ...]:
    """The values of the entries, without those that make no sense: then the list is `model.Incomplete`.

    Where none does, there are ``rather_none`` of them, or it is an `UnexpectedAnswer`: no job would mean that
    all are gone, and no price means that none is known.
    """
    listed = list(found)
    wrong = [each.error for each in listed if each.error is not None]
    if wrong and len(wrong) == len(listed) and not rather_none:
        raise UnexpectedAnswer(
            f"{what}: no entry is what the API promises, as the first one: {shortened(wrong[0])}"
        ) from wrong[0]
    for error in dict.fromkeys(wrong):
        left_out = "an entry that makes no sense is left out of a list"
        if isinstance(error, ValueError):  # a field is wrong, or missing: where it was noticed says nothing
            warn_once(log, left_out, error, what)
        else:
            log_once(log, left_out, error, what)
    values = tuple(each.value for each in listed if each.value is not None)
    return model.Incomplete(values) if wrong else values


@or_none
def parse_time(text: str) -> datetime | None:
    """An ISO 8601 time in UTC; with `Z`, an offset, or neither (then UTC: guess). None if it is none."""
    time = msgspec.convert(text, datetime)
    return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)


def checked_id(text: str) -> str:
    """An id that can be asked for. Raises `ValueError`."""
    if not text or len(text) > _LONGEST_ID or not text.isprintable():
        raise ValueError(f"{text[:40]!r} is no id")
    return text


def checked_job_id(text: str) -> str:
    """A job's id, which can be part of a path and of a link. Raises `ValueError`."""
    if _JOB_ID.fullmatch(text) is None:
        raise ValueError(f"{text[:40]!r} is no id of a job")
    return text


def _number(told: float | None, largest: float) -> float | None:
    """A number between 0 and the largest that makes sense; None where it is another, or none."""
    return told if told is not None and 0 <= told <= largest else None


def _count(told: int | None, largest: int = _LARGEST_COUNT) -> int | None:
    return told if told is not None and 0 <= told <= largest else None


def listed_file(wire: File) -> model.RemoteFile | None:
    """A file of a list; None where it was deleted."""
    return None if wire.is_deleted else file(wire)


def file(wire: File) -> model.RemoteFile:
    return model.RemoteFile(
        id=checked_id(wire.id),
        name=wire.name,
        path=wire.relative_path or wire.name,
        size=_count(wire.decrypted_size, _LARGEST_SIZE),
        sha512=_sha512(wire.file_checksums or ()),
        type_id=_count(wire.type_id),
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
        id=checked_job_id(wire.id),
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
    size = sum(map(len, value))
    return cast("S", _kept(value)) if size <= _SHORT else value


@functools.lru_cache(maxsize=4096)
def _kept(value: object) -> object:
    return value


def _tags(found: Iterable[Any]) -> Iterable[str]:
    for each in found:
        name = each.get("name") if isinstance(each, dict) else each
        if isinstance(name, str) and name.strip():
            yield name.strip()


def created_job(content: bytes, what: str) -> model.Job:
    """A job, as the answer to its creation tells it, with all its inputs."""
    return job(decode(content, JobSummary, what, _MOST_VALUES_OF_A_JOB))


def job_detail(content: bytes, what: str) -> model.JobDetail:
    """A job's own page."""
    wire = decode(content, JobDocument, what, _MOST_VALUES_OF_A_JOB)
    analyses = wire.jobanalyses or []
    listed = [raw for analysis in analyses for raw in analysis.input_files or ()]
    inputs = {each.id: each for each in entries(listed, File, listed_file, what)}
    env_vars = (analyses[0].env_vars if analyses else None) or {}
    return model.JobDetail(
        job=job(wire),
        inputs=tuple(inputs.values()),
        env_vars={name: str(value) for name, value in env_vars.items()},
        expected_runs=_count(wire.expected_runs),
        document=document_without_secrets(content, what),
    )


def document_without_secrets(content: bytes, what: str) -> bytes:
    """The JSON indented, its order kept, without the fields that hold keys, as `encodedEncryptionKey`."""
    document = _without_secrets(decode(content, object, what, _MOST_VALUES_OF_A_JOB))
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


def status(wire: StatusEntry) -> model.JobStatus:
    """Raises `ValueError` where it has no time."""
    date = parse_time(wire.status_date)
    if date is None:
        raise ValueError(f"the statusDate of {wire.status[:40]!r} is not a time")
    return model.JobStatus(wire.status, date, wire.status_reason or None)


def history(found: tuple[model.JobStatus, ...]) -> tuple[model.JobStatus, ...]:
    """The statuses, oldest first, whatever order they came in."""
    # The service sends the newest first; the sort is stable, so equal times keep their order.
    oldest_first = list(reversed(found))
    oldest_first.sort(key=lambda status: status.date)
    return model.Incomplete(oldest_first) if isinstance(found, model.Incomplete) else tuple(oldest_first)


def user(wire: User) -> model.User:
    return model.User(
        email=wire.email or "",
        full_name=wire.full_name or " ".join(filter(None, (wire.first_name, wire.last_name))),
        company=(wire.company and wire.company.code) or "",
        workspace=(wire.workspace and wire.workspace.name) or "",
        workspace_id="" if wire.workspace is None or wire.workspace.id is None else str(wire.workspace.id),
    )


def project(wire: Project) -> model.Project:
    project_id = checked_id(str(wire.id))
    return model.Project(project_id, wire.name or project_id)


_HOST = re.compile(r"[0-9A-Za-z][0-9A-Za-z.:-]{0,252}")
_LOGIN = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,63}")


def machine(wire: Instance) -> model.Machine:
    """Raises `ValueError` for an address, a port or a user that a command line could misread."""
    port = 22 if wire.ssh_port is None else wire.ssh_port
    if not (_HOST.fullmatch(wire.public_ip) and _LOGIN.fullmatch(wire.username) and 0 < port < 65536):
        raise ValueError(f"{wire.username!r} at {wire.public_ip!r}, port {port}, cannot be logged in to")
    return model.Machine(wire.public_ip, port, wire.username, wire.role or "")


def tag(wire: Tag) -> str:
    return wire.name


def core_type(wire: CoreType) -> model.CoreType:
    """Counts of cores that cannot be asked for are left out; `ValueError` where nothing else is offered."""
    cores = tuple(each for each in wire.cores or () if 1 <= each <= _MOST_CORES)
    if wire.cores and not cores:
        raise ValueError(f"the core type {wire.code[:40]!r} offers no number of cores")
    memory = _number(wire.memory, _LARGEST_COUNT)
    return model.CoreType(
        code=checked_id(wire.code),
        name=wire.name or wire.code,
        cores=cores,
        categories=tuple(wire.category_codes or ()),
        memory_per_core=None if memory is None else int(memory),
        storage_per_core=_number(wire.storage, _LARGEST_COUNT),
        processor=wire.processor_info or "",
        is_active=wire.is_active is not False,
        is_deprecated=bool(wire.is_deprecated),
    )


def price(wire: ComputePrice) -> model.ComputePrice | None:
    """None where the entry names no price; none of its fields is promised. `ValueError` for an odd one."""
    if wire.core_type is None or wire.value is None or wire.value.amount is None:
        return None
    amount = wire.value.amount
    # NaN compares with nothing, a price below 0 would be the cheapest, and digits without end are printed.
    if not amount.is_finite() or not 0 <= amount <= _LARGEST_PRICE or _digits(amount) > _MOST_DIGITS:
        raise ValueError(f"the price of {wire.core_type[:40]!r} is no price")
    return model.ComputePrice(
        core_type=wire.core_type,
        plan=wire.plan_type or "",
        os=wire.os or "",
        amount=amount,
        currency=wire.value.currency or "",
        is_active=wire.is_active is not False,
    )


def _digits(amount: Decimal) -> int:
    """How many it takes to print it, exponents included."""
    _, digits, exponent = amount.as_tuple()
    return len(digits) + abs(int(exponent))


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
    return model.Analysis(
        checked_id(wire.code), wire.name or wire.code, wire.vendor_name or "", tuple(versions)
    )


def run(wire: Run) -> model.Run:
    variables = {
        each.name: _text(each.value if each.display_value is None else each.display_value)
        for each in wire.variables or ()
    }
    return model.Run(
        checked_id(str(wire.id)),
        parse_time(wire.date_started),
        parse_time(wire.date_completed),
        variables,
        _count(wire.output_file_count),
        _count(wire.output_file_size, _LARGEST_SIZE),
    )


def _text(value: str | float | None) -> str:
    return "" if value is None else str(value)
