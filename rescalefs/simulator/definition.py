"""A job's definition: what a client may send, what is wrong with it, and what becomes of it. Pure.

Unknown fields are ignored, as the service does. Problems come back nested like the request, every
one at once, in the form of Django REST Framework.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from rescalefs.simulator.catalogue import ANALYSES_BY_CODE, CORE_TYPES_BY_CODE, PROJECTS
from rescalefs.simulator.settings import SimulatorSettings

Problems: TypeAlias = dict[str, Any]
REQUIRED = "This field is required."
NOT_A_COUNT = "A valid integer of at least 1 is required."

_PASSED_ON: dict[str, Any] = {  # fields that the service keeps as they come, and their defaults
    "jobvariables": [],
    "paramFile": None,
    "caseFile": None,
    "includeNominalRun": False,
    "isLowPriority": False,
    "isTemplateDryRun": False,
    "monteCarloIterations": None,
    "optimizer": None,
    "resourceFilters": [],
    "archiveFilters": [],
    "remoteVizConfig": None,
}
_ANALYSIS_PASSED_ON: dict[str, Any] = {
    "useMpi": False,
    "useRescaleLicense": False,
    "onDemandLicenseSeller": None,
    "userDefinedLicenseSettings": None,
    "templateTasks": [],
    "preProcessScript": None,
    "preProcessScriptCommand": "",
    "postProcessScript": None,
    "postProcessScriptCommand": "",
    "flags": {},
}
_FILE_FIELDS = ("paramFile", "caseFile")
_SCRIPT_FIELDS = ("preProcessScript", "postProcessScript")


class Invalid(ValueError):
    """The definition cannot be taken; ``problems`` is the body of the 400."""

    def __init__(self, problems: Problems) -> None:
        super().__init__(str(problems))
        self.problems = problems


def checked(sent: Any, has_file: Callable[[str], bool]) -> dict[str, Any]:
    """The definition with its defaults, or `Invalid`."""
    if not isinstance(sent, Mapping):
        raise Invalid({"non_field_errors": ["Invalid data. Expected a dictionary."]})
    problems = _job_problems(sent, has_file)
    if problems:
        raise Invalid(problems)
    return with_defaults(sent)


def check_project(project_id: Any) -> str | None:
    """The project's id, or `Invalid` if there is no such project."""
    if project_id is None:
        return None
    for project in PROJECTS:
        if project["id"] == project_id:
            return str(project["id"])
    raise Invalid({"projectId": [f'Invalid pk "{project_id}" - object does not exist.']})


def check_policies(
    definition: Mapping[str, Any], project_id: str | None, settings: SimulatorSettings
) -> None:
    """Return if the job is one that the workspace allows, else raise `Invalid`."""
    problems: Problems = {}
    if settings.require_project and project_id is None:
        problems["projectId"] = ["A project is required by your organization."]
    most = settings.max_job_hours
    hours = [each["hardware"]["walltime"] for each in definition["jobanalyses"]]
    if most is not None and any(each is not None and each > most for each in hours):
        wrong = {"hardware": {"walltime": [f"Ensure this value is less than or equal to {most:g}."]}}
        problems["jobanalyses"] = [wrong if each is not None and each > most else {} for each in hours]
    if problems:
        raise Invalid(problems)


