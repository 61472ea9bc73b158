"""What do all commands have in common: their options, their errors, their exit codes?"""

from __future__ import annotations

import functools
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

import click

import chunkstore as cs

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_DEFECT = 1
EXIT_USAGE = 2

# What the person asked for cannot be, whatever the file holds.
_USAGE_ERRORS = (FileNotFoundError, FileExistsError, IsADirectoryError, KeyError, ValueError)


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"warning: {message}", err=True)


def report_errors(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of all commands, and print errors as one line."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(function)
    def command(*, debug: bool, **arguments: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always", cs.ChunkStoreWarning)
            warnings.showwarning = _print_warning
            try:
                function(**arguments)
            except BrokenPipeError:
                # Whoever read the output has seen enough; what is left of it goes nowhere.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                sys.exit(EXIT_DEFECT)
            except (cs.ChunkStoreError, OSError, KeyError, ValueError) as error:
                if debug:
                    raise
                # A KeyError's own text is the repr of its message.
                text = error.args[0] if isinstance(error, KeyError) and error.args else error
                click.echo(f"error: {' '.join(str(text).split())}", err=True)
                sys.exit(EXIT_USAGE if isinstance(error, _USAGE_ERRORS) else EXIT_DEFECT)

    return command
