"""The runs of a design of experiments."""

from __future__ import annotations

from typing import Any

import pytest

from rescalefs.simulator.cases import plan_runs
from rescalefs.simulator.definition import Invalid, plain_definition


def runs(text: str = "", **fields: Any) -> list[dict[str, str]]:
    return plan_runs({**plain_definition("true"), **fields}, lambda _: text)


def variable(name: str, kind: str, **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "variableType": "Param",
        "valueGeneratorType": kind,
        "valueGeneratorSettings": settings,
    }


def test_a_plain_job_has_one_run_without_variables() -> None:
    assert runs() == [{}]
    assert runs(jobvariables=[{"name": "lift", "variableType": "Output"}]) == [{}]


@pytest.mark.parametrize("field", ["paramFile", "caseFile"])
def test_each_line_of_a_file_is_a_run(field: str) -> None:
    table = "angle, mesh\n1.5, coarse\n\n3, fine\n"
    expected = [{"angle": "1.5", "mesh": "coarse"}, {"angle": "3", "mesh": "fine"}]
    assert runs(table, **{field: {"id": "aaaaaa"}}) == expected


def test_stepped_variables_are_combined() -> None:
    found = runs(
        jobvariables=[
            variable("a", "Linspace", min=0, max=1, count=3),
            variable("b", "FixedRange", min=0.1, max=0.3, step=0.1),
        ]
    )
    assert len(found) == 9
    assert found[0] == {"a": "0", "b": "0.1"}
    assert found[-1] == {"a": "1", "b": "0.3"}


def test_random_variables_are_drawn_as_often_as_asked_and_the_same_each_time() -> None:
    fields: dict[str, Any] = {
        "jobvariables": [
            variable("u", "Uniform", min=2, max=3),
            variable("n", "Normal", mean=0, stdDev=1),
            variable("l", "LogNormal", mean=0, stdDev=1),
            variable("t", "Triangular", min=0, max=2, mode=1),
            variable("s", "Linspace", min=5, max=6, count=2),
        ],
        "monteCarloIterations": 20,
    }
    found = runs(**fields)
    assert len(found) == 20
    assert all(2 <= float(each["u"]) <= 3 and each["s"] in ("5", "6") for each in found)
    assert found == runs(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"jobvariables": [variable("a", "Linspace", min=0, max=1)]},
        {"jobvariables": [variable("a", "FixedRange", min=0, max=1, step=0)]},
        {"jobvariables": [variable("a", "Fancy", min=0, max=1)]},
        {"jobvariables": [variable("a", "Linspace", min=0, max=1, count=100_000)]},
        {"jobvariables": [variable(name, "Linspace", min=0, max=1, count=1000) for name in "abcdef"]},
        {"jobvariables": [variable("a", "FixedRange", min=0, max=1e308, step=1e-308)]},
        {"paramFile": {"id": "aaaaaa"}},
    ],
)
def test_a_design_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        runs("only names\n", **fields)


def test_a_table_with_a_short_line_is_refused() -> None:
    with pytest.raises(Invalid, match="Every line"):
        runs("a,b\n1\n", paramFile={"id": "aaaaaa"})
