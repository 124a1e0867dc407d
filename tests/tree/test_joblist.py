"""One page keeps the whole list of jobs true."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from rescalefs.model import Job
from rescalefs.tree.joblist import JobList
from tests.tree.account import minutes


def job(number: int, status: str = "Completed") -> Job:
    return Job(f"j{number}", f"job {number}", status, inserted=minutes(number))


def jobs(*numbers: int) -> tuple[Job, ...]:
    """Newest first, as the server lists them."""
    return tuple(job(number) for number in sorted(numbers, reverse=True))


def ids(known: JobList | None) -> list[str]:
    assert known is not None
    return [each.id for each in known.listed]


@given(
    st.sets(st.integers(0, 30), min_size=1),
    st.sets(st.integers(0, 30)),
    st.sets(st.integers(31, 40)),
    st.data(),
)
def test_a_page_that_joins_gives_the_list_that_all_pages_would(
    before: set[int], deleted: set[int], added: set[int], data: st.DataObject
) -> None:
    known, now = JobList.of(jobs(*before)), jobs(*((before - deleted) | added))
    page = now[: data.draw(st.integers(1, 40))]
    joined = known.with_newest(page)
    if joined is not None:
        newest_shown = {each.id for each in page}
        oldest = page[-1].inserted
        assert oldest is not None
        expected = [each.id for each in page] + [
            each.id
            for each in known.listed
            if each.id not in newest_shown and each.inserted is not None and each.inserted <= oldest
        ]
        assert ids(joined) == expected
        assert {each.id for each in now} <= set(expected)  # nothing that is there is missing


def test_a_page_brings_new_jobs_new_statuses_and_takes_deleted_ones() -> None:
    known = JobList.of(jobs(1, 2, 3, 4))
    joined = known.with_newest((job(5), job(3, "Failed"), job(2)))
    assert ids(joined) == ["j5", "j3", "j2", "j1"]
    assert joined is not None
    assert joined.by_id["j3"].status == "Failed"


def test_a_page_without_a_known_job_cannot_be_joined() -> None:
    assert JobList.of(jobs(1, 2)).with_newest(jobs(8, 9)) is None


def test_a_page_out_of_order_cannot_be_joined() -> None:
    assert JobList.of(jobs(1, 2)).with_newest((job(1), job(2))) is None
    undated = dataclasses.replace(job(2), inserted=None)
    assert JobList.of(jobs(1, 2)).with_newest((undated, job(1))) is None


def test_an_empty_page_says_something_only_to_an_empty_list() -> None:
    empty = JobList.of(())
    assert empty.with_newest(()) is empty
    assert JobList.of(jobs(1)).with_newest(()) is None


def test_a_found_job_is_known_until_it_is_listed() -> None:
    known = JobList.of(jobs(1)).with_found(job(2, ""))
    assert known.is_found("j2")
    assert known.with_found(job(2)) is known
    listed = known.with_newest(jobs(1, 2))
    assert listed is not None
    assert not listed.is_found("j2")
    assert ids(listed) == ["j2", "j1"]


def test_a_found_job_does_not_join_a_page_to_the_list() -> None:
    assert JobList.of(jobs(1)).with_found(job(9)).with_newest(jobs(8, 9)) is None


def test_nothing_new_is_the_same_list() -> None:
    known = JobList.of(jobs(1, 2))
    assert known.succeeded_by(JobList.of(jobs(1, 2))) is known
    assert known.with_status("j1", "Completed") is known
    assert known.with_status("never seen", "Completed") is known
    assert known.without("never seen") is known


def test_a_list_from_the_disk_keeps_one_copy_of_what_its_jobs_have_in_common() -> None:
    def from_disk(number: int) -> Job:
        word = "".join
        return Job(
            f"j{number}",
            "wing",
            word(["Com", "pleted"]),
            owner=word(["a", "@b"]),
            analyses=(word(["C", "FD"]),),
        )

    listed, found = (from_disk(1), from_disk(2)), (from_disk(3),)
    known = JobList.restored(listed, found)
    assert (known.listed, known.found) == (listed, found)
    one, *others = (*known.listed, *known.found)
    for other in others:
        assert other.status is one.status
        assert other.owner is one.owner
        assert other.analyses is one.analyses


def test_an_unchanged_job_is_the_same_object() -> None:
    known = JobList.of(jobs(1, 2))
    later = known.succeeded_by(JobList.of(jobs(1, 2, 3)))
    assert later is not known
    assert later.by_id["j1"] is known.by_id["j1"]


def test_a_job_that_has_ended_stays_so() -> None:
    known = JobList.of((job(1, "Failed"),))
    assert known.succeeded_by(JobList.of((job(1, "Executing"),))).by_id["j1"].status == "Failed"
    assert known.with_status("j1", "Executing") is known


def test_a_status_learnt_elsewhere_counts() -> None:
    known = JobList.of((job(2, "Executing"), job(1))).with_found(job(3, ""))
    ended = known.with_status("j2", "Completed").with_status("j3", "Executing")
    assert [ended.by_id[each].status for each in ("j1", "j2", "j3")] == [
        "Completed",
        "Completed",
        "Executing",
    ]
    assert list(ended.ended_since(known)) == ["j2"]


def test_a_job_that_is_gone_is_known_to_be() -> None:
    known = JobList.of(jobs(1, 2)).with_found(job(3))
    later = known.without("j2").without("j3")
    assert set(later.gone_since(known)) == {"j2", "j3"}
