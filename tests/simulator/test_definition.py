"""What a client may send as a job."""

from __future__ import annotations

from typing import Any

import pytest

from rescalefs.simulator.definition import Invalid, check_project, checked, input_ids, plain_definition
from tests.simulator.conftest import definition

KNOWN = {"aaaaaa", "bbbbbb"}


def problems(sent: Any) -> dict[str, Any]:
    with pytest.raises(Invalid) as refused:
        checked(sent, KNOWN.__contains__)
    return refused.value.problems


def analysis_problems(**analysis: Any) -> dict[str, Any]:
    found: dict[str, Any] = problems(definition(analysis=analysis))["jobanalyses"][0]
    return found


def test_a_small_definition_gets_all_the_fields_the_service_shows() -> None:
    full = checked(definition("make"), KNOWN.__contains__)
    analysis = full["jobanalyses"][0]
    assert analysis["command"] == "make"
    assert analysis["hardware"] == {
        "coreType": "emerald",
        "coresPerSlot": 1,
        "slots": 1,
        "walltime": None,
    }
    assert analysis["analysis"]["name"] == "Bring Your Own Software"
    assert analysis["envVars"] == {}
    assert full["isLowPriority"] is False


def test_fields_nobody_knows_are_ignored() -> None:
    full = checked(definition(project_id=7, colour="red"), KNOWN.__contains__)
    assert "colour" not in full
    assert "project_id" not in full


def test_the_core_type_may_come_as_an_object() -> None:
    hardware = {"coreType": {"code": "granite"}, "coresPerSlot": 2, "cores": 2}
    full = checked(definition(analysis={"hardware": hardware}), KNOWN.__contains__)
    assert full["jobanalyses"][0]["hardware"]["coreType"] == "granite"


def test_archives_are_unpacked_unless_the_client_says_otherwise() -> None:
    inputs = [{"id": "aaaaaa"}, {"id": "bbbbbb", "decompress": False}]
    full = checked(definition(analysis={"inputFiles": inputs}), KNOWN.__contains__)
    assert [each["decompress"] for each in full["jobanalyses"][0]["inputFiles"]] == [True, False]
    assert input_ids(full) == ["aaaaaa", "bbbbbb"]


def test_a_count_of_cores_that_is_not_offered_is_refused() -> None:
    wrong = analysis_problems(hardware={"coreType": "granite", "coresPerSlot": 1})
    assert "not offered on granite" in wrong["hardware"]["coresPerSlot"][0]


def test_all_problems_come_at_once_and_nested_like_the_request() -> None:
    sent = {
        "name": " ",
        "jobanalyses": [
            definition()["jobanalyses"][0],
            {
                "analysis": {"code": "witchcraft"},
                "command": "",
                "hardware": {"coreType": "mud", "coresPerSlot": 0, "slots": 0, "walltime": -1},
                "inputFiles": [{"id": "aaaaaa"}, {"id": "zzzzzz"}],
                "envVars": {"OK": "1", "BAD": 1},
                "templateTasks": [{"templateFile": {"id": "zzzzzz"}}],
            },
        ],
    }
    found = problems(sent)
    assert found["name"] == ["This field may not be blank."]
    assert found["jobanalyses"][0] == {}
    wrong = found["jobanalyses"][1]
    assert set(wrong) == {"analysis", "command", "hardware", "inputFiles", "envVars", "templateTasks"}
    assert set(wrong["hardware"]) == {"coreType", "coresPerSlot", "slots", "walltime"}
    assert wrong["inputFiles"] == [{}, {"id": ['Invalid pk "zzzzzz" - object does not exist.']}]
    assert set(wrong["templateTasks"][0]) == {"processedFilename", "templateFile"}


@pytest.mark.parametrize(
    "sent",
    [
        [],
        {},
        {"name": 7, "jobanalyses": {}},
        {"name": "x", "jobanalyses": []},
        {"name": "x", "jobanalyses": [None]},
        definition(analysis={"analysis": None, "command": 3, "hardware": "big"}),
        definition(analysis={"analysis": {}, "inputFiles": {}, "envVars": [], "templateTasks": {}}),
        definition(analysis={"analysis": {"code": ["x"]}, "inputFiles": [None, 3]}),
        definition(analysis={"analysis": {"code": "miniconda", "version": "9"}}),
        definition(analysis={"command": "ec\0ho"}),
        definition(analysis={"hardware": {"coreType": ["x"], "coresPerSlot": True}}),
        definition(analysis={"templateTasks": [3], "preProcessScript": {"id": "zzzzzz"}}),
        definition(paramFile={"id": "zzzzzz"}),
        definition(jobvariables=[3]),
        definition(analysis={"postProcessScriptCommand": 3}),
        definition(analysis={"analysis": {"code": "miniconda", "version": ["4.8.4"]}}),
    ],
)
def test_whatever_is_sent_is_refused_with_words(sent: Any) -> None:
    assert problems(sent)


def test_a_project_must_be_one_there_is() -> None:
    assert check_project(None) is None
    assert check_project("wGtPc") == "wGtPc"
    with pytest.raises(Invalid):
        check_project("nowhere")


def test_a_plain_definition_is_one_that_would_be_taken() -> None:
    plain = plain_definition("true")
    assert checked({"name": "x", **plain}, KNOWN.__contains__) == plain
