from __future__ import annotations

import re
from pathlib import Path

import pytest

from rescalefs.submit import spec
from rescalefs.submit.jobfile import parse
from rescalefs.submit.limits import Limits
from rescalefs.submit.listing import Entry, Kind, Listing, is_ignored
from rescalefs.submit.machine import State
from tests.submit.rig import CATALOGUE

PAGE = (Path(__file__).parents[2] / "docs" / "submitting.md").read_text()
EXAMPLES = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
FOLDER = Listing(
    (
        *(Entry(path, Kind.FILE, 1) for path in ("solve.py", "mesh.msh", "archive.zip", "tables/a.csv")),
        Entry("tables", Kind.FOLDER),
    )
)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_a_job_file_is_accepted(example: str) -> None:
    outcome = spec.read(parse(example.encode()), FOLDER, "wing", CATALOGUE, Limits())
    assert isinstance(outcome, spec.JobSpec), outcome
    assert outcome.warnings == ()


def test_there_is_an_example_of_each_form() -> None:
    assert len(EXAMPLES) == 2


def test_every_state_has_its_row() -> None:
    rows = re.findall(r"^\| ([a-z, ]+) \| ", PAGE.split("## The states")[1], flags=re.MULTILINE)
    told = {word.strip() for row in rows for word in row.split(",")} - {"state"}
    assert told == {state.value for state in State} - {State.UNSEEN.value}


def test_every_ignored_name_in_the_guide_is_ignored() -> None:
    line = re.search(r"Files that programs make.*?(?=\n\n|\n- )", PAGE, flags=re.DOTALL)
    assert line is not None
    names = re.findall(r"`([^`]+)`", line[0])
    assert len(names) > 10
    for name in names:
        assert is_ignored(name.replace("*", "x").replace("XXXXXX", "a1B2c3")), name
