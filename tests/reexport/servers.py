"""Samba and NFS servers for ordinary ports of this machine alone."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PASSWORD = "reexport"
_PATIENCE = 20.0  # seconds for a server to listen, and to end

# The lines that matter for this file system are explained in docs/reexport.md.
SMB_CONF = """\
[global]
server role = standalone server
interfaces = 127.0.0.1
bind interfaces only = yes
smb ports = {port}
disable spoolss = yes
load printers = no
lock directory = {work}
state directory = {work}
cache directory = {work}
pid directory = {work}
private dir = {work}/private
ncalrpc dir = {work}/ncalrpc
log file = {work}/log
passdb backend = tdbsam

[rescale]
path = {mountpoint}
read only = no
follow symlinks = yes
oplocks = no
kernel share modes = no
store dos attributes = no
map archive = no
ea support = no
"""

GANESHA_CONF = """\
NFS_CORE_PARAM {{
    NFS_Port = {port}; Protocols = 4; Bind_addr = 127.0.0.1; Enable_NLM = false; Enable_RQUOTA = false;
}}
NFSV4 {{ Graceless = true; RecoveryBackend = fs; RecoveryRoot = {work}; }}
EXPORT {{
    Export_Id = 1; Path = {mountpoint}; Pseudo = /rescale; Filesystem_id = 1.1; Protocols = 4;
    Access_Type = RO; Squash = No_Root_Squash; SecType = sys;
    FSAL {{ Name = VFS; }}
}}
"""


@contextlib.contextmanager
def samba(mountpoint: Path, work: Path) -> Iterator[list[str]]:
    """Serve the mount; give the words with which `smbclient` reaches it, all but its commands."""
    port, config = _free_port(), work / "smb.conf"
    for folder in (work / "private", work / "ncalrpc"):
        folder.mkdir(parents=True)
    config.write_text(SMB_CONF.format(port=port, work=work, mountpoint=mountpoint))
    words = f"{PASSWORD}\n{PASSWORD}\n"
    user = ["smbpasswd", "-c", str(config), "-L", "-s", "-a", "root"]
    subprocess.run(user, input=words, text=True, check=True, capture_output=True)
    server = ["smbd", "-F", "--no-process-group", "-s", str(config)]
    with _served(server, port, work / "smbd.out"):
        share = ["smbclient", "//127.0.0.1/rescale", PASSWORD, "-U", "root"]
        yield [*share, "-p", str(port), "-s", str(config), "-c"]


@contextlib.contextmanager
def nfs(mountpoint: Path, work: Path) -> Iterator[str]:
    """Serve the mount for reading; give the address of a path as libnfs takes it, with {} for the path."""
    port, config = _free_port(), work / "ganesha.conf"
    work.mkdir(parents=True)
    config.write_text(GANESHA_CONF.format(port=port, work=work, mountpoint=mountpoint))
    server = ["ganesha.nfsd", "-F", "-f", str(config), "-L", str(work / "log"), "-p", str(work / "pid")]
    with _served(server, port, work / "out"):
        yield f"nfs://127.0.0.1/rescale{{}}?version=4&nfsport={port}"


@contextlib.contextmanager
def _served(command: list[str], port: int, out: Path) -> Iterator[None]:
    with out.open("wb") as said:
        # A group of its own: smbd ends with a signal to all of its group.
        server = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
        try:
            _await(server, port, out)
            yield
        finally:
            server.terminate()
            try:
                server.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _await(server: subprocess.Popen[bytes], port: int, out: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise SystemExit(f"{server.args!r} does not serve: {out.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
