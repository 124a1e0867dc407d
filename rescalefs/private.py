"""Folders that no other user of this machine can look into."""

from __future__ import annotations

from pathlib import Path


def make_private(folder: Path) -> None:
    """Make a folder, and every missing one above it, with mode 0700; leave those that exist as they are.

    `Path.mkdir` gives its mode to the last folder alone: the others got what the umask left, usually 0755.
    """
    missing = []
    while not folder.is_dir() and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
