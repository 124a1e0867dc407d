"""Pure: what a job's hardware costs, as far as prices are known, and whether that is too much.

Hardware alone: licences are billed apart. The price is the least on demand under Linux; jobs of low priority
cost less, and other plans may cost something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rescalefs.model import ComputePrice
from rescalefs.submit.problems import Problem, raw, shown

_LEAST = Decimal("0.01")  # what was spent is not told more finely


@dataclass(frozen=True)
class Limit:
    """What a job may cost at most, in the currency of its prices, and who says so."""

    amount: Decimal
    origin: str

    def __str__(self) -> str:
        return f"{self.origin} is {number_text(self.amount)}"


@dataclass(frozen=True)
class Bill:
    """The hardware of one analysis, which nothing is wrong with."""

    at: str  # the field that describes it
    core_type: str
    cores: int  # in all slots
    slots: int
    walltime: int | None  # hours
    price: ComputePrice | None  # of one core for an hour
    runs: int | None = 1  # None: nobody says how many

    @property
    def hourly(self) -> Decimal | None:
        """What an hour of it costs."""
        return self.price.amount * self.cores if self.price else None

    @property
    def rounds(self) -> int | None:
        """How often the walltime may pass: as many runs as there are slots go on at a time."""
        return None if self.runs is None else -(-self.runs // self.slots)

    @property
    def most(self) -> Decimal | None:
        """What it costs if it runs as long as it may; None where nothing limits that."""
        if self.hourly is None or self.walltime is None or self.rounds is None:
            return None
        return self.hourly * self.walltime * self.rounds

    @property
    def currency(self) -> str:
        """Empty where no price is known."""
        return self.price.currency if self.price else ""

    @property
    def what(self) -> str:
        """``2 cores of granite``."""
        return f"{self.cores} {'core' if self.cores == 1 else 'cores'} of {self.core_type}"

    def __str__(self) -> str:
        if self.hourly is None:
            return f"{self.what}: the price is not known"
        text = f"{self.what}: {_money(self.hourly, self.currency)} an hour on demand"
        if self.walltime is None:
            return f"{text}, for as long as it runs: no walltime is set"
        if self.most is None:
            each = _money(self.hourly / self.slots * self.walltime, self.currency)
            return f"{text}, at most {each} for each run"
        return f"{text}, at most {_money(self.most, self.currency)}"


def estimate(bills: Sequence[Bill]) -> str:
    """One line for `status.log`."""
    parts = [str(each) for each in bills]
    total = _total(bills)
    if len(bills) > 1 and total is not None:
        parts.append(f"together at most {_money(total, bills[0].currency)}")
    return "; ".join(parts)


def rate(bills: Sequence[Bill]) -> tuple[str, str]:
    """What each hour of the job costs, and in which currency; empty where that is unknown or differs."""
    rates = {(each.hourly, each.currency) for each in bills}
    if len(rates) != 1 or bills[0].hourly is None:
        return "", ""
    return str(bills[0].hourly), bills[0].currency


def spent(hourly: str, currency: str, seconds: float | None) -> str:
    """What so many seconds cost, in words; empty where that is unknown."""
    if not hourly or seconds is None:
        return ""
    amount = Decimal(hourly) * Decimal(seconds) / 3600
    if 0 < amount < _LEAST:
        return f"less than {_money(_LEAST, currency)}"
    return f"about {_money(amount, currency)}"


def objections(bills: Sequence[Bill], limit: Limit, cheap: str) -> list[Problem]:
    """Why the job may cost more than the limit. ``cheap`` is a core type whose price is known."""
    found = [problem for each in bills if (problem := _objection(each, limit, cheap)) is not None]
    if found:
        return found
    total = _total(bills)
    if total is None and len({each.currency for each in bills}) > 1:
        reason = f"are priced in different currencies, which cannot be added up, and {limit}"
        return [Problem("jobanalyses", reason, example="one currency, or a job for each analysis")]
    if total is not None and total > limit.amount:
        costs = raw(_money(total, bills[0].currency))
        reason = f"is what all analyses together may cost ({estimate(bills)}), and {limit}"
        return [Problem("jobanalyses", reason, costs, "a smaller walltime, or fewer cores")]
    return []


def _objection(bill: Bill, limit: Limit, cheap: str) -> Problem | None:
    if bill.hourly is None:
        reason = f"the price is not known, so that the cost cannot be limited, and {limit}"
        return Problem(f"{bill.at}.coreType", reason, bill.core_type, shown(cheap))
    if bill.rounds is None:
        reason = f"is missing: without the number of runs the cost has no limit, and {limit}"
        return Problem("expectedRuns", reason, example="10")
    affordable = int(limit.amount / (bill.hourly * bill.rounds)) if bill.hourly else 10**6
    if affordable < 1:
        hour = _money(bill.hourly * bill.rounds, bill.currency)
        reason = f"one hour of {bill.what} costs {hour}, and {limit}"
        value = raw(str(bill.cores // bill.slots))
        return Problem(f"{bill.at}.coresPerSlot", reason, value, "fewer cores, or a cheaper core type")
    if bill.walltime is None:
        reason = f"is missing: without it the cost has no limit, and {limit}"
        return Problem(f"{bill.at}.walltime", reason, example=str(affordable))
    if bill.most is not None and bill.most > limit.amount:
        costs = _money(bill.most, bill.currency)
        reason = f"{bill.what} may cost {costs} in that time, and {limit}"
        return Problem(f"{bill.at}.walltime", reason, bill.walltime, str(affordable))
    return None


def runs_of(job: Mapping[str, Any]) -> int | None:
    """How many runs a job has; None where it has several and does not say."""
    said = job.get("expectedRuns")
    if isinstance(said, int) and not isinstance(said, bool) and said > 0:
        return said
    several = ("paramFile", "caseFile", "jobvariables", "optimizer", "monteCarloIterations")
    return None if any(job.get(key) for key in several) else 1


def _total(bills: Iterable[Bill]) -> Decimal | None:
    parts = [(each.most, each.currency) for each in bills]
    if len({currency for _, currency in parts}) > 1:
        return None
    amounts = [amount for amount, _ in parts if amount is not None]
    return sum(amounts, Decimal(0)) if len(amounts) == len(parts) else None


def _money(amount: Decimal, currency: str) -> str:
    return f"{number_text(amount)} {currency}".rstrip()


def number_text(amount: Decimal) -> str:
    """Without an exponent, and with no more digits than somebody wants to know."""
    if amount < Decimal("0.01"):
        amount = Decimal(f"{amount:.1e}")
        return f"{amount.normalize():f}"
    return f"{amount:.4f}".rstrip("0").rstrip(".")
