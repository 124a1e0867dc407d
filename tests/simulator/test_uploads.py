"""Uploads, as the odd clients send them."""

from __future__ import annotations

import hashlib
import os

import pytest

from rescalefs.simulator.uploads import BATCH
from tests.simulator.asgi import Answer
from tests.simulator.conftest import Api

BOUNDARY = "----edge"
HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(content: bytes, disposition: str, *headers: str) -> bytes:
    lines = [f"--{BOUNDARY}", f"Content-Disposition: form-data; {disposition}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def upload(api: Api, body: bytes, method: str = "POST") -> Answer:
    return api.ask(method, "files/contents/", headers=HEADERS, body=body)


def test_what_is_uploaded_is_what_is_stored(api: Api) -> None:
    content = os.urandom(2 * BATCH + 7)
    answer = upload(api, part(content, 'name="file"; filename="mesh.bin"') + END)
    assert answer.status == 201
    file = answer.json
    assert file["name"] == "mesh.bin"
    assert file["typeId"] == 1
    assert file["isUploaded"] is True
    assert file["decryptedSize"] == len(content)
    assert file["fileChecksums"] == [
        {"hashFunction": "sha512", "fileHash": hashlib.sha512(content).hexdigest()}
    ]
    assert api.ask("GET", f"files/{file['id']}/contents/").body == content


def test_a_put_is_an_upload_answered_with_200(api: Api) -> None:
    assert upload(api, part(b"x", 'name="file"; filename="a"') + END, "PUT").status == 200


@pytest.mark.parametrize(
    ("body", "type_id"),
    [
        (part(b"x", 'name="file"; filename="a"', "Content-Type: {'type_id': 2}") + END, 2),
        (part(b"x", 'name="file"; filename="a"', "type_id: 99") + END, 1),
        (part(b"4", 'name="type_id"') + part(b"x", 'name="file"; filename="a"') + END, 4),
        (part(b"x", 'name="file"; filename="a"') + part(b"8", 'name="type_id"') + END, 8),
    ],
)
def test_the_type_is_found_wherever_clients_put_it(api: Api, body: bytes, type_id: int) -> None:
    assert upload(api, body).json["typeId"] == type_id


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\\\temp\\\\passwd", "/passwd"])
def test_a_folder_in_the_name_is_left_out(api: Api, name: str) -> None:
    assert upload(api, part(b"x", f'name="file"; filename="{name}"') + END).json["name"] == "passwd"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        END,
        b"nonsense",
        part(b"x", 'name="file"; filename="a"'),  # the last boundary is missing
        part(b"x", 'name="other"; filename="a"') + END,
        part(b"x", 'name="file"; filename=""') + END,
        part(b"x" * 70_000, 'name="type_id"') + END,
    ],
)
def test_what_is_no_upload_is_refused_and_leaves_nothing(api: Api, body: bytes) -> None:
    assert upload(api, body).status == 400
    assert api.get("files/")["count"] == 0
    assert not list((api.world.contents.path("x").parent.parent / "incoming").iterdir())


def test_an_upload_that_is_no_form_is_refused(api: Api) -> None:
    assert api.ask("POST", "files/contents/", body=b"x").status == 400
    assert api.ask("GET", "files/contents/").status == 405
    assert api.ask("POST", "files/contents/", body=b"x", key=None).status == 401
