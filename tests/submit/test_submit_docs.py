from __future__ import annotations

import re
from pathlib import Path

import pytest

from rescalefs.submit import spec
from rescalefs.submit.folder import look
from rescalefs.submit.jobfile import parse
from rescalefs.submit.limits import Limits
from rescalefs.submit.listing import Entry, Kind, Listing
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


def _names(section: str) -> list[str]:
    return re.findall(r"`([^` ]+)`", section)


def test_every_name_in_the_guide_that_is_left_out_is_left_out(tmp_path: Path) -> None:
    rows = re.findall(r"^\| (?!whose|---)[^|]*\| (.*?) \|$", _section("What is left out"), flags=re.MULTILINE)
    names = [
        name.rstrip("/")
        for row in rows
        for name in _names(row.split("but not")[0])
        if name not in {"x", "Icon"}
    ]
    assert len(names) > 30
    (tmp_path / "x").touch()
    for name in names:
        if name in _FOLDERS:
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).touch()
    left = {each.path for each in look(tmp_path, 1000).left_out}
    assert left == set(names)


def test_every_transfer_in_the_guide_is_waited_for(tmp_path: Path) -> None:
    told = _section("What is waited for").split("Such files are")[1].split("where the six")[0]
    names = [name for name in _names(told) if not name.endswith("/")]
    assert len(names) > 10
    for name in names:
        (tmp_path / name).touch()
    assert set(look(tmp_path, 1000).transfers) == set(names)


def test_inputs_that_only_look_like_leftovers_in_the_guide_are_sent(tmp_path: Path) -> None:
    line = re.search(r"A name that only looks like.*?an input: (.*?)\. To send", PAGE, flags=re.DOTALL)
    assert line is not None
    for name in _names(line[1]):
        (tmp_path / name).touch()
    assert look(tmp_path, 1000).left_out == ()


def _section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


_FOLDERS = {
    "$RECYCLE.BIN", "@eaDir", "#recycle", "@Recycle", ".@__thumb", "__pycache__", ".ipynb_checkpoints",
}  # fmt: skip