def with_defaults(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A definition that was checked, with every field the service shows; what it ignores is gone."""
    kept = {field: _kept(definition, field, default) for field, default in _PASSED_ON.items()}
    kept[
        "tags"
    ] = []  # sent tags are ignored: `jobs/{id}/tags/` takes them (Rescale's client Interlink, 2026)
    kept["jobanalyses"] = [_analysis_with_defaults(each) for each in definition["jobanalyses"]]
    return kept


def plain_definition(command: str) -> dict[str, Any]:
    """The definition of a job that runs one command and takes no input."""
    analysis = {
        "analysis": {"code": "user_included", "version": "0"},
        "command": command,
        "hardware": {"coreType": "emerald", "coresPerSlot": 1},
    }
    return with_defaults({"jobanalyses": [analysis]})


def input_ids(definition: Mapping[str, Any]) -> list[str]:
    """The ids of all input files that a definition names, each once, in order."""
    entries = [entry for analysis in definition["jobanalyses"] for entry in analysis["inputFiles"]]
    return list(dict.fromkeys(entry["id"] for entry in entries))


def _kept(source: Mapping[str, Any], field: str, default: Any) -> Any:
    value = source.get(field)
    return default if value is None else value


def _analysis_with_defaults(analysis: Mapping[str, Any]) -> dict[str, Any]:
    software = ANALYSES_BY_CODE[analysis["analysis"]["code"]]
    version = analysis["analysis"].get("version") or software.versions[0][0]
    hardware = analysis["hardware"]
    kept = {field: _kept(analysis, field, default) for field, default in _ANALYSIS_PASSED_ON.items()}
    return kept | {
        "analysis": {
            "code": software.code,
            "version": version,
            "name": software.name,
            "versionName": dict(software.versions)[version],
        },
        "command": analysis["command"],
        "hardware": {
            "coreType": core_code(hardware),
            "coresPerSlot": hardware["coresPerSlot"],
            "slots": _kept(hardware, "slots", 1),
            "walltime": hardware.get("walltime"),
        },
        "inputFiles": [
            {"id": entry["id"], "decompress": entry.get("decompress", True)}
            for entry in analysis.get("inputFiles") or []
        ],
        "envVars": dict(analysis.get("envVars") or {}),
    }


def core_code(hardware: Mapping[str, Any]) -> Any:
    """The code of the core type: sent as a word, or as ``{"code": word}`` by Rescale's own client."""
    core_type = hardware.get("coreType")
    return core_type.get("code") if isinstance(core_type, Mapping) else core_type


def _job_problems(sent: Mapping[str, Any], has_file: Callable[[str], bool]) -> Problems:
    problems: Problems = {}
    name = sent.get("name")
    if not isinstance(name, str):
        problems["name"] = [REQUIRED if name is None else "Not a valid string."]
    elif not name.strip():
        problems["name"] = ["This field may not be blank."]
    analyses = sent.get("jobanalyses")
    if not isinstance(analyses, list):
        problems["jobanalyses"] = [REQUIRED if analyses is None else "Expected a list of items."]
    elif not analyses:
        problems["jobanalyses"] = ["This list may not be empty."]
    else:
        found = [_analysis_problems(each, has_file) for each in analyses]
        if any(found):
            problems["jobanalyses"] = found
    if wrong := _variables_problems(sent.get("jobvariables")):
        problems["jobvariables"] = wrong
    for field in _FILE_FIELDS:
        if wrong := _file_problems(sent.get(field), has_file):
            problems[field] = wrong
    return problems


def _variables_problems(sent: Any) -> Any:
    if sent is None:
        return None
    if not isinstance(sent, list) or not all(isinstance(each, Mapping) for each in sent):
        return ["Expected a list of items."]
    return None


def _analysis_problems(sent: Any, has_file: Callable[[str], bool]) -> Problems:
    if not isinstance(sent, Mapping):
        return {"non_field_errors": ["Invalid data. Expected a dictionary."]}
    found = {
        "analysis": _software_problems(sent.get("analysis")),
        "command": _command_problems(sent.get("command")),
        "hardware": _hardware_problems(sent.get("hardware")),
        "inputFiles": _inputs_problems(sent.get("inputFiles"), has_file),
        "envVars": _env_problems(sent.get("envVars")),
        "templateTasks": _template_problems(sent.get("templateTasks"), has_file),
    }
    for field in _SCRIPT_FIELDS:
        found[field] = _file_problems(sent.get(field), has_file)
        if sent.get(f"{field}Command"):
            found[f"{field}Command"] = _command_problems(sent[f"{field}Command"])
    return {field: wrong for field, wrong in found.items() if wrong}


def _software_problems(sent: Any) -> Any:
    if not isinstance(sent, Mapping):
        return [REQUIRED]
    code = sent.get("code")
    if code is None:
        return {"code": [REQUIRED]}
    software = ANALYSES_BY_CODE.get(code) if isinstance(code, str) else None
    if software is None:
        return {"code": [f'Object with code="{code}" does not exist.']}
    version = sent.get("version")
    if version is not None and version not in [code for code, _ in software.versions]:
        return {"version": [f'"{version}" is not a version of {code}.']}
    return None


def _command_problems(sent: Any) -> Any:
    if not isinstance(sent, str):
        return [REQUIRED if sent is None else "Not a valid string."]
    if "\0" in sent:
        return ["Null characters are not allowed."]
    return None if sent.strip() else ["This field may not be blank."]


def _hardware_problems(sent: Any) -> Any:
    if not isinstance(sent, Mapping):
        return [REQUIRED]
    problems: Problems = {}
    code = core_code(sent)
    kind = CORE_TYPES_BY_CODE.get(code) if isinstance(code, str) else None
    if kind is None:
        problems["coreType"] = [REQUIRED if code is None else f'Object with code="{code}" does not exist.']
    cores = sent.get("coresPerSlot")
    if not _is_count(cores):
        problems["coresPerSlot"] = [REQUIRED if cores is None else NOT_A_COUNT]
    elif kind is not None and not kind.offers(int(cores or 0)):
        offered = f"{', '.join(map(str, kind.cores))}, or a multiple of {max(kind.cores)}"
        problems["coresPerSlot"] = [f"{cores} cores are not offered on {code}; choose one of {offered}."]
    if sent.get("slots") is not None and not _is_count(sent["slots"]):
        problems["slots"] = [NOT_A_COUNT]
    walltime = sent.get("walltime")
    if walltime is not None and not (_is_number(walltime) and walltime > 0):
        problems["walltime"] = ["A valid number above 0 is required."]
    return problems


def _inputs_problems(sent: Any, has_file: Callable[[str], bool]) -> Any:
    if sent is None:
        return None
    if not isinstance(sent, list):
        return ["Expected a list of items."]
    found = [_file_problems(entry, has_file) or {} for entry in sent]
    return found if any(found) else None


def _file_problems(sent: Any, has_file: Callable[[str], bool]) -> Any:
    if sent is None:
        return None
    if not isinstance(sent, Mapping) or not isinstance(sent.get("id"), str):
        return {"id": [REQUIRED]}
    if not has_file(sent["id"]):
        return {"id": [f'Invalid pk "{sent["id"]}" - object does not exist.']}
    return None


def _env_problems(sent: Any) -> Any:
    if sent is None:
        return None
    if not isinstance(sent, Mapping):
        return ["Expected a dictionary of items."]
    return {
        name: ["Not a valid string."]
        for name, value in sent.items()
        if not isinstance(value, str) or "\0" in value or not name or "=" in name or "\0" in name
    }


def _template_problems(sent: Any, has_file: Callable[[str], bool]) -> Any:
    if sent is None:
        return None
    if not isinstance(sent, list):
        return ["Expected a list of items."]
    found = [_template_task_problems(task, has_file) for task in sent]
    return found if any(found) else None


def _template_task_problems(task: Any, has_file: Callable[[str], bool]) -> Problems:
    if not isinstance(task, Mapping):
        return {"non_field_errors": ["Invalid data. Expected a dictionary."]}
    problems: Problems = {}
    if not isinstance(task.get("processedFilename"), str):
        problems["processedFilename"] = [REQUIRED]
    wrong = _file_problems(task.get("templateFile") or {}, has_file)
    if wrong:
        problems["templateFile"] = wrong
    return problems


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
