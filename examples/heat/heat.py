"""Heat spreading in a square plate, by explicit finite differences, in nothing but Python.

    python heat.py heat.inp

The top edge is hot, the other three are cold, and so is the inside at first; then the plate goes towards its
steady state. Each step is a line in `residuals.log`, written at once so that it can be followed. Now and then
the temperature is sampled into `fields/step_NNNN/`: `temperature.bin` (little-endian doubles, row by row from
the bottom) and `temperature.vtk` (for ParaView). The same input gives the same files, byte for byte.
"""

from __future__ import annotations

import configparser
import math
import sys
import time
from array import array
from pathlib import Path
from typing import List, NamedTuple

Grid = List[List[float]]  # rows from the bottom up; the outermost points are the edges

FOURIER = 0.25  # diffusivity * dt / h2: the largest at which the scheme is stable, and no value overshoots
BYTES_PER_SAMPLE = 8 + 4  # a double in temperature.bin, a float in temperature.vtk


class Problem(NamedTuple):
    """All that the input file says."""

    side: float
    diffusivity: float
    hot: float
    cold: float
    cells: int
    steps: int
    sweeps: int
    seconds: float
    snapshots: int
    megabytes: float

    @property
    def time_step(self) -> float:
        """Seconds of the plate's time that one sweep covers."""
        return FOURIER * (self.side / self.cells) ** 2 / self.diffusivity

    @property
    def samples(self) -> int:
        """Points per side of a saved field."""
        if self.snapshots == 0:
            return 2
        return max(2, math.isqrt(int(self.megabytes * 1e6 / self.snapshots / BYTES_PER_SAMPLE)))


def read_problem(path: Path) -> Problem:
    """The problem in an input file; every value is needed."""
    parser = configparser.ConfigParser(inline_comment_prefixes=("#",))
    parser.read_string(path.read_text(encoding="utf-8"), str(path))
    plate, run, fields = parser["plate"], parser["run"], parser["fields"]
    problem = Problem(
        side=float(plate["side"]),
        diffusivity=float(plate["diffusivity"]),
        hot=float(plate["hot"]),
        cold=float(plate["cold"]),
        cells=int(run["cells"]),
        steps=int(run["steps"]),
        sweeps=int(run["sweeps"]),
        seconds=float(run["seconds"]),
        snapshots=int(fields["snapshots"]),
        megabytes=float(fields["megabytes"]),
    )
    for name in ("side", "diffusivity", "steps", "sweeps"):
        if not getattr(problem, name) > 0:
            raise ValueError(f"{name} is {getattr(problem, name)}, needs to be more than 0")
    if problem.cells < 2:
        raise ValueError(f"cells is {problem.cells}, needs at least 2")
    if not 0 <= problem.snapshots <= problem.steps:
        raise ValueError(f"snapshots is {problem.snapshots}, needs to be from 0 to steps, {problem.steps}")
    return problem


def initial(problem: Problem) -> Grid:
    """The plate before anything happened; the corners where hot meets cold are half way between."""
    points = problem.cells + 1
    grid = [[problem.cold] * points for _ in range(points - 1)]
    corner = (problem.hot + problem.cold) / 2
    grid.append([corner] + [problem.hot] * (points - 2) + [corner])
    return grid


def sweep(grid: Grid) -> Grid:
    """The plate one time step later: at FOURIER = 1/4 each inner point becomes the mean of its neighbours."""
    after = [grid[0]]
    for below, row, above in zip(grid, grid[1:], grid[2:]):
        inner = [(s + n + w + e) * 0.25 for s, n, w, e in zip(below[1:], above[1:], row, row[2:])]
        after.append([row[0], *inner[: len(row) - 2], row[-1]])
    after.append(grid[-1])
    return after


def residual(before: Grid, after: Grid) -> float:
    """The root mean square of what one sweep changed; it falls with every sweep."""
    changes = [b - a for old, new in zip(before, after) for a, b in zip(old, new)]
    return math.sqrt(math.fsum(change * change for change in changes) / len(changes))


