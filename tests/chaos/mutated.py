"""`python -m tests.chaos.mutated`: breaks the product in one place after the other; each must be seen.

Exit code 1 where a storm did not notice what was broken.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.chaos.mutants import MUTANTS, Mutant, mutant


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutated", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these mutants")
    parser.add_argument("--minutes", type=float, default=1.5, help="the longest that each storm blows")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, default=Path(".chaos") / "mutants", help="folder for reports")
    asked = parser.parse_args()
    chosen = [mutant(name) for name in asked.names] or list(MUTANTS)
    rows = []
    for each in chosen:
        rows.append(storm(each, asked))
        print(line(rows[-1]), flush=True)
    asked.report.mkdir(parents=True, exist_ok=True)
    (asked.report / "mutants.json").write_text(json.dumps(rows, indent=1) + "\n")
    (asked.report / "mutants.md").write_text(table(rows))
    unseen = [row["mutant"] for row in rows if not row["noticed"]]
    print(f"{len(rows) - len(unseen)} of {len(rows)} were noticed" + (f"; not {unseen}" if unseen else ""))
    return int(bool(unseen))


def storm(broken: Mutant, asked: argparse.Namespace) -> dict[str, Any]:
    """One storm over a broken product, which ends with the first violation that its mutant should bring."""
    report = asked.report / broken.name
    words = ["--minutes", f"{asked.minutes:g}", "--seed", str(asked.seed), "--mutant", broken.name]
    words += ["--heal-limit", "60", "--report", str(report), *shlex.split(broken.storm)]
    words += [word for kind in broken.notices for word in ("--enough", kind)]
    began = time.monotonic()
    report.mkdir(parents=True, exist_ok=True)
    with (report / "output.txt").open("wb") as output:
        command = [sys.executable, "-m", "tests.chaos", *words]
        subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
    record = json.loads((report / "report.json").read_text())
    seen = [each for each in record["violations"] if each["kind"] in broken.notices]
    return {
        "mutant": broken.name,
        "what": broken.what,
        "noticed": bool(seen),
        "as": seen[0]["kind"] if seen else None,
        "words": seen[0]["what"][:200] if seen else None,
        "after seconds": seen[0]["at"] if seen else None,
        "took seconds": round(time.monotonic() - began),
    }


def line(row: dict[str, Any]) -> str:
    """What came of one mutant."""
    if not row["noticed"]:
        return f"NOT NOTICED  {row['mutant']}: {row['what']}"
    return f"noticed      {row['mutant']}: {row['as']} after {row['after seconds']} s: {row['words']}"


def table(rows: list[dict[str, Any]]) -> str:
    """For docs/reliability.md."""
    lines = ["| what was broken | noticed as | after |", "| --- | --- | --- |"]
    for row in rows:
        seen = f"{row['as']} | {row['after seconds']:.0f} s" if row["noticed"] else "**not noticed** | "
        lines.append(f"| {row['what']} | {seen} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
