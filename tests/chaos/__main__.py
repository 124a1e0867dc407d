"""`python -m tests.chaos`: a storm over the whole product, and a report; exit code 1 for any violation."""

from __future__ import annotations

import argparse
import json
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from tests.chaos.logbook import FAILED, KILLED, RIGHT, WRONG, Logbook
from tests.chaos.plan import Plan
from tests.chaos.storm import run

_RESULTS = (RIGHT, FAILED, KILLED, WRONG)


def main() -> int:
    plan, report = _asked()

    def end(number: int, _: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)  # a second one would break off the cleaning up
        raise KeyboardInterrupt(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    logbook = Logbook()
    began = time.monotonic()
    error: str | None = None
    try:
        run(plan, logbook, report)
    except KeyboardInterrupt:
        error = "it was ended before its time"
    logbook.facts["took seconds"] = round(time.monotonic() - began)
    record = {"plan": _plan(plan), "machine": _machine(), "ended early": error, **logbook.record()}
    report.mkdir(parents=True, exist_ok=True)
    (report / "report.json").write_text(json.dumps(record, indent=1) + "\n")
    text = as_text(record)
    (report / "report.txt").write_text(text)
    print(text)
    print(f"the whole report is in {report}", file=sys.stderr)
    return int(bool(error) or logbook.violations > 0)


def _asked() -> tuple[Plan, Path]:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long it storms (default 30)")
    parser.add_argument("--seed", type=int, default=1, help="of the chance of all actors (default 1)")
    parser.add_argument("--readers", type=int, default=2, help="processes of each kind of reader")
    parser.add_argument(
        "--pause", type=float, default=0.15, help="seconds between two operations of an actor"
    )
    parser.add_argument("--calm", action="store_true", help="nothing misbehaves: tests the checker itself")
    parser.add_argument("--no-kills", action="store_true", help="kill no process")
    parser.add_argument(
        "--verify", choices=["eof", "strict"], help="how the mount verifies; else now and then"
    )
    parser.add_argument("--weather", action="append", default=[], help="only this misbehaviour; repeatable")
    parser.add_argument("--mutant", help="break this on purpose; see tests/chaos/mutants.py")
    parser.add_argument(
        "--heal-limit", type=float, default=240.0, help="seconds until all must be well again"
    )
    parser.add_argument("--enough", action="append", default=[], help="a kind of violation that ends it")
    parser.add_argument("--report", type=Path, default=Path(".chaos"), help="folder for report and logs")
    asked = parser.parse_args()
    plan = Plan(
        seed=asked.seed,
        minutes=asked.minutes,
        readers=asked.readers,
        pause=asked.pause,
        calm=asked.calm,
        kills=not (asked.no_kills or asked.calm),
        mutant=asked.mutant,
        verify=asked.verify,
        weathers=tuple(asked.weather),
        heal_limit=asked.heal_limit,
        enough=tuple(asked.enough),
    )
    return plan, asked.report


def _plan(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in Plan.__slots__}


def _machine() -> dict[str, str]:
    version = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "version": version.stdout.strip(),
    }


def as_text(record: dict[str, Any]) -> str:
    """The report for people."""
    plan = record["plan"]
    lines = [
        (
            f"chaos: {plan['minutes']:g} minutes, seed {plan['seed']}, "
            f"version {record['machine']['version']}: "
            f"{record['operations_in_all']} operations, {record['violations_in_all']} violations"
        ),
        "",
        f"{'operation':24}" + "".join(f"{name:>8}" for name in _RESULTS) + "   median      p99     most  s",
    ]
    for kind, found in record["operations"].items():
        counts = "".join(f"{found.get(name, 0):8}" for name in _RESULTS)
        times = "".join(f"{found['seconds'][name]:9.2f}" for name in ("median", "p99", "most"))
        lines.append(f"{kind:24}{counts}{times}")
    lines += [
        "",
        "misbehaviours: " + ", ".join(f"{name} {count}" for name, count in record["weather"].items()),
    ]
    known = ("plan", "machine", "operations", "weather", "violations", "requests")
    lines += [f"{name}: {value}" for name, value in record.items() if name not in known]
    for each in record["violations"]:
        lines.append(f"VIOLATION at {each['at']} s: {each['kind']}: {each['what']}")
    if record["violations"]:
        words = " ".join(f"--weather '{name}'" for name in plan["weathers"])
        lines.append(
            f'again: make chaos ARGS="--minutes {plan["minutes"]:g} --seed {plan["seed"]} {words}" '
            "(threads keep no exact order; --weather NAME narrows it down)"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
