"""How does a shell learn to complete the commands?"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(
    epilog='Example, in ~/.bashrc: eval "$(chunkstore completion bash)"\n\n'
    'Example, in ~/.zshrc: eval "$(chunkstore completion zsh)"\n\n'
    "Example: chunkstore completion fish > ~/.config/fish/completions/chunkstore.fish"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete commands, options and file names."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click completes nothing in {shell}")
    # The name under which pip installs the command; click reads the variable made of it.
    script = kind(context.find_root().command, {}, "chunkstore", "_CHUNKSTORE_COMPLETE")
    click.echo(script.source())
