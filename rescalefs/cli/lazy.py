"""A click group that imports a command only when it is used, so that `rescalefs --help` answers at once."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click

_PACKAGE = "rescalefs.cli"

# Section -> command -> (its module in this package, its line in the overview).
Overview = Mapping[str, Mapping[str, tuple[str, str]]]


class LazyGroup(click.Group):
    """Knows its commands by name, module and one line of help; a command is the module's object of its name.

    The one line stands beside the name because click's own overview would import every command to read it.
    Methods take what click gives them.
    """

    def __init__(self, name: str, overview: Overview, **settings: object) -> None:
        super().__init__(name, **settings)  # type: ignore[arg-type]  # click types each setting on its own
        self._overview = overview
        self._modules = {
            name: module for section in overview.values() for name, (module, _) in section.items()
        }

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        module = self._modules.get(cmd_name)
        if module is None:
            return None
        command = getattr(importlib.import_module(f"{_PACKAGE}.{module}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        wanted = args[0]
        if wanted not in self._modules and not wanted.startswith("-") and not ctx.resilient_parsing:
            import difflib  # here: every command would wait 3 ms for it

            near = difflib.get_close_matches(wanted, self._modules, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {wanted!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for title, section in self._overview.items():
            with formatter.section(title):
                width = max(map(len, self._modules))
                formatter.write_dl([(name.ljust(width), line) for name, (_, line) in section.items()])
