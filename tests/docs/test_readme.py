"""What README.md and its neighbours say exists: commands, flags, make targets, files behind links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from rescalefs.cli.main import rescalefs

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def code_in(page: Path) -> list[str]:
    """Every line of the code blocks, and every inline piece of code."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```$", text)
    indented = re.findall(r"(?m)^    (\S.*)$", text)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```\w*\n.*?^```$", "", text))
    return [line for block in blocks for line in block.splitlines()] + indented + inline


def our_commands(page: Path) -> list[list[str]]:
    """The words of each `rescalefs …` in the page's code, without comments, pipes and what follows them."""
    found = []
    for line in code_in(page):
        for match in re.finditer(r"(?:^|[|&;(] *|\$ |\.venv/bin/|sudo )rescalefs( [^|&;)>]*)?", line):
            words = re.sub(r" #.*$", "", match[1] or "")
            found.append(shlex.split(words.replace("'", "")))
    return found


def test_the_readme_names_commands_at_all() -> None:
    assert {words[0] for words in our_commands(README) if words} >= {
        "login",
        "mount",
        "umount",
        "submit",
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_flag_exists(page: Path) -> None:
    context = click.Context(rescalefs)
    for words in our_commands(page):
        name = next((word for word in words if not word.startswith("-")), None)
        command: click.Command | None = rescalefs
        if name is not None and re.fullmatch(r"[a-z]+", name):
            command = rescalefs.get_command(context, name)
        assert command is not None, f"{page.name}: rescalefs {' '.join(words)}"
        known = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
        known |= {"--help", "-h"} | {flag for option in rescalefs.params for flag in option.opts}
        for word in words:
            if word.startswith("-"):
                assert word.partition("=")[0] in known, f"{page.name}: rescalefs {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    wanted = {match for line in code_in(page) for match in re.findall(r"^(?:\$ )?make ([a-z]+)", line)}
    assert wanted <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    files = [link.partition("#")[0] for link in links if "://" not in link and not link.startswith("#")]
    missing = [file for file in files if not (page.parent / file).exists()]
    assert missing == []
