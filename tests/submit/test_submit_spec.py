from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescalefs.model import FileType
from rescalefs.submit import spec
from rescalefs.submit.limits import Limits
from rescalefs.submit.listing import Entry, Kind, Listing
from rescalefs.submit.spec import Awaited, JobSpec, Rejection
from tests.submit.rig import CATALOGUE, GOOD


def file(path: str, size: int = 5, **facts: Any) -> Entry:
    return Entry(path, Kind.FILE, size, **facts)


LISTING = Listing(
    (
        file("mesh.msh"),
        file("solve.py", 7),
        Entry("sub", Kind.FOLDER),
        file("sub/a.dat"),
        file("sub/deep/b.dat"),
        Entry("sub/deep", Kind.FOLDER),
    ),
    file("job.json"),
)


def job(**changes: Any) -> dict[str, Any]:
    """GOOD, with values put at places such as ``name`` or ``a__command``; ``a`` is the first analysis."""
    document = copy.deepcopy(GOOD)
    for place, value in changes.items():
        whole = f"jobanalyses__0__{place[3:]}" if place.startswith("a__") else place
        *way, last = whole.split("__")
        target: Any = document
        for part in way:
            target = target[int(part) if part.isdigit() else part]
        target[last] = value
    return document


def read(document: dict[str, Any], listing: Listing = LISTING, limits: Limits | None = None) -> Any:
    return spec.read(document, listing, "wing", CATALOGUE, limits or Limits())


def accepted(document: dict[str, Any], listing: Listing = LISTING) -> JobSpec:
    outcome = read(document, listing)
    assert isinstance(outcome, JobSpec), outcome
    return outcome


def assert_is_complete(document: dict[str, Any], listing: Listing = LISTING) -> None:
    """Field, value, reason and an example of what is right are told for each problem."""
    outcome = read(document, listing)
    assert isinstance(outcome, Rejection)
    for each in outcome.problems:
        assert each.field
        assert each.reason
        assert each.example, each
        tells_what_is_there = each.has_value or each.reason.startswith(("is ", "has ", "cannot ", "must be"))
        assert tells_what_is_there, each


def problems(document: dict[str, Any], listing: Listing = LISTING, limits: Limits | None = None) -> list[str]:
    outcome = read(document, listing, limits)
    assert isinstance(outcome, Rejection), outcome
    return [str(each) for each in outcome.problems]


