"""The published schema and the check of job.json agree, as far as a schema can know."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rescalefs.cli.main import main
from rescalefs.submit import spec
from rescalefs.submit.cautions import KNOWN
from rescalefs.submit.limits import Limits
from rescalefs.submit.schema import schema_text
from rescalefs.submit.spec import Rejection
from tests.submit.rig import CATALOGUE, GOOD
from tests.submit.test_submit_spec import LISTING, PLACES, SHORT, SHORT_WRONG, WRONG, job, json_values

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads(schema_text())
VALIDATOR = Draft202012Validator(SCHEMA)

BROKEN = [*WRONG, *(({**SHORT, **changes}, messages[0]) for changes, messages in SHORT_WRONG)]
ONLY_THE_SERVER_KNOWS = (  # what the account offers
    "no such software",
    "miniconda has 4.8.4",
    'write its code "10-ompi"',
    "no such core type",
    "not offered any more",
    "not allowed for this software",
    "granite offers 2, 4, 8",
    "emerald offers",
    "not one of your projects",
)
ONLY_THE_FOLDER_KNOWS = (  # what lies in it
    "a folder, and one file belongs here",
    "names 2 files",
)
TOO_MUCH_FOR_A_PATTERN = (
    ('is "sub/../../x"', "whether a path leads out in its middle takes counting"),
    ("no file can have this name", "a schema counts characters and not bytes, and paths and not names"),
)


def documents(page: str) -> list[Any]:
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    return [json.loads(block) for block in blocks]


GOOD_ONES = [
    GOOD,
    SHORT,
    {**SHORT, "$schema": "../job.schema.json", "version": 4.8, "hold": None, "inputFiles": []},
    job(a__hardware__coreType={"code": "granite"}, a__hardware__walltime=None, paramFile={"id": "XkpTse"}),
    job(a__inputFiles=["*.msh", "**/a.dat", "sub", {"id": "XkpTse", "decompress": True}, {"path": "a..b"}]),
    job(a__hardware__coresPerSlot=2.0, a__hardware__walltime=1.0, expectedRuns=2.0),
    job(somethingElse=[1], a__flags={"a": 1}, tags=["wing"], holdings=1, threshold=2),
    *documents("docs/submitting.md"),
    *(json.loads(path.read_text()) for path in sorted((ROOT / "examples").rglob("job.json"))),
]


def test_the_schema_is_one_of_its_draft() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("document", GOOD_ONES, ids=[f"{n}" for n in range(len(GOOD_ONES))])
def test_every_good_job_file_fits(document: Any) -> None:
    VALIDATOR.validate(document)


def test_there_are_at_least_thirty_broken_job_files() -> None:
    assert len({json.dumps(document) for document, _ in BROKEN}) >= 30


def _knowable(message: str) -> bool:
    excuses = (*ONLY_THE_SERVER_KNOWS, *ONLY_THE_FOLDER_KNOWS, *(text for text, _ in TOO_MUCH_FOR_A_PATTERN))
    return not any(text in message for text in excuses)


@pytest.mark.parametrize(("document", "message"), BROKEN, ids=[each[1][-45:] for each in BROKEN])
def test_a_broken_job_file_does_not_fit_unless_only_the_account_or_the_folder_tells(
    document: Any, message: str
) -> None:
    if _knowable(message):
        assert not VALIDATOR.is_valid(document)


def test_no_excuse_is_left_over() -> None:
    excuses = (*ONLY_THE_SERVER_KNOWS, *ONLY_THE_FOLDER_KNOWS, *(text for text, _ in TOO_MUCH_FOR_A_PATTERN))
    for text in excuses:
        fit = [VALIDATOR.is_valid(document) for document, message in BROKEN if text in message]
        assert any(fit), f"the schema knows it, or nothing shows it: {text}"


@given(st.sampled_from(PLACES), json_values, st.sampled_from(["long", "short"]))
def test_what_the_check_takes_the_schema_takes(place: str, value: Any, form: str) -> None:
    document = {**SHORT, place: value} if form == "short" and "__" not in place else job(**{place: value})
    if not isinstance(spec.read(document, LISTING, "wing", CATALOGUE, Limits()), Rejection):
        VALIDATOR.validate(document)


def test_every_key_that_is_known_is_described() -> None:
    assert set(SCHEMA["properties"]) == set(KNOWN)
    for key, about in SCHEMA["properties"].items():
        target = about.get("$ref", "").rsplit("/", 1)[-1]
        assert about.get("description") or SCHEMA["$defs"][target]["description"], key


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA
