"""Receives a multipart upload into the content store as it arrives, in constant memory."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio.to_thread
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from rescalefs.simulator import records
from rescalefs.simulator.contents import Contents, Digest, Incoming

BATCH = 1 << 20  # bytes collected before a thread is asked to hash and write them
LONGEST_FIELD = 1 << 16

# Clients put the type in place of the part's content type: `Content-Type: {'type_id': 1}`.
_ODD_TYPE = re.compile(rb"type_id\W+(\d+)")


class BadUpload(ValueError):
    """What arrived is not an upload; ``problems`` is the body of the 400."""

    def __init__(self, problems: dict[str, list[str]]) -> None:
        super().__init__(str(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that has arrived, and is stored under the id it was given."""

    name: str
    type_id: int
    digest: Digest


class _Form:
    """Listens to the multipart parser: small fields are kept, the bytes of `file` wait to be written."""

    def __init__(self) -> None:
        self.fields: dict[str, bytes] = {}
        self.file_name: str | None = None
        self.odd_type: int | None = None
        self.pending = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._header = (bytearray(), bytearray())
        self._field = ""
        self._is_file = False
        self.is_complete = False

    def parser(self, boundary: bytes) -> MultipartParser:
        """A parser that tells this form what it finds."""
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_content,
                "on_part_data": self._take,
                "on_end": self._end,
            },
        )

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = self._field == "file" and self.file_name is None
        if self._is_file:
            name = options.get(b"filename", b"").decode("utf-8", "replace")
            self.file_name = name.replace("\\", "/").rsplit("/", 1)[-1]
        for header in self._headers.values():
            if found := _ODD_TYPE.search(header):
                self.odd_type = int(found[1])

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.pending += data[start:end]
        else:
            value = self.fields.get(self._field, b"") + data[start:end]
            if len(value) > LONGEST_FIELD:
                raise BadUpload({self._field: ["This field is too long."]})
            self.fields[self._field] = value

    def _end(self) -> None:
        self.is_complete = True

    @property
    def type_id(self) -> int:
        """What kind of file the client says it is; an input unless it says otherwise."""
        sent = self.fields.get("type_id", b"").strip()
        type_id = int(sent) if sent.isdigit() else self.odd_type
        return type_id if type_id in records.FILE_TYPES else records.INPUT


async def receive(
    stream: AsyncIterator[bytes], content_type: str, contents: Contents, file_id: str
) -> Upload:
    """Store the part called `file` under the id; `BadUpload` if there is none. Nothing half-done is left."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise BadUpload({"detail": ["Multipart form parse error - Invalid boundary in multipart."]})
    form = _Form()
    parser = form.parser(boundary)
    with contents.receive(file_id) as incoming:
        try:
            async for chunk in stream:
                parser.write(chunk)
                if len(form.pending) >= BATCH:
                    await _flush(form, incoming)
        except FormParserError as error:
            raise BadUpload({"detail": [f"Multipart form parse error - {error}"]}) from error
        await _flush(form, incoming)
        if not form.is_complete:
            raise BadUpload({"detail": ["Multipart form parse error - the last boundary is missing."]})
        if form.file_name is None:
            raise BadUpload({"file": ["No file was submitted."]})
        if not form.file_name:
            raise BadUpload({"file": ["The submitted file has no name."]})
        digest = await anyio.to_thread.run_sync(incoming.keep)
    return Upload(form.file_name, form.type_id, digest)


async def _flush(form: _Form, incoming: Incoming) -> None:
    batch, form.pending = bytes(form.pending), bytearray()
    await anyio.to_thread.run_sync(incoming.write, batch)
