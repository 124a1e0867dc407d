"""Pure: the files of catalog/, as bytes.

Made for `sort`, `awk -F'\\t'` and `column -ts$'\\t'`: a header line with units in it, one tab between cells,
and `-` in a cell without a value. Lists within a cell are joined with commas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

from rescalefs.model import Analysis, ComputePrice, CoreType, Project, User
from rescalefs.tree.tables import cell, table

ON_DEMAND = "on-demand"  # how the names of such plans end (user API notebook, 2023-24)

# `price_<os>_per_core_hour` stands for a column for each operating system that has prices.
PRICE_COLUMN = "price_{os}_per_core_hour"
CORE_TYPE_COLUMNS = (
    "code",
    "cores",
    "memory_mb_per_core",
    "storage_gb_per_core",
    PRICE_COLUMN,
    "currency",
    "categories",
    "active",
    "deprecated",
    "processor",
    "name",
)
ANALYSIS_COLUMNS = ("code", "version_code", "version", "core_types", "vendor", "name")
PROJECT_COLUMNS = ("id", "name")


def core_types_table(core_types: Iterable[CoreType], prices: Sequence[ComputePrice]) -> bytes:
    """`coretypes.tsv`: hardware and, for each operating system, the lowest active on-demand price."""
    cheapest = _cheapest(prices)
    systems = sorted({system for _, system in cheapest})
    at = CORE_TYPE_COLUMNS.index(PRICE_COLUMN)
    header = (
        *CORE_TYPE_COLUMNS[:at],
        *(PRICE_COLUMN.format(os=cell(system)) for system in systems),
        *CORE_TYPE_COLUMNS[at + 1 :],
    )
    return table(header, (_core_type_row(each, cheapest, systems) for each in core_types))


def analyses_table(analyses: Iterable[Analysis]) -> bytes:
    """`analyses.tsv`: a line for each version. `core_types` is `-` where all are allowed."""
    return table(
        ANALYSIS_COLUMNS,
        (
            (
                analysis.code,
                version.code,
                version.name,
                ",".join(version.core_types),
                analysis.vendor,
                analysis.name,
            )
            for analysis in analyses
            for version in analysis.versions
        ),
    )


def projects_table(projects: Iterable[Project]) -> bytes:
    """`projects.tsv`."""
    return table(PROJECT_COLUMNS, ((each.id, each.name) for each in projects))


def user_document(user: User) -> bytes:
    """`user.json`: whose key it is, with the names that the API has for it."""
    document = {
        "email": user.email,
        "fullName": user.full_name,
        "company": user.company,
        "workspace": user.workspace,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _cheapest(prices: Iterable[ComputePrice]) -> dict[tuple[str, str], ComputePrice]:
    """The lowest active on-demand price by core type and operating system."""
    cheapest: dict[tuple[str, str], ComputePrice] = {}
    for price in prices:
        if not price.is_active or not price.plan.endswith(ON_DEMAND):
            continue
        known = cheapest.get((price.core_type, price.os))
        if known is None or price.amount < known.amount:
            cheapest[price.core_type, price.os] = price
    return cheapest


def _core_type_row(
    core_type: CoreType, cheapest: Mapping[tuple[str, str], ComputePrice], systems: Iterable[str]
) -> Iterable[str]:
    found = [cheapest.get((core_type.code, system)) for system in systems]
    currencies = sorted({price.currency for price in found if price is not None and price.currency})
    return (
        core_type.code,
        ",".join(map(str, core_type.cores)),
        _number(core_type.memory_per_core),
        _number(core_type.storage_per_core),
        *(_number(price.amount if price else None) for price in found),
        ",".join(currencies),
        ",".join(core_type.categories),
        "yes" if core_type.is_active else "no",
        "yes" if core_type.is_deprecated else "no",
        core_type.processor,
        core_type.name,
    )


def _number(value: float | Decimal | None) -> str:
    """Digits without an exponent, which `sort -n` does not read."""
    if value is None:
        return ""
    text = f"{Decimal(str(value)):f}"
    return text.rstrip("0").rstrip(".") if "." in text and isinstance(value, float) else text
