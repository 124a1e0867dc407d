"""Workspaces whose administrator hides prices or projects: drops are submitted, as far as can be known."""

from __future__ import annotations

from dataclasses import replace

from rescalefs.errors import Forbidden
from tests.submit.rig import CATALOGUE, GOOD, FakeRescale, Rig, drop_files, only

SHORT = {"name": "wing", "command": "python -m solve", "software": "miniconda", "cores": 2, "hours": 1}


def hide(rescale: FakeRescale) -> None:
    """Prices come as none, and projects may not be listed."""

    def refuse(request: str) -> None:
        if request == "before projects":
            raise Forbidden("GET users/me/projects/: 403")

    rescale.catalogue = replace(CATALOGUE, prices=())
    rescale.point = refuse


def test_a_drop_is_submitted_where_prices_and_projects_may_not_be_seen(
    rig: Rig, rescale: FakeRescale
) -> None:
    hide(rescale)
    drop_files(rig.settings.folder / "wing", {**GOOD, "projectId": "notListed"})
    rig.turns(4)
    assert only(rescale.on_server.values()).definition["projectId"] == "notListed"
    assert rig.status() == "Pending"


def test_cheapest_a_limit_of_the_cost_and_a_projects_name_say_what_they_lack(
    rig: Rig, rescale: FakeRescale
) -> None:
    hide(rescale)
    folder = rig.settings.folder
    drop_files(folder / "cheapest", {**SHORT, "coretype": "cheapest"})
    drop_files(folder / "limited", {**SHORT, "coretype": "granite", "max_cost": 5})
    drop_files(folder / "named", {**SHORT, "coretype": "granite", "project": "Wing studies"})
    rig.turns(4)
    assert "this account may see no prices; name a core type" in rig.status("cheapest")
    assert "the price is not known, so that the cost cannot be limited" in rig.status("limited")
    assert "this account may not list its projects" in rig.status("named")
    assert not rescale.on_server
