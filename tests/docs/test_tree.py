"""docs/tree.md and docs/semantics.md name the columns, attributes, errnos and files that there are."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from rescalefs.config.values import file_types
from rescalefs.mount import errnos
from rescalefs.tree import TreeSettings
from rescalefs.tree.facts import FILE_FACTS, JOB_FACTS
from rescalefs.tree.pricelist import ANALYSIS_COLUMNS, CORE_TYPE_COLUMNS, PROJECT_COLUMNS
from rescalefs.tree.tables import FILE_COLUMNS, RUN_COLUMNS
from tests.fakes import FakeClock
from tests.tree.account import FakeService, tree_of

DOCS = Path(__file__).parents[2] / "docs"
TREE = (DOCS / "tree.md").read_text(encoding="utf-8")
SEMANTICS = (DOCS / "semantics.md").read_text(encoding="utf-8")
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")


def rows(page: str, heading: str) -> dict[str, str]:
    """The first table below a heading: first cell -> second."""
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")][2:]
    return {first.strip().strip("`"): second.strip() for first, second, *_ in lines}


def words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", text))


@pytest.mark.parametrize(
    ("file", "columns"),
    [
        ("files.tsv", FILE_COLUMNS),
        ("runs.tsv", RUN_COLUMNS),
        ("coretypes.tsv", CORE_TYPE_COLUMNS),
        ("analyses.tsv", ANALYSIS_COLUMNS),
        ("projects.tsv", PROJECT_COLUMNS),
    ],
)
def test_every_table_has_the_columns_that_the_page_tells(file: str, columns: tuple[str, ...]) -> None:
    table = rows(TREE, "Tables")
    assert words(table[file]) == columns
    assert len(table) == 5


def test_extended_attributes_are_those_of_the_page() -> None:
    section = SEMANTICS.split("### Extended attributes\n")[1].split("\n## ")[0]
    told = [word for word in words(section) if re.fullmatch(r"[a-z0-9]+", word)]
    assert tuple(told) == FILE_FACTS + JOB_FACTS
    assert "`user.rescale.`" in section


def test_every_errno_of_the_table_is_one_and_every_error_of_ours_has_a_row() -> None:
    told = {name for cell in rows(SEMANTICS, "Errors") for name in cell.split(", ")}
    assert all(hasattr(errno, name) for name in told)
    assert {errno.errorcode[number] for number in errnos._ERRNOS.values()} <= told


def test_kinds_of_files_are_those_of_the_page() -> None:
    sentence = CONFIGURATION.split("commas between them, are ")[1].split(";")[0]
    assert file_types(",".join(words(sentence))) == file_types(
        "template,parameter,script,design-variable,case,optimizer,temporary,checkpoint,snapshot"
    )


def test_the_tree_is_the_one_of_the_page() -> None:
    service = FakeService()
    service.add("job", status="Executing")
    tree = tree_of(service, FakeClock(), TreeSettings())
    drawn = TREE.split("```\n")[1]
    for path in ("/", "/jobs/job", "/catalog"):
        node = tree.node(path)
        names = getattr(node, "entries")()  # noqa: B009  (a Directory, as the names tell)
        for name in names:
            assert re.search(rf"(^|[\s,]){re.escape(name)}(/|,|\s|$)", drawn, re.MULTILINE), name
    assert set(rows(TREE, "The daemon's own files")) == {
        "status",
        "config",
        "log",
        "counters.json",
        "metrics",
    }
