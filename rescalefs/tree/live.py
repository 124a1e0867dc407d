"""Pure: the working directory of a run that has not ended, as one answer listed it."""

from __future__ import annotations

from rescalefs.model import LiveFile
from rescalefs.tree.naming import Claim, legal_path, unique_paths
from rescalefs.tree.nodes import FixedDirectory, LiveNode, inode_of
from rescalefs.tree.outputs import folder_of


class Live:
    """What a running job has written so far: names alone, for the server tells neither sizes nor dates."""

    __slots__ = ("_job_id", "_listed_ns", "_paths", "_root", "_run_id")

    def __init__(self, job_id: str, run_id: str, paths: tuple[str, ...], listed_ns: int) -> None:
        """``listed_ns`` is when these names were first seen together."""
        self._job_id = job_id
        self._run_id = run_id
        self._paths = paths
        self._listed_ns = listed_ns
        self._root: FixedDirectory | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Live):
            return NotImplemented
        return (self._job_id, self._run_id, self._paths) == (other._job_id, other._run_id, other._paths)

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._paths)

    def root(self) -> FixedDirectory:
        """The folder live/."""
        if self._root is None:
            # A path is all there is to tell two files by; a path that ends in a slash is a folder's (guess).
            files = [path for path in dict.fromkeys(self._paths) if not path.endswith("/")]
            claims = {path: Claim(path, legal_path(path, path), None) for path in files}
            nodes = (("/".join(place), self._node(path)) for path, place in unique_paths(claims).items())
            self._root = folder_of(nodes, ("live", self._job_id, self._run_id), self._listed_ns)
        return self._root

    def _node(self, path: str) -> LiveNode:
        file = LiveFile(self._job_id, self._run_id, path)
        return LiveNode(inode_of("live-file", self._job_id, self._run_id, path), self._listed_ns, file)
