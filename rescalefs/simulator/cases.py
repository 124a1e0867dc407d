"""The runs of a job: one, or one for each set of variables of a design of experiments. Pure.

Variables come from the first of these that a definition has:

- ``caseFile`` or ``paramFile``: a CSV file; its first line names the variables, every other line is a run;
- ``jobvariables`` with generated values. ``FixedRange`` (``min``, ``max``, ``step``) and ``Linspace``
  (``min``, ``max``, ``count``) are combined, every value with every other. If any is random (``Uniform``,
  ``Normal``, ``LogNormal``, ``Triangular``), there are ``monteCarloIterations`` runs, and the others are
  drawn from, too.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rescalefs.simulator.definition import Invalid

MOST_RUNS = 1000
_INPUT_KINDS = frozenset({"Param", "Design", "Case"})


def plan_runs(definition: Mapping[str, Any], read: Callable[[str], str]) -> list[dict[str, str]]:
    """The variables of each run; ``read`` gives the text of a file. `Invalid` if they make no sense."""
    for field in ("caseFile", "paramFile"):
        if definition[field]:
            return _limited(field, _rows(field, read(definition[field]["id"])))
    variables = [each for each in definition["jobvariables"] if each.get("variableType") in _INPUT_KINDS]
    if not variables:
        return [{}]
    return _limited("jobvariables", _generated(variables, definition["monteCarloIterations"]))


def _rows(field: str, text: str) -> list[dict[str, str]]:
    lines = [line for line in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in line)]
    if len(lines) < 2:
        raise Invalid({field: ["It needs a line of names, and a line for each run."]})
    names = [name.strip() for name in lines[0]]
    if any(len(line) != len(names) for line in lines):
        raise Invalid({field: ["Every line needs as many values as there are names."]})
    return [dict(zip(names, (cell.strip() for cell in line), strict=True)) for line in lines[1:]]


def _generated(variables: Sequence[Mapping[str, Any]], iterations: Any) -> list[dict[str, str]]:
    try:
        names = [str(each["name"]) for each in variables]
        if any(each["valueGeneratorType"] in _DRAWS for each in variables):
            return _drawn(names, variables, int(iterations or 1))
        values = [_steps(each) for each in variables]
        _countable(math.prod(map(len, values)))
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise Invalid({"jobvariables": [f"A value generator is wrong or incomplete: {error}"]}) from error
    return [
        dict(zip(names, map(_text, combination), strict=True)) for combination in itertools.product(*values)
    ]


def _steps(variable: Mapping[str, Any]) -> list[float]:
    kind, settings = variable["valueGeneratorType"], variable["valueGeneratorSettings"]
    least, most = float(settings["min"]), float(settings["max"])
    if kind == "Linspace":
        count = _countable(int(settings["count"]))
        return [least + (most - least) * n / max(1, count - 1) for n in range(count)]
    if kind == "FixedRange":
        step = float(settings["step"])
        # A thousandth of a step more, so that rounding does not lose the last value.
        count = _countable(int((most - least) / step + 1.001))
        return [least + step * n for n in range(count)]
    raise ValueError(f"{kind} is not a generator")


def _countable(count: int) -> int:
    if not 1 <= count <= MOST_RUNS:
        raise ValueError(f"{count} is not between 1 and {MOST_RUNS}")
    return count


def _drawn(names: list[str], variables: Sequence[Mapping[str, Any]], iterations: int) -> list[dict[str, str]]:
    chance = random.Random(0)  # the same job has the same runs wherever it is submitted
    draws = [_draw(each) for each in variables]
    return [
        {name: _text(draw(chance)) for name, draw in zip(names, draws, strict=True)}
        for _ in range(_countable(iterations))
    ]


_DRAWS: dict[str, Callable[[random.Random, Mapping[str, Any]], float]] = {
    "Uniform": lambda chance, s: chance.uniform(float(s["min"]), float(s["max"])),
    "Normal": lambda chance, s: chance.gauss(float(s["mean"]), float(s["stdDev"])),
    "LogNormal": lambda chance, s: chance.lognormvariate(float(s["mean"]), float(s["stdDev"])),
    "Triangular": lambda chance, s: chance.triangular(float(s["min"]), float(s["max"]), float(s["mode"])),
}


def _draw(variable: Mapping[str, Any]) -> Callable[[random.Random], float]:
    draw = _DRAWS.get(variable["valueGeneratorType"])
    settings = variable["valueGeneratorSettings"]
    if draw is not None:
        draw(random.Random(0), settings)  # a missing setting is found now
        return lambda chance: draw(chance, settings)
    values = _steps(variable)
    return lambda chance: chance.choice(values)


def _limited(field: str, runs: list[dict[str, str]]) -> list[dict[str, str]]:
    if len(runs) > MOST_RUNS:
        raise Invalid({field: [f"{len(runs)} runs are more than the {MOST_RUNS} that one job may have."]})
    return runs


def _text(value: float) -> str:
    return f"{value:.12g}"
