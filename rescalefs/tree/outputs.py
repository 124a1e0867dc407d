"""Pure: files of a job as one answer listed them -> folders, table and checksums, each made at first use."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rescalefs.model import JobDetail, RemoteFile
from rescalefs.tree.naming import Claim, Places, legal_name, legal_path
from rescalefs.tree.nodes import FixedDirectory, Node, RemoteNode, Text, inode_of, nanoseconds
from rescalefs.tree.sorting import ALL_TOGETHER, Sorting
from rescalefs.tree.tables import Row, checksum_list, files_table

Verification = Callable[[RemoteFile], str]

_TABLE_LASTS = 2.0  # seconds; verifications change while files are read, and nobody tells us when


class Outputs:
    """The outputs of a job or of one run, as one answer of the server listed them.

    What is made of them is kept as long as they are: the same nodes, the same bytes. Two threads that come
    first at the same moment may both make it, and one of the two is kept.
    """

    __slots__ = (
        "_newest_ns",
        "_root",
        "_rows",
        "_sorting",
        "_sums",
        "_table",
        "beside",
        "files",
        "final",
        "job_id",
        "run_id",
    )

    def __init__(
        self,
        job_id: str,
        files: tuple[RemoteFile, ...],
        final: bool,
        run_id: str | None = None,
        sorting: Sorting = ALL_TOGETHER,
    ) -> None:
        self.job_id = job_id
        self.run_id = run_id  # None: of all runs
        self.files = files
        self.final = final  # the job had ended when they were listed
        self._sorting = sorting
        # Folders of one kind as made last, by name, with the page of the job they were made of, too.
        self.beside: dict[str, tuple[JobDetail | None, FixedDirectory]] = {}
        self._newest_ns: int | None = None
        self._rows: tuple[Row, ...] | None = None
        self._root: FixedDirectory | None = None
        self._sums: bytes | None = None
        self._table: tuple[float, bytes] | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Outputs):
            return NotImplemented
        return (self.job_id, self.run_id, self.final, self.files) == (
            other.job_id,
            other.run_id,
            other.final,
            other.files,
        )

    __hash__ = None  # type: ignore[assignment]

    def root(self, otherwise_ns: int) -> FixedDirectory:
        """The folder outputs/; ``otherwise_ns`` is the date of what has none."""
        if self._root is None:
            nodes = self.nodes(self.rows, otherwise_ns)
            self._root = folder_of(nodes, (*self._owner, "outputs"), otherwise_ns)
        return self._root

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every file that is in outputs/ with its place below it, in order of place."""
        if self._rows is None:
            self._rows = placed(file for file in self.files if self._sorting.is_plain(file))
        return self._rows

    def nodes(self, rows: Iterable[Row], otherwise_ns: int) -> Iterable[tuple[str, Node]]:
        """A node for each of these files, at its path."""
        return ((row.path, self._node(row, otherwise_ns)) for row in rows)

    def rows_in(self, folder: str, places: Places | None = None) -> tuple[Row, ...]:
        """The files of a folder beside outputs/ with their places below it; takes them from ``places``."""
        return placed((file for file in self.files if self._sorting.folder(file) == folder), places=places)

    def _shown(self) -> Iterable[Row]:
        """All files that are shown, their places seen from outputs/."""
        yield from self.rows
        for folder in self._sorting.folders:
            yield from (Row(f"../{folder}/{row.path}", row.file) for row in self.rows_in(folder))

    def _hidden(self) -> Iterable[Row]:
        return (Row("", file) for file in self.files if self._sorting.is_hidden(file))

    def checksums(self, otherwise_ns: int) -> Text:
        """The file SHA512SUMS."""
        if self._sums is None:
            self._sums = checksum_list(self._shown())
        return Text(self._sums, self._newest(otherwise_ns))

    def table(self, verification: Verification, now: float, otherwise_ns: int) -> Text:
        """The file files.tsv with the verifications as they were a moment before ``now`` (monotonic)."""
        table = self._table
        if table is None or not 0.0 <= now - table[0] < _TABLE_LASTS:
            table = (
                now,
                files_table((row, verification(row.file)) for row in (*self._shown(), *self._hidden())),
            )
            self._table = table
        return Text(table[1], self._newest(otherwise_ns))

    def _newest(self, otherwise_ns: int) -> int:
        if self._newest_ns is None:
            dates = [file.uploaded for file in self.files if file.uploaded is not None]
            self._newest_ns = nanoseconds(max(dates, default=None), otherwise_ns)
        return self._newest_ns

    @property
    def _owner(self) -> tuple[str, ...]:
        return ("job", self.job_id) if self.run_id is None else ("run", self.job_id, self.run_id)

    def _node(self, row: Row, otherwise_ns: int) -> RemoteNode:
        file = row.file
        return RemoteNode(
            inode_of(*self._owner, "file", file.id, row.path),
            nanoseconds(file.uploaded, otherwise_ns),
            file,
            final=self.final and file.is_uploaded,
        )


def placed(files: Iterable[RemoteFile], flat: bool = False, places: Places | None = None) -> tuple[Row, ...]:
    """Every file with a place of its own, in order of place; ``flat`` puts all side by side, by their names.

    A file that is listed twice has one place. What is taken in ``places`` stays.
    """
    places = places or Places()
    each_once = {(file.id, file.path, file.name): file for file in files}
    claims = {
        key: Claim(
            file.id,
            (legal_name(file.name),) if flat else legal_path(file.path, file.name),
            file.uploaded,
        )
        for key, file in each_once.items()
    }
    oldest_first = sorted(claims, key=lambda each: claims[each].rank)
    rows = [Row("/".join(places.take(claims[key])), each_once[key]) for key in oldest_first]
    return tuple(sorted(rows, key=lambda row: row.path))


def folder_of(
    nodes: Iterable[tuple[str, Node]], identity: tuple[str, ...], otherwise_ns: int
) -> FixedDirectory:
    """One folder with all ``nodes`` at their paths; a folder is as new as the newest below it."""
    contents: dict[str, dict[str, Node]] = {"": {}}
    for path, node in nodes:
        folder, _, name = path.rpartition("/")
        if folder not in contents:
            _make_folders(folder, contents)
        contents[folder][name] = node
    # Longer paths first: a folder is complete before it is put into the one that holds it.
    for folder in sorted(contents, key=len, reverse=True):
        if folder:
            parent, _, name = folder.rpartition("/")
            contents[parent][name] = _folder(contents[folder], (*identity, folder), otherwise_ns)
    return _folder(contents[""], identity, otherwise_ns)


def _make_folders(folder: str, contents: dict[str, dict[str, Node]]) -> None:
    while folder not in contents:
        contents[folder] = {}
        folder = folder.rpartition("/")[0]


def _folder(entries: dict[str, Node], identity: tuple[str, ...], otherwise_ns: int) -> FixedDirectory:
    newest = max((node.modified_ns for node in entries.values()), default=otherwise_ns)
    return FixedDirectory(inode_of(*identity), newest, entries)
