"""The storm itself, for a moment; and that what is broken on purpose still is where its mutant thinks it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
LONGEST = 600  # seconds; a storm in which nothing is wrong takes less than two minutes


@pytest.mark.fuse
@pytest.mark.timeout(LONGEST + 60)
def test_a_short_storm_ends_without_a_violation(tmp_path: Path) -> None:
    report = tmp_path / "report"
    words = ["--minutes", "0.5", "--seed", "1", "--readers", "1", "--report", str(report)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    record = json.loads((report / "report.json").read_text())
    assert record["violations"] == [], done.stdout
    assert record["operations_in_all"] > 100
    assert record["weather"]
    assert done.returncode == 0


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_breaks_is_there(mutant: Mutant) -> None:
    source = mutant.file.read_text(encoding="utf-8")
    assert mutant.broken(source) != source
