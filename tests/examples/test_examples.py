"""The example jobs, run for real with short settings: they finish, and their physics is right."""

from __future__ import annotations

import itertools
import json
import math
import re
import shlex
import shutil
import struct
import subprocess
import sys
from array import array
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
HOT, COLD = 100.0, 20.0


def run_job(name: str, folder: Path, **settings: object) -> tuple[Path, str]:
    """Run an example's own command in a copy with these settings; return the copy and what it printed."""
    copy = folder / name
    shutil.copytree(EXAMPLES / name, copy)
    command = json.loads((copy / "job.json").read_text())["jobanalyses"][0]["command"]
    program, *arguments = shlex.split(command)
    assert program == "python"
    change(copy / arguments[1], **settings)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=copy, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return copy, done.stdout


def change(path: Path, **settings: object) -> None:
    text = path.read_text()
    for key, value in settings.items():
        text, count = re.subn(rf"(?m)^{key} *=.*$", f"{key} = {value}", text)
        assert count == 1, f"{path.name} does not set {key}"
    path.write_text(text)


def doubles(path: Path) -> list[float]:
    values = array("d", path.read_bytes())
    if sys.byteorder == "big":
        values.byteswap()
    return list(values)


def log_columns(folder: Path) -> dict[str, list[float]]:
    """`residuals.log` by column name."""
    header, *lines = (folder / "residuals.log").read_text().splitlines()
    rows = [[float(word) for word in line.split()] for line in lines]
    return dict(zip(header.lstrip("#").split(), map(list, zip(*rows, strict=True)), strict=True))


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The heat example, solved on a coarse grid until nothing changes any more."""
    folder, _ = run_job(
        "heat", tmp_path_factory.mktemp("plate"), cells=16, steps=30, seconds=0, snapshots=3, megabytes=0.3
    )
    return folder


@pytest.mark.parametrize("name", ["pi", "heat"])
def test_every_input_that_a_job_names_is_in_its_folder(name: str) -> None:
    analysis = json.loads((EXAMPLES / name / "job.json").read_text())["jobanalyses"][0]
    _, script, parameters = shlex.split(analysis["command"])
    for file in (script, parameters, *analysis.get("inputFiles", [])):
        assert (EXAMPLES / name / file).is_file()


@pytest.mark.parametrize("terms", [1, 7, 100_000])
def test_pi_is_within_the_bound_that_the_result_states(tmp_path: Path, terms: int) -> None:
    folder, _ = run_job("pi", tmp_path, terms=terms)
    lines = (folder / "pi_estimate.res").read_text().splitlines()
    result = {key.strip(): float(value) for key, _, value in (line.partition("=") for line in lines)}
    assert result["terms"] == terms
    assert 0 < abs(result["pi"] - math.pi) <= result["bound"] <= 4 / (2 * terms + 1) * 1.001


def test_the_binary_result_of_pi_closes_in_on_it(tmp_path: Path) -> None:
    folder, output = run_job("pi", tmp_path, terms=100_000)
    estimates = doubles(folder / "pi_estimate.bin")
    errors = [abs(estimate - math.pi) for estimate in estimates]
    assert len(errors) == 1000
    assert all(later < earlier for earlier, later in itertools.pairwise(errors))
    assert f"{estimates[-1]:.12f}" in output


def test_an_input_without_terms_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "range.inp").write_text("terms = 0\n")
    command = [sys.executable, str(EXAMPLES / "pi" / "calculate_pi.py"), "range.inp"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "calculate_pi: range.inp: terms is 0, needs at least 1\n"


def test_the_residual_of_heat_falls_with_every_step(plate: Path) -> None:
    residuals = log_columns(plate)["residual"]
    assert len(residuals) == 30
    assert all(later < earlier for earlier, later in itertools.pairwise(residuals))
    assert residuals[-1] < 1e-4 * residuals[0]


def test_no_point_of_the_plate_leaves_the_range_of_its_edges(plate: Path) -> None:
    columns = log_columns(plate)
    fields = [doubles(path) for path in plate.rglob("temperature.bin")]
    assert min(columns["T_min"]) >= COLD
    assert max(columns["T_max"]) <= HOT
    assert all(min(field) >= COLD and max(field) <= HOT for field in fields)
    assert columns["T_mean"] == sorted(columns["T_mean"])  # heat only flows in


def test_the_steady_plate_is_what_symmetry_says(plate: Path) -> None:
    last = doubles(plate / "fields" / "step_0030" / "temperature.bin")
    side = math.isqrt(len(last))
    rows = [last[start : start + side] for start in range(0, side * side, side)]
    # The four plates with one hot edge each add up to a plate that is hot all over.
    turned = [
        rows[i][j] + rows[-1 - i][j] + rows[j][i] + rows[-1 - j][i] - 4 * COLD
        for i in range(side)
        for j in range(side)
    ]
    assert max(abs(total - (HOT - COLD)) for total in turned) < 0.05
    assert all(math.isclose(a, b, abs_tol=1e-9) for row in rows for a, b in zip(row, row[::-1], strict=True))


def test_the_vtk_file_holds_the_field_of_the_binary_file(plate: Path) -> None:
    for path in plate.rglob("temperature.vtk"):
        field = doubles(path.with_suffix(".bin"))
        header, _, data = path.read_bytes().partition(b"LOOKUP_TABLE default\n")
        words = header.decode("ascii").split()
        assert header.startswith(b"# vtk DataFile Version 3.0\n")
        width, height = int(words[words.index("DIMENSIONS") + 1]), int(words[words.index("DIMENSIONS") + 2])
        assert width * height == int(words[words.index("POINT_DATA") + 1]) == len(field)
        floats = struct.unpack(f">{len(field)}f", data[: 4 * len(field)])
        assert all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip(floats, field, strict=True))


def test_the_fields_are_as_many_and_as_large_as_asked(plate: Path) -> None:
    assert sorted(path.name for path in (plate / "fields").iterdir()) == [
        "step_0010",
        "step_0020",
        "step_0030",
    ]
    assert sum(path.stat().st_size for path in plate.rglob("temperature.*")) == pytest.approx(0.3e6, rel=0.05)


def test_the_same_input_gives_the_same_bytes(plate: Path, tmp_path: Path) -> None:
    again, _ = run_job("heat", tmp_path, cells=16, steps=30, seconds=0, snapshots=3, megabytes=0.3)
    files = [path.relative_to(plate) for path in plate.rglob("*") if path.is_file()]
    assert len(files) == 3 + 1 + 3 * 2  # job.json, heat.py, heat.inp; the log; two forms of each field
    assert all((plate / file).read_bytes() == (again / file).read_bytes() for file in files)


def test_a_plate_that_cannot_be_solved_is_refused_with_the_reason(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "heat" / "heat.inp", tmp_path)
    change(tmp_path / "heat.inp", cells=1)
    command = [sys.executable, str(EXAMPLES / "heat" / "heat.py"), "heat.inp"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "heat: heat.inp: cells is 1, needs at least 2\n")
