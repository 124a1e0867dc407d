"""docs/configuration.md and the code name the same settings, with the same variables, flags and defaults."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import click
import pytest

from rescalefs.cli.main import rescalefs
from rescalefs.config import PLATFORMS, SETTINGS, Places, Settings, load_settings, profile_path
from rescalefs.config.profiles import URL_VARIABLE
from rescalefs.config.settings import default_config_file
from rescalefs.surroundings import KEY_VARIABLE

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _folders_as_the_page_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without backticks and without the table's own head."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in rows[2:]]


def with_tilde(path: Path) -> str:
    return str(path).replace(str(Path.home()), "~", 1)


def test_every_setting_is_in_the_table_with_its_variable_flag_and_default_and_no_other_is() -> None:
    cache = with_tilde(load_settings({}, {}, Path("/nowhere/config.toml")).cache_dir)
    in_code = [
        [each.name, each.variable, each.flag if each.has_flag else "", each.default or cache]
        for each in SETTINGS
    ]
    assert [row[:4] for row in table("Settings")] == in_code
    assert [each.name for each in SETTINGS] + ["origins"] == [
        each.name for each in dataclasses.fields(Settings)
    ]


def test_the_flags_of_the_table_are_those_of_mount() -> None:
    mount = rescalefs.get_command(click.Context(rescalefs), "mount")
    assert mount is not None
    flags = {flag for option in mount.params if isinstance(option, click.Option) for flag in option.opts}
    assert {row[2] for row in table("Settings")} - {""} == flags - {"-f", "--foreground"}


def test_the_table_of_places_is_where_things_are() -> None:
    cache = load_settings({}, {}, Path("/nowhere/config.toml")).cache_dir
    places = Places.of("<account>", cache)
    in_code = [with_tilde(getattr(places, each.name)) for each in dataclasses.fields(places)]
    assert [row[0] for row in table("Where things are")] == in_code


def test_the_example_of_config_toml_is_one(tmp_path: Path) -> None:
    blocks = re.findall(r"(?ms)^```toml\n(.*?)^```$", PAGE)
    for number, block in enumerate(blocks):
        file = tmp_path / f"{number}.toml"
        file.write_text(block, encoding="utf-8")
        origins = load_settings({}, {}, file).origins
        assert list(origins.values()).count(str(file)) == len(block.splitlines())
    assert len(blocks) == 1
    assert with_tilde(default_config_file().parent) + "/" in PAGE


def test_variables_of_the_account_and_its_file_are_named() -> None:
    assert [row[0] for row in table("Whose account")] == [KEY_VARIABLE, URL_VARIABLE]
    assert f"`{with_tilde(profile_path())}`" in PAGE
    assert f"the address is `{PLATFORMS[0]}`" in PAGE


def test_every_variable_of_ours_that_the_page_names_is_one() -> None:
    named = set(re.findall(r"\bRESCALE(?:FS)?_[A-Z0-9_]*[A-Z0-9]\b", PAGE))
    assert named == {each.variable for each in SETTINGS} | {KEY_VARIABLE, URL_VARIABLE}