A = "jobanalyses[0]"
WRONG: list[tuple[dict[str, Any], str]] = [
    (job(name=""), 'name is "": must be a text; for example "wing 42"'),
    (job(name=3), "name is 3: must be a text"),
    (job(name="x" * 300), "300 characters, and at most 255 are taken"),
    (job(name="a\nb"), 'name is "a\\nb": control characters or broken letters in it'),
    (job(jobanalyses=None), "jobanalyses is missing; or use the short form"),
    (job(jobanalyses=[]), "jobanalyses is []: must be a list of at least one analysis"),
    (job(jobanalyses=[3]), f"{A} is 3: must be an object"),
    (job(a__analysis=None), f"{A}.analysis must be an object; for example"),
    (job(a__analysis__code=None), f"{A}.analysis.code is missing"),
    (job(a__analysis__code="openfom"), 'is "openfom": no such software: did you mean "openfoam"?'),
    (job(a__analysis__code="OpenFOAM"), 'is "OpenFOAM": no such software: did you mean "openfoam"?'),
    (job(a__analysis__version="5"), f'{A}.analysis.version is "5": miniconda has 4.8.4'),
    (
        job(a__analysis={"code": "openfoam", "version": "10"}),
        'version is "10": a name; write its code "10-ompi"',
    ),
    (job(a__command=None), f'{A}.command is missing; for example "python solve.py"'),
    (job(a__command="  "), f'{A}.command is "  ": must be a text'),
    (job(a__hardware=None), f"{A}.hardware is missing; for example"),
    (job(a__hardware__coreType="granit"), 'is "granit": no such core type: did you mean "granite"?'),
    (job(a__hardware__coreType="titanium"), 'is "titanium": not offered any more; for example "granite"'),
    (job(a__hardware__coreType="ruby"), 'is "ruby": not allowed for this software: granite, emerald are'),
    (job(a__hardware__coreType=None), f"{A}.hardware.coreType is missing"),
    (job(a__hardware__coresPerSlot=1), "coresPerSlot is 1: granite offers 2, 4, 8; for example 2"),
    (job(a__hardware__coresPerSlot="2"), 'coresPerSlot is "2": must be a whole number, at least 1'),
    (job(a__hardware__coresPerSlot=True), "coresPerSlot is true: must be a whole number"),
    (job(a__hardware__coresPerSlot=None), "coresPerSlot is missing; for example 2"),
    (job(a__hardware__walltime=0), f"{A}.hardware.walltime is 0: must be a whole number, at least 1"),
    (job(a__envVars={"N": 1}), f'{A}.envVars.N is 1: must be a text; for example "1"'),
    (job(a__envVars=["N=1"]), "must be an object of texts"),
    (job(a__inputFiles="mesh.msh"), "must be a list; leave it out for all files"),
    (job(a__inputFiles=["../x"]), f'{A}.inputFiles[0] is "../x": leaves the folder'),
    (job(a__inputFiles=["/etc/passwd"]), 'is "/etc/passwd": leaves the folder'),
    (job(a__inputFiles=["sub/../../x"]), 'is "sub/../../x": leaves the folder'),
    (job(a__inputFiles=["status"]), 'is "status": a name that rescalefs shows here itself'),
    (job(a__inputFiles=["job.json"]), "the job file itself, which is not sent"),
    (job(a__inputFiles=["a\0b"]), 'is "a\\u0000b": no file can have this name and be sent'),
    (job(a__inputFiles=["x" * 256]), "no file can have this name and be sent"),
    (job(a__inputFiles=[3]), "inputFiles[0] is 3: must be a path in this folder, or an object with an id"),
    (job(a__inputFiles=[{"id": 3}]), "inputFiles[0].id is 3: must be a file's id"),
    (job(projectId="zzz"), "not one of your projects: pQwErT (Wing studies), aSdFgH (Test)"),
    (job(project="Wing"), 'project is "Wing": not one of your projects: Wing studies, Test'),
    (job(hold="yes"), 'hold is "yes": must be true or false'),
    (job(Hold=True), 'Hold is true: not a key; write "hold"; for example "hold": true'),
    (job(max_cost="20 USD"), 'max_cost is "20 USD": must be a number above 0; for example 20'),
    (job(max_cost=0), "max_cost is 0: must be a number above 0"),
    (job(maxCost=5), 'maxCost is 5: not a key; write "max_cost"; for example "max_cost": 20'),
    ({**job(), "$schema": 3}, "$schema is 3: must be a text: where the schema is"),
    (job(command="x"), ": stands beside the short form (command); keep one of the two"),
    (
        job(inputFiles=["mesh.msh"]),
        'inputFiles is ["mesh.msh"]: has no effect beside jobanalyses; put it into',
    ),
    (job(envVars={"A": "b"}), 'envVars is {"A": "b"}: has no effect beside jobanalyses'),
    (job(paramFile="sub"), 'paramFile is "sub": a folder, and one file belongs here'),
    (job(paramFile="*.*"), 'is "*.*": names 2 files (mesh.msh, solve.py), and one belongs here'),
    (job(caseFile=3), "caseFile is 3: must be a path in this folder, or an object with an id"),
    (job(a__preProcessScript={"id": ""}), f'{A}.preProcessScript.id is "": must be a file\'s id'),
    (job(a__templateTasks="in.txt"), f'{A}.templateTasks is "in.txt": must be a list of objects'),
    (job(a__templateTasks=["in.txt"]), f'{A}.templateTasks[0] is "in.txt": must be an object'),
    (job(a__analysis={"code": "openfoam"}), f'{A}.analysis.version is missing; for example "10-ompi"'),
    (
        job(a__inputFiles=[{"path": "mesh.msh", "decompress": "yes"}]),
        f'{A}.inputFiles[0].decompress is "yes": must be true or false; for example false',
    ),
    (job(a__inputFiles=[{"id": "XkpTse", "decompress": 0}]), "decompress is 0: must be true or false"),
]


@pytest.mark.parametrize(("document", "message"), WRONG, ids=[each[1][-45:] for each in WRONG])
def test_what_is_wrong_is_said_with_its_place_its_value_and_what_is_right(
    document: dict[str, Any], message: str
) -> None:
    found = problems(document)
    assert any(message in each for each in found), found
    assert len(found) == 1, "one mistake is one problem"
    assert_is_complete(document)


