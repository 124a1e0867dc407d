"""`rescalefs completion`: the script that completes commands in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands in a shell.

    \b
    bash:  rescalefs completion bash > ~/.local/share/bash-completion/completions/rescalefs
    zsh:   rescalefs completion zsh > "${fpath[1]}/_rescalefs"
    fish:  rescalefs completion fish > ~/.config/fish/completions/rescalefs.fish
    """
    completer = get_completion_class(shell)
    assert completer is not None  # click has one for each of the choices
    click.echo(completer(ctx.find_root().command, {}, "rescalefs", "_RESCALEFS_COMPLETE").source())
