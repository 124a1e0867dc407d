"""What a job's command finds out about its hardware from its environment. Pure.

The names are those in Rescale's documentation and in scripts of its employees (2021 to 2025).
None is made up: `RESCALE_RUN_ID`, say, is in no source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rescalefs.simulator.catalogue import CORE_TYPES_BY_CODE


def job_environment(hardware: Mapping[str, Any]) -> dict[str, str]:
    """The variables that follow from the hardware. How many threads a core has is not known: one (guess)."""
    kind = CORE_TYPES_BY_CODE[hardware["coreType"]]
    cores, nodes = hardware["coresPerSlot"], kind.nodes(hardware["coresPerSlot"])
    per_node = cores // nodes
    gpus_per_node = kind.gpus(per_node)
    return {
        "RESCALE_CORE_TYPE": kind.code,
        "RESCALE_CORES_PER_SLOT": str(cores),
        "RESCALE_CORES_PER_NODE": str(per_node),
        "RESCALE_NODES_PER_SLOT": str(nodes),
        "RESCALE_SLOTS_PER_NODE": "1",
        "RESCALE_THREADS_PER_SLOT": str(cores),
        "RESCALE_THREADS_PER_NODE": str(per_node),
        "RESCALE_GPUS_PER_SLOT": str(gpus_per_node * nodes),
        "RESCALE_GPUS_PER_NODE": str(gpus_per_node),
        "RESCALE_PROVIDER": "simulator",
        "RESCALE_INTERCONNECT": "ethernet",
        "RESCALE_IG_RESTART_COUNT": "0",
    }