def test_all_problems_are_told_at_once() -> None:
    found = problems(
        job(name="", a__command=None, a__hardware__coresPerSlot=0, a__inputFiles=["../x"], hold=1)
    )
    assert len(found) == 5


def test_left_out_inputs_mean_all_files_and_one_archive_for_each_subfolder() -> None:
    found = accepted(job())
    assert [each.name for each in found.parcels] == ["mesh.msh", "solve.py", "sub.tar"]
    assert [each.path for each in found.parcels[2].members] == [
        "sub",
        "sub/a.dat",
        "sub/deep",
        "sub/deep/b.dat",
    ]
    sent = found.filled(["id0", "id1", "id2"], "the-token")
    assert sent["jobanalyses"][0]["inputFiles"] == [
        {"id": "id0"},
        {"id": "id1"},
        {"id": "id2", "decompress": True},
    ]
    assert sent["jobanalyses"][0]["envVars"] == {"RESCALEFS_DROP": "the-token"}


def test_paths_ids_patterns_and_options_stand_in_one_list() -> None:
    wanted = ["mesh.msh", {"id": "XkpTse"}, {"path": "solve.py", "decompress": False}, "sub/*.dat"]
    found = accepted(job(a__inputFiles=wanted))
    assert [each.name for each in found.parcels] == ["mesh.msh", "solve.py", "sub.tar"]
    assert [each.path for each in found.parcels[2].members] == ["sub/a.dat"]
    assert found.filled(["m", "s", "t"], "x")["jobanalyses"][0]["inputFiles"] == [
        {"id": "XkpTse"},
        {"id": "m"},
        {"id": "s", "decompress": False},
        {"id": "t", "decompress": True},
    ]


def test_a_file_that_is_named_twice_is_sent_once_with_what_is_said_of_it() -> None:
    found = accepted(job(a__inputFiles=["*.msh", "mesh.msh", {"path": "mesh.msh", "decompress": False}, "*"]))
    assert found.filled(["m", "s"], "x")["jobanalyses"][0]["inputFiles"] == [
        {"id": "m", "decompress": False},
        {"id": "s"},
    ]


def test_a_file_of_a_subfolder_that_is_not_to_be_unpacked_is_sent_as_it_is() -> None:
    found = accepted(job(a__inputFiles=[{"path": "sub/a.dat", "decompress": False}]))
    assert [(each.name, each.is_archive) for each in found.parcels] == [("a.dat", False)]


def test_a_subfolder_that_is_not_to_be_unpacked_is_sent_as_an_archive_that_stays_one() -> None:
    found = accepted(job(a__inputFiles=[{"path": "sub", "decompress": False}]))
    sent = found.filled(["s"], "x")
    assert sent["jobanalyses"][0]["inputFiles"] == [{"id": "s", "decompress": False}]


def test_two_analyses_that_take_one_file_send_it_once() -> None:
    document = job(a__inputFiles=["mesh.msh"])
    document["jobanalyses"].append(copy.deepcopy(document["jobanalyses"][0]))
    found = accepted(document)
    assert len(found.parcels) == 1
    sent = found.filled(["m"], "x")
    assert [each["inputFiles"] for each in sent["jobanalyses"]] == [[{"id": "m"}], [{"id": "m"}]]


def test_other_places_that_take_a_file_take_a_path_and_send_it_as_its_type() -> None:
    tasks = [{"processedFilename": "in.txt", "templateFile": "mesh.msh"}]
    found = accepted(job(paramFile="mesh.msh", a__inputFiles=[], a__templateTasks=tasks))
    assert {each.type_id for each in found.parcels} == {FileType.PARAMETER, FileType.TEMPLATE}
    sent = found.filled(["p", "t"], "x")
    assert sent["paramFile"] == {"id": "p"}
    assert sent["jobanalyses"][0]["templateTasks"][0]["templateFile"] == {"id": "t"}


def test_what_is_named_and_not_there_is_awaited_and_a_mistake_comes_first() -> None:
    assert read(job(a__inputFiles=["late.msh", "mesh.msh", "*.late"])) == Awaited(("late.msh", "*.late"))
    assert isinstance(read(job(a__inputFiles=["late.msh"], hold=3)), Rejection)


