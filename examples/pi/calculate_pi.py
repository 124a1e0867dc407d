"""Estimate pi with the Leibniz series: pi = 4 (1 - 1/3 + 1/5 - 1/7 + ...).

    python calculate_pi.py range.inp

The input file says how many terms to sum: `terms = 2000000`. Leaves `pi_estimate.res`, text for people, and
`pi_estimate.bin`, the estimates on the way as little-endian doubles, one per thousandth of the terms.
"""

from __future__ import annotations

import math
import sys
from array import array
from pathlib import Path

MARKS = 1000  # estimates kept on the way


def read_terms(path: Path) -> int:
    """The number of terms that an input file asks for."""
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("#")[0].partition("=")
        if name.strip() == "terms":
            terms = int(value)
            if terms < 1:
                raise ValueError(f"terms is {terms}, needs at least 1")
            return terms
    raise ValueError("there is no line `terms = ...`")


def sum_of_terms(first: int, stop: int) -> float:
    """4 (-1)^k / (2k + 1) for k in ``range(first, stop)``, summed without rounding on the way."""
    return math.fsum((4.0 if k % 2 == 0 else -4.0) / (2 * k + 1) for k in range(first, stop))


def error_bound(terms: int) -> float:
    """How far the sum of that many terms can be from pi: no further than the first term left out."""
    return 4.0 / (2 * terms + 1)


def estimates(terms: int) -> list[tuple[int, float]]:
    """(terms so far, estimate) after each thousandth of the terms, the last one with all of them."""
    stops = sorted({max(1, terms * mark // MARKS) for mark in range(1, MARKS + 1)})
    found = []
    start, estimate = 0, 0.0
    for stop in stops:
        estimate += sum_of_terms(start, stop)
        found.append((stop, estimate))
        if len(found) % 200 == 0:
            print(
                f"{stop:>10} terms: pi is {estimate:.12f}, off by {error_bound(stop):.1e} at most", flush=True
            )
        start = stop
    return found


def write_results(found: list[tuple[int, float]], folder: Path) -> None:
    """Leave the text and the binary result in ``folder``."""
    terms, estimate = found[-1]
    lines = [f"terms = {terms}", f"pi    = {estimate:.15f}", f"bound = {error_bound(terms):.3e}"]
    (folder / "pi_estimate.res").write_text("\n".join(lines) + "\n", encoding="utf-8")
    doubles = array("d", [estimate for _, estimate in found])
    if sys.byteorder == "big":
        doubles.byteswap()
    (folder / "pi_estimate.bin").write_bytes(doubles.tobytes())


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: calculate_pi.py INPUT", file=sys.stderr)
        return 2
    try:
        terms = read_terms(Path(arguments[0]))
    except (OSError, ValueError) as error:
        print(f"calculate_pi: {arguments[0]}: {error}", file=sys.stderr)
        return 1
    write_results(estimates(terms), Path())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
