"""docs/reexport.md: what it shows is what `make reexport` uses."""

from __future__ import annotations

import re
from pathlib import Path

from tests.reexport.servers import GANESHA_CONF, SMB_CONF

PAGE = (Path(__file__).parents[2] / "docs" / "reexport.md").read_text()


def settings(text: str) -> set[str]:
    return {line.strip() for line in re.split(r"[\n;]", text) if "=" in line and "ath =" not in line}


def test_the_lines_for_samba_are_those_that_were_tried() -> None:
    (shown,) = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
    assert settings(shown) == settings(SMB_CONF.partition("[rescale]")[2])


def test_the_export_for_nfs_is_the_one_that_was_tried() -> None:
    (shown,) = re.findall(r"```\n(EXPORT.*?)```", PAGE, re.DOTALL)
    tried = settings(GANESHA_CONF.format(port=0, work="", mountpoint="/mnt"))
    assert {line for line in settings(shown) if "Name" not in line} <= tried
