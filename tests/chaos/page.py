"""`python -m tests.chaos.page REPORT.json [MUTANTS.json…]`: puts what was measured on docs/reliability.md.

Every number on that page comes from the reports, so that none has to be copied by hand.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path
from typing import Any

from tests.chaos.logbook import FAILED, KILLED, RIGHT
from tests.chaos.mutated import table

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
_DAEMONS = ("mount", "mount-2", "sync")
RUN, BROKEN = "## The run", "## Broken on purpose"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.page", description=__doc__)
    parser.add_argument("report", type=Path, help="report.json of a storm")
    parser.add_argument("mutants", type=Path, nargs="*", help="mutants.json; a later one has the last word")
    asked = parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    for path in asked.mutants:
        rows |= {row["mutant"]: row for row in json.loads(path.read_text())}
    before, _, after = PAGE.read_text().partition(RUN)
    old = after.partition(BROKEN)[2]
    broken = f"\n\n{_paragraph(_INTRODUCTION)}\n\n{table(list(rows.values()))}" if rows else old
    PAGE.write_text(f"{before}{RUN}\n\n{run(json.loads(asked.report.read_text()))}\n{BROKEN}{broken}")


_INTRODUCTION = (
    "`python -m tests.chaos.mutated` replaces a line of the product in each storm. Seconds are from the "
    "start of the storm; what only shows once all is well again comes after its 90 seconds."
)


def run(record: dict[str, Any]) -> str:
    """What came of a storm, as Markdown."""
    weather = ", ".join(f"{name} {count}" for name, count in record["weather"].items())
    paragraphs = [
        _counts(record),
        *(f"Violation at {each['at']} s: {each['kind']}: {each['what']}" for each in record["violations"]),
        f"Misbehaviours, with how often each blew: {weather}.",
        _facts(record),
        *(f"Left out: {words}." for words in record["left_out"]),
    ]
    return "\n".join(
        [
            "\n\n".join(map(_paragraph, paragraphs)),
            "",
            "| the first mount | descriptors | threads | MiB of memory |",
            "| --- | ---: | ---: | ---: |",
            *(
                f"| {name} | {each['descriptors']} | {each['threads']} | {each['memory'] >> 10} |"
                for name, each in record["mount held"].items()
            ),
            "",
            "| operation | right | failed | killed | median [s] | 99 of 100 [s] | longest [s] |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
            *(_operation(name, each) for name, each in record["operations"].items()),
            "",
        ]
    )


def _counts(record: dict[str, Any]) -> str:
    plan, machine = record["plan"], record["machine"]
    right, failed, killed = (
        sum(each.get(name, 0) for each in record["operations"].values()) for name in (RIGHT, FAILED, KILLED)
    )
    command = f'make chaos ARGS="--minutes {plan["minutes"]:g} --seed {plan["seed"]}"'
    return (
        f"`{command}` on version `{machine['version']}` with Python {machine['python']}, on a machine with "
        f"two processors that was busy with other tests: **{record['operations_in_all']:,} operations, "
        f"{record['violations_in_all']} violations.** {right:,} operations ended well and were right, "
        f"{failed:,} ended with an error, {killed:,} were killed on purpose."
    )


def _facts(record: dict[str, Any]) -> str:
    drops, logs = record["drops"], [f"{record[f'{name} log bytes']:,}" for name in _DAEMONS]
    starts = [record[f"{name} starts"] for name in _DAEMONS]
    return (
        f"{drops['made']} folders were dropped or submitted, and {drops['that stay']} of them stayed to the "
        f"end. The mounts were started {starts[0]} and {starts[1]} times, the sync {starts[2]} times. The "
        f"largest `status.log` has {record['largest status.log']:,} bytes; the daemons logged {logs[0]}, "
        f"{logs[1]} and {logs[2]} bytes. All checks after the storm took {record['healed in seconds']} s."
    )


def _operation(name: str, found: dict[str, Any]) -> str:
    counts = " | ".join(str(found.get(result, 0)) for result in (RIGHT, FAILED, KILLED))
    times = " | ".join(f"{found['seconds'][which]:.2f}" for which in ("median", "p99", "most"))
    return f"| {name} | {counts} | {times} |"


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    main()