def test_unknown_keys_pass_and_one_that_looks_misspelt_is_warned_of() -> None:
    found = accepted(job(isLowPriority=True, project_id="x", somethingElse=[1], a__flags={"a": 1}))
    assert found.definition["somethingElse"] == [1]
    assert found.definition["jobanalyses"][0]["flags"] == {"a": 1}
    assert found.warnings == (
        "project_id is not a key we know here; did you mean projectId? It is sent as it is",
    )


def test_keys_for_us_are_not_sent() -> None:
    found = accepted({**job(hold=True), "$schema": "x"})
    assert found.hold
    assert not {"hold", "$schema"} & set(found.definition)


def test_an_archive_never_has_the_name_of_another_file() -> None:
    listing = Listing((*LISTING.entries, file("sub.tar"), file("sub-2.tar")), LISTING.job_file)
    assert [each.name for each in accepted(job(), listing).parcels if each.is_archive] == ["sub-3.tar"]


def test_a_name_is_found_however_its_accents_are_spelt() -> None:
    listing = Listing((file("fläche.msh".replace("ä", "a\u0308")),), None)
    assert len(accepted(job(a__inputFiles=["fl\u00e4che.msh"]), listing).parcels) == 1


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Entry("x", Kind.LINK_OUT), "x is a link that leaves the folder; put the file itself there"),
        (Entry("x", Kind.LINK_TO_FOLDER), "x is a link to a folder; put the folder itself there"),
        (Entry("x", Kind.BROKEN_LINK), "x is a link to nothing"),
        (Entry("x", Kind.LINK_LOOP), "x is a link in a circle: to itself, or to a folder that it lies in"),
        (file('a"b'), 'a"b has a " in its name, which sending changes; rename it, or use a subfolder'),
        (
            file("a\\b"),
            "has a \\ in its name, which sending changes; rename it, or use a subfolder; for example a_b",
        ),
        (Entry("-x y", Kind.SPECIAL), "remove it; for example rm './-x y'"),
        (Entry("sub", Kind.FOLDER, readable=False), "cannot be read: permission denied; chmod u+rx it"),
        (Entry("x", Kind.SPECIAL), "x is neither a file nor a folder"),
        (Entry("x", Kind.FILE, 1, readable=False), "x cannot be read: permission denied; chmod u+r it"),
        (Entry("sub/x", Kind.LINK_OUT), "sub/x is a link that leaves the folder"),
        (
            Entry("a\nb", Kind.FILE, 1),
            "a\\nb has a name with control characters or broken letters; rename it",
        ),
        (Entry("a\udcff", Kind.FILE, 1), "a\\udcff has a name with control characters or broken letters"),
    ],
)
def test_a_file_that_cannot_be_sent_is_refused_by_name(entry: Entry, message: str) -> None:
    others = [each for each in LISTING.entries if not each.path.startswith(entry.path)]
    listing = Listing((*others, entry), LISTING.job_file)
    (found,) = problems(job(), listing)
    assert message in found
    assert_is_complete(job(), listing)


@pytest.mark.parametrize(
    "path", ["-rf", "a..b", "...", "fl\u00e4che", "fla\u0308che", "a\u202fb", "$(x)", "a%22b", "~"]
)
def test_a_name_that_is_only_odd_is_sent_as_it_is(path: str) -> None:
    assert [each.name for each in accepted(job(), Listing((file(path),))).parcels] == [path]


def test_names_that_are_the_same_on_the_cluster_are_warned_of() -> None:
    listing = Listing((file("fl\u00e4che"), file("fla\u0308che"), file("x/a.dat"), file("y/a.dat")))
    assert accepted(job(a__inputFiles=["fl*"]), listing).warnings == (
        r"the same name on the cluster, where one may overwrite the other: 'fla\u0308che', 'fl\xe4che'",
    )
    apart = [{"path": f"{folder}/a.dat", "decompress": False} for folder in "xy"]
    assert accepted(job(a__inputFiles=apart), listing).warnings == (
        "the same name on the cluster, where one may overwrite the other: 'x/a.dat', 'y/a.dat'",
    )
    assert not accepted(job(a__inputFiles=["x/a.dat", "y/a.dat"]), listing).warnings