def sampled(grid: Grid, samples: int) -> array[float]:
    """The field at ``samples`` by ``samples`` evenly spread points, bilinearly between those of the grid."""
    places = [position * (len(grid) - 1) / (samples - 1) for position in range(samples)]
    cells = [min(int(place), len(grid) - 2) for place in places]
    shares = [place - cell for place, cell in zip(places, cells)]
    rows = [[row[c] + (row[c + 1] - row[c]) * s for c, s in zip(cells, shares)] for row in grid]
    field: array[float] = array("d")
    for cell, share in zip(cells, shares):
        field.extend(low + (high - low) * share for low, high in zip(rows[cell], rows[cell + 1]))
    return field


def in_byte_order(values: array[float], order: str) -> bytes:
    """The values as bytes, ``little`` or ``big`` end first."""
    if sys.byteorder != order:
        values = array(values.typecode, values)
        values.byteswap()
    return values.tobytes()


def write_field(folder: Path, field: array[float], problem: Problem, moment: float) -> None:
    """Leave one snapshot in ``folder``: raw doubles, and legacy VTK, whose binary form is big-endian."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "temperature.bin").write_bytes(in_byte_order(field, "little"))
    samples = problem.samples
    spacing = problem.side / (samples - 1)
    header = (
        "# vtk DataFile Version 3.0\n"
        f"temperature of the plate at {moment:.6g} s\n"
        "BINARY\n"
        "DATASET STRUCTURED_POINTS\n"
        f"DIMENSIONS {samples} {samples} 1\n"
        "ORIGIN 0 0 0\n"
        f"SPACING {spacing:.9g} {spacing:.9g} 1\n"
        f"POINT_DATA {samples * samples}\n"
        "SCALARS temperature float 1\n"
        "LOOKUP_TABLE default\n"
    )
    with (folder / "temperature.vtk").open("wb") as file:
        file.write(header.encode("ascii"))
        file.write(in_byte_order(array("f", field), "big"))
        file.write(b"\n")


def solve(problem: Problem, folder: Path) -> None:
    """Run the whole problem, leaving its log and its fields in ``folder``."""
    began = time.monotonic()
    grid = initial(problem)
    due = {problem.steps * number // problem.snapshots for number in range(1, problem.snapshots + 1)}
    with (folder / "residuals.log").open("w", encoding="ascii", buffering=1) as log:  # a line at a time
        log.write("#  step   time_s      residual     T_min     T_max    T_mean\n")
        for step in range(1, problem.steps + 1):
            before = grid
            for _ in range(problem.sweeps):
                before, grid = grid, sweep(grid)
            moment = step * problem.sweeps * problem.time_step
            log.write(line(step, moment, residual(before, grid), grid))
            if step in due:
                place = Path("fields", f"step_{step:04d}")
                write_field(folder / place, sampled(grid, problem.samples), problem, moment)
                print(f"{moment:8.3f} s: wrote {place}", flush=True)
            ahead = began + problem.seconds * step / problem.steps - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)


def line(step: int, moment: float, change: float, grid: Grid) -> str:
    """One step in `residuals.log`."""
    values = [value for row in grid[1:-1] for value in row[1:-1]]
    mean = math.fsum(values) / len(values)
    return f"{step:>7} {moment:8.3f}  {change:12.6e} {min(values):9.4f} {max(values):9.4f} {mean:9.4f}\n"


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: heat.py INPUT", file=sys.stderr)
        return 2
    try:
        problem = read_problem(Path(arguments[0]))
    except (OSError, ValueError, KeyError, configparser.Error) as error:
        print(f"heat: {arguments[0]}: {error}", file=sys.stderr)
        return 1
    print(f"{problem.cells}^2 cells, {problem.steps} steps of {problem.sweeps} sweeps", flush=True)
    solve(problem, Path())
    print("done", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
