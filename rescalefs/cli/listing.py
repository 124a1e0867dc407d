"""How every listing is printed: a table for people, tab-separated lines for awk, JSON for programs."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, TypeVar

import click

# Keys are the same in every row and in this order in all three forms; values are JSON's, times and decimals.
Row = Mapping[str, Any]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def json_option(command: _Command) -> _Command:
    """The ``--json`` that every listing has, as the argument ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def print_rows(rows: Iterable[Row], as_json: bool, titles: Sequence[str]) -> None:
    """Print all rows. ``titles`` are the columns of the table and the lines, by key; JSON has every key."""
    if as_json:
        print_json(list(rows))
    elif sys.stdout.isatty():
        _print_table(rows, titles)
    else:
        for row in rows:
            click.echo("\t".join(_text(row[title]) for title in titles))


def print_record(record: Row, as_json: bool) -> None:
    """Print one thing: a line for each of its keys, or a JSON object."""
    if as_json:
        print_json(record)
    else:
        for key, value in record.items():
            click.echo(f"{key}\t{_text(value)}")


def print_json(value: Any) -> None:
    """Print ``value`` as JSON, for people as well: letters as they are, if the locale has them."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    click.echo(json.dumps(value, indent=2, ensure_ascii=not is_utf8, default=_json_value))


def iso(moment: datetime) -> str:
    """A time as listings show it: UTC, to the second."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def printable(text: str) -> str:
    """``text`` on one line, without what could move a terminal's cursor or split a column."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) == "Cc" else c for c in text)


def _print_table(rows: Iterable[Row], titles: Sequence[str]) -> None:
    # Imported here: rich takes longer to import than all the rest of the command line.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    rows = list(rows)
    for title in titles:
        numbers = all(isinstance(row[title], (int, float, Decimal, type(None))) for row in rows)
        table.add_column(
            title.replace("_", " "),
            justify="right" if numbers else "left",
            overflow="fold",
            no_wrap=title == titles[0],  # an id in two pieces cannot be copied
        )
    for row in rows:
        table.add_row(*(Text(_text(row[title])) for title in titles))  # Text: names are no markup
    Console().print(table)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, (list, tuple)):
        return ",".join(map(_text, value))
    return printable(str(value))


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} has no place in a listing")
