"""What development and CI install is locked: constraints.txt has one version for each system and Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def wanted() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    return [Requirement(each) for group in (project["dependencies"], *extras) for each in group]


def locked() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_has_one_locked_version_that_fits(python: str) -> None:
    environment = {name: str(value) for name, value in default_environment().items()}
    environment |= {"python_version": python, "python_full_version": f"{python}.0"}
    here = [each for each in locked() if each.marker is None or each.marker.evaluate(environment)]
    for need in wanted():
        if need.marker is not None and not need.marker.evaluate(environment):
            continue
        found = [each for each in here if each.name.lower() == need.name.lower()]
        assert len(found) == 1, need
        (version,) = (each.version for each in found[0].specifier)
        assert need.specifier.contains(version), need


def test_setup_and_the_audit_use_it() -> None:
    assert "--constraint constraints.txt" in (ROOT / "scripts" / "setup").read_text()
    assert "--constraint constraints.txt" in (ROOT / "scripts" / "setup-bench").read_text()
    assert "--requirement constraints.txt" in (ROOT / "Makefile").read_text()
