"""What does the reference of the command line say? Made from the commands themselves."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Final

import click

from chunkstore.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where the reference stands in its page.
MARK: Final = "<!-- commands -->"
# Options that the page explains once for all commands.
COMMON: Final = frozenset({"as_json", "progress", "debug"})


def commands(
    group: click.Group = main, names: tuple[str, ...] = ("chunkstore",)
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command that does something, with its names from ``chunkstore`` on."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*names, name))
        else:
            yield (*names, name), command


def options(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Yield each option of a command's own as it is written, and its help."""
    # Without what `get_params` adds: the help.
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name not in COMMON:
            record = parameter.get_help_record(context)
            if record is not None:
                yield record


def examples(command: click.Command) -> list[str]:
    """Return the examples in a command's last words."""
    found: list[str] = []
    for paragraph in (command.epilog or "").split("\n\n"):
        place, words = re.fullmatch(r"(?s)(?:Examples?(, [^:]*)?: )?(.*)", paragraph).groups()
        # A semicolon before another command; others belong to the shell.
        parts = [part.strip() for part in re.split(r"; (?=chunkstore )", words) if part.strip()]
        found.extend(f"{part}  # {place.removeprefix(', ')}" if place else part for part in parts)
    return found


def reference() -> str:
    """Return the reference as Markdown."""
    lines = [
        (
            "Every command that has a result also takes `--json`, `--progress`, `--no-progress` "
            "and `--debug`; each takes `--help`."
        ),
        "",
    ]
    for names, command in commands():
        title = " ".join(names)
        context = click.Context(command, info_name=title)
        lines += [f"### {title}", "", *_paragraphs(command), ""]
        usage = " ".join(command.collect_usage_pieces(context))
        lines += ["```text", f"{title} {usage}", "```", ""]
        rows = list(options(command, context))
        if rows:
            lines += ["| option | |", "| --- | --- |"]
            lines += [f"| `{name}` | {_cell(words)} |" for name, words in rows]
            lines.append("")
        lines += ["```sh", *examples(command), "```", ""]
    return "\n".join(lines)


def _paragraphs(command: click.Command) -> list[str]:
    return inspect.cleandoc(command.help or "").split("\n")


def _cell(words: str) -> str:
    """Return words that fit in a cell of a table, with nothing taken for HTML or another cell."""
    return " ".join(words.split()).replace("|", "\\|").replace("<", "&lt;")
