"""docs/programs.md: its commands do what it says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from rescalefs.tree.naming import is_looked_for_everywhere, is_no_job

PAGE = (Path(__file__).parents[2] / "docs" / "programs.md").read_text()


def command_with(words: str) -> str:
    """The line of the page, set apart as a command, that has these words."""
    (found,) = [line.strip() for line in PAGE.splitlines() if line.startswith("    ") and words in line]
    return found


# As Debian 12's plocate and Arch's mlocate have it.
@pytest.mark.parametrize(
    "before", ['PRUNEFS="NFS afs tmpfs"\n', 'PRUNE_BIND_MOUNTS = "yes"\nPRUNEFS = "9p afs"\n']
)
def test_updatedb_leaves_the_mount_out(tmp_path: Path, before: str) -> None:
    config = tmp_path / "updatedb.conf"
    config.write_text(before)
    line = command_with("updatedb.conf").replace("/etc/updatedb.conf", str(config)).removeprefix("sudo ")
    subprocess.run(["bash", "-euc", line], check=True)
    after = config.read_text()
    (kinds,) = re.findall(r'^PRUNEFS *= *"(.*)"$', after, re.MULTILINE)
    assert kinds.split()[0] == "fuse.rescalefs"
    assert after.replace("fuse.rescalefs ", "") == before


def test_names_that_the_page_says_cost_nothing_are_known() -> None:
    (names,) = re.findall(r"jobs do not write \((.*?), and some more\)", PAGE, re.DOTALL)
    everywhere = [
        name.replace("*", "es" if "Trash" in name else "x") for name in re.findall("`(.*?)`", names)
    ]
    assert len(everywhere) > 10
    assert [name for name in everywhere if not is_looked_for_everywhere(name)] == []
    (words,) = re.findall(r"words such as (.*?), cost", PAGE, re.DOTALL)
    assert all(is_no_job(word) for word in re.findall("`(.*?)`", words))
