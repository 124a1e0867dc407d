"""The CI that GitHub would run: it names what exists, and the Pythons that pyproject.toml promises."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_what_it_runs_is_there_and_can_be_run() -> None:
    scripts = set(re.findall(r"\.ci/[a-z-]+", WORKFLOW))
    assert scripts == {".ci/run", ".ci/in-container"}
    for script in scripts:
        assert os.access(ROOT / script, os.X_OK)


def test_it_runs_on_every_python_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = r"Programming Language :: Python :: (3\.\d+)"
    versions = [match[1] for each in project["classifiers"] if (match := re.fullmatch(named, each))]
    assert versions[0] == project["requires-python"].removeprefix(">=")
    (listed,) = re.findall(r"python: \[(.*)\]", WORKFLOW)
    assert re.findall(r"[\d.]+", listed) == versions


def test_it_runs_on_the_systems_that_the_script_for_them_knows() -> None:
    script = (ROOT / "scripts" / "elsewhere").read_text()
    known = re.findall(r'"([a-z]+)([\d.]+)": System\(', script)
    (images,) = re.findall(r"image: \[(.*)\]", WORKFLOW)
    assert known == re.findall(r'"([a-z]+):([\d.]+)"', images)
