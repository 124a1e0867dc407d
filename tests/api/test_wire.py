"""The service's JSON, as it is documented, as it is seen, and as it should not be."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescalefs.api import wire
from rescalefs.errors import UnexpectedAnswer
from rescalefs.model import Incomplete, JobStatus, Machine, RemoteFile

SHA512 = "0a" * 64


def decoded(kind: type[Any], **fields: Any) -> Any:
    return wire.decode(json.dumps(fields).encode(), kind, "GET it/")


def raws(*entries: Any) -> list[msgspec.Raw]:
    return [msgspec.Raw(json.dumps(each).encode()) for each in entries]


def file(**fields: Any) -> RemoteFile:
    return wire.file(decoded(wire.File, **{"id": "aBc", "name": "x.log", **fields}))


# -- times


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2016-04-21T17:24:34.898495Z", datetime(2016, 4, 21, 17, 24, 34, 898495, timezone.utc)),
        ("2016-04-21T17:24:34Z", datetime(2016, 4, 21, 17, 24, 34, 0, timezone.utc)),
        ("2016-04-21T17:24:34-07:00", datetime(2016, 4, 22, 0, 24, 34, 0, timezone.utc)),
        ("2016-04-21T17:24:34.5+05:30", datetime(2016, 4, 21, 11, 54, 34, 500000, timezone.utc)),
        ("2016-04-21T17:24:34", datetime(2016, 4, 21, 17, 24, 34, 0, timezone.utc)),
        ("2016-04-21 17:24:34Z", datetime(2016, 4, 21, 17, 24, 34, 0, timezone.utc)),
        (None, None),
        ("", None),
        ("yesterday", None),
        ("0001-01-01T00:00:00+05:00", None),  # before the first moment that there is in UTC
    ],
)
def test_times_come_with_or_without_fraction_and_offset(text: str | None, expected: datetime | None) -> None:
    assert wire.parse_time(text) == expected


@given(st.text() | st.datetimes(timezones=st.timezones()).map(datetime.isoformat))
def test_every_time_is_in_utc_or_none(text: str) -> None:
    time = wire.parse_time(text)
    assert time is None or time.tzinfo is timezone.utc


# -- files


def test_a_file_is_read_with_all_that_is_known_of_it() -> None:
    assert file(
        relativePath="run/x.log",
        decryptedSize=12,
        typeId=5,
        fileChecksums=[{"hashFunction": "sha512", "fileHash": SHA512}],
        dateUploaded="2026-01-02T03:04:05Z",
        isUploaded=True,
        isDeleted=False,
        encodedEncryptionKey="secret",
        storage={"unknown": [1]},
    ) == RemoteFile(
        "aBc", "x.log", "run/x.log", 12, SHA512, 5, datetime(2026, 1, 2, 3, 4, 5, 0, timezone.utc), True
    )


def test_fields_that_are_missing_or_null_leave_their_defaults() -> None:
    bare = RemoteFile("aBc", "x.log", "x.log", None)
    nulls = dict.fromkeys(
        (
            "relativePath",
            "decryptedSize",
            "typeId",
            "fileChecksums",
            "dateUploaded",
            "isUploaded",
            "isDeleted",
        )
    )
    assert file() == bare
    assert file(**nulls) == bare


@pytest.mark.parametrize(
    ("checksums", "expected"),
    [
        ([], None),
        ([{"hashFunction": "md5", "fileHash": "0" * 32}], None),
        (
            [{"hashFunction": "md5", "fileHash": "0" * 32}, {"hashFunction": "sha512", "fileHash": SHA512}],
            SHA512,
        ),
        ([{"hashFunction": "SHA-512", "fileHash": f" {SHA512.upper()} "}], SHA512),
        ([{"hashFunction": "sha512", "fileHash": SHA512[:-1]}], None),
        ([{"hashFunction": "sha512", "fileHash": "x" * 128}], None),
        ([{"hashFunction": None, "fileHash": None}, {}], None),
    ],
)
def test_only_a_whole_sha512_counts_as_checksum(checksums: list[Any], expected: str | None) -> None:
    assert file(fileChecksums=checksums).sha512 == expected


def test_sizes_may_be_text_and_a_negative_one_is_none() -> None:
    assert file(decryptedSize="12").size == 12
    assert file(decryptedSize=0).size == 0
    assert file(decryptedSize=-1).size is None


def test_a_file_whose_upload_runs_or_failed_says_so() -> None:
    assert not file(isUploaded=False).is_uploaded


def test_deleted_files_are_left_out() -> None:
    listed = raws({"id": "a", "name": "a", "isDeleted": True}, {"id": "b", "name": "b"})
    found = wire.entries(listed, wire.File, wire.listed_file, "GET it/")
    assert [each.id for each in found] == ["b"]
    assert wire.entries(listed[:1], wire.File, wire.listed_file, "GET it/") == ()


# -- jobs


def test_a_summary_is_read_and_an_empty_one_too() -> None:
    job = wire.job(
        decoded(
            wire.JobSummary,
            id="j",
            name="wing",
            owner="me@example.com",
            dateInserted="2026-01-02T03:04:05Z",
            jobStatus={"content": "Executing", "labelClass": "x"},
            clusterStatusDisplay={"content": "Started"},
            analysisNames=["OpenFOAM"],
            projectId=7,
        )
    )
    assert (job.status, job.cluster_status, job.analyses) == ("Executing", "Started", ("OpenFOAM",))
    assert (job.owner, job.project_id) == ("me@example.com", "7")
    nothing: dict[str, Any]
    for nothing in (
        {},
        {"jobStatus": None, "clusterStatusDisplay": {}, "analysisNames": None, "owner": None},
    ):
        saved = wire.job(decoded(wire.JobSummary, id="j", name="wing", **nothing))
        assert (saved.status, saved.cluster_status, saved.inserted, saved.owner) == ("", "", None, "")


def detail(**fields: Any) -> Any:
    return wire.job_detail(json.dumps({"id": "j", "name": "wing", **fields}).encode(), "GET jobs/j/")


def test_jobs_keep_one_copy_of_what_they_have_in_common() -> None:
    content = b'{"id": "%d", "name": "a", "owner": "a@b", "analysisNames": ["CFD"], "tags": ["wing"]}'
    one, other = (wire.job(wire.decode(content % number, wire.JobSummary, "it")) for number in (1, 2))
    assert one.owner is other.owner
    assert one.analyses is other.analyses
    assert one.tags is other.tags


def test_the_inputs_of_all_analyses_are_one_list_without_doubles() -> None:
    found = detail(
        jobanalyses=[
            {
                "inputFiles": [{"id": "a", "name": "a"}, {"id": "b", "name": "b"}],
                "envVars": {"N": 4, "A": "x"},
            },
            {"inputFiles": [{"id": "a", "name": "a"}], "envVars": {"N": 5}},
            {"inputFiles": None, "envVars": None},
        ],
        expectedRuns=3,
    )
    assert [each.id for each in found.inputs] == ["a", "b"]
    assert found.env_vars == {"N": "4", "A": "x"}
    assert found.expected_runs == 3


@pytest.mark.parametrize("fields", [{}, {"jobanalyses": None}, {"jobanalyses": []}, {"jobanalyses": [{}]}])
def test_a_job_without_analyses_has_no_inputs(fields: dict[str, Any]) -> None:
    found = detail(**fields)
    assert (found.inputs, found.env_vars, found.expected_runs) == ((), {}, None)


@pytest.mark.parametrize("core_type", ["onyx", {"code": "onyx"}, None])
def test_hardware_is_shown_in_whatever_form_it_came(core_type: Any) -> None:
    hardware = {"coreType": core_type, "coresPerSlot": 2, "walltime": None}
    found = detail(jobanalyses=[{"hardware": hardware}])
    assert json.loads(found.document)["jobanalyses"][0]["hardware"] == hardware


def test_secrets_are_removed_at_any_depth_and_nothing_else_is() -> None:
    document = {
        "id": "j",
        "name": "wing",
        "zeta": 1,
        "jobanalyses": [
            {
                "inputFiles": [{"id": "a", "name": "a", "encodedEncryptionKey": "S3CRET", "typeId": 1}],
                "envVars": {"DB_PASSWORD": "the user's own", "API_KEY": "too"},
                "storage": {
                    "accessKey": "S3CRET",
                    "secret_key": "S3CRET",
                    "SessionToken": "S3CRET",
                    "region": "x",
                },
            }
        ],
        "remoteVizConfig": {"inner": [{"password": "S3CRET"}, {"credentials": {"a": "S3CRET"}}, [None, 1.5]]},
        "alpha": None,
    }
    shown = wire.document_without_secrets(json.dumps(document).encode(), "GET it/")
    assert b"S3CRET" not in shown
    assert shown.endswith(b"}\n")
    read = json.loads(shown)
    assert list(read) == list(document)
    (analysis,) = read["jobanalyses"]
    assert analysis["envVars"] == {"DB_PASSWORD": "the user's own", "API_KEY": "too"}
    assert analysis["inputFiles"] == [{"id": "a", "name": "a", "typeId": 1}]
    assert analysis["storage"] == {"region": "x"}
    assert read["remoteVizConfig"] == {"inner": [{}, {}, [None, 1.5]]}


# -- statuses


def history(*entries: Any) -> tuple[JobStatus, ...]:
    return wire.history(wire.entries(raws(*entries), wire.StatusEntry, wire.status, "GET jobs/j/statuses/"))


def test_histories_are_oldest_first_whatever_order_they_come_in() -> None:
    entries = [
        {"status": "Completed", "statusDate": "2026-01-01T00:02:00Z", "statusReason": "Done"},
        {"status": "Executing", "statusDate": "2026-01-01T00:01:00Z", "statusReason": ""},
        {"status": "Validated", "statusDate": "2026-01-01T00:01:00Z"},
        {"status": "Queued", "statusDate": "2026-01-01T01:00:00+02:00"},
    ]
    found = history(*entries)
    assert [each.status for each in found] == ["Queued", "Validated", "Executing", "Completed"]
    assert found[-1] == JobStatus("Completed", datetime(2026, 1, 1, 0, 2, tzinfo=timezone.utc), "Done")
    assert found[-2].reason is None
    shuffled = history(entries[3], entries[0], entries[2])
    assert [each.status for each in shuffled] == ["Queued", "Validated", "Completed"]


def test_a_status_without_a_time_is_left_out_and_alone_an_error_that_names_the_request() -> None:
    odd = {"status": "Queued", "statusDate": "0000-01-01T00:00:00Z"}
    good = {"status": "Executing", "statusDate": "2026-01-01T00:01:00Z"}
    assert [each.status for each in history(odd, good)] == ["Executing"]
    assert isinstance(history(odd, good), Incomplete)
    assert not isinstance(history(good), Incomplete)
    with pytest.raises(UnexpectedAnswer, match=r"GET jobs/j/statuses/.*statusDate"):
        history(odd)


# -- the rest


def test_catalogue_entries_are_read_with_and_without_their_fields() -> None:
    full = wire.core_type(
        decoded(
            wire.CoreType,
            code="onyx",
            name="Onyx",
            cores=[1, 2],
            categoryCodes=["general"],
            memory=3995,
            storage="78.5",
            processorInfo="Intel",
            isActive=True,
            isDeprecated=True,
            lowPriorityPrice="0.1",
        )
    )
    assert (full.cores, full.categories, full.memory_per_core, full.storage_per_core) == (
        (1, 2),
        ("general",),
        3995,
        78.5,
    )
    assert full.is_deprecated
    bare = wire.core_type(decoded(wire.CoreType, code="onyx"))
    assert (bare.name, bare.cores, bare.is_active, bare.is_deprecated) == ("onyx", (), True, False)

    analysis = wire.analysis(
        decoded(
            wire.Analysis,
            code="openfoam",
            vendorName=None,
            versions=[
                {"versionCode": "v1", "allowedCoreTypes": ["onyx"], "stdCommand": "run"},
                {"versionCode": "0"},
            ],
        )
    )
    assert [(each.code, each.name, each.core_types, each.command) for each in analysis.versions] == [
        ("v1", "v1", ("onyx",), "run"),
        ("0", "0", (), ""),
    ]
    assert wire.analysis(decoded(wire.Analysis, code="x")).versions == ()
    assert wire.project(decoded(wire.Project, id=3)).name == "3"


def test_prices_keep_their_decimals_and_entries_without_a_price_are_left_out() -> None:
    listed = raws(
        {"coreType": "onyx", "planType": "on-demand", "os": "linux", "value": {"amount": "0.10"}},
        {"coreType": "onyx", "planType": "x", "value": {"amount": 0.25}, "isActive": False},
        {"coreType": "onyx", "planType": "x", "value": {"amount": None}},
        {"coreType": "onyx", "value": None},
    )
    found = wire.entries(listed, wire.ComputePrice, wire.price, "GET it/")
    assert [str(each.amount) for each in found] == ["0.10", "0.25"]
    assert [each.is_active for each in found] == [True, False]
    assert found[0].amount == Decimal("0.1")


def test_a_user_is_called_as_far_as_the_service_tells() -> None:
    user = wire.user(
        decoded(
            wire.User,
            email="e",
            firstName="Ada",
            lastName="King",
            company={"code": "c"},
            workspace={"name": "w"},
        )
    )
    assert (user.email, user.full_name, user.company, user.workspace) == ("e", "Ada King", "c", "w")
    assert wire.user(decoded(wire.User, fullName="A", firstName="B")).full_name == "A"
    assert wire.user(decoded(wire.User, company=None)).company == ""


def test_a_run_tells_its_variables_as_people_read_them() -> None:
    run = wire.run(
        decoded(
            wire.Run,
            id=2,
            dateStarted="2026-01-01T00:00:00Z",
            dateCompleted=None,
            variables=[
                {"name": "a", "value": 1.5, "displayValue": "1.50"},
                {"name": "b", "value": 2.5},
                {"name": "c", "value": None},
                {"name": "d", "displayValue": 3},
            ],
        )
    )
    assert (run.id, run.completed) == ("2", None)
    assert run.variables == {"a": "1.50", "b": "2.5", "c": "", "d": "3"}


# -- what is not as promised


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b'{"results": null}', r"\$\.results"),
        (b"[]", "array"),
        (b"null", "null"),
        (b'{"results": [', "truncated"),
        (b"", "truncated"),
        (b"<html>", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b'{"unknown": ' + b"[" * 100_000, "recursion"),
    ],
)
def test_a_wrong_answer_is_an_error_that_names_the_request_and_the_field(content: bytes, where: str) -> None:
    with pytest.raises(UnexpectedAnswer, match="GET jobs/j/files/: ") as failure:
        wire.decode(content, wire.Page, "GET jobs/j/files/")
    failure.match(where)


GOOD = {"id": "good", "name": "x"}


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ({"name": "x"}, "field `id`"),
        ({"id": "a", "name": None}, r"\$\.name"),
        ({"id": "", "name": "x"}, "no id"),
        ({"id": "a\0b", "name": "x"}, "no id"),
        ({"id": "a" * 5000, "name": "x"}, "no id"),
        ({"id": 5, "name": "x"}, r"\$\.id"),
        (5, "int"),
        (None, "null"),
        ([], "array"),
    ],
)
def test_an_entry_that_makes_no_sense_hides_no_other(odd: Any, why: str) -> None:
    found = wire.entries(raws(odd, GOOD), wire.File, wire.listed_file, "GET jobs/j/files/")
    assert [each.id for each in found] == ["good"]
    assert isinstance(found, Incomplete)
    with pytest.raises(UnexpectedAnswer, match=f"GET jobs/j/files/: .*{why}"):
        wire.entries(raws(odd), wire.File, wire.listed_file, "GET jobs/j/files/")


def test_of_an_odd_field_that_is_not_needed_nothing_is_known_and_the_rest_is_right() -> None:
    odd = {**GOOD, "decryptedSize": {}, "typeId": "five", "isUploaded": 2, "fileChecksums": [{"a": 1}, 5]}
    (found,) = wire.entries(raws(odd), wire.File, wire.listed_file, "GET it/")
    assert found == RemoteFile("good", "x", "x", size=None)


@pytest.mark.parametrize("size", [-1, 10**400, 1 << 63, "NaN", True, 1.5])
def test_a_size_that_cannot_be_is_not_known(size: Any) -> None:
    listed = [msgspec.Raw(json.dumps({**GOOD, "decryptedSize": size}).encode())]
    (found,) = wire.entries(listed, wire.File, wire.listed_file, "GET it/")
    assert found.size is None


@pytest.mark.parametrize("cores", [[0], [-4], [True], [[4]], [10**400], ["many"], [1.5], [0, -1]])
def test_a_core_type_that_offers_no_number_of_cores_is_left_out(cores: Any) -> None:
    listed = raws({"code": "odd", "cores": cores}, {"code": "good", "cores": [0, 2, 4]})
    found = wire.entries(listed, wire.CoreType, wire.core_type, "GET it/")
    assert [each.cores for each in found if each.code == "good"] == [(2, 4)]
    assert all(not each.cores for each in found if each.code == "odd")


@pytest.mark.parametrize(
    "amount", ["NaN", "sNaN", "1e999999999", "1e-999999999", "-1", "Infinity", "-Infinity", 10**400, "9" * 99]
)
def test_a_price_that_is_none_is_left_out(amount: Any) -> None:
    odd = {"coreType": "onyx", "planType": "on-demand", "value": {"amount": amount}}
    good = {"coreType": "onyx", "planType": "on-demand", "value": {"amount": "0.10"}}
    found = wire.entries(raws(odd, good), wire.ComputePrice, wire.price, "GET it/")
    assert [str(each.amount) for each in found] == ["0.10"]


@pytest.mark.parametrize("job_id", ["../../etc", "a/b", ".", "a b", "", "x" * 65, "\ud800", "a\nb"])
def test_a_job_whose_id_could_lead_elsewhere_is_none(job_id: str) -> None:
    content = json.dumps({"id": job_id, "name": "x"}).encode()
    with pytest.raises(ValueError, match="no id of a job"):
        wire.job(wire.decode(content, wire.JobSummary, "POST jobs/"))


def test_what_is_almost_json_is_read_without_its_odd_values() -> None:
    odd = b'{"id": "a", "name": "h\\ud800\xff", "x": NaN, "y": -Infinity}'
    content = b'\xef\xbb\xbf{"results": [' + odd + b'], "count": 1}'
    page = wire.decode(content, wire.Page, "GET it/")
    (found,) = wire.entries(page.results, wire.File, wire.listed_file, "GET it/")
    assert found.name == "h\ufffd\ufffd"


def test_an_answer_of_millions_of_parts_is_refused_before_it_takes_their_memory() -> None:
    with pytest.raises(UnexpectedAnswer, match="more parts"):
        wire.job_detail(b'{"id": "j", "name": "x", "tags": [' + b"[]," * 2_000_000 + b"1]}", "GET jobs/j/")


def test_a_job_of_as_many_inputs_as_a_drop_may_have_is_read() -> None:
    more = b", ".join(b'"field%d": %d' % (number, number) for number in range(24))
    file = b'{"id": "f%d", "name": "mesh.msh", ' + more + b"}"
    listed = b",".join(file % number for number in range(100_000))
    content = b'{"id": "aBcDeF", "name": "x", "jobanalyses": [{"inputFiles": [' + listed + b"]}]}"
    assert wire.created_job(content, "POST jobs/").id == "aBcDeF"
    assert wire.decode(content, wire.JobDocument, "GET it/", wire._MOST_VALUES_OF_A_JOB).jobanalyses


def test_entries_that_make_no_sense_take_little_memory_however_many_there_are() -> None:
    good = msgspec.Raw(b'{"path": "a"}')
    wrong = [msgspec.Raw(b'{"id": "%d"}' % number) for number in range(5_000)]
    found = wire.each_entry([good, *wrong], wire.DirectoryEntry, lambda each: each.path)
    assert len(found) == 5_001
    assert len({id(each.error) for each in found}) <= wire._MOST_ERRORS + 1
    assert wire.entries([good, *wrong], wire.DirectoryEntry, lambda each: each.path, "GET it/") == ("a",)


def test_an_answer_in_which_nothing_makes_sense_is_read_no_further() -> None:
    wrong = iter([msgspec.Raw(b"1")] * 50_000)
    with pytest.raises(UnexpectedAnswer, match="no entry is what"):
        wire.entries(wrong, wire.DirectoryEntry, lambda each: each.path, "GET it/")
    assert len(list(wrong)) == 40_000


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(str.encode),
    st.sampled_from([wire.Page, wire.JobDocument, wire.User, list[msgspec.Raw]]),
)
def test_any_bytes_are_an_answer_or_an_error_of_ours(content: bytes, kind: type[Any]) -> None:
    with suppress(UnexpectedAnswer):
        wire.decode(content, kind, "GET it/")


@pytest.mark.parametrize(
    "odd",
    [{"public_ip": "-oProxyCommand=x"}, {"public_ip": "a b"}, {"username": "$(x)"}, {"ssh_port": 70000}],
)
def test_a_machine_that_a_command_line_could_misread_is_refused(odd: dict[str, Any]) -> None:
    good: dict[str, Any] = {"public_ip": "10.0.0.1", "username": "uprod_x"}
    assert wire.machine(wire.Instance(**good)) == Machine("10.0.0.1", 22, "uprod_x")
    with pytest.raises(ValueError, match="cannot be logged in to"):
        wire.machine(wire.Instance(**good | odd))
