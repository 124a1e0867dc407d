"""What lies on the disk, cut or flipped at any byte: an error of ours, or right answers.

What can be asked for again is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from hypothesis import example, given

from rescalefs.errors import RescaleFSError, UserError
from rescalefs.mirror.ledger import Ledger as MirrorLedger
from rescalefs.mirror.ledger import Mark
from rescalefs.submit.journal import JournalDamaged, JournalFailed
from tests.fakes import FakeClock
from tests.fuzz.conftest import OddServer
from tests.fuzz.examples import SEEDS, examples
from tests.fuzz.test_fuzz_tree import client_of, tree_of, walked
from tests.mirror.account import Account
from tests.submit.rig import FakeRescale, Rig, drop_files, make_settings


def damaged(data: bytes, random: Random) -> bytes:
    """Cut, a bit flipped, some bytes overwritten, or more at the end."""
    at = random.randrange(len(data) or 1)
    kind = random.randrange(4)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
    if kind == 2:
        some = random.randbytes(random.randrange(1, 64))
        return data[:at] + some + data[at + len(some) :]
    return data + random.randbytes(100)


def damage(folder: Path, pattern: str, random: Random, count: int = 1) -> None:
    files = [path for path in sorted(folder.rglob(pattern)) if path.is_file()]
    assert files, f"nothing fits {pattern}"
    for path in random.choices(files, k=count):
        path.write_bytes(damaged(path.read_bytes() or b"\0", random))


@given(SEEDS)
@examples(4)
def test_damaged_listings_are_asked_for_again(odd: OddServer, seed: int) -> None:
    clock = FakeClock()
    with TemporaryDirectory() as folder, closing(client_of(odd, clock)) as client:
        right = dict(walked(tree_of(client, clock, Path(folder)).node("/"), "", client))
        damage(Path(folder), "*.answer", Random(seed), count=20)
        again = dict(walked(tree_of(client, clock, Path(folder)).node("/"), "", client))
    assert again == right


@given(SEEDS)
@example(seed=5586)  # the damage is in the schema, which SQLite quotes
@examples(20)
def test_a_damaged_journal_is_refused_or_tells_what_was_written(seed: int) -> None:
    clock = FakeClock()
    with TemporaryDirectory() as folder:
        settings = make_settings(Path(folder))
        rescale = FakeRescale(clock)
        with Rig(settings, rescale, clock) as rig:
            drop_files(settings.folder / "wing")
            rig.turns(4)
            told = list(rig.journal.entries())
        damage(settings.journal.parent, f"{settings.journal.name}*", Random(seed))
        made = len(rescale.on_server)
        try:
            with Rig(settings, rescale, clock) as rig:
                found = list(rig.journal.entries())
                rig.turns(2)
        except (JournalDamaged, JournalFailed, UserError):
            return
        # A flipped bit in a row is no damage that SQLite sees: what it tells must still make sense.
        assert len(found) <= len(told)
        assert len(rescale.on_server) <= made + (len(found) < len(told))


@given(SEEDS)
@example(seed=448)
@examples(40)
def test_a_damaged_list_of_mirrored_files_is_refused_or_used(seed: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mirror.sqlite"
        with closing(MirrorLedger(path)) as ledger:
            for number in range(50):
                ledger.note(f"jobs/a/outputs/{number}", Mark(number, number, f"v{number}"))
        random = Random(seed)
        damage(Path(folder), "mirror.sqlite", random)
        _used_or_refused(path, lambda ledger: [ledger.marks(f"jobs/a/outputs/{each}") for each in range(50)])


def _used_or_refused(path: Path, use: Callable[[MirrorLedger], object]) -> None:
    try:
        with closing(MirrorLedger(path)) as ledger:
            use(ledger)
            ledger.note("jobs/b", Mark(1, 1, "v"))
    except (RescaleFSError, OSError):  # which commands show as a line
        return


@given(SEEDS)
@examples(2)
def test_a_damaged_mirror_is_mended_by_the_next_round_or_refused(odd: OddServer, seed: int) -> None:
    random = Random(seed)
    with TemporaryDirectory() as folder:
        account = Account(odd, Path(folder))  # type: ignore[arg-type]  # it has a url and a key, as a simulator
        account.sync()
        damage(account.folder, random.choice(["mirror.sqlite", "out.log", "files.tsv", "*"]), random, 3)
        done = account.run("sync", str(account.folder), "--once", check=False)
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert done.returncode in (0, 1), said
        assert "Traceback" not in done.stdout.decode("utf-8", "replace"), said
