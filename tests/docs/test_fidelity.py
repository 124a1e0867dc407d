"""The page of what is known of the real service: the tests it names exist, and no endpoint is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rescalefs.simulator import SimulatorSettings
from rescalefs.simulator.account_routes import AccountRoutes
from rescalefs.simulator.file_routes import FileRoutes
from rescalefs.simulator.job_routes import JobRoutes
from tests.simulator.conftest import Api

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "fidelity.md").read_text()
UPLOAD = "files/contents/"


def tables() -> Iterator[tuple[str, list[list[str]]]]:
    """The heading and the rows, as cells, of each table."""
    for section in PAGE.split("\n## ")[1:]:
        lines = [line for line in section.splitlines() if line.startswith("|")]
        rows = [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines[2:]]
        yield section.splitlines()[0], rows


TABLES = dict(tables())
FACTS = [row for heading, rows in TABLES.items() for row in rows if len(row) == 5]
LETTERS = {row[0] for row in TABLES["Sources"]}


def sources(cell: str) -> set[str]:
    return set(cell.replace("**guess**", "").split())


@pytest.mark.parametrize("row", FACTS, ids=lambda row: re.sub(r"\W+", "-", row[0])[:50])
def test_each_fact_has_a_source_both_sides_and_a_test_that_exists(row: list[str]) -> None:
    fact, source, client, simulator, test = row
    assert fact
    assert client
    assert simulator
    assert "**guess**" in source or sources(source)
    assert sources(source) <= LETTERS
    found = re.fullmatch(r"`([\w/]+\.py)::(test_\w+)`", test)
    assert found is not None, test
    assert f"def {found[2]}(" in (ROOT / "tests" / found[1]).read_text()


def test_each_source_is_used() -> None:
    used = {each for row in FACTS for each in sources(row[1])}
    used |= {each for row in TABLES["Endpoints of the simulator"] for each in sources(row[2])}
    assert used == LETTERS


def test_each_endpoint_of_the_simulator_is_on_the_page_with_its_methods(tmp_path: Path) -> None:
    told = {row[0].strip("`"): set(row[1].split(", ")) for row in TABLES["Endpoints of the simulator"]}
    api = Api(tmp_path)
    assert told == endpoints(api) | {UPLOAD: {"POST", "PUT"}}


def endpoints(api: Api) -> dict[str, set[str]]:
    """All of version 2, as the application itself has them."""
    settings = SimulatorSettings()
    found: dict[str, set[str]] = {}
    for table in (
        AccountRoutes(api.world, settings).table(),
        FileRoutes(api.world).table(),
        JobRoutes(api.world, api.scheduler, settings).table(),
    ):
        found.update({path or "/": set(methods) for path, methods in table.items()})
    return found


def test_what_is_not_settled_is_marked() -> None:
    guesses = [row for row in FACTS if "**guess**" in row[1]]
    assert len(guesses) >= 10
    assert all(row[1] == "**guess**" for row in guesses)  # a fact that some source tells is a row of its own
