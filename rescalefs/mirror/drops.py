"""The names that rescalefs adds to a dropped folder, as real files."""

from __future__ import annotations

import logging
import os

from rescalefs.mirror.service import DropViews
from rescalefs.mirror.shelf import Shelf, Standing
from rescalefs.mirror.trouble import reason

log = logging.getLogger(__name__)

_SUBMIT = "submit"


class DropNotes:
    """Keeps `status`, `status.log` and `job` in each dropped folder. For one thread.

    A file of such a name that somebody dropped stays as it is, unless it is one that we wrote: a copy of a
    finished drop brings those along.
    """

    def __init__(self, shelf: Shelf, views: DropViews) -> None:
        self._shelf = shelf
        self._views = views
        self._told: set[str] = set()
        self._troubled: dict[str, str] = {}  # drop -> what was said to keep its status from being written

    def write(self) -> None:
        """Bring all of them up to date."""
        try:
            names = [entry.name for entry in os.scandir(self._shelf.root / _SUBMIT) if entry.is_dir()]
        except FileNotFoundError:
            return
        except OSError as error:
            self._tell(_SUBMIT, f"submit/ cannot be looked at: {reason(error, _SUBMIT)}")
            return
        for name in names:
            self._look_after(name)

    def _look_after(self, name: str) -> None:
        try:
            self._write(name)
            self._troubled.pop(name, None)
        except Exception as error:  # noqa: BLE001  # the other drops go on
            why = f"submit/{name}: its status cannot be written: {reason(error, name)}"
            if self._troubled.get(name) != why:
                self._troubled[name] = why
                log.warning("%s", why)

    def _write(self, name: str) -> None:
        where = f"{_SUBMIT}/{name}"
        # Asked for first and written last: whoever reads a status finds the rest to be as far.
        status = self._views.status(name)
        self._put(f"{where}/status.log", self._views.log(name))
        job_id = self._views.job_id(name)
        if job_id is not None:
            path = f"{where}/job"
            try:
                self._link(path, job_id)
            except (OSError, NotImplementedError) as error:  # FAT has no symbolic links
                message = "%s cannot be made (%s); the job is jobs/%s"
                self._tell(path, message % (path, reason(error, path), job_id))
        self._put(f"{where}/status", status)

    def _link(self, path: str, job_id: str) -> None:
        if self._shelf.link(path, f"../../jobs/{job_id}") is not Standing.FOREIGN:
            return
        link = self._shelf.root / path
        if link.is_symlink() and str(link.readlink()).replace(os.sep, "/").startswith("../../jobs/"):
            link.unlink()  # it came along from the drop that this one is a copy of
        else:
            self._tell(
                path, f"{path} is a file of the user, and no link to the job; the job is jobs/{job_id}"
            )

    def _put(self, path: str, content: bytes | None) -> None:
        if content is None:
            return
        if self._shelf.of_text(path, content) is Standing.FOREIGN and self._shelf.wrote_elsewhere(path):
            self._shelf.adopt(path)
        if self._shelf.write(path, content, None) is Standing.FOREIGN:
            self._tell(
                path, f"{path} is a file of the user and stays as it is; the drop's would say: {content!r}"
            )

    def _tell(self, key: str, message: str) -> None:
        if key not in self._told:
            self._told.add(key)
            log.warning("%s", message)
