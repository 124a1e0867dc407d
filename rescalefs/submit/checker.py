"""Pure: walks through a job in the API's form and finds what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from rescalefs.model import Analysis, CoreType, FileType
from rescalefs.submit import cost
from rescalefs.submit.catalogue import Catalogue, newest_version, offers, usable, version_called
from rescalefs.submit.limits import Limits
from rescalefs.submit.parcels import Packer, dotted
from rescalefs.submit.problems import (
    Problem,
    bytes_text,
    has_control_characters,
    listed,
    nearest,
    raw,
    shown,
    without_these,
)
from rescalefs.submit.shortform import unknown, with_whole

_LONGEST_NAME = 255  # characters; guessed: no source tells the server's limit
_SHORT_EXAMPLE = '"command": "python solve.py", "software": "miniconda", "coretype": "cheapest"'
_ANALYSIS_EXAMPLE = '{"analysis": …, "command": …, "hardware": …}'
_PLAIN_OURS = {"hold": "hold", "maxcost": "max_cost"}  # as `_plain` leaves them
_MEANT = {"hold": '"hold": true', "max_cost": '"max_cost": 20'}


@dataclass
class Checker:
    """Walks through a job in the API's form, puts in what was left out, and notes what is wrong."""

    catalogue: Catalogue
    packer: Packer
    problems: list[Problem]
    short: bool = False
    bills: list[cost.Bill] = field(default_factory=list)  # of the analyses whose hardware is right
    _runs: int | None = 1
    _excused: set[str] = field(init=False)  # fields that another problem explains

    def __post_init__(self) -> None:
        self._excused = {each.field for each in self.problems}
        if "software" in self._excused:
            self._excused.add("version")
        if "coretype" in self._excused:
            self._excused.add("cores")

    def job(self, job: dict[str, Any], folder: str) -> None:
        """All that the job says; ``folder`` is its name where it says none."""
        if "name" in job:
            self._name(job["name"])
        elif has_control_characters(folder):
            reason = "the folder's name, with control characters or broken letters in it; rename the folder, "
            self._wrong("name", f"{reason}or give the job a name", folder, shown(without_these(folder)))
        job.setdefault("name", folder)
        self._project(job.get("projectId"))
        job.update(with_whole(job, "expectedRuns"))
        self._runs = cost.runs_of(job)
        self._file(job, (), "paramFile", FileType.PARAMETER)
        self._file(job, (), "caseFile", FileType.CASE)
        analyses = job.get("jobanalyses")
        if analyses is None:
            self._wrong("jobanalyses", "is missing; or use the short form", example=_SHORT_EXAMPLE)
        elif not isinstance(analyses, list) or not analyses:
            reason = "must be a list of at least one analysis"
            self._wrong("jobanalyses", reason, analyses, f"[{_ANALYSIS_EXAMPLE}]")
        else:
            for number, each in enumerate(analyses):
                where = ("jobanalyses", number)
                if isinstance(each, dict):
                    self._analysis(each, where)
                else:
                    self._wrong(dotted(where), "must be an object", each, _ANALYSIS_EXAMPLE)

    def keys(self, document: Mapping[str, Any]) -> None:
        """Ours, where one is misspelt: the server would ignore it, and a job run that was to be held."""
        for key in document:
            meant = _PLAIN_OURS.get(_plain(key), key)
            if meant != key:
                self._wrong(key, f"not a key; write {shown(meant)}", document[key], _MEANT[meant])
        where = document.get("$schema", "")
        if not isinstance(where, str):
            self._wrong("$schema", "must be a text: where the schema is", where, '"../job.schema.json"')

    def ceiling(self, document: Mapping[str, Any], limits: Limits) -> cost.Limit | None:
        """What it may cost: the setting, or less where the job file says so."""
        limit = cost.Limit(limits.cost, "the setting max_cost") if limits.cost is not None else None
        own = document.get("max_cost")
        if own is None:
            return limit
        if isinstance(own, bool) or not isinstance(own, (int, float)) or own <= 0:
            self._wrong("max_cost", "must be a number above 0", own, "20")
            return limit
        mine = cost.Limit(Decimal(str(own)), "max_cost")
        return mine if limit is None or mine.amount < limit.amount else limit

    def costs(self, limit: cost.Limit) -> None:
        """Whether it may cost more than that."""
        known = next((each.code for each in [self.catalogue.cheapest()] if each), "granite")
        for each in cost.objections(self.bills, limit, known):
            self.note(each)

    def flag(self, job: Mapping[str, Any], key: str) -> bool:
        """What stands there, false where nothing or nonsense does."""
        value = job.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        self._wrong(key, "must be true or false", value, "true")
        return False

    def amounts(self, limits: Limits) -> None:
        """Whether it sends more than it may."""
        parcels = self.packer.parcels
        if len(parcels) > limits.files:
            reason = f"at most {limits.files} may be sent, and each subfolder counts as one"
            self._wrong("inputFiles", reason, raw(f"{len(parcels)} files"), "all of them in a subfolder")
        for each in parcels:
            if each.size > limits.file_size:
                reason = f"more than the {bytes_text(limits.file_size)} that may be sent"
                self._wrong(each.name, reason, raw(bytes_text(each.size)), "several smaller files")
        total = sum(each.size for each in parcels)
        if total > limits.total_size:
            reason = f"at most {bytes_text(limits.total_size)} may be sent"
            example = 'files that Rescale has already: {"id": "XkpTse"}'
            self._wrong("inputFiles", reason, raw(f"{bytes_text(total)} together"), example)

    def _name(self, name: Any) -> None:
        if not isinstance(name, str) or not name.strip():
            self._wrong("name", "must be a text", name, '"wing 42"')
        elif len(name) > _LONGEST_NAME:
            reason = f"{len(name)} characters, and at most {_LONGEST_NAME} are taken"
            self._wrong("name", reason, name, '"wing 42"')
        elif has_control_characters(name):
            reason = "control characters or broken letters in it"
            self._wrong("name", reason, name, shown(without_these(name)))

    def _project(self, project_id: Any) -> None:
        projects = self.catalogue.projects
        if project_id is None or projects is None or any(each.id == project_id for each in projects):
            return
        ids = [f"{each.id} ({each.name})" for each in projects]
        reason = f"not one of your projects: {listed(ids) or 'you have none'}"
        first = next((each.id for each in projects), None)
        self._wrong("projectId", reason, project_id, shown(first))

    def _analysis(self, analysis: dict[str, Any], where: tuple[str | int, ...]) -> None:
        at = dotted(where)
        software = self._software(analysis.get("analysis"), f"{at}.analysis")
        command = analysis.get("command")
        if command is None:
            self._wrong(
                f"{at}.command" if len(where) else "command", "is missing", example='"python solve.py"'
            )
        elif not isinstance(command, str) or not command.strip():
            self._wrong(f"{at}.command", "must be a text", command, '"python solve.py"')
        self._hardware(analysis.get("hardware"), f"{at}.hardware", software)
        self._environment(analysis.get("envVars"), f"{at}.envVars")
        self._inputs(analysis, where)
        for key in ("preProcessScript", "postProcessScript"):
            self._file(analysis, where, key, FileType.SCRIPT)
        self._templates(analysis.get("templateTasks"), (*where, "templateTasks"))

    def _templates(self, tasks: Any, where: tuple[str | int, ...]) -> None:
        example = '{"templateFile": "in.template", "processedFilename": "in.txt"}'
        if tasks is not None and not isinstance(tasks, list):
            self._wrong(dotted(where), "must be a list of objects", tasks, f"[{example}]")
            return
        for number, task in enumerate(tasks or []):
            if isinstance(task, dict):
                self._file(task, (*where, number), "templateFile", FileType.TEMPLATE)
            else:
                self._wrong(dotted((*where, number)), "must be an object", task, example)

    def _software(self, named: Any, at: str) -> tuple[str, ...]:
        """Check code and version; return the codes of the core types they allow, none meaning any."""
        if not isinstance(named, dict):
            self._wrong(at, "must be an object", named, '{"code": "miniconda", "version": "4.8.4"}')
            return ()
        software = self._software_of(named.get("code"), f"{at}.code")
        if software is None:
            return ()
        word = named.get("version")
        if word is None:
            newest = newest_version(software)
            self._wrong(f"{at}.version", "is missing", example=shown(newest.code if newest else "4.8.4"))
            return ()
        for version in software.versions:
            if version.code == word:
                return version.core_types
        if not software.versions:  # the server does not tell; it will judge
            return ()
        codes = [each.code for each in software.versions]
        meant = version_called(software, word) if isinstance(word, str) else None
        if meant:
            self._wrong(
                f"{at}.version", f"a name; write its code {shown(meant.code)}", word, shown(meant.code)
            )
        else:
            self.note(unknown(f"{at}.version", word, f"{software.code} has {listed(codes)}", codes))
        return ()

    def _software_of(self, code: Any, at: str) -> Analysis | None:
        if code is None:
            self._wrong(at, "is missing", example='"miniconda"')
            return None
        found = self.catalogue.software.get(code) if isinstance(code, str) else None
        if found is None:
            meant = self.catalogue.software_called(code) if isinstance(code, str) else None
            codes = [meant.code] if meant else nearest(str(code), self.catalogue.software)
            hint = f": did you mean {listed(map(shown, codes))}?" if codes else ""
            self._wrong(at, f"no such software{hint}", code, shown((codes or ["miniconda"])[0]))
        return found

    def _hardware(self, hardware: Any, at: str, allowed: tuple[str, ...]) -> None:
        if not isinstance(hardware, dict):
            example = '{"coreType": "granite", "coresPerSlot": 2}'
            self._wrong(at, "must be an object" if hardware else "is missing", hardware or (), example)
            return
        hardware.update(with_whole(hardware, "coresPerSlot", "slots", "walltime"))
        if isinstance(hardware.get("coreType"), dict):  # the form that Interlink sends
            hardware["coreType"] = hardware["coreType"].get("code")
        core_type = self._core_type(hardware.get("coreType"), f"{at}.coreType", allowed)
        cores = self._cores(hardware.get("coresPerSlot"), f"{at}.coresPerSlot", core_type)
        slots = self._count(hardware, at, "slots")
        walltime = self._count(hardware, at, "walltime")
        if core_type is not None and cores is not None and slots is not None and walltime is not None:
            price = self.catalogue.price(core_type.code)
            self.bills.append(
                cost.Bill(
                    at, core_type.code, cores * (slots or 1), slots or 1, walltime or None, price, self._runs
                )
            )

    def _count(self, hardware: Mapping[str, Any], at: str, key: str) -> int | None:
        """The number there, 0 where there is none, None where it is wrong."""
        value = hardware.get(key)
        if value is None:
            return 0
        if _is_count(value):
            return int(value)
        self._wrong(f"{at}.{key}", "must be a whole number, at least 1", value, "1")
        return None

    def _core_type(self, code: Any, at: str, allowed: tuple[str, ...]) -> CoreType | None:
        if code is None:
            self._wrong(at, "is missing", example='"granite"')
            return None
        found = self.catalogue.hardware.get(code) if isinstance(code, str) else None
        if found is None:
            close = nearest(str(code), self.catalogue.hardware)
            hint = f": did you mean {listed(map(shown, close))}?" if close else ""
            self._wrong(at, f"no such core type{hint}", code, shown((close or [self._some(allowed)])[0]))
        elif not usable(found):
            self._wrong(at, "not offered any more", code, shown(self._some(allowed)))
            return None
        elif allowed and code not in allowed:
            reason = f"not allowed for this software: {listed(allowed)} are"
            self._wrong(at, reason, code, shown(self._some(allowed)))
            return None
        return found

    def _some(self, allowed: tuple[str, ...]) -> str:
        fit = [
            each.code
            for each in self.catalogue.core_types
            if usable(each) and (not allowed or each.code in allowed)
        ]
        return fit[0] if fit else "granite"

    def _cores(self, cores: Any, at: str, core_type: CoreType | None) -> int | None:
        if cores is None:
            self._wrong(at, "is missing", example=str(min(core_type.cores, default=1)) if core_type else "2")
        elif not _is_count(cores):
            self._wrong(at, "must be a whole number, at least 1", cores, "2")
        elif core_type is not None and not offers(core_type, cores):
            near = min(core_type.cores, key=lambda each: abs(each - cores))
            offered = listed(map(str, sorted(core_type.cores)), most=20)
            self._wrong(at, f"{core_type.code} offers {offered}", cores, str(near))
        else:
            return int(cores)
        return None

    def _environment(self, variables: Any, at: str) -> None:
        if variables is None:
            return
        if not isinstance(variables, dict):
            self._wrong(at, "must be an object of texts", variables, '{"CASE": "wing"}')
            return
        for key, value in variables.items():
            if not isinstance(value, str):
                self._wrong(f"{at}.{key}", "must be a text", value, shown(str(value)))

    def _inputs(self, analysis: dict[str, Any], where: tuple[str | int, ...]) -> None:
        place = (*where, "inputFiles")
        wanted = analysis.get("inputFiles")
        if wanted is None:
            analysis["inputFiles"] = self.packer.everything(place)
        elif isinstance(wanted, list):
            analysis["inputFiles"] = self.packer.named(place, wanted)
        else:
            self._wrong(dotted(place), "must be a list; leave it out for all files", wanted, '["mesh.msh"]')

    def _file(
        self, holder: dict[str, Any], where: tuple[str | int, ...], key: str, type_id: FileType
    ) -> None:
        """A single file, where the API has one: its id stays, a path is sent."""
        if holder.get(key) is not None:
            holder[key] = self.packer.one((*where, key), holder[key], type_id)

    def _wrong(self, at: str, reason: str, value: Any = None, example: str = "") -> None:
        facts = {} if value is None or value == () else {"value": value}
        self.note(Problem(at, reason, example=example, **facts))

    def called(self, at: str) -> str:
        """A field by the name that the person used."""
        return _short_field(at) if self.short else at

    def note(self, problem: Problem) -> None:
        """Keep it under the name that the person used for the field, unless another problem explains it."""
        at = self.called(problem.field)
        if at not in self._excused:
            self.problems.append(replace(problem, field=at))


_SHORT_FIELDS = {
    "jobanalyses[0].analysis.code": "software",
    "jobanalyses[0].analysis.version": "version",
    "jobanalyses[0].hardware.coreType": "coretype",
    "jobanalyses[0].hardware.coresPerSlot": "cores",
    "jobanalyses[0].hardware.walltime": "hours",
}


def _short_field(at: str) -> str:
    return _SHORT_FIELDS.get(at, at.removeprefix("jobanalyses[0]."))


def _plain(key: str) -> str:
    """A key without what people get wrong in it."""
    return key.strip().casefold().replace("_", "").replace("-", "").replace(" ", "")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 10**9
