"""The server to measure against: nginx with API answers and contents as static files.

A simulator in Python would be the bottleneck; nginx sends a file as fast as the machine can. The tree it
serves has one job per scenario under the API's paths, and the same contents again under `/plain/` with a
directory listing, which is what other tools mount.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BIG_FILE = "big.bin"
SMALL_FILES = 10_000
PAGE = 500  # files on one page of a listing

_CONFIG = """
daemon off;
master_process off;
pid {root}/nginx.pid;
error_log {root}/error.log;
worker_rlimit_nofile 4096;
events {{ worker_connections 2048; }}
http {{
    log_format one '$status $body_bytes_sent $request_uri $http_range';
    access_log {root}/access.log one;
    sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000; keepalive_timeout 300;
    client_body_temp_path {root}/tmp; proxy_temp_path {root}/tmp; fastcgi_temp_path {root}/tmp;
    uwsgi_temp_path {root}/tmp; scgi_temp_path {root}/tmp;
    types {{ }}
    default_type application/octet-stream;
    server {{
        listen 127.0.0.1:{port};
        # Rewritten, not aliased: a path that ends in a slash would be looked up as a folder's index.
        location ~ ^/api/v2/files/([A-Za-z0-9]+)/contents/$ {{
            root {root};
            rewrite ^/api/v2/files/([A-Za-z0-9]+)/contents/$ /contents/$1 break;
        }}
        location /api/ {{
            root {root};
            default_type application/json;
            try_files $uri/page-$arg_page.json $uri/index.json =404;
        }}
        location /plain/ {{ root {root}; autoindex on; }}
    }}
}}
"""


@dataclass(frozen=True)
class Traffic:
    """What nginx sent since the mark before."""

    requests: int
    content_requests: int
    content_bytes: int


class Origin:
    """One nginx on a loopback port, and what it serves."""

    def __init__(self, root: Path, port: int) -> None:
        self.root = root
        self.port = port
        self._mark = 0

    def traffic(self) -> Traffic:
        """Count what was sent since the last call, from the access log."""
        with (self.root / "access.log").open() as access:
            access.seek(self._mark)
            lines = access.read().splitlines()
            self._mark = access.tell()
        contents = [line.split(" ") for line in lines if "/contents/" in line or "/plain/" in line]
        return Traffic(len(lines), len(contents), sum(int(fields[1]) for fields in contents))


def build(root: Path, big_size: int) -> None:
    """Write the tree below ``root``: a job `big` with one file, and a job `many` with 10,000 small ones."""
    (root / "contents").mkdir(parents=True)
    (root / "tmp").mkdir()
    plain = root / "plain"
    plain.mkdir()
    big = root / "contents" / "BigFil"
    digest = _write_noise(big, big_size)
    (plain / BIG_FILE).hardlink_to(big)
    api = root / "api" / "v2"
    files = [_file("BigFil", BIG_FILE, big_size, digest)]
    _job(api, "big", files)
    many = []
    for number in range(SMALL_FILES):
        path = f"part{number // 1000}/step{number % 1000:04}.dat"
        body = f"{path}\n".encode()
        file_id = f"sm{number:05}"
        (root / "contents" / file_id).write_bytes(body)
        local = plain / "many" / path
        local.parent.mkdir(parents=True, exist_ok=True)
        local.hardlink_to(root / "contents" / file_id)
        many.append(_file(file_id, path, len(body), hashlib.sha512(body).hexdigest()))
    _job(api, "many", many)
    _pages(api / "jobs", [_summary("big"), _summary("many")])
    _write(api / "users" / "me" / "index.json", {"email": "bench@example.com"})


@contextlib.contextmanager
def serving(root: Path) -> Iterator[Origin]:
    """Run nginx on the tree while the block runs."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        raise SystemExit("benchmarks: nginx is missing; run `make bench`, which installs it")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = root / "nginx.conf"
    config.write_text(_CONFIG.format(root=root, port=port))
    process = subprocess.Popen([nginx, "-c", str(config), "-e", str(root / "error.log")])
    try:
        _wait_for(port, process)
        yield Origin(root, port)
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 1):
            return
    raise SystemExit(f"benchmarks: nginx ended with {process.returncode}")


def _write_noise(path: Path, size: int) -> str:
    """Write ``size`` bytes that don't compress, and return their SHA-512."""
    digest = hashlib.sha512()
    with Path("/dev/urandom").open("rb") as noise, path.open("wb") as out:
        left = size
        while left:
            chunk = noise.read(min(left, 1 << 22))
            digest.update(chunk)
            out.write(chunk)
            left -= len(chunk)
    return digest.hexdigest()


def _file(file_id: str, path: str, size: int, sha512: str) -> dict[str, Any]:
    return {
        "id": file_id,
        "name": path.rpartition("/")[2],
        "relativePath": path,
        "decryptedSize": size,
        "typeId": 5,
        "isUploaded": True,
        "isDeleted": False,
        "dateUploaded": "2026-11-01T12:00:00.000000Z",
        "fileChecksums": [{"hashFunction": "sha512", "fileHash": sha512}],
    }


def _summary(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "owner": "bench@example.com",
        "dateInserted": "2026-11-01T10:00:00.000000Z",
        "jobStatus": {"content": "Completed"},
        "clusterStatusDisplay": {"content": "Stopped"},
    }


def _job(api: Path, name: str, files: list[dict[str, Any]]) -> None:
    job = api / "jobs" / name
    detail = {**_summary(name), "jobanalyses": [], "expectedRuns": 1}
    _write(job / "index.json", detail)
    _pages(job / "files", files)
    ended = {"status": "Completed", "statusDate": "2026-11-01T12:00:00.000000Z", "statusReason": None}
    _pages(job / "statuses", [ended])
    _pages(job / "cluster_statuses", [{**ended, "status": "Stopped"}])


def _pages(folder: Path, results: list[dict[str, Any]]) -> None:
    pages = [results[start : start + PAGE] for start in range(0, len(results), PAGE)] or [[]]
    for number, page in enumerate(pages, 1):
        following = f"http://localhost/{folder.name}/?page={number + 1}" if number < len(pages) else None
        document = {"count": len(results), "next": following, "previous": None, "results": page}
        _write(folder / f"page-{number}.json", document)
        if number == 1:
            _write(folder / "index.json", document)


def _write(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
