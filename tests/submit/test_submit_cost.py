from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from rescalefs.model import ComputePrice
from rescalefs.submit import spec
from rescalefs.submit.cost import number_text, spent
from rescalefs.submit.limits import Limits
from rescalefs.submit.spec import JobSpec, Rejection
from tests.submit.rig import CATALOGUE, Rig, drop_files
from tests.submit.test_submit_spec import LISTING, SHORT, accepted, job

YEN = replace(
    CATALOGUE,
    prices=(*CATALOGUE.prices[:1], ComputePrice("emerald", "x-on-demand", "linux", Decimal(9), "JPY")),
)
A = "jobanalyses[0].hardware"
ONE = "2 cores of granite: 0.14 USD an hour on demand, at most 0.14 USD"
TWO = {**job(), "jobanalyses": [*job()["jobanalyses"], *job()["jobanalyses"]]}
TWO_KINDS = {
    **job(),
    "jobanalyses": [*job()["jobanalyses"], *job(a__hardware__coreType="emerald")["jobanalyses"]],
}


def under(limit: str | None, document: dict[str, Any], catalogue: Any = CATALOGUE) -> list[str]:
    """What is said against a job where the setting max_cost is ``limit``."""
    limits = Limits(cost=Decimal(limit) if limit else None)
    outcome = spec.read(document, LISTING, "wing", catalogue, limits)
    return [str(each) for each in outcome.problems] if isinstance(outcome, Rejection) else []


ESTIMATES = [
    (job(), ONE),
    (job(a__hardware__walltime=3), "2 cores of granite: 0.14 USD an hour on demand, at most 0.42 USD"),
    (
        job(a__hardware__slots=5, a__hardware__walltime=2),
        "10 cores of granite: 0.7 USD an hour on demand, at most 1.4 USD",
    ),
    (
        job(a__hardware__walltime=None),
        "2 cores of granite: 0.14 USD an hour on demand, for as long as it runs: no walltime is set",
    ),
    (TWO, f"{ONE}; {ONE}; together at most 0.28 USD"),
    (
        job(paramFile="mesh.msh", a__hardware__slots=3, a__hardware__walltime=2),
        "6 cores of granite: 0.42 USD an hour on demand, at most 0.28 USD for each run",
    ),
    (
        job(paramFile="mesh.msh", a__hardware__slots=3, expectedRuns=7),
        "6 cores of granite: 0.42 USD an hour on demand, at most 1.26 USD",
    ),
]


@pytest.mark.parametrize(("document", "text"), ESTIMATES)
def test_the_estimate_tells_the_price_of_an_hour_and_the_most_it_can_become(
    document: dict[str, Any], text: str
) -> None:
    assert accepted(document).estimate == text


def test_a_price_that_is_not_known_is_named_and_hides_no_other() -> None:
    priced = replace(CATALOGUE, prices=CATALOGUE.prices[:1])
    outcome = spec.read(TWO_KINDS, LISTING, "wing", priced, Limits())
    assert isinstance(outcome, JobSpec)
    assert outcome.estimate == (
        "2 cores of granite: 0.14 USD an hour on demand, at most 0.14 USD; "
        "2 cores of emerald: the price is not known"
    )
    assert (outcome.hourly, outcome.currency) == ("", "")


TOO_MUCH: list[tuple[str, dict[str, Any], Any, str, str, str]] = [  # …, field and value, reason, example
    (
        "1",
        job(a__hardware__walltime=10),
        CATALOGUE,
        f"{A}.walltime is 10",
        "2 cores of granite may cost 1.4 USD in that time",
        "7",
    ),
    (
        "1",
        {**SHORT, "hours": 9.5},
        CATALOGUE,
        "hours is 10",
        "2 cores of granite may cost 1.4 USD in that time",
        "7",
    ),
    ("1", SHORT, CATALOGUE, "hours", "is missing: without it the cost has no limit", "7"),
    (
        "0.1",
        {**SHORT, "hours": 1},
        CATALOGUE,
        "cores is 2",
        "one hour of 2 cores of granite costs 0.14 USD",
        "fewer cores, or a cheaper core type",
    ),
    (
        "1",
        job(a__hardware__coreType="emerald"),
        replace(CATALOGUE, prices=CATALOGUE.prices[:1]),
        f'{A}.coreType is "emerald"',
        "the price is not known, so that the cost cannot be limited",
        '"granite"',
    ),
    (
        "0.2",
        TWO,
        CATALOGUE,
        "jobanalyses is 0.28 USD",
        f"is what all analyses together may cost ({ONE}; {ONE}; together at most 0.28 USD)",
        "a smaller walltime, or fewer cores",
    ),
    (
        "100",
        TWO_KINDS,
        YEN,
        "jobanalyses",
        "are priced in different currencies, which cannot be added up",
        "one currency, or a job for each analysis",
    ),
    (
        "100",
        job(paramFile="mesh.msh"),
        CATALOGUE,
        "expectedRuns",
        "is missing: without the number of runs the cost has no limit",
        "10",
    ),
    (
        "1",
        job(paramFile="mesh.msh", expectedRuns=10, a__hardware__slots=2, a__hardware__walltime=1),
        CATALOGUE,
        f"{A}.coresPerSlot is 2",
        "one hour of 4 cores of granite costs 1.4 USD",
        "fewer cores, or a cheaper core type",
    ),
]


