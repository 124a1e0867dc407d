"""Pure: what the server offers, as job files name it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from rescalefs.model import Analysis, AnalysisVersion, ComputePrice, CoreType, Project

T = TypeVar("T")


@dataclass(frozen=True)
class Catalogue:
    """Software, hardware, prices and projects at one moment."""

    analyses: tuple[Analysis, ...]
    core_types: tuple[CoreType, ...]
    projects: tuple[Project, ...] | None  # None: the account may not list them
    prices: tuple[ComputePrice, ...]  # empty where an administrator hides them

    @cached_property
    def software(self) -> dict[str, Analysis]:
        """By code."""
        return {each.code: each for each in self.analyses}

    @cached_property
    def hardware(self) -> dict[str, CoreType]:
        """By code."""
        return {each.code: each for each in self.core_types}

    def software_called(self, word: str) -> Analysis | None:
        """By code, else by the name people read; capitals do not count."""
        return self.software.get(word) or _only(
            each for each in self.analyses if _same(word, each.code, each.name)
        )

    def hardware_called(self, word: str) -> CoreType | None:
        """By code, else by the name people read; capitals do not count."""
        return self.hardware.get(word) or _only(
            each for each in self.core_types if _same(word, each.code, each.name)
        )

    def project_called(self, word: str) -> Project | None:
        """By id, else by name."""
        projects = self.projects or ()
        return _only(each for each in projects if each.id == word) or _only(
            each for each in projects if _same(word, each.name)
        )

    def cheapest(self, among: Sequence[str] = (), cores: int | None = None) -> CoreType | None:
        """The active core type of the category `general` with the least price on demand under Linux.

        Only those whose codes are ``among``, unless that is empty: an analysis may not allow all; and only
        those that offer so many ``cores``, unless that is None.
        """
        fit = [
            price
            for price in self._on_demand()
            if (not among or price.core_type in among)
            and _is_general(self.hardware[price.core_type])
            and (cores is None or offers(self.hardware[price.core_type], cores))
        ]
        return self.hardware[min(fit, key=lambda each: each.amount).core_type] if fit else None

    def price(self, core_type: str) -> ComputePrice | None:
        """What one core of it costs for an hour, on demand under Linux."""
        fit = [each for each in self._on_demand() if each.core_type == core_type]
        return min(fit, key=lambda each: each.amount) if fit else None

    def _on_demand(self) -> list[ComputePrice]:
        return [
            each
            for each in self.prices
            if each.is_active
            and each.plan.endswith("on-demand")
            and each.os.lower() == "linux"
            and each.core_type in self.hardware
        ]


def version_called(analysis: Analysis, word: str) -> AnalysisVersion | None:
    """By code, else by the name people read."""
    return _only(each for each in analysis.versions if each.code == word) or _only(
        each for each in analysis.versions if _same(word, each.code, each.name)
    )


def newest_version(analysis: Analysis) -> AnalysisVersion | None:
    """The one with the greatest numbers in its name."""
    return max(analysis.versions, key=lambda each: _numbers(each.name or each.code), default=None)


def usable(core_type: CoreType) -> bool:
    """Whether jobs may ask for it."""
    return core_type.is_active and not core_type.is_deprecated


def _is_general(core_type: CoreType) -> bool:
    return usable(core_type) and "general" in core_type.categories


def offers(core_type: CoreType, cores: int) -> bool:
    """Whether so many cores can be had: a count of its instances, or several of its largest ones."""
    return not core_type.cores or cores in core_type.cores or cores % max(core_type.cores) == 0


def _numbers(text: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", text)]


def _same(word: str, *names: str) -> bool:
    return word.casefold() in {name.casefold() for name in names}


def _only(found: Iterable[T]) -> T | None:
    every = list(found)
    return every[0] if len(every) == 1 else None
