from __future__ import annotations

import subprocess
import sys

import pytest

import rescalefs.mount


def test_unmounting_needs_neither_libfuse_nor_what_a_daemon_is_built_of() -> None:
    heavy = "{'fuse', 'diskcache', 'requests', 'rescalefs.tree', 'rescalefs.reading'}"
    script = (
        f"import sys; from rescalefs.mount import umount, mount_background; print({heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_all_that_the_door_names_is_behind_it() -> None:
    assert all(getattr(rescalefs.mount, name) is not None for name in rescalefs.mount.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        getattr(rescalefs.mount, "nothing")  # noqa: B009  (mypy knows that it is not there)
