"""What comes out: a table of all results, one of the targets, JSON, and a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.bench import Result


@dataclass(frozen=True)
class Target:
    """One line of what we want, as a ratio or count measured in this run."""

    what: str
    measured: float
    limit: float
    at_least: bool

    @property
    def met(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


def at_least(what: str, measured: float, limit: float) -> Target:
    """A target where more is better."""
    return Target(what, round(measured, 3), limit, at_least=True)


def at_most(what: str, measured: float, limit: float) -> Target:
    """A target where less is better."""
    return Target(what, round(measured, 3), limit, at_least=False)


def show(results: Sequence[Result], targets: Sequence[Target]) -> None:
    """Print everything."""
    table = Table("scenario", "contender", "s", "MB/s", "CPU s/GiB", "peak MiB", "requests", "MiB sent")
    before = ""
    for each in results:
        cells = [str(value) for value in list(asdict(each).values())[1:]]
        table.add_row("" if each.scenario == before else each.scenario, *cells)
        before = each.scenario
    judged = Table("target", "measured", "wanted", "")
    for target in targets:
        wanted = f"{'≥' if target.at_least else '≤'} {target.limit:g}"
        judged.add_row(target.what, f"{target.measured:g}", wanted, "met" if target.met else "MISSED")
    console = Console(width=132)
    console.print(table)
    console.print(judged)


def save(path: Path, results: Sequence[Result], targets: Sequence[Target]) -> None:
    """Write results and targets as JSON."""
    judged = [{**asdict(target), "met": target.met} for target in targets]
    document = {"results": [asdict(each) for each in results], "targets": judged}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def draw(path: Path, results: Sequence[Result]) -> None:
    """Draw the throughput of every contender, a panel for each scenario that moves bytes."""
    from matplotlib.figure import Figure

    scenarios = list(dict.fromkeys(each.scenario for each in results if each.mb_per_second >= 1))
    figure = Figure(figsize=(9, 2.2 * len(scenarios)), layout="constrained")
    panels = figure.subplots(len(scenarios), squeeze=False)[:, 0]
    for panel, scenario in zip(panels, scenarios, strict=True):
        rows = [each for each in results if each.scenario == scenario][::-1]
        colours = ["#1b6ca8" if row.contender.startswith("rescalefs") else "#b8b8b8" for row in rows]
        bars = panel.barh([row.contender for row in rows], [row.mb_per_second for row in rows], color=colours)
        panel.bar_label(bars, fmt="%.0f", padding=3)
        panel.set_title(scenario, loc="left", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(x=0.1)
    panels[-1].set_xlabel("MB/s")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