def test_names_that_differ_in_case_only_are_warned_of() -> None:
    listing = Listing((file("Mesh.msh"), file("mesh.msh"), Entry("s", Kind.FOLDER), file("s/A"), file("s/a")))
    assert accepted(job(), listing).warnings == (
        "names that differ in upper and lower case only: Mesh.msh, mesh.msh",
        "names that differ in upper and lower case only: s/A, s/a",
    )


def test_a_name_that_sending_would_change_is_fine_in_an_archive() -> None:
    listing = Listing((Entry("s", Kind.FOLDER), file('s/a"b'), file("s/a\\b")))
    assert [len(each.members) for each in accepted(job(), listing).parcels] == [3]


def test_no_more_is_told_than_somebody_reads() -> None:
    pipes = Listing(tuple(Entry(f"p{number}", Kind.SPECIAL) for number in range(5000)))
    found = problems(job(), pipes)
    assert len(found) == 101
    assert found[-1] == "4900 more are like these; mend these first"
    alike = tuple(file(f"{number}{accent}") for number in range(50) for accent in ("\u00e4", "a\u0308"))
    warnings = accepted(job(), Listing(alike)).warnings
    assert len(warnings) == 9
    assert warnings[-1] == "42 more names that are the same on the cluster"


def test_an_empty_input_is_warned_of() -> None:
    found = accepted(job(), Listing((file("empty.msh", 0),)))
    assert found.warnings == ("empty: empty.msh",)


def test_a_thousand_files_and_more_that_go_one_by_one_are_warned_of() -> None:
    flat = Listing(tuple(Entry(f"{number}.dat", Kind.FILE, 1) for number in range(1001)))
    found = accepted(job(), flat)
    warning = "1001 files are sent one by one; those in a subfolder go as one archive, and sooner"
    assert found.warnings == (warning,)


def test_more_than_the_limits_is_refused() -> None:
    limits = Limits(files=2, file_size=6, total_size=10)
    found = problems(job(), limits=limits)
    assert found == [
        (
            "inputFiles is 3 files: at most 2 may be sent, and each subfolder counts as one; "
            "for example all of them in a subfolder"
        ),
        "solve.py is 7 bytes: more than the 6 bytes that may be sent; for example several smaller files",
        "sub.tar is 4.1 kB: more than the 6 bytes that may be sent; for example several smaller files",
        (
            "inputFiles is 4.11 kB together: at most 10 bytes may be sent; "
            'for example files that Rescale has already: {"id": "XkpTse"}'
        ),
    ]


SHORT: dict[str, Any] = {"command": "python solve.py", "software": "Miniconda", "coretype": "cheapest"}


def test_the_short_form_becomes_the_apis_form() -> None:
    document = {**SHORT, "cores": 4, "hours": 1.5, "project": "wing studies", "envVars": {"A": "b"}}
    found = accepted({**document, "inputFiles": ["mesh.msh"], "isLowPriority": True})
    assert found.definition == {
        "name": "wing",
        "projectId": "pQwErT",
        "isLowPriority": True,
        "jobanalyses": [
            {
                "analysis": {"code": "miniconda", "version": "4.8.4"},
                "command": "python solve.py",
                "hardware": {"coreType": "granite", "coresPerSlot": 4, "slots": 1, "walltime": 2},
                "inputFiles": [{}],
                "envVars": {"A": "b"},
            }
        ],
    }


def test_the_cheapest_is_general_active_on_demand_for_linux_and_allowed() -> None:
    assert accepted(SHORT).definition["jobanalyses"][0]["hardware"]["coreType"] == "granite"
    assert accepted(SHORT).definition["jobanalyses"][0]["hardware"]["coresPerSlot"] == 2
    assert accepted(SHORT).estimate.startswith("2 cores of granite: 0.14 USD an hour on demand")


def test_the_cheapest_is_one_that_offers_the_cores() -> None:
    def hardware(**changes: Any) -> Any:
        return accepted({**SHORT, **changes}).definition["jobanalyses"][0]["hardware"]

    assert hardware(cores=8)["coreType"] == "granite"
    assert (hardware(cores=1)["coreType"], hardware(cores=1)["coresPerSlot"]) == ("emerald", 1)
    assert hardware(cores=36)["coreType"] == "emerald"
    assert problems({**SHORT, "cores": 3}) == ["cores is 3: granite offers 2, 4, 8; for example 2"]


