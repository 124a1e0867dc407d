"""Doors of rooms: what each name in them is imported from, once somebody asks for it.

A command of which every tenth of a second counts needs two or three names of a room with a dozen modules.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def opened_by_name(room: str, modules: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """A package's `__getattr__`, by its names in each of its ``modules``."""
    homes = {name: module for module, names in modules.items() for name in names}

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(f"{room}.{homes[name]}"), name)
        setattr(sys.modules[room], name, found)  # nobody comes here for it again
        return found

    return find
