"""Endpoints below `files/`."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from rescalefs.simulator import documents, records
from rescalefs.simulator.call import Call, Endpoint, Refused, answer, empty, failure
from rescalefs.simulator.definition import Invalid
from rescalefs.simulator.delivery import deliver
from rescalefs.simulator.records import FileRecord
from rescalefs.simulator.tags import tags_changed
from rescalefs.simulator.uploads import BadUpload, receive
from rescalefs.simulator.world import World


class FileRoutes:
    """Files of the account: uploads and outputs alike."""

    def __init__(self, world: World) -> None:
        self._world = world

    def table(self) -> dict[str, dict[str, Endpoint]]:
        """Path pattern -> method -> endpoint."""
        return {
            "files/": {"GET": self.list_all},
            "files/{file_id}/": {"GET": self.one, "PATCH": self.change, "DELETE": self.delete},
            "files/{file_id}/contents/": {"GET": self.contents},
            "files/{file_id}/lines/": {"GET": self.lines},
            "files/{file_id}/tags/": {"GET": self.tags, "POST": self.tags, "DELETE": self.tags},
        }

    def list_all(self, call: Call) -> Response:
        """`?search=part` of the name. Nobody else's files exist, so `?owner=1` leaves out nothing."""
        part = call.query.get("search", "").lower()
        found = [file for file in self._world.files() if part in file.name.lower()]
        return call.page(found, lambda file: self.shown(file, call))

    def one(self, call: Call) -> Response:
        """One file."""
        return answer(self.shown(self._world.file(call.parts["file_id"]), call))

    def change(self, call: Call) -> Response:
        """Another name or type; other fields are not for clients to change."""
        file = self._world.file(call.parts["file_id"])
        name, type_id = call.fields.get("name", file.name), call.fields.get("typeId", file.type_id)
        if not isinstance(name, str) or not name:
            raise Invalid({"name": ["This field may not be blank."]})
        if not isinstance(type_id, int) or type_id not in records.FILE_TYPES:
            raise Invalid({"typeId": [f'"{type_id}" is not a valid choice.']})
        return answer(self.shown(self._world.change_file(file.id, name=name, type_id=type_id), call))

    def delete(self, call: Call) -> Response:
        """Drop the file and its bytes."""
        self._world.remove_files([self._world.file(call.parts["file_id"]).id])
        return empty(204)

    def contents(self, call: Call) -> Response:
        """The bytes, or a range of them."""
        file = self._readable(call)
        range_header = call.headers.get("range")
        return deliver(self._world.contents.path(file.id), range_header, is_head=call.method == "HEAD")

    def lines(self, call: Call) -> Response:
        """The text in lines, line ends kept."""
        path = self._world.contents.path(self._readable(call).id)
        text = path.read_bytes().decode("utf-8", "replace")
        return answer({"lines": _lines(text)})

    def tags(self, call: Call) -> Response:
        """Words that people put on the file."""
        file = self._world.file(call.parts["file_id"])
        return tags_changed(
            call, file.tags, lambda names: self._world.change_file(file.id, tags=tuple(names))
        )

    async def upload(self, request: Request, status: int) -> Response:
        """Streams a multipart upload into the store."""
        if "content-length" not in request.headers:  # so with `Transfer-Encoding: chunked`
            return failure(Refused(411, "A Content-Length is required."))
        file_id = self._world.new_file_id()
        content_type = request.headers.get("content-type", "")
        try:
            upload = await receive(request.stream(), content_type, self._world.contents, file_id)
        except BadUpload as error:
            return failure(error)
        except ClientDisconnect:
            return empty(400)  # nobody hears it
        record = self._world.add_file(file_id, upload.name, upload.digest, upload.type_id)
        root = f"{request.url.scheme}://{request.url.netloc}/api/v2/"
        return answer(documents.file(record, self._world.owner, root), status)

    def shown(self, file: FileRecord, call: Call) -> dict[str, object]:
        """The file as an answer shows it."""
        return documents.file(file, self._world.owner, call.api)

    def _readable(self, call: Call) -> FileRecord:
        file = self._world.file(call.parts["file_id"])
        if file.is_deleted or not file.is_uploaded:
            raise Refused(404, "The content of this file is not available.")
        return file


def _lines(text: str) -> list[str]:
    """Split after every newline and nowhere else: `str.splitlines` would also split at form feeds."""
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]
