"""A keyring that a test can look into: the real library, with its passwords in a JSON file."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

FILE = "TEST_KEYRING_FILE"  # the variable that names it; without the file, the keyring is locked


class KeyringInFile(KeyringBackend):
    """Chosen by ``PYTHON_KEYRING_BACKEND=tests.config.keyring_in_file.KeyringInFile``."""

    priority = 0

    def get_password(self, service: str, username: str) -> str | None:
        return self._kept().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        kept = self._kept() | {f"{service}/{username}": password}
        Path(os.environ[FILE]).write_text(json.dumps(kept))

    def delete_password(self, service: str, username: str) -> None:
        kept = self._kept()
        del kept[f"{service}/{username}"]
        Path(os.environ[FILE]).write_text(json.dumps(kept))

    def _kept(self) -> dict[str, str]:
        try:
            found: dict[str, str] = json.loads(Path(os.environ[FILE]).read_text())
        except FileNotFoundError:
            raise KeyringLocked("the password is hunter2") from None
        return found
