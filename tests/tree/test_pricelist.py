"""The files of catalog/ are made for sort, awk and column."""

from __future__ import annotations

import json
import subprocess
from decimal import Decimal

from rescalefs.model import Analysis, AnalysisVersion, ComputePrice, CoreType, Project, User
from rescalefs.tree.pricelist import analyses_table, core_types_table, projects_table, user_document

HARDWARE = (
    CoreType("onyx", "Onyx", (1, 18), ("general", "compute"), 3800, 62.5, "Xeon, 3 GHz"),
    CoreType("odd", "Tab\there", is_active=False, is_deprecated=True),
)


def cells(table: bytes) -> list[list[str]]:
    lines = table.decode().removesuffix("\n").split("\n")
    return [line.split("\t") for line in lines]


def test_core_types_are_joined_with_the_lowest_active_on_demand_price_of_each_system() -> None:
    prices = (
        ComputePrice("onyx", "on-demand", "linux", Decimal("0.1500"), "USD"),
        ComputePrice("onyx", "pro-on-demand", "linux", Decimal("0.1400"), "USD"),
        ComputePrice("onyx", "on-demand", "linux", Decimal("0.0100"), "USD", is_active=False),
        ComputePrice("onyx", "economy", "linux", Decimal("0.0700"), "USD"),
        ComputePrice("onyx", "on-demand", "windows", Decimal("0.2000"), "USD"),
        ComputePrice("other", "on-demand", "linux", Decimal(1), "USD"),
    )
    assert cells(core_types_table(HARDWARE, prices)) == [
        [
            "code",
            "cores",
            "memory_mb_per_core",
            "storage_gb_per_core",
            "price_linux_per_core_hour",
            "price_windows_per_core_hour",
            "currency",
            "categories",
            "active",
            "deprecated",
            "processor",
            "name",
        ],
        [
            *("onyx", "1,18", "3800", "62.5", "0.1400", "0.2000", "USD", "general,compute"),
            *("yes", "no", "Xeon, 3 GHz", "Onyx"),
        ],
        ["odd", "-", "-", "-", "-", "-", "-", "-", "no", "yes", "-", "Tab here"],
    ]


def test_a_price_has_no_exponent_that_sort_would_not_read() -> None:
    prices = (ComputePrice("onyx", "on-demand", "linux", Decimal("1E-7")),)
    assert cells(core_types_table(HARDWARE, prices))[1][4] == "0.0000001"


def test_sort_and_awk_find_the_cheapest() -> None:
    hardware = [CoreType(f"c{number}") for number in range(12)]
    prices = [
        ComputePrice(f"c{number}", "on-demand", "linux", Decimal(12 - number) / 10) for number in range(12)
    ]
    command = "tail -n +2 | sort -t$'\\t' -k5,5g | awk -F'\\t' 'NR==1{print $1,$5}'"
    done = subprocess.run(
        ["bash", "-c", command], input=core_types_table(hardware, prices), capture_output=True, check=True
    )
    assert done.stdout == b"c11 0.1\n"


def test_an_analysis_has_a_line_for_each_version() -> None:
    versions = (AnalysisVersion("8", "v8", ("onyx", "odd")), AnalysisVersion("9", "v9"))
    assert cells(analyses_table([Analysis("of", "OpenFOAM", "ESI", versions), Analysis("none")])) == [
        ["code", "version_code", "version", "core_types", "vendor", "name"],
        ["of", "8", "v8", "onyx,odd", "ESI", "OpenFOAM"],
        ["of", "9", "v9", "-", "ESI", "OpenFOAM"],
    ]


def test_projects_and_user() -> None:
    assert cells(projects_table([Project("p1", "Wing\nstudy")])) == [["id", "name"], ["p1", "Wing study"]]
    assert json.loads(user_document(User("a@b.c", "A B", "co", "ws"))) == {
        "email": "a@b.c",
        "fullName": "A B",
        "company": "co",
        "workspace": "ws",
    }