def test_a_key_of_the_apis_form_in_a_wrong_place_is_warned_of() -> None:
    (found,) = accepted({**SHORT, "walltime": 3}).warnings
    assert found == "walltime is not a key we know here; did you mean hours? It is sent as it is"


def test_the_newest_version_is_taken_where_none_is_named() -> None:
    found = accepted({**SHORT, "software": "openfoam"})
    assert found.definition["jobanalyses"][0]["analysis"] == {"code": "openfoam", "version": "10-ompi"}


SHORT_WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"software": None}, ['software is missing: which program runs the command; for example "miniconda"']),
    ({"coretype": None}, ['coretype is missing: the hardware to run on; for example "cheapest"']),
    ({"command": None, "cores": 2}, ['command is missing; for example "python solve.py"']),
    ({"software": "minconda"}, ['software is "minconda": no such software: did you mean "miniconda"?']),
    ({"version": "9"}, ['version is "9": miniconda has 4.8.4; for example "4.8.4"']),
    ({"coretype": "granit"}, ['coretype is "granit": no such core type: did you mean "granite"?']),
    ({"coretype": "Emerald", "cores": 3}, ["cores is 3: emerald offers 1, 2, 18, 36; for example 2"]),
    ({"hours": "2"}, ['hours is "2": must be a number above 0; for example 1']),
    ({"hours": 0}, ["hours is 0: must be a number above 0; for example 1"]),
    (
        {"inputFiles": ["../x"]},
        ['inputFiles[0] is "../x": leaves the folder; name files below it; for example "mesh.msh"'],
    ),
    (
        {"software": 3, "cores": 0},
        [
            'software is 3: no such software; for example "miniconda"',
            "cores is 0: must be a whole number, at least 1; for example 2",
        ],
    ),
]


@pytest.mark.parametrize(("changes", "expected"), SHORT_WRONG, ids=[each[1][0][:40] for each in SHORT_WRONG])
def test_problems_of_the_short_form_name_its_own_keys(changes: dict[str, Any], expected: list[str]) -> None:
    assert problems({**SHORT, **changes}) == expected
    assert_is_complete({**SHORT, **changes})


def test_a_whole_number_may_be_written_with_a_point_and_is_sent_without() -> None:
    hardware = {"coreType": "granite", "coresPerSlot": 2.0, "slots": 1.0, "walltime": 3.0}
    long = accepted(job(a__hardware=hardware, expectedRuns=4.0)).definition
    sent = [*long["jobanalyses"][0]["hardware"].values(), long["expectedRuns"]]
    assert list(map(str, sent)) == ["granite", "2", "1", "3", "4"]
    short = accepted({**SHORT, "cores": 4.0}).definition["jobanalyses"][0]["hardware"]
    assert str(short["coresPerSlot"]) == "4"


def test_several_of_the_largest_instances_can_be_asked_for() -> None:
    accepted(job(a__hardware__coreType="emerald", a__hardware__coresPerSlot=72))


words = st.sampled_from(["id", "code", "a", "path"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["granite", "mesh.msh", "x", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner),
    max_leaves=5,
)
PLACES = [
    "name", "jobanalyses", "projectId", "project", "hold", "paramFile", "a__analysis", "a__command",
    "a__hardware",
    "a__hardware__coreType", "a__hardware__coresPerSlot", "a__inputFiles", "a__envVars", "a__templateTasks",
    "command", "software", "coretype", "cores", "hours", "version", "max_cost", "inputFiles", "envVars",
    "templateTasks",
]  # fmt: skip
PLAIN = [key for key in PLACES if "__" not in key and key != "jobanalyses"]


@given(st.sampled_from(PLACES), json_values)
def test_any_value_anywhere_is_accepted_awaited_or_explained(place: str, value: Any) -> None:
    outcome = read(job(**{place: value}))
    if isinstance(outcome, JobSpec):
        outcome.filled([f"id{n}" for n in range(len(outcome.parcels))], "token")
    elif isinstance(outcome, Rejection):
        assert outcome.problems
        assert all(str(each).isprintable() for each in outcome.problems)


@given(st.sampled_from(PLAIN), json_values)
def test_any_value_in_the_short_form_is_accepted_awaited_or_explained(place: str, value: Any) -> None:
    outcome = read({**SHORT, place: value})
    assert isinstance(outcome, (JobSpec, Awaited)) or outcome.problems
