"""Whatever the server answers, the tree shows legal names and right answers, or raises an error of ours."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given

from rescalefs.api import ApiSettings, RescaleClient
from rescalefs.background import Background
from rescalefs.clock import SystemClock
from rescalefs.errors import RescaleFSError
from rescalefs.tree import Directory, LinkNode, LiveNode, Node, RemoteNode, TextNode, Tree, TreeSettings
from rescalefs.tree.facts import facts
from tests.fakes import FakeClock
from tests.fuzz.conftest import OddServer
from tests.fuzz.examples import SEEDS, examples

LONGEST = 20.0  # seconds for all of it, on a loaded machine
CONTENT = {"out.log": b"done\n", "mesh/a.msh": b"1 2 3\n"}


def client_of(odd: OddServer, clock: FakeClock) -> RescaleClient:
    return RescaleClient(ApiSettings(odd.url, odd.api_key, patience=5.0, read_timeout=5.0), clock)


def tree_of(client: RescaleClient, clock: FakeClock, directory: Path | None = None) -> Tree:
    settings = TreeSettings(directory=directory)
    return Tree(client, clock, Background(), settings, lambda _: "no", {})


def walked(node: Node, path: str, client: RescaleClient) -> Iterator[tuple[str, bytes | None]]:
    """All there is, read as the mount reads it; what cannot be read is an error of ours."""
    assert node.inode > 0
    with suppress(RescaleFSError):
        assert isinstance(node.modified_ns, int)
    facts(node, lambda _: "no")
    if isinstance(node, Directory):
        assert node.links > 0
        with suppress(RescaleFSError):
            for name, entry in node.entries().items():
                assert_legal(name)
                assert node.find(name) is not None
                yield from walked(entry, f"{path}/{name}", client)
    elif isinstance(node, TextNode):
        with suppress(RescaleFSError):
            yield path, node.snapshot().content
    elif isinstance(node, RemoteNode):
        assert node.file.size is None or 0 <= node.file.size < 1 << 63
        yield path, read(client, node)
    elif isinstance(node, LinkNode):
        assert_legal(node.target.rpartition("/")[2])
        assert node.target.count("..") < 6
        yield path, None
    else:
        assert isinstance(node, LiveNode) or path == "/submit"


def read(client: RescaleClient, node: RemoteNode) -> bytes | None:
    try:
        with client.open_range(node.file, 0, 100) as body:
            return b"".join(body)
    except RescaleFSError:
        return None


def assert_legal(name: str) -> None:
    assert name not in ("", ".", "..")
    assert not set(name) & {"/", "\0", "\n"}
    assert len(name.encode()) <= 255


@given(SEEDS)
@examples(6)
def test_the_tree_of_odd_answers_has_legal_names_and_raises_errors_of_ours(odd: OddServer, seed: int) -> None:
    clock, began = FakeClock(), SystemClock().monotonic()
    with TemporaryDirectory() as folder, closing(client_of(odd, clock)) as client:
        tree = tree_of(client, clock, Path(folder))
        with odd.being(seed):
            for _ in range(2):  # the second time with what was kept
                dict(walked(tree.node("/"), "", client))
                clock.advance(60.0)
            with suppress(RescaleFSError):
                tree.jobs()
            tree.counters()
        # And then all is well again.
        clock.advance(3600.0)
        tree.forget()
        right = dict(walked(tree.node("/"), "", client))
    assert sum(content == b"done\n" for content in right.values()) == 1
    assert sum(path.endswith("/outputs/out.log") for path in right) == 2
    assert SystemClock().monotonic() - began < LONGEST


@given(SEEDS)
@examples(10)
def test_every_method_of_the_client_answers_or_raises_an_error_of_ours(odd: OddServer, seed: int) -> None:
    clock = FakeClock()
    with closing(client_of(odd, clock)) as client:
        known = [job.id for job in client.jobs()]
        with odd.being(seed):
            for ask in (
                client.user,
                client.server_time,
                client.projects,
                client.core_types,
                client.prices,
                client.analyses,
                client.jobs,
                lambda: client.newest_jobs(5),
                lambda: client.job(known[0]),
                lambda: client.runs(known[0]),
                lambda: client.output_files(known[0]),
                lambda: client.cluster_statuses(known[0]),
                lambda: client.directory_contents(known[0], "1"),
                lambda: client.upload("a", io.BytesIO(b"content"), 7),
                lambda: client.stop_job(known[0]),
                client.connect,
            ):
                with suppress(RescaleFSError):
                    ask()