@pytest.mark.parametrize(
    ("limit", "document", "catalogue", "field", "reason", "example"),
    TOO_MUCH,
    ids=[each[4][:40] for each in TOO_MUCH],
)
def test_what_may_cost_more_than_max_cost_or_has_no_limit_is_refused(
    limit: str, document: dict[str, Any], catalogue: Any, field: str, reason: str, example: str
) -> None:
    between = ": " if " is " in field else " "
    message = f"{field}{between}{reason}, and the setting max_cost is {limit}; for example {example}"
    assert under(limit, document, catalogue) == [message]
    assert not under(None, document, catalogue)


def test_what_costs_exactly_as_much_passes() -> None:
    assert not under("0.14", job())
    assert under("0.1399", job())


def test_a_mistake_in_the_hardware_is_told_alone() -> None:
    (found,) = under("0.01", job(a__hardware__coresPerSlot=3))
    assert "granite offers 2, 4, 8" in found
    (found,) = under("1", {**SHORT, "hours": "2"})
    assert found.startswith('hours is "2": must be a number')


def test_job_json_may_lower_the_limit_and_not_raise_it() -> None:
    dear = job(a__hardware__walltime=10)
    (found,) = under(None, {**dear, "max_cost": 1})
    assert found.endswith("may cost 1.4 USD in that time, and max_cost is 1; for example 7")
    (found,) = under("1", {**dear, "max_cost": 100})
    assert "the setting max_cost is 1" in found
    assert not under("1", {**job(), "max_cost": 0.5})
    assert "max_cost" not in accepted({**job(), "max_cost": 0.5}).definition


@pytest.mark.parametrize("seconds", [None, 1800.0])
def test_what_was_spent_is_told_where_run_time_and_price_are_known(seconds: float | None) -> None:
    assert spent("0.14", "USD", seconds) == ("about 0.07 USD" if seconds else "")
    assert not spent("", "USD", seconds)


@pytest.mark.parametrize(
    ("hourly", "told"),
    [
        ("0.0000004", "less than 0.01 USD"),
        ("0.00999", "less than 0.01 USD"),
        ("0.01", "about 0.01 USD"),
        ("0", "about 0 USD"),
    ],
)
def test_what_is_not_worth_a_cent_is_told_as_that(hourly: str, told: str) -> None:
    assert spent(hourly, "USD", 3600.0) == told


def test_amounts_have_no_exponents() -> None:
    amounts = ["0.14", "1234567", "0.00001", "3.10", "1.23456"]
    assert [number_text(Decimal(each)) for each in amounts] == [
        "0.14",
        "1234567",
        "0.00001",
        "3.1",
        "1.2346",
    ]


def test_a_drop_above_the_setting_is_rejected_before_anything_is_sent(rig: Rig) -> None:
    settings = replace(rig.settings, limits=Limits(cost=Decimal("0.1")))
    with Rig(settings, rig.service, rig.clock) as poor:
        drop_files(settings.folder / "wing")
        poor.turns(4)
        assert poor.status().startswith(
            "rejected: jobanalyses[0].hardware.coresPerSlot is 2: one hour of 2 cores"
        )
        assert not {"upload", "create_job"} & set(poor.service.requests)
        drop_files(settings.folder / "wing", {**SHORT, "hours": 1, "max_cost": 0.01})
        poor.turns(4)
        assert "and max_cost is 0.01" in poor.status()


def test_a_raised_setting_has_rejected_drops_checked_again_once(rig: Rig) -> None:
    poor = replace(rig.settings, limits=Limits(cost=Decimal("0.1")))
    with Rig(poor, rig.service, rig.clock) as first:
        drop_files(poor.folder / "wing")
        first.turns(4)
        assert first.status().startswith("rejected: ")
    with Rig(poor, rig.service, rig.clock) as same:
        same.turns(4)
        assert same.log().count("the settings changed: looking at it again") == 0
    with Rig(replace(poor, limits=Limits(cost=Decimal(20))), rig.service, rig.clock) as rich:
        rich.turns(5)
        assert rich.status() == "Pending"
        assert rich.log().count("the settings changed: looking at it again") == 1
