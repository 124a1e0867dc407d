"""`rescalefs coretypes`, `analyses` and `projects`: what a job can be made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import click

from rescalefs.cli.connection import with_client
from rescalefs.cli.listing import Row, json_option, print_rows
from rescalefs.model import Analysis, ComputePrice, CoreType

if TYPE_CHECKING:
    from rescalefs.api import RescaleClient


@click.command()
@with_client
@click.option("--category", metavar="CODE", help="Only hardware of this category, such as general.")
@click.option("--sort", type=click.Choice(["price", "code", "name"]), help="In this order, not the server's.")
@click.option("--all", "everything", is_flag=True, help="Also what is inactive or deprecated.")
@json_option
def coretypes(
    client: RescaleClient, category: str | None, sort: str | None, everything: bool, as_json: bool
) -> None:
    """List hardware with its price per core and hour.

    The price is the lowest of the active on-demand plans for Linux. In a pipe, a line has: code, price,
    currency, core counts, MB of memory per core, categories, name.
    """
    found = [
        each
        for each in client.core_types()
        if (everything or (each.is_active and not each.is_deprecated))
        and (category is None or category in each.categories)
    ]
    rows = core_type_rows(found, client.prices())
    if sort is not None:
        rows.sort(key=lambda row: (row[sort] is None, row[sort]))
    titles = ("code", "price", "currency", "cores", "memory_per_core", "categories", "name")
    print_rows(rows, as_json, titles)


@click.command()
@with_client
@click.argument("word", required=False)
@json_option
def analyses(client: RescaleClient, word: str | None, as_json: bool) -> None:
    """List software and its versions.

    WORD picks those that have it in their code, name or vendor. In a pipe, a line has: code, name, vendor,
    version codes.
    """
    rows = (_analysis_row(each) for each in client.analyses() if word is None or _mentions(each, word))
    if as_json:
        print_rows(rows, as_json, ())
    else:
        short = ({**row, "versions": [version["code"] for version in row["versions"]]} for row in rows)
        print_rows(short, as_json, ("code", "name", "vendor", "versions"))


@click.command()
@with_client
@json_option
def projects(client: RescaleClient, as_json: bool) -> None:
    """List projects that jobs can be booked on.

    In a pipe, a line has: id, name.
    """
    rows = ({"id": each.id, "name": each.name} for each in client.projects())
    print_rows(rows, as_json, ("id", "name"))


def cheapest_prices(prices: Iterable[ComputePrice]) -> Mapping[str, ComputePrice]:
    """The lowest active on-demand price for Linux, by core type: the rule of the user API notebook."""
    cheapest: dict[str, ComputePrice] = {}
    for price in prices:
        if not (price.is_active and price.os == "linux" and price.plan.endswith("on-demand")):
            continue
        known = cheapest.get(price.core_type)
        if known is None or price.amount < known.amount:
            cheapest[price.core_type] = price
    return cheapest


def core_type_rows(core_types: Iterable[CoreType], prices: Iterable[ComputePrice]) -> list[Row]:
    """Core types joined with their prices; those without one stay, their price is None."""
    cheapest = cheapest_prices(prices)
    rows: list[Row] = []
    for each in core_types:
        price = cheapest.get(each.code)
        rows.append(
            {
                "code": each.code,
                "name": each.name,
                "price": price.amount if price else None,
                "currency": price.currency if price else None,
                "cores": each.cores,
                "memory_per_core": each.memory_per_core,
                "storage_per_core": each.storage_per_core,
                "processor": each.processor,
                "categories": each.categories,
                "active": each.is_active,
                "deprecated": each.is_deprecated,
            }
        )
    return rows


def _mentions(analysis: Analysis, word: str) -> bool:
    return any(word.casefold() in text.casefold() for text in (analysis.code, analysis.name, analysis.vendor))


def _analysis_row(analysis: Analysis) -> Row:
    versions = [
        {"code": version.code, "name": version.name, "core_types": version.core_types}
        for version in analysis.versions
    ]
    return {
        "code": analysis.code,
        "name": analysis.name,
        "vendor": analysis.vendor,
        "versions": versions,
    }
